"""The deployable modules, compiled or exported, say what `ActionTokenizer` says."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from rvq_action import ActionChunk, ActionTokenizer
from rvq_action.bounds.training_range import BISECTIONS
from rvq_action.cli import main
from rvq_action.export.files import export
from rvq_action.export.modules import ChunkDecoder, ChunkEncoder
from tests.rvq_action.robots import arm_chunk, wall_chunk

CHUNKS = {"arm": arm_chunk, "wall": wall_chunk}
TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}


@pytest.fixture(params=["closed_form", "networked"])
def tokenizer(request) -> ActionTokenizer:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=CHUNKS)
def chunk(request) -> ActionChunk:
    return CHUNKS[request.param](24, seed=7)


def proprio_of(chunk: ActionChunk) -> torch.Tensor:
    """[B, D], unknown where the robot has no such channel and once for a whole gripper."""
    proprio = chunk.anchor.masked_fill(~chunk.mask[:, 0], torch.nan)
    proprio[0, -1] = torch.nan
    return proprio


def expected(tokenizer: ActionTokenizer, chunk: ActionChunk) -> tuple[torch.Tensor, ...]:
    """Codes of the chunks; random codes, some absent, and the chunks these stand for."""
    robot = (proprio_of(chunk), chunk.embodiment, chunk.fps)
    codes = tokenizer.encode(chunk.actions, *robot)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(tokenizer.config.codebook_size, codes.shape, generator=generator)
    drawn[::3] = tokenizer.prefix(drawn[::3], 4)
    return codes, drawn, tokenizer.decode(drawn, chunk.horizon, *robot)


def both(tokenizer: ActionTokenizer, chunk: ActionChunk) -> tuple[ChunkEncoder, ChunkDecoder]:
    robot = (chunk.horizon, chunk.embodiment, chunk.fps)
    return ChunkEncoder(tokenizer, *robot), ChunkDecoder(tokenizer, *robot)


@torch.no_grad()
def test_the_modules_say_what_the_tokenizer_says(tokenizer, chunk):
    encoder, decoder = both(tokenizer, chunk)
    codes, drawn, frames = expected(tokenizer, chunk)
    assert torch.equal(encoder(chunk.actions, proprio_of(chunk)), codes)
    assert torch.allclose(decoder(drawn, proprio_of(chunk)), frames, **TOLERANCE)


@torch.no_grad()
def test_a_rate_and_a_horizon_of_ones_own(networked):
    chunk = arm_chunk(8, horizon=33, fps=31.0, seed=3)
    encoder = ChunkEncoder(networked, 33, "arm", 31.0)
    codes = networked.encode(chunk.actions, chunk.anchor, "arm", 31.0)
    assert torch.equal(encoder(chunk.actions, chunk.anchor), codes)


def test_they_are_copies_without_what_training_needs(networked):
    before = {name: tensor.clone() for name, tensor in networked.model.state_dict().items()}
    encoder, _ = both(networked, arm_chunk(2))
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not any("cluster_size" in name for name in encoder.state_dict())
    for parameter in encoder.parameters():
        parameter.zero_()
    after = networked.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@torch.no_grad()
def test_a_tokenizers_model_compiles_into_one_graph(networked):
    chunk = arm_chunk(8, seed=7)
    given = networked.prepare(chunk)
    model, codes = networked.model, networked.model.encode(given.x, given.mask, given.condition)
    encode = torch.compile(model.encode, fullgraph=True, backend="aot_eager")
    decode = torch.compile(model.decode, fullgraph=True, backend="aot_eager")
    assert torch.equal(encode(given.x, given.mask, given.condition), codes)
    frames = model.decode(codes, chunk.horizon, given.condition)
    assert torch.allclose(decode(codes, chunk.horizon, given.condition), frames, atol=1e-5)


@torch.no_grad()
def test_the_modules_compile_into_one_graph(networked):
    chunk = arm_chunk(24, seed=7)
    codes, drawn, frames = expected(networked, chunk)
    encoder, decoder = (
        torch.compile(module, fullgraph=True, backend="aot_eager")
        for module in both(networked, chunk)
    )
    assert torch.equal(encoder(chunk.actions, proprio_of(chunk)), codes)
    assert torch.allclose(decoder(drawn, proprio_of(chunk)), frames, **TOLERANCE)


def test_torch_export_runs_at_any_batch(networked, tmp_path):
    chunk = arm_chunk(24, seed=7)
    codes, drawn, frames = expected(networked, chunk)
    *files, about = export(networked, tmp_path, "torch", chunk.horizon, "arm")
    known = json.loads(about.read_text())
    assert (known["embodiment"], known["horizon"], known["fps"]) == ("arm", 20, 20.0)
    assert [c["name"] for c in known["channels"]] == list(networked.layout("arm").names)
    encoder, decoder = (torch.export.load(file).module() for file in files)
    proprio = proprio_of(chunk)
    for batch in (24, 1):
        part = slice(batch)
        made = encoder(actions=chunk.actions[part], proprio=proprio[part])
        assert torch.equal(made, codes[part])
        back = decoder(codes=drawn[part], proprio=proprio[part])
        assert torch.allclose(back, frames[part], **TOLERANCE)


@torch.no_grad()
def test_a_rotations_range_is_kept_in_the_graph(networked, monkeypatch):
    """The way that a graph takes, which neither stops early nor picks rows."""
    chunk = wall_chunk(200, seed=7)
    _, drawn, frames = expected(networked, chunk)
    _, decoder = both(networked, chunk)
    anything = torch.randn(500, 26, generator=torch.Generator().manual_seed(0))
    inside = networked.embodiments["wall"].range.clamp(anything)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert torch.allclose(decoder(drawn, proprio_of(chunk)), frames, **TOLERANCE)
    step = math.pi * 2**-BISECTIONS  # that rounding may decide, in the last bisection of a turn
    assert torch.allclose(networked.embodiments["wall"].range.clamp(anything), inside, atol=step)


def test_onnx_runs_at_any_batch(networked, tmp_path):
    import onnxruntime

    chunk = arm_chunk(24, seed=7)
    codes, drawn, frames = expected(networked, chunk)
    words = f"export {{}} --out {tmp_path / 'out'} --horizon {chunk.horizon} --embodiment arm"
    networked.save_pretrained(tmp_path / "tokenizer")
    assert main(words.format(tmp_path / "tokenizer").split()) == 0
    encoder, decoder = (
        onnxruntime.InferenceSession(tmp_path / "out" / name)
        for name in ("encode.onnx", "decode.onnx")
    )
    proprio = proprio_of(chunk).numpy()
    for batch in (24, 1):
        given = {"actions": chunk.actions[:batch].numpy(), "proprio": proprio[:batch]}
        assert np.array_equal(encoder.run(["codes"], given)[0], codes[:batch])
        given = {"codes": drawn[:batch].numpy(), "proprio": proprio[:batch]}
        assert np.allclose(decoder.run(["actions"], given)[0], frames[:batch], **TOLERANCE)


def test_networks_in_8_bits_say_nearly_the_same(networked, closed_form, tmp_path):
    import onnxruntime

    chunk = arm_chunk(24, seed=7)
    _, drawn, frames = expected(networked, chunk)
    without = closed_form.decode(drawn, chunk.horizon, proprio_of(chunk), "arm", chunk.fps)
    robot = ("onnx", chunk.horizon, "arm")
    whole = export(networked, tmp_path / "whole", *robot)[1]
    file = export(networked, tmp_path / "small", *robot, int8=True)[1]
    assert file.stat().st_size < whole.stat().st_size
    told = [json.loads(f.with_name("export.json").read_text()) for f in (whole, file)]
    assert [known["int8"] for known in told] == [False, True]
    given = {"codes": drawn.numpy(), "proprio": proprio_of(chunk).numpy()}
    back = torch.from_numpy(onnxruntime.InferenceSession(file).run(["actions"], given)[0])
    said = (frames - without).square().mean((0, 1)).sqrt()
    off = (back - frames).square().mean((0, 1)).sqrt()
    assert (off > 0).any() and (off < 0.05 * said).all()


def test_8_bits_change_nothing_without_networks(closed_form, tmp_path):
    robot = ("onnx", 20, "arm")
    files = [export(closed_form, tmp_path / str(b), *robot, int8=b)[1] for b in (False, True)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_nothing_is_written_for_what_cannot_be(closed_form, tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(ValueError, match="one of .*onnx.*got 'tflite'"):
        export(closed_form, folder, "tflite", 20, "arm")
    with pytest.raises(ValueError, match="8 bits are for the format `onnx`"):
        export(closed_form, folder, "torch", 20, "arm", int8=True)
    with pytest.raises(ValueError, match="outside 2..128"):
        export(closed_form, folder, "torch", 1, "arm")
    with pytest.raises(KeyError, match="Unknown embodiment 'leg'"):
        export(closed_form, folder, "torch", 20, "leg")
    with pytest.raises(ValueError, match="Say which embodiment"):
        export(closed_form, folder, "torch", 20)
    assert not folder.exists()
