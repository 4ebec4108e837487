"""FAST's interface: what AutoProcessor loads, encodes, decodes whatever comes, fits and saves."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rvq_action import ActionTokenizer, OutOfRangeWarning, joint_space
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.fast_interface.chunk_space import ChunkSpace
from rvq_action.relative import to_relative
from tests.rvq_action.robots import ARM, ARM_HORIZON, arm_chunk, embodiment_of, normalized

pytest.importorskip("transformers")

from transformers import AutoProcessor  # noqa: E402

from rvq_action.processing import RvqActionProcessor  # noqa: E402

JOINTS = slice(0, 3)
FIT = ClosedFormRecipe(slots_per_channel=1.0, iterations=4, samples_per_code=8, depth=0)


def chunks(tokenizer: ActionTokenizer, count: int, seed: int = 7) -> np.ndarray:
    """[count, T, 4], normalised; nothing was fitted on them."""
    return normalized(tokenizer, arm_chunk(count, seed=seed)).numpy()


@pytest.fixture
def arm(one_arm) -> ActionTokenizer:
    return one_arm


@pytest.fixture
def processor(arm) -> RvqActionProcessor:
    return RvqActionProcessor(arm)


@pytest.fixture
def saved(processor, tmp_path) -> Path:
    processor.save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def load(path: Path, **options) -> RvqActionProcessor:
    return AutoProcessor.from_pretrained(path, trust_remote_code=True, **options)


def test_chunks_come_back(processor, arm):
    given = chunks(arm, 24)
    tokens = processor(given)
    assert [len(row) for row in tokens] == [arm.tokens_per_chunk] * 24
    assert {type(i) for row in tokens for i in row} == {int}
    assert min(map(min, tokens)) >= 0 and max(map(max, tokens)) < processor.vocab_size
    back = processor.decode(tokens)
    assert back.shape == given.shape and back.dtype == np.float32
    assert np.mean((back - given) ** 2) < 0.06 * np.mean(given**2)
    assert not processor.flags.repaired.any() and not processor.flags.missing.any()


def test_it_says_what_the_tokenizer_says(processor, arm):
    """The network is fed the same model space, companded beyond what is usual."""
    chunk = arm_chunk(16, seed=8)
    relative = to_relative(chunk.actions, chunk.anchor, ARM) * 1.4
    codes = arm.encode(relative, relative=True)
    space = ChunkSpace(arm.embodiments["arm"])
    tokens = processor(space.to_chunks(relative))
    assert space.to_chunks(relative).abs().max() > 1.5
    assert torch.equal(arm.vocabulary.to_codes(tokens), codes)
    decoded = arm.decode(codes, ARM_HORIZON, relative=True)
    assert np.allclose(processor.decode(tokens), space.to_chunks(decoded), atol=1e-5)


@pytest.mark.parametrize("unit", ["rad", "normalized"])
def test_the_training_datas_quantiles_lie_on_one(unit):
    """Motors that count from -100 to 100, in a unit called normalised, are no exception."""
    layout = joint_space(4, unit=unit, delta="raw")
    chunk = arm_chunk(200)
    chunk = replace(chunk, actions=100 * chunk.actions, anchor=None, anchor_mask=None)
    given = ChunkSpace(embodiment_of(layout, chunk)).to_chunks(chunk.actions).flatten(0, 1)
    ends = torch.quantile(given, torch.tensor([0.01, 0.99]), dim=0)
    assert torch.allclose(ends, torch.tensor([[-1.0], [1.0]]), atol=0.02)


@pytest.mark.parametrize("kind", [np.float64, torch.float32, torch.float64, torch.float16, list])
def test_every_kind_of_chunk_is_taken(processor, arm, kind):
    given = chunks(arm, 3)
    if isinstance(kind, torch.dtype):
        other = torch.from_numpy(given).to(kind)
    else:
        other = given.tolist() if kind is list else given.astype(kind)
    same = np.mean(np.array(processor(other)) == np.array(processor(given)))
    assert same > 0.8 if kind is torch.float16 else same == 1
    assert processor(other[0]) == processor(other)[:1]


def test_the_last_shape_is_remembered(arm):
    processor, short = RvqActionProcessor(arm), chunks(arm, 2)[:, :11]
    with pytest.raises(ValueError, match="Give time_horizon, or encode once"):
        processor.decode([[1]])
    tokens = processor(short)
    assert processor.decode(tokens).shape == (2, 11, 4)
    assert processor.decode(tokens, time_horizon=9, action_dim=4).shape == (2, 9, 4)
    assert processor.decode(tokens).shape == (2, 9, 4)
    assert (processor.called_time_horizon, processor.called_action_dim) == (9, 4)


def test_what_is_set_goes_before_what_was_called(arm):
    processor = RvqActionProcessor(arm, time_horizon=5)
    tokens = processor(chunks(arm, 2))
    assert processor.decode(tokens).shape == (2, 5, 4)
    assert processor.decode(tokens, time_horizon=6).shape == (2, 6, 4)
    assert (processor.time_horizon, processor.action_dim) == (5, 4)
    assert processor.decode(tokens).shape == (2, 5, 4)


def test_a_tolerance_gives_sequences_of_different_length(arm):
    processor, given = RvqActionProcessor(arm, tolerance=0.05), chunks(arm, 32)
    tokens = processor(given)
    assert len({len(row) for row in tokens}) > 1
    back = processor.decode(tokens)
    assert not processor.flags.repaired.any() and processor.flags.missing.any()
    assert np.mean((back - given) ** 2, axis=(1, 2)).max() < 0.2
    assert max(map(len, processor(given, tolerance=1e9))) == 0


def test_a_tolerance_may_be_in_scored_space_and_by_channel_group(arm, tmp_path):
    limits, given = {"scored": 0.1, "gripper": 0.6}, chunks(arm, 32)
    processor = RvqActionProcessor(arm, tolerance=limits)
    motion = ChunkSpace(arm.embodiments["arm"]).to_motion(torch.as_tensor(given))
    codes = arm.encode(motion, relative=True, tolerance=limits)
    tokens = processor(given)
    assert tokens == arm.vocabulary.to_sequences(codes) and len({len(row) for row in tokens}) > 1
    assert tokens == RvqActionProcessor(arm)(given, tolerance=limits)
    processor.save_pretrained(tmp_path / "tokenizer")
    loaded = load(tmp_path / "tokenizer")
    assert loaded.tolerance == limits and loaded(given) == tokens


def test_another_rate_is_another_duration(networked):
    processor = RvqActionProcessor(networked, "arm")
    given = chunks(networked, 16)
    assert processor(given) == processor(given, fps=20)
    assert processor(given) != processor(given, fps=80)
    assert RvqActionProcessor(networked, "arm", fps=80)(given) == processor(given, fps=80)
    tokens = processor(given)
    assert not np.allclose(processor.decode(tokens), processor.decode(tokens, fps=80))


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (np.zeros((2, 20, 5)), r"\[B, T, 4\] or \[T, 4\].*arm_with_gripper.*\[2, 20, 5\]"),
        (np.zeros(4), r"\[B, T, 4\]"),
        (np.zeros((1, 1, 4)), "1 frames is outside 2..128"),
        (np.full((1, 20, 4), np.nan), "not finite"),
    ],
)
def test_chunks_that_are_none_are_refused(processor, given, match):
    with pytest.raises(ValueError, match=match):
        processor(given)
    assert processor.called_time_horizon is None


def test_chunks_far_beyond_normal_are_warned_of(arm):
    fresh = ActionTokenizer(arm.model, {"arm": replace(arm.embodiments["arm"])})
    with pytest.warns(OutOfRangeWarning):
        RvqActionProcessor(fresh)(100 * chunks(arm, 4) + 300)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"time_horizon": 0}, "0 frames is outside"),
        ({"time_horizon": 129}, "129 frames is outside"),
        ({"action_dim": 7}, "action_dim=7, but layout 'arm_with_gripper' has 4 channels"),
        ({"hold": [0.0, 1.0]}, r"hold must be finite, \[4\] or \[1, 4\]"),
        ({"hold": [np.nan] * 4}, "hold must be finite"),
        ({"fps": 0}, "fps must be a positive number"),
    ],
)
def test_a_wrong_question_is_an_error(processor, options, match):
    with pytest.raises(ValueError, match=match):
        processor.decode([[1]], **{"time_horizon": 20, **options})


def test_several_robots_need_a_name(closed_form):
    processor = RvqActionProcessor(closed_form)
    given = chunks(closed_form, 2)
    with pytest.raises(ValueError, match="Say which embodiment"):
        processor(given)
    tokens = processor(given, embodiment="arm")
    assert processor.decode(tokens, embodiment="arm").shape == given.shape
    assert RvqActionProcessor(closed_form, "arm")(given) == tokens
    with pytest.raises(KeyError, match="Unknown embodiment 'leg'"):
        RvqActionProcessor(closed_form, "leg")


def test_it_says_how_much_chunks_are_like_training(arm):
    """What the tokenizer says of the same motion, where the anchor is not known."""
    processor = RvqActionProcessor(arm)
    given = normalized(arm, arm_chunk(24, seed=9))
    motion = ChunkSpace(arm.embodiments["arm"]).to_motion(given)
    own, same = processor.score(given), processor.rvq.score(motion, relative=True)
    assert np.allclose(own.out_of_distribution, same.out_of_distribution, rtol=1e-4)
    assert isinstance(own.residual, np.ndarray) and own.out_of_distribution.shape == (24,)
    assert np.median(own.out_of_distribution) < 1
    assert processor.score(given * 100).out_of_distribution.min() > 1
    assert processor.score(given[0]).residual.shape == (1,)
    assert RvqActionProcessor.fit(given, recipe=FIT).score(given).residual.shape == (24,)
    with pytest.raises(ValueError, match="stores no calibration for 'arm'"):
        RvqActionProcessor(replace(arm, metadata={})).score(given)


# Total decoding


def test_an_empty_sequence_holds(processor, arm):
    held = processor.decode([[], processor(chunks(arm, 1))[0]], time_horizon=9)
    motion = ChunkSpace(arm.embodiments["arm"]).to_motion(torch.from_numpy(held))
    assert processor.flags.held.tolist() == processor.flags.repaired.tolist() == [True, False]
    assert motion[0, :, JOINTS].abs().max() < 1e-6
    mean = arm.embodiments["arm"].statistics.actions.mean[3]
    assert torch.allclose(motion[0, :, 3], torch.tensor(mean))


def test_what_to_hold_may_be_said(arm):
    processor = RvqActionProcessor(arm, hold=[0, 0, 0, -0.9])
    held = processor.decode([[], []], time_horizon=4)
    assert np.allclose(held[..., 3], -0.9)
    each = [[0, 0, 0, 0.2], [0, 0, 0, 0.8]]
    assert np.allclose(processor.decode([[], []], hold=each)[:, 2, 3], [0.2, 0.8])
    far = processor.decode([[]], hold=[0, 0, 0, 50.0])
    assert far[0, 0, 3] == processor.decode([[]], hold=[0, 0, 0, 500.0])[0, 0, 3] < 1.5


def test_velocities_that_are_held_are_none(closed_form):
    from rvq_action import WALL_26
    from rvq_action.embodiment import Embodiment
    from rvq_action.statistics import ChannelStatistics, EmbodimentStatistics

    ones = [1.0] * 26
    seen = ChannelStatistics([9] * 26, [-v for v in ones], ones, [0.5] * 26, ones, ones, ones)
    still = Embodiment(WALL_26, EmbodimentStatistics(seen, seen), 10.0).rest.standstill
    named = dict(zip(WALL_26.names, still.tolist(), strict=True))
    assert named["base_vx"] == named["base_wz"] == named["left_x"] == 0
    assert named["left_gripper"] == named["lift"] == 0.5
    assert [named[f"left_rot6d_{i}"] for i in range(6)] == [1, 0, 0, 0, 1, 0]


def test_a_foreign_id_costs_its_own_code(processor, arm):
    slots, size = arm.config.num_slots, arm.config.codebook_size
    tokens = processor(chunks(arm, 1))[0]
    codes = arm.vocabulary.to_codes([tokens])
    for foreign in (-5, size + 1, 10**30, 3 * size):
        spoiled = list(tokens)
        spoiled[0] = foreign
        expected = codes.clone()
        expected[:, 0, 0] = -1
        decoded = processor.decode([spoiled])
        same = arm.decode(expected, ARM_HORIZON, relative=True)
        assert np.allclose(decoded, ChunkSpace(arm.embodiments["arm"]).to_chunks(same), atol=1e-6)
        assert processor.flags.foreign.tolist() == [1] and processor.flags.repaired.all()
    spoiled = list(tokens)
    spoiled[slots] = -1
    processor.decode([spoiled, [*tokens, 1, 2], tokens[:3], [-1] * 3])
    flags = processor.flags
    assert flags.foreign.tolist() == [1, 0, 0, 3] and flags.surplus.tolist() == [0, 2, 0, 0]
    total = arm.tokens_per_chunk
    assert flags.missing.tolist() == [0, 0, total - 3, total - 3]
    assert flags.repaired.tolist() == [True, True, False, True]
    assert flags.held.tolist() == [False, False, False, True]


def test_an_end_token_closes_a_sequence_and_is_no_fault(processor, arm):
    tokens, end = processor(chunks(arm, 1))[0], arm.vocabulary.with_end().end_id
    rows = [tokens[:3], [*tokens[:3], end], [*tokens[:3], *[end] * 40], [*tokens, end]]
    decoded, flags = processor.decode(rows), processor.flags
    assert np.array_equal(decoded[1], decoded[0]) and np.array_equal(decoded[2], decoded[0])
    assert not flags.repaired.any() and not flags.foreign.any() and not flags.surplus.any()
    missing = arm.tokens_per_chunk - 3
    assert flags.missing.tolist() == [missing, missing, missing, 0]
    processor.decode([[end], [tokens[0], end, *tokens[2:]]])
    assert processor.flags.held.tolist() == [True, False]
    assert processor.flags.foreign.tolist() == [0, 1]


def test_a_sequence_may_come_as_anything_of_integers(processor, arm):
    tokens = processor(chunks(arm, 2))
    expected = processor.decode(tokens)
    forms = [
        np.array(tokens),
        torch.tensor(tokens),
        [torch.tensor(row) for row in tokens],
        [np.array(row, np.int32) for row in tokens],
        [[np.int64(i) for i in row] for row in tokens],
        [list(torch.tensor(row)) for row in tokens],
        np.array(tokens, np.uint16),
    ]
    for form in forms:
        assert np.array_equal(processor.decode(form), expected)
    # By itself a row is multiplied in another order on some processors.
    np.testing.assert_allclose(processor.decode(tokens[1]), expected[1:], rtol=1e-5, atol=1e-6)
    assert processor.decode([], time_horizon=20).shape == (0, 20, 4)
    assert processor.decode([[]] * 3).shape == (3, 20, 4)


@pytest.mark.parametrize("tokens", [None, 3, "abc", ["abc"], [[1.5]], [[None]], np.zeros((1, 3))])
def test_what_holds_no_integers_is_refused(processor, tokens):
    with pytest.raises(ValueError, match="token ids"):
        processor.decode(tokens, time_horizon=20)


# Fitting


def test_fitting_takes_chunks_alone(processor, arm):
    given = chunks(arm, 600, seed=1)
    fitted = processor.fit(list(given), recipe=FIT)
    assert isinstance(fitted, RvqActionProcessor) and fitted is not processor
    fresh = chunks(arm, 64)
    back = fitted.decode(fitted(fresh))
    assert np.mean((back - fresh) ** 2) < 0.06 * np.mean(fresh**2)
    assert RvqActionProcessor.fit(given, recipe=FIT)(fresh) == fitted(fresh)
    assert np.allclose(fitted.decode([[]])[0, -1], given.mean((0, 1)), atol=1e-4)
    assert np.allclose(fitted.decode([[]], hold=[0, 0, 0, 0.5])[0, -1], [0, 0, 0, 0.5], atol=1e-6)


def test_a_fitted_processor_knows_its_length(arm):
    fitted = RvqActionProcessor.fit(chunks(arm, 64), recipe=FIT)
    assert fitted.decode([[1]], fps=40).shape == (1, 2 * ARM_HORIZON, 4)
    assert RvqActionProcessor(fitted.rvq).decode([[1]]).shape == (1, ARM_HORIZON, 4)
    rated = RvqActionProcessor.fit(chunks(arm, 64), fps=40, time_horizon=7, recipe=FIT)
    assert rated.rvq.seconds == 0.5 and rated.decode([[1]]).shape == (1, 7, 4)


def test_fitting_with_fasts_arguments(arm):
    given = chunks(arm, 600)
    with pytest.warns(UserWarning, match="scale=10 is FAST's rounding"):
        fitted = RvqActionProcessor.fit(given, 10, 128, time_horizon=20, action_dim=4, recipe=FIT)
    assert fitted.vocab_size == 128 and fitted.rvq.config.codebook_size == 32
    assert (fitted.time_horizon, fitted.action_dim) == (20, 4)


@pytest.mark.parametrize(
    ("data", "options", "match"),
    [
        ([], {}, "got 0 chunks"),
        ([np.zeros((4, 2)), np.zeros((5, 2))], {}, r"one shape, got 2 chunks.*\(4, 2\), \(5, 2\)"),
        ([np.zeros(4)], {}, "one shape"),
        (np.zeros((40, 9, 2)), {}, "No channel ever moves"),
        (np.full((40, 9, 2), np.inf), {}, "NaN or infinite"),
        (np.ones((4, 1, 2)), {}, "1 frames is outside"),
        (np.ones((4, 9, 2)), {"vocab_size": 63}, "vocab_size=63 .* at least 64"),
        (np.random.default_rng(0).normal(size=(64, 9, 2)), {"action_dim": 3}, "action_dim=3"),
    ],
)
def test_what_cannot_be_fitted_is_refused(data, options, match):
    with pytest.raises(ValueError, match=match):
        RvqActionProcessor.fit(data, **options)


# Saving and loading


def test_any_artefact_loads_through_autoprocessor(arm, tmp_path):
    arm.save_pretrained(tmp_path / "tokenizer")
    loaded = load(tmp_path / "tokenizer")
    assert isinstance(loaded, RvqActionProcessor)
    given = chunks(arm, 8)
    assert loaded(given) == RvqActionProcessor(arm)(given)
    tokens = loaded(given)
    assert np.array_equal(
        loaded.decode(tokens), RvqActionProcessor(arm).decode(tokens, time_horizon=20)
    )


def test_settings_are_saved_and_may_be_given_anew(arm, tmp_path):
    first = RvqActionProcessor(arm, None, 40.0, 12, 4, 0.1, [0, 0, 0, 1])
    files = first.save_pretrained(tmp_path / "tokenizer")
    assert files == [str(tmp_path / "tokenizer" / "processor_config.json")]
    assert load(tmp_path / "tokenizer").settings == first.settings
    assert load(tmp_path / "tokenizer", time_horizon=6).time_horizon == 6
    with pytest.warns(UserWarning, match=r"Ignored \['tolerence'\]"):
        RvqActionProcessor.from_pretrained(tmp_path / "tokenizer", tolerence=1)
    assert ActionTokenizer.from_pretrained(tmp_path / "tokenizer").config == arm.config


def test_fitted_processors_are_saved_too(arm, tmp_path):
    fitted, given = RvqActionProcessor.fit(chunks(arm, 300), recipe=FIT), chunks(arm, 8, seed=2)
    fitted.save_pretrained(tmp_path / "tokenizer")
    loaded = load(tmp_path / "tokenizer")
    assert loaded(given) == fitted(given)
    assert np.array_equal(loaded.decode(loaded(given)), fitted.decode(fitted(given)))


def test_an_unknown_setting_is_named(saved):
    config = saved / "processor_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "scale": 10}))
    with pytest.raises(ValueError, match=r"processor_config.json: unknown settings \['scale'\]"):
        load(saved)


def test_without_the_package_the_error_says_what_to_install(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "rvq_action.processing", None)
    source = (saved / "processing_rvq.py").read_text()
    with pytest.raises(ImportError, match=r"needs the package rvq-action \(pip install rvq-action"):
        exec(source, {})


def test_pushing_uploads_the_settings_too(arm, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    seen: dict = {}

    class Api:
        def __init__(self, token: str | None = None) -> None:
            seen["token"] = token

        def create_repo(self, repo_id: str, private: bool, exist_ok: bool) -> None:
            seen["repository"] = (repo_id, private)

        def upload_folder(self, repo_id: str, folder_path: str, **options: str) -> str:
            config = json.loads((Path(folder_path) / "processor_config.json").read_text())
            seen.update(options, horizon=config["time_horizon"], map=config["auto_map"])
            return f"hub/{repo_id}"

    monkeypatch.setattr(hub, "HfApi", Api)
    processor = RvqActionProcessor(arm, time_horizon=16)
    options = {"private": True, "token": "t", "commit_message": "First"}
    assert processor.push_to_hub("owner/name", **options) == "hub/owner/name"
    assert seen == {
        "token": "t",
        "repository": ("owner/name", True),
        "commit_message": "First",
        "horizon": 16,
        "map": {"AutoProcessor": "processing_rvq.RvqActionProcessor"},
    }


def test_a_hub_id_is_fetched_whole(saved, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    asked: dict = {}

    def download(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(saved)

    monkeypatch.setattr(hub, "snapshot_download", download)
    RvqActionProcessor.from_pretrained("owner/name", revision="v1", token="t")
    assert (asked["name"], asked["revision"], asked["token"]) == ("owner/name", "v1", "t")
    assert {"model.safetensors", "processor_config.json"} <= set(asked["allow_patterns"])


def test_it_travels_to_another_process(processor, arm):
    given = chunks(arm, 4)
    assert pickle.loads(pickle.dumps(processor))(given) == processor(given)


def test_it_says_what_it_is(processor):
    assert "arm 20 Hz" in repr(processor) and "time_horizon=None" in repr(processor)
    assert json.loads(processor.to_json_string())["processor_class"] == "RvqActionProcessor"


@pytest.mark.parametrize("kind", ["one_arm", "closed_form"])
def test_the_model_cards_lines_run(request, kind, tmp_path, monkeypatch):
    tokenizer = request.getfixturevalue(kind)
    tokenizer.save_pretrained(tmp_path / "path-or-hub-id")
    card = (tmp_path / "path-or-hub-id" / "README.md").read_text()
    lines = card.split("```python\n")[2].split("```")[0]
    monkeypatch.chdir(tmp_path)
    names: dict = {"chunks": chunks(tokenizer, 5)}
    exec(lines, names)
    assert names["chunks"].shape == (5, 20, 4) and len(names["tokens"]) == 5
