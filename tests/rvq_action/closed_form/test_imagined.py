"""Windows of a robot of which only statistics are known."""

from __future__ import annotations

from dataclasses import replace

import torch

from rvq_action import ActionTokenizer
from rvq_action.closed_form.imagined import imagine_windows
from rvq_action.closed_form.transform import Windows
from rvq_action.embodiment import Embodiment
from rvq_action.time_basis import to_frequencies
from tests.rvq_action.robots import ARM, WALL_26, arm_chunk, embodiment_of, wall_chunk


def imagined(tokenizer: ActionTokenizer, robot: Embodiment) -> Windows:
    return imagine_windows(tokenizer.model, list(tokenizer.embodiments.values()), robot)


def test_channels_have_the_robots_mean_and_spread(closed_form):
    robot = embodiment_of(ARM, arm_chunk(256, seed=5))
    found, known = imagined(closed_form, robot), robot.statistics.actions
    x = found.x[..., : ARM.width] * robot.actions.scale + robot.actions.middle
    assert torch.allclose(x.mean((0, 1)), torch.tensor(known.mean), atol=1e-3)
    assert torch.allclose(x.std((0, 1)), torch.tensor(known.std), rtol=0.05)
    assert found.x.shape[2] == closed_form.config.width
    assert found.mask[..., : ARM.width].all() and not found.mask[..., ARM.width :].any()


def test_channels_do_not_covary(closed_form):
    x = imagined(closed_form, embodiment_of(ARM, arm_chunk(256))).x[..., : ARM.width]
    components = to_frequencies(x, closed_form.config.num_frequencies).flatten(1)
    correlation = (
        components.T.corrcoef().unflatten(0, (-1, ARM.width)).unflatten(2, (-1, ARM.width))
    )
    apart = ~torch.eye(ARM.width, dtype=torch.bool)[None, :, None].expand_as(correlation)
    assert correlation[apart].abs().max() < 1e-3


def test_relative_channels_borrow_from_relative_ones(closed_form):
    """Joints set off from the anchor; a gripper, which does not, may be anywhere from the start."""
    x = imagined(closed_form, embodiment_of(ARM, arm_chunk(256))).x[..., : ARM.width]
    swing = (x - x.mean((0, 1))).square().mean(0)
    first = swing[0] / swing[-1]
    assert (first[:3] < 0.01).all() and first[3] > 10 * first[:3].max()


def test_channels_without_data_and_still_ones_do_not_move(closed_form):
    wall = imagined(closed_form, embodiment_of(WALL_26, wall_chunk(64)))
    assert not wall.x[..., :3].any() and not wall.mask[..., :3].any()
    still = arm_chunk(64)
    still = replace(still, actions=still.actions.clone())
    still.actions[..., 1] = still.anchor[:, None, 1]
    found = imagined(closed_form, embodiment_of(ARM, still))
    assert float(found.x[..., 1].std()) < 1e-6 < float(found.x[..., 0].std())
