"""One tokenizer for robots of different widths: each with its own linear path and tokens."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from rvq_action import WALL_26, ActionChunk, ActionTokenizer, joint_space
from rvq_action.artifact.codes_file import fingerprint
from rvq_action.export.modules import ChunkDecoder, ChunkEncoder
from rvq_action.metrics import masked_mean
from rvq_action.model import PER_PATH
from rvq_action.processing import RvqActionProcessor
from tests.rvq_action.robots import (
    ARM,
    RECIPE,
    arm_chunk,
    embodiment_of,
    fit,
    wake_networks,
    wall_chunk,
    waves,
)

CHUNKS = {"arm": arm_chunk, "wall": wall_chunk}
LAYOUTS = {"arm": ARM, "wall": WALL_26}
SLOTS = {"arm": 2, "wall": 6}
SIX = joint_space(6)


def six_chunk(count: int, seed: int = 0) -> ActionChunk:
    """Six joints at 15 Hz, of sizes of their own."""
    generator = torch.Generator().manual_seed(seed)
    actions = waves(count, 15, 6, 15.0, generator) * torch.tensor([3.0, 1.0, 1.0, 0.5, 0.2, 0.1])
    real = torch.ones_like(actions, dtype=torch.bool)
    return ActionChunk(actions, real, actions[:, 0].clone(), real[:, 0], 15.0, "six")


@pytest.fixture(scope="module")
def joint() -> ActionTokenizer:
    return fit({name: (LAYOUTS[name], CHUNKS[name](1024)) for name in CHUNKS})


@pytest.fixture(scope="module")
def taught(joint) -> ActionTokenizer:
    """With networks that have a say."""
    tokenizer = replace(joint, model=copy.deepcopy(joint.model))
    wake_networks(tokenizer)
    return tokenizer


@pytest.fixture(scope="module")
def grown(taught) -> ActionTokenizer:
    """With a robot that it was not fitted on."""
    chunk = six_chunk(1024)
    return taught.with_embodiment("six", embodiment_of(SIX, chunk), chunk)


def as_format_two(path: Path) -> ActionTokenizer:
    """An artefact rewritten as if all robots shared the first one's linear path, and read."""
    config = json.loads((path / "config.json").read_text())
    assert config.pop("path_slots") and config.pop("format_version") == 3
    (path / "config.json").write_text(json.dumps({"format_version": 2, **config}))
    weights = safetensors.torch.load_file(path / "model.safetensors")
    shared = {n: t[0].clone() if n in PER_PATH else t for n, t in weights.items()}
    safetensors.torch.save_file(shared, path / "model.safetensors")
    return ActionTokenizer.from_pretrained(path)


def told(chunk: ActionChunk) -> dict:
    return {"proprio": chunk.anchor, "embodiment": chunk.embodiment, "fps": chunk.fps}


def encode(tokenizer: ActionTokenizer, chunk: ActionChunk, **limits) -> torch.Tensor:
    return tokenizer.encode(chunk.actions, mask=chunk.mask, **told(chunk), **limits)


def errors(tokenizer: ActionTokenizer, chunk: ActionChunk) -> list[float]:
    """In model space, of every prefix."""
    codes, given = encode(tokenizer, chunk), tokenizer.prepare(chunk)
    found = []
    for length in range(1, codes[0].numel() + 1):
        prefix = tokenizer.prefix(codes, length)
        with torch.inference_mode():
            decoded = tokenizer.model.decode(prefix, chunk.horizon, given.condition)
        found.append(float(masked_mean((decoded - given.x).square(), given.mask)))
    return found


def ratio(some: list[float], others: list[float]) -> float:
    """Geometric mean over the prefixes, which have equal numbers of tokens and bits."""
    logs = [math.log(a / b) for a, b in zip(some, others, strict=True)]
    return math.exp(sum(logs) / len(logs))


@pytest.mark.parametrize("name", CHUNKS)
def test_a_robot_among_others_is_coded_about_as_well_as_alone(joint, name):
    alone = fit({name: (LAYOUTS[name], CHUNKS[name](1024))})
    chunk = CHUNKS[name](256, seed=7)
    assert ratio(errors(joint, chunk), errors(alone, chunk)) < 1.3


@pytest.mark.parametrize("name", CHUNKS)
def test_tokens_follow_each_robots_channels(joint, name):
    codes = encode(joint, CHUNKS[name](8, seed=7))
    assert codes.shape == (8, SLOTS[name], RECIPE.num_quantizers) and (codes >= 0).all()
    vocabulary = joint.vocabulary_of(name)
    ids = vocabulary.to_ids(codes)
    assert ids.shape == (8, SLOTS[name] * RECIPE.num_quantizers)
    assert torch.equal(vocabulary.to_codes(ids), codes)
    assert vocabulary.ids == joint.vocabulary.ids


def test_codes_of_one_robot_are_none_of_another(joint):
    codes = encode(joint, arm_chunk(2))
    with pytest.raises(ValueError, match=r"codes must be \[B, 6, k\].*another tokenizer, or robot"):
        joint.decode(codes, 10, embodiment="wall", relative=True)
    with pytest.raises(ValueError, match=r"codes must be integers \[B, 6, k\].*vocabulary_of"):
        joint.vocabulary.to_ids(codes)


@pytest.mark.parametrize("name", CHUNKS)
def test_prefixes_and_tolerances_count_the_robots_own_tokens(taught, name):
    chunk = CHUNKS[name](16, seed=7)
    most = taught.vocabulary_of(name).tokens_per_chunk
    with pytest.raises(ValueError, match=rf"A prefix has 0\.\.{most} tokens"):
        taught.prefix(encode(taught, chunk), most + 1)
    with pytest.raises(ValueError, match=rf"max_tokens must be a whole number, 0\.\.{most}"):
        encode(taught, chunk, max_tokens=most + 1)
    codes = encode(taught, chunk, tolerance=0.05)
    fidelity = taught.fidelity(chunk.actions, codes, mask=chunk.mask, **told(chunk))
    assert (fidelity.within(0.05) | (fidelity.tokens == most)).all()
    assert fidelity.tokens.min() < most


@pytest.mark.parametrize("name", CHUNKS)
def test_graphs_of_a_robot_do_what_the_tokenizer_does(taught, name):
    chunk = CHUNKS[name](8, seed=7)
    proprio = chunk.anchor.masked_fill(~chunk.anchor_mask, torch.nan)
    codes = ChunkEncoder(taught, chunk.horizon, name)(chunk.actions, proprio)
    assert torch.equal(codes, encode(taught, chunk))
    frames = ChunkDecoder(taught, chunk.horizon, name)(codes, proprio)
    back = taught.decode(codes, chunk.horizon, **told(chunk))
    assert torch.allclose(frames, back, atol=1e-5)


def test_the_processor_speaks_for_every_robot(joint):
    for name, make in CHUNKS.items():
        processor = RvqActionProcessor(joint, embodiment=name)
        chunk = make(4, seed=7)
        x = joint.embodiments[name].to_model(chunk, 0, LAYOUTS[name].width, relative=False).x
        tokens = processor(x)
        assert {len(row) for row in tokens} == {joint.vocabulary_of(name).tokens_per_chunk}
        processor.decode(tokens)
        assert not processor.flags.repaired.any()


def test_the_artefact_keeps_all_paths(grown, tmp_path):
    grown.save_pretrained(tmp_path / "joint")
    loaded = ActionTokenizer.from_pretrained(tmp_path / "joint")
    assert loaded.config.path_slots == grown.config.path_slots == (2, 6, 4)
    for chunk in (arm_chunk(8, seed=7), wall_chunk(8, seed=7), six_chunk(8, seed=7)):
        codes = encode(grown, chunk)
        assert torch.equal(encode(loaded, chunk), codes)
        backs = [t.decode(codes, chunk.horizon, **told(chunk)) for t in (grown, loaded)]
        assert torch.equal(*backs)


def test_artefacts_with_one_path_for_all_are_read_and_decode_as_they_did(closed_form, tmp_path):
    closed_form.save_pretrained(tmp_path / "old")
    old = as_format_two(tmp_path / "old")
    arm, wall = arm_chunk(8, seed=7), wall_chunk(8, seed=7)
    assert torch.equal(encode(old, arm), encode(closed_form, arm))
    for buffer in PER_PATH & old.model.state_dict().keys():
        first, second = old.model.state_dict()[buffer]
        assert torch.equal(first, second)
    old.save_pretrained(tmp_path / "new")
    new = ActionTokenizer.from_pretrained(tmp_path / "new")
    assert torch.equal(encode(new, wall), encode(old, wall))


def test_paths_that_do_not_fit_are_refused(joint, tmp_path):
    path = tmp_path / "joint"
    joint.save_pretrained(path)
    config = json.loads((path / "config.json").read_text())
    for wrong in ([2], [2, 7], [0, 6], ["2", 6], 3):
        (path / "config.json").write_text(json.dumps({**config, "path_slots": wrong}))
        with pytest.raises(ValueError, match="config.json: .*Export the tokenizer again"):
            ActionTokenizer.from_pretrained(path)
    with pytest.raises(ValueError, match=r"1 embodiments \(\['arm'\]\) for a model fitted on 2"):
        replace(joint, embodiments={"arm": joint.embodiments["arm"]})


def test_an_added_robot_is_coded_nearly_as_well_as_by_a_tokenizer_of_its_own(joint, grown):
    chunk = six_chunk(256, seed=7)
    alone = fit({"six": (SIX, six_chunk(1024))})
    assert ratio(errors(grown, chunk), errors(alone, chunk)) < 2.5
    same = zip(grown.model.quantizer.codebooks, joint.model.quantizer.codebooks, strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in same)


def test_networks_have_no_say_in_an_added_robots_chunks(joint, grown):
    chunk = six_chunk(8, seed=7)
    plain = joint.with_embodiment("six", grown.embodiments["six"], six_chunk(1024))
    codes = encode(grown, chunk)
    assert torch.equal(encode(plain, chunk), codes)
    backs = [t.decode(codes, 15, **told(chunk)) for t in (plain, grown)]
    assert torch.allclose(*backs, atol=1e-6)


def test_slots_of_an_added_robot_can_be_chosen_up_to_the_tokenizers(joint):
    chunk = six_chunk(256)
    known = embodiment_of(SIX, chunk)
    for asked, given in ((3, 3), (40, 6)):
        tokenizer = joint.with_embodiment("six", known, chunk, slots=asked)
        assert encode(tokenizer, chunk.rows(torch.arange(2))).shape[1] == given
    still = replace(chunk, actions=chunk.anchor[:, None].expand_as(chunk.actions))
    with pytest.raises(ValueError, match="No channel ever moves"):
        joint.with_embodiment("six", known, still)
    with pytest.raises(ValueError, match="slots must be a whole number, 1 or more, got 0"):
        joint.with_embodiment("six", known, chunk, slots=0)


def test_arrays_of_any_robot_come_back_as_arrays(joint):
    chunk = arm_chunk(4)
    codes = joint.encode(chunk.actions.numpy(), chunk.anchor.numpy(), "arm")
    assert isinstance(codes, np.ndarray) and codes.shape == (4, 2, 3)


def test_fingerprints_of_one_robot_do_not_change_with_the_format(one_arm, tmp_path):
    """Codes that were written before must still be decoded."""
    one_arm.save_pretrained(tmp_path / "old")
    older = as_format_two(tmp_path / "old")
    assert "path_slots" not in repr(one_arm.config)
    assert fingerprint(older) == fingerprint(one_arm)
