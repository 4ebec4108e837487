"""Whether channels share components: what decides, and what comes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rvq_action.analytic import fit_model
from rvq_action.blocks import Condition
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.closed_form.transform import Windows, fit_transform
from rvq_action.metrics import masked_mean
from rvq_action.model import TokenizerModel
from rvq_action.time_basis import to_frequencies
from tests.rvq_action.robots import RECIPE, waves

WIDTH, HORIZON, FPS, COUNT = 4, 12, 10.0, 600
QUICK = replace(RECIPE, channels="auto", depth=0, slots=2)


def windows(x: Tensor) -> Windows:
    return Windows(x, torch.ones_like(x, dtype=torch.bool))


def moving_together(count: int = COUNT, seed: int = 0) -> Windows:
    """All channels are one motion, each with a sign and a size of its own."""
    motion = waves(count, HORIZON, 1, FPS, torch.Generator().manual_seed(seed))
    return windows(motion * torch.tensor([1.0, -0.8, 0.6, 0.5]))


def moving_by_turns(count: int = COUNT, seed: int = 0) -> Windows:
    """One channel moves in each window, the others rest."""
    generator = torch.Generator().manual_seed(seed)
    motion = waves(count, HORIZON, WIDTH, FPS, generator)
    mover = torch.randint(0, WIDTH, (count, 1, 1), generator=generator)
    return windows(torch.where(torch.arange(WIDTH) == mover, motion, 0.0))


def most_channels(model: TokenizerModel, robot: int = 0) -> int:
    """Of how many channels the robot's components are at most."""
    components = model.encoder.components[robot].unflatten(-1, (-1, WIDTH))
    return int((components.square().sum(1) > 1e-6).sum(-1).max())


def left_over(model: TokenizerModel, seen: Windows) -> float:
    count = len(seen.x)
    condition = Condition(
        None, None, torch.zeros(count).long(), torch.full((count,), HORIZON / FPS)
    )
    codes = model.encode(seen.x, seen.mask, condition)
    with torch.no_grad():
        back = model.decode(codes, HORIZON, condition)
    return float(masked_mean((back - seen.x).square(), seen.mask))


@pytest.mark.parametrize(("apart", "channels"), [(True, 1), (False, WIDTH)])
def test_components_apart_are_of_one_channel_each(apart, channels):
    samples = to_frequencies(moving_together().x, HORIZON).flatten(1)
    components = fit_transform(samples, {}, WIDTH, apart).components
    assert torch.allclose(components @ components.T, torch.eye(len(components)), atol=1e-4)
    used = components.unflatten(-1, (HORIZON, WIDTH)).square().sum(1) > 1e-6
    assert used.sum(-1).max() == channels


@pytest.mark.parametrize(
    ("robot", "better", "worse"),
    [(moving_together, "together", "apart"), (moving_by_turns, "apart", "together")],
)
def test_windows_choose_what_leaves_less_over_of_others(robot, better, worse):
    chosen, good, bad = (
        fit_model([robot()], replace(QUICK, channels=channels))
        for channels in ("auto", better, worse)
    )
    assert most_channels(chosen) == most_channels(good) != most_channels(bad)
    assert torch.equal(chosen.quantizer.codebooks, good.quantizer.codebooks)
    others = robot(seed=1)
    assert left_over(chosen, others) < 0.8 * left_over(bad, others)


def test_every_robot_chooses_for_itself():
    model = fit_model([moving_by_turns(), moving_together()], QUICK)
    assert [most_channels(model, robot) for robot in (0, 1)] == [1, WIDTH]


def test_a_few_windows_keep_their_channels_together():
    assert most_channels(fit_model([moving_by_turns(count=100)], QUICK)) > 1


def test_a_choice_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="channels must be auto, together or apart: 'alone'"):
        ClosedFormRecipe(channels="alone")  # type: ignore[arg-type]
