"""A tokenizer on a GPU says what it says on the CPU."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from rvq_action import ActionTokenizer
from rvq_action.export.modules import ChunkDecoder, ChunkEncoder
from tests.rvq_action.robots import arm_chunk, wall_chunk

pytestmark = pytest.mark.cuda


def on_gpu(tokenizer: ActionTokenizer) -> ActionTokenizer:
    return replace(tokenizer, model=copy.deepcopy(tokenizer.model).to("cuda"))


def through(tokenizer: ActionTokenizer, chunk, codes=None):
    robot = (chunk.anchor, chunk.embodiment, chunk.fps)
    encoded = tokenizer.encode(chunk.actions, *robot, mask=chunk.mask)
    decoded = tokenizer.decode(encoded if codes is None else codes, chunk.horizon, *robot)
    return encoded.cpu(), decoded.cpu()


@pytest.fixture(params=[arm_chunk, wall_chunk], ids=["arm", "wall"])
def chunk(request):
    return request.param(64, seed=7)


@pytest.mark.parametrize("kind", ["closed_form", "networked"])
def test_codes_and_frames_are_those_of_the_cpu(kind, chunk, request):
    """But for the few codes at the edge of a cell."""
    tokenizer = request.getfixturevalue(kind)
    there = on_gpu(tokenizer)
    codes, frames = through(tokenizer, chunk)
    same, _ = through(there, chunk.to("cuda"))
    assert (same == codes).double().mean() > 0.99
    _, close = through(there, chunk.to("cuda"), codes.cuda())
    torch.testing.assert_close(close, frames, atol=1e-4, rtol=1e-4)


def test_chunks_may_come_from_the_hosts_memory(networked, chunk):
    codes, frames = through(on_gpu(networked), chunk)
    expected, _ = through(networked, chunk)
    assert (codes == expected).double().mean() > 0.99
    assert frames.shape == chunk.actions.shape


def test_bf16_rounds_the_networks_and_not_the_codebooks(networked, chunk):
    there, given = on_gpu(networked), chunk.to("cuda")
    codes, frames = through(there, given)
    with torch.autocast("cuda", torch.bfloat16):
        again, close = through(there, given, codes.cuda())
    assert close.dtype == torch.float32 and not torch.equal(close, frames)
    moved = (frames - chunk.actions)[chunk.mask].square().mean().sqrt()
    assert (close - frames)[chunk.mask].square().mean().sqrt() < 0.05 * moved
    assert (again[..., 0] == codes[..., 0]).double().mean() > 0.95


@pytest.mark.filterwarnings("ignore")
def test_encoding_and_decoding_compile_whole(networked):
    chunk = arm_chunk(64, seed=7).to("cuda")
    there = on_gpu(networked)
    fixed = (there, chunk.horizon, chunk.embodiment, chunk.fps)
    encode, decode = (
        torch.compile(kind(*fixed).to("cuda"), fullgraph=True)
        for kind in (ChunkEncoder, ChunkDecoder)
    )
    with torch.inference_mode():
        codes = encode(chunk.actions, chunk.anchor)
        frames = decode(codes, chunk.anchor)
    expected, _ = through(there, chunk)
    assert (codes.cpu() == expected).double().mean() > 0.99
    _, plain = through(there, chunk, codes)
    torch.testing.assert_close(frames.cpu(), plain, atol=1e-4, rtol=1e-4)
