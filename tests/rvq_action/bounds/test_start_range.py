"""A decoded chunk sets off from its anchor no further than a training chunk did, whatever it is."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch

from rvq_action import WALL_26, ActionChunk, ActionLayout, ActionTokenizer, DeltaRule
from rvq_action.bounds.start_range import StartRange
from rvq_action.bounds.training_range import TrainingRange
from rvq_action.relative import to_relative
from rvq_action.rotation import axis_angle_to_matrix, matrix_to_rot6d, rot6d_to_matrix
from rvq_action.statistics import EmbodimentStatistics
from tests.rvq_action.robots import ARM, RECIPE, arm_chunk, embodiment_of, fit, wall_chunk

GRIPPER = ARM.index("gripper")
ROTATION = slice(WALL_26.index("right_rot6d_0"), WALL_26.index("right_rot6d_5") + 1)


def displaced(chunk: ActionChunk) -> ActionChunk:
    """The same motion seen from a state that lags a little behind it."""
    generator = torch.Generator().manual_seed(9)
    anchor = chunk.anchor + 0.02 * torch.randn(chunk.anchor.shape, generator=generator)
    turn = axis_angle_to_matrix(0.05 * torch.randn(len(chunk), 3, generator=generator))
    if anchor.shape[1] == WALL_26.width:
        rotation = rot6d_to_matrix(chunk.anchor[:, ROTATION])
        anchor[:, ROTATION] = matrix_to_rot6d(rotation @ turn)
    return replace(chunk, anchor=anchor)


ROBOTS = {"arm": (ARM, displaced(arm_chunk(1024))), "wall": (WALL_26, displaced(wall_chunk(1024)))}


@pytest.fixture(scope="module")
def tokenizer() -> ActionTokenizer:
    return fit(ROBOTS, replace(RECIPE, slots=6))


def random_codes(tokenizer: ActionTokenizer, count: int = 300) -> torch.Tensor:
    c = tokenizer.config
    shape, generator = (count, c.num_slots, c.num_quantizers), torch.Generator().manual_seed(2)
    return torch.randint(-1, c.codebook_size, shape, generator=generator)


def anchored(layout: ActionLayout) -> list[int]:
    """Channels that set off from an anchor."""
    return [i for i, c in enumerate(layout.channels) if c.delta is not DeltaRule.RAW]


def first_frames(layout: ActionLayout, chunk: ActionChunk) -> torch.Tensor:
    return to_relative(chunk.actions, chunk.anchor, layout, chunk.mask)[:, 0]


@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.parametrize("horizon", [2, 10, 33])
@pytest.mark.parametrize("rate", [1, 2.5])
def test_any_codes_set_off_where_training_chunks_did(tokenizer, name, horizon, rate):
    layout, chunk = ROBOTS[name]
    known = tokenizer.embodiments[name]
    codes = random_codes(tokenizer)
    frames = tokenizer.decode(codes, horizon, embodiment=name, fps=rate * chunk.fps, relative=True)
    first, real = (f[:, anchored(layout)] for f in (frames[:, 0], first_frames(layout, chunk)))
    slack = 1e-4 * (real.amax(0) - real.amin(0)).clamp(min=1e-3)
    assert (first <= real.amax(0) + slack).all()
    assert (first >= real.amin(0) - slack).all()
    assert known.range.contains(frames).all()


@pytest.mark.parametrize("name", ROBOTS)
def test_no_later_frame_jumps_instead(tokenizer, name):
    """The joined chunk differs from the plain one by a shift that fades evenly."""
    known, codes = tokenizer.embodiments[name], random_codes(tokenizer, 4000)
    robot = {"embodiment": name, "relative": True}
    joined = tokenizer.decode(codes, 20, **robot)
    plain = tokenizer.decode(codes, 20, fps=known.fps * 0.99, **robot)
    free = [i for i in range(joined.shape[2]) if known.layout.channels[i].unit != "rot6d"]
    shift = (joined - plain)[..., free]
    assert (shift[:, 0] != 0).any(-1).sum() > 60
    assert torch.allclose(joined[:, -1], plain[:, -1], atol=1e-4)
    even = shift[:, :1] * torch.linspace(1, 0, 20)[:, None]
    assert ((shift - even).abs() <= 1e-5 + (shift[:, :1].abs() - even.abs())).all()


def test_a_chunk_that_goes_on_from_another_may_begin_anywhere_in_the_range(tokenizer):
    for name in ROBOTS:
        known = tokenizer.embodiments[name]
        wide = torch.linspace(-0.9, 0.9, 5)[:, None, None].expand(5, 6, tokenizer.config.width)
        begun, going_on = (known.from_model(wide, None, True, sets_off=s) for s in (True, False))
        expected = known.range.clamp(known.actions.denormalize(wide[..., : known.layout.width]))
        torch.testing.assert_close(going_on, torch.where(known.valid, expected, 0.0))
        assert (begun[:, 0] != going_on[:, 0]).any()


def test_what_a_training_chunk_did_is_left_alone(tokenizer):
    for name, (layout, chunk) in ROBOTS.items():
        relative = to_relative(chunk.actions, chunk.anchor, layout, chunk.mask)
        assert torch.equal(tokenizer.embodiments[name].start.join(relative), relative)


def test_what_set_off_is_inside_after_rounding_too(tokenizer):
    """Where first frames never moved their range has no width, and rounding hardly any room."""
    start, known = tokenizer.embodiments["arm"].start, tokenizer.embodiments["arm"]
    room = (start.first.high - start.first.low).clamp(min=1e-3)
    there = ((start.first.low - 0.99e-4 * room) * known.valid).expand(1, 20, -1)
    assert start.first.contains(there[:, 0]).all()
    joined = start.join(there.clamp(known.range.low, known.range.high).clone())
    assert start.first.contains(joined[:, 0], 6e-5).all()


def test_joined_rotations_are_rotations(tokenizer):
    frames = tokenizer.decode(random_codes(tokenizer), 12, embodiment="wall", relative=True)
    rot6d = frames[..., ROTATION]
    assert torch.allclose(matrix_to_rot6d(rot6d_to_matrix(rot6d)), rot6d, atol=1e-5)


def test_at_a_lower_rate_nothing_is_known_of_first_frames(tokenizer):
    codes = random_codes(tokenizer)
    frames = tokenizer.decode(codes, 10, embodiment="arm", fps=10, relative=True)
    assert not tokenizer.embodiments["arm"].start.first.contains(frames[:, 0]).all()


def test_a_channel_that_no_first_frame_showed_has_the_range_of_all_frames():
    chunk = arm_chunk(256)
    mask = chunk.mask.clone()
    mask[:, 0, 1] = False
    tokenizer = fit({"arm": (ARM, replace(chunk, mask=mask))})
    known = tokenizer.embodiments["arm"]
    assert known.statistics.start.count[1] == 0
    assert known.start.first.high[1] == known.range.high[1] > 0


def opened_late() -> ActionChunk:
    """Chunks whose gripper is closed in every first frame, and open in some of the last ones."""
    chunk = displaced(arm_chunk(512))
    actions = chunk.actions.clone()
    actions[:, :15, GRIPPER] = 0.0
    anchor = chunk.anchor.clone()
    anchor[:, GRIPPER] = 0.0
    return replace(chunk, actions=actions, anchor=anchor)


def test_a_gripper_that_opens_only_late_in_training_chunks_is_not_shut_again():
    chunk = opened_late()
    tokenizer = fit({"arm": (ARM, chunk)}, replace(RECIPE, slots=6))
    assert tokenizer.embodiments["arm"].statistics.start.max[GRIPPER] == 0.0
    proprio = chunk.anchor.clone()
    proprio[:, GRIPPER] = 1.0
    hold = torch.full_like(random_codes(tokenizer, len(proprio)), -1)
    held = tokenizer.decode(hold, 20, proprio=proprio, embodiment="arm")
    torch.testing.assert_close(held[..., GRIPPER], torch.ones(len(proprio), 20), atol=1e-4, rtol=0)
    known = tokenizer.embodiments["arm"]
    openly = torch.zeros(3, 20, ARM.width)
    openly[..., GRIPPER] = 1.0
    assert torch.equal(known.start.join(openly), openly)


def test_the_range_of_first_frames_is_no_wider_than_that_of_all_frames():
    statistics = embodiment_of(ARM, displaced(arm_chunk(256))).statistics
    wide = replace(statistics.start, min=[-99.0] * ARM.width, max=[99.0] * ARM.width)
    whole = TrainingRange(statistics.actions, ARM)
    start = StartRange(replace(statistics, start=wide), whole, ARM)
    assert torch.equal(start.first.low, whole.low) and torch.equal(start.first.high, whole.high)


def test_artefacts_from_before_are_read_and_decode_as_they_did(tokenizer, tmp_path):
    path = tmp_path / "tokenizer"
    tokenizer.save_pretrained(path)
    statistics = json.loads((path / "statistics.json").read_text())
    for entry in statistics.values():
        del entry["start"]
    (path / "statistics.json").write_text(json.dumps(statistics))
    old = ActionTokenizer.from_pretrained(path)
    known = old.embodiments["arm"]
    assert known.statistics.start is None
    frames = old.decode(random_codes(old), 20, embodiment="arm", relative=True)
    assert known.range.contains(frames).all()
    assert not tokenizer.embodiments["arm"].start.first.contains(frames[:, 0]).all()
    old.save_pretrained(path)
    assert ActionTokenizer.from_pretrained(path).embodiments == old.embodiments


def test_statistics_with_a_stray_entry_are_refused(tokenizer):
    data = asdict(tokenizer.embodiments["arm"].statistics)
    with pytest.raises(ValueError, match="must hold `actions`, `proprio` and `start`.*'end'"):
        EmbodimentStatistics.from_dict({**data, "end": data["start"]}, "here")
