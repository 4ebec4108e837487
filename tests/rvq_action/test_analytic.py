"""The closed form: what it is fitted on, and what comes out when there is little to fit."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from rvq_action import WALL_26, ActionChunk, ActionLayout, joint_space
from rvq_action.analytic import fit_closed_form, fit_model
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.closed_form.transform import Windows, binary_patterns
from rvq_action.layout import DeltaRule
from rvq_action.metrics import masked_mean
from tests.rvq_action.robots import (
    ARM,
    RECIPE,
    arm_chunk,
    embodiment_of,
    fit,
    switched,
    wall_chunk,
    waves,
)


def some(chunk: ActionChunk, count: int) -> ActionChunk:
    fields = ("actions", "mask", "anchor", "anchor_mask")
    return replace(chunk, **{name: getattr(chunk, name)[:count] for name in fields})


def raw_chunk(actions: torch.Tensor) -> ActionChunk:
    real = torch.ones_like(actions, dtype=torch.bool)
    return ActionChunk(actions, real, None, None, 20.0, "it")


def raw(width: int) -> ActionLayout:
    return joint_space(width, delta=DeltaRule.RAW)


def relative_error(tokenizer, actions: torch.Tensor) -> float:
    codes = tokenizer.encode(actions, fps=20)
    back = tokenizer.decode(codes, actions.shape[1], fps=20)
    return float((back - actions).square().mean() / actions.var())


def test_components_are_orthonormal(closed_form):
    model = closed_form.model
    for analysis, synthesis in zip(model.encoder.components, model.decoder.components, strict=True):
        used = analysis.norm(dim=1) > 0
        assert torch.allclose(analysis[used] @ synthesis[used].T, torch.eye(used.sum()), atol=1e-4)


def test_a_robot_alone_has_units_of_one(one_arm):
    components = one_arm.model.encoder.components[0]
    used = components[components.norm(dim=1) > 0]
    assert torch.allclose(used @ used.T, torch.eye(len(used)), atol=1e-4)
    assert torch.equal(components, one_arm.model.decoder.components[0])


def test_networks_start_as_nothing():
    chunk = arm_chunk(256)
    with_networks, without = (
        fit({"arm": (ARM, chunk)}, replace(RECIPE, depth=depth)) for depth in (1, 0)
    )
    robot = (chunk.anchor, "arm", chunk.fps)
    codes = with_networks.encode(chunk.actions, *robot)
    assert torch.equal(codes, without.encode(chunk.actions, *robot))
    backs = [t.decode(codes, 20, *robot) for t in (with_networks, without)]
    assert torch.equal(*backs)


def test_a_codebook_may_have_any_size():
    chunk = arm_chunk(256)
    tokenizer = fit({"arm": (ARM, chunk)}, replace(RECIPE, codebook_size=25))
    assert tokenizer.config.codebook_size == 25
    assert tokenizer.bits_per_token == pytest.approx(math.log2(25))
    robot = (chunk.anchor, "arm", chunk.fps)
    codes = tokenizer.encode(chunk.actions, *robot)
    assert 16 <= codes.max() < 25
    vocabulary = tokenizer.vocabulary
    assert torch.equal(vocabulary.to_codes(vocabulary.to_ids(codes)), codes)


def test_a_fit_is_reproducible():
    recipe = replace(RECIPE, semantic_slots=1)
    first, second = (fit({"arm": (ARM, arm_chunk(256))}, recipe).model for _ in range(2))
    state = second.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in first.state_dict().items())


def test_tokens_follow_the_moving_channels():
    chunk = arm_chunk(256)
    still = chunk.actions.clone()
    still[..., 1:3] = chunk.anchor[:, None, 1:3]
    recipe = replace(RECIPE, slots_per_channel=2.0)
    slots = [
        fit({"arm": (ARM, replace(chunk, actions=actions))}, recipe).config.num_slots
        for actions in (chunk.actions, still)
    ]
    assert slots == [8, 4]
    budget = fit({"arm": (ARM, chunk)}, replace(recipe, slots=3))
    assert budget.tokens_per_chunk == 3 * recipe.num_quantizers


def test_later_slots_carry_less_energy(one_arm):
    scale = one_arm.model.encoder.latent_scale[0].view(one_arm.config.num_slots, -1)
    support = one_arm.model.quantizer.support.any(0)
    energy = (scale.square() * support).sum(-1)
    assert (energy.diff() <= 1e-6).all()


def test_a_gripper_keeps_its_own_components(closed_form):
    """A channel of two values comes back as a step, not smeared over the chunk."""
    chunk = arm_chunk(64, seed=9)
    codes = closed_form.encode(chunk.actions, chunk.anchor, "arm")
    back = closed_form.decode(codes, 20, chunk.anchor, "arm")[..., 3]
    assert ((back > 0.5) == (chunk.actions[..., 3] > 0.5)).float().mean() > 0.97


def test_channels_of_two_values_are_found():
    generator = torch.Generator().manual_seed(0)
    x = torch.stack(
        [
            switched(200, 20, generator) * 2 - 1,
            waves(200, 20, 1, 20.0, generator)[..., 0],
            switched(200, 20, generator) + 0.002 * torch.randn(200, 20, generator=generator),
            torch.zeros(200, 20),
            switched(200, 20, generator),
            torch.rand(200, 20, generator=generator).round(decimals=1),
        ],
        dim=-1,
    )
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[..., 4] = False
    found = binary_patterns([Windows(x, mask)])
    assert list(found) == [0, 2]
    assert found[0] == len({tuple(row) for row in x[..., 0].tolist()})


def test_a_channel_is_binary_only_where_it_is_for_all():
    gripper = switched(100, 20, torch.Generator().manual_seed(0))[..., None]
    mask = torch.ones_like(gripper, dtype=torch.bool)
    smooth = waves(100, 20, 1, 20.0, torch.Generator().manual_seed(0))
    assert binary_patterns([Windows(gripper, mask), Windows(smooth, mask)]) == {}
    assert list(binary_patterns([Windows(gripper, mask), Windows(smooth, ~mask)])) == [0]


def test_embodiments_share_one_code(closed_form):
    assert closed_form.config.num_embodiments == 2
    assert closed_form.config.width == WALL_26.width
    for chunk in (arm_chunk(64, seed=9), wall_chunk(64, seed=9)):
        given = closed_form.prepare(chunk)
        codes = closed_form.model.encode(given.x, given.mask, given.condition)
        with torch.no_grad():
            back = closed_form.model.decode(codes, chunk.horizon, given.condition)
        error = masked_mean((back - given.x).square(), given.mask)
        assert error < 0.1 * masked_mean(given.x.square(), given.mask)


@pytest.mark.parametrize(("windows_per_code", "size"), [(8, 32), (4, 64), (3, 64), (1, 256)])
def test_a_codebook_asks_for_windows(windows_per_code, size):
    recipe = replace(RECIPE, codebook_size=300, windows_per_code=windows_per_code)
    assert fit({"arm": (ARM, arm_chunk(256))}, recipe).config.codebook_size == size


def test_codes_that_ask_for_no_window_are_refused():
    with pytest.raises(ValueError, match="windows_per_code must be at least 1"):
        replace(RECIPE, windows_per_code=0)


@pytest.mark.parametrize("windows", [1, 2, 15, 40])
def test_a_handful_of_windows_is_enough_to_run(windows):
    chunk = some(arm_chunk(40), windows)
    tokenizer = fit({"arm": (ARM, chunk)})
    assert tokenizer.config.codebook_size == 16
    codes = tokenizer.encode(chunk.actions, chunk.anchor, "arm")
    back = tokenizer.decode(codes, 20, chunk.anchor, "arm")
    assert back.isfinite().all()
    assert masked_mean((back - chunk.actions).square(), chunk.mask) < 0.1


@pytest.mark.parametrize("horizon", [2, 3, 128])
def test_any_horizon_can_be_fitted(horizon):
    chunk = arm_chunk(300, horizon)
    tokenizer = fit({"arm": (ARM, chunk)})
    assert tokenizer.config.num_frequencies == min(horizon, 64)
    back = tokenizer.decode(tokenizer.encode(chunk.actions, chunk.anchor), horizon, chunk.anchor)
    relative = chunk.actions - chunk.anchor[:, None]
    assert (back - chunk.actions).square().mean() < 0.2 * relative.square().mean()


def test_one_channel():
    actions = waves(400, 20, 1, 20.0, torch.Generator().manual_seed(0))
    tokenizer = fit({"it": (raw(1), raw_chunk(actions))})
    assert relative_error(tokenizer, actions) < 0.01


@pytest.mark.parametrize("width", [1, 2])
def test_nothing_but_grippers(width):
    generator = torch.Generator().manual_seed(0)
    actions = torch.stack([switched(400, 20, generator) for _ in range(width)], dim=-1)
    tokenizer = fit({"it": (raw(width), raw_chunk(actions))}, replace(RECIPE, slots_per_channel=3))
    assert relative_error(tokenizer, actions) < 0.02


@pytest.mark.parametrize("more", [{"slots_per_channel": 6}, {"semantic_slots": 4}])
def test_more_slots_than_components(more):
    actions = torch.randn(400, 2, 1, generator=torch.Generator().manual_seed(0))
    tokenizer = fit({"it": (raw(1), raw_chunk(actions))}, replace(RECIPE, **more))
    assert relative_error(tokenizer, actions) < 0.01


def test_tails_are_fitted_on_what_is_real():
    chunk = arm_chunk(300)
    mask = chunk.mask.clone()
    mask[100:, 12:] = False
    wild = replace(chunk, actions=torch.where(mask, chunk.actions, 1e6), mask=mask)
    tokenizer = fit({"arm": (ARM, wild)})
    codes = tokenizer.encode(wild.actions, wild.anchor, mask=mask)
    back = tokenizer.decode(codes, 20, wild.anchor)
    assert masked_mean((back - chunk.actions).square(), mask) < 0.02


def test_no_window_is_an_error():
    empty = Windows(torch.zeros(0, 20, 4), torch.zeros(0, 20, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"No window.*Add episodes"):
        fit_model([empty], RECIPE)


def test_nothing_that_moves_is_an_error():
    chunk = arm_chunk(50)
    still = replace(chunk, actions=torch.ones_like(chunk.actions), anchor=0 * chunk.anchor)
    with pytest.raises(ValueError, match="No channel ever moves"):
        fit({"arm": (ARM, still)})


def test_every_embodiment_needs_one_batch_of_windows():
    chunk = arm_chunk(50)
    known = {"arm": embodiment_of(ARM, chunk)}
    for samples, match in (
        ([], r"\[\] for the embodiments \['arm'\]"),
        ([chunk, chunk], r"\['arm', 'arm'\]"),
        ([replace(chunk, embodiment="leg")], r"\['leg'\]"),
    ):
        with pytest.raises(ValueError, match=match):
            fit_closed_form(samples, known, RECIPE)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"slots_per_channel": 0.0}, "slots_per_channel"),
        ({"slots": 2, "semantic_slots": 2}, "slots must be above"),
        ({"num_quantizers": 0}, "num_quantizers"),
        ({"codebook_size": 1}, "codebook_size"),
        ({"max_windows": 0}, "max_windows"),
        ({"max_frequencies": 1}, "max_frequencies"),
    ],
)
def test_a_recipe_that_makes_nothing_is_an_error(change, match):
    with pytest.raises(ValueError, match=match):
        ClosedFormRecipe(**change)
