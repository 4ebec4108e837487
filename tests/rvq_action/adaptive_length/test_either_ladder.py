"""Of codes chosen together and nearest codes, the ones that decode nearer: chunk by chunk."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from rvq_action import ActionChunk, ActionTokenizer, ToleranceWarning
from rvq_action.adaptive_length import adaptive
from rvq_action.adaptive_length.adaptive import BEAM
from rvq_action.adaptive_length.search import climb
from tests.rvq_action.robots import arm_chunk, wall_chunk

CHUNKS = {"arm": arm_chunk(64, seed=7), "wall": wall_chunk(64, seed=7)}
TOLERANCES = (0.05, {"scored": 0.05}, {"position": 0.4, "gripper": 0.3}, {"gripper": 1e-9})


@pytest.fixture(params=CHUNKS)
def chunk(request) -> ActionChunk:
    return CHUNKS[request.param]


def robot(chunk: ActionChunk) -> dict:
    return {"proprio": chunk.anchor, "embodiment": chunk.embodiment, "mask": chunk.mask}


def encode(tokenizer: ActionTokenizer, chunk: ActionChunk, **options) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ToleranceWarning)
        return tokenizer.encode(chunk.actions, **robot(chunk), **options)


def candidates(tokenizer: ActionTokenizer, chunk: ActionChunk, most: int) -> list[list[Tensor]]:
    """For 0..most tokens the codes chosen together, and the first of the nearest codes."""
    vocabulary, rows = tokenizer.vocabulary_of(chunk.embodiment), torch.arange(len(chunk))
    place = vocabulary.from_order(torch.arange(vocabulary.tokens_per_chunk))
    nearest = encode(tokenizer, chunk)
    with torch.inference_mode():
        given = tokenizer.prepare(chunk)
        latents = tokenizer.model.latents(given.x, given.mask, given.condition)
        ladder = climb(tokenizer.model.quantizer, latents, place, BEAM, most)
    lengths = [torch.full_like(rows, length) for length in range(most + 1)]
    together = [ladder.of_length(length, rows) for length in lengths]
    return [[codes, tokenizer.prefix(nearest, n)] for n, codes in enumerate(together)]


def fidelity(tokenizer: ActionTokenizer, chunk: ActionChunk, codes: Tensor):
    return tokenizer.fidelity(chunk.actions, codes, **robot(chunk))


def the_plain_way(tokenizer: ActionTokenizer, chunk: ActionChunk, tolerance, most: int) -> Tensor:
    """Everything decoded: the first length of which a candidate is within, and its nearer one."""
    pairs = candidates(tokenizer, chunk, most)
    found = [[fidelity(tokenizer, chunk, codes) for codes in pair] for pair in pairs]
    chosen = []
    for row in range(len(chunk)):
        keeps = [[bool(f.within(tolerance)[row]) for f in told] for told in found]
        length = next((n for n, either in enumerate(keeps) if any(either)), most)
        order = [(not keeps[length][i], float(found[length][i].mse[row]), i) for i in (0, 1)]
        chosen.append(pairs[length][min(order)[2]][row])
    return torch.stack(chosen)


def test_no_chunk_is_worse_than_its_nearest_codes_or_than_those_chosen_together(tokenizer, chunk):
    everything = tokenizer.vocabulary_of(chunk.embodiment).tokens_per_chunk
    told_apart = 0
    for most, pair in enumerate(candidates(tokenizer, chunk, everything)):
        together, nearest = (fidelity(tokenizer, chunk, codes).mse for codes in pair)
        found = fidelity(tokenizer, chunk, encode(tokenizer, chunk, max_tokens=most)).mse
        assert (found <= torch.minimum(together, nearest) * (1 + 1e-5)).all()
        told_apart += int((together > nearest * 1.01).sum())
    assert told_apart > 0


@pytest.mark.parametrize("tolerance", TOLERANCES, ids=str)
@pytest.mark.parametrize("most", [7, 18])
def test_a_tolerance_is_kept_as_soon_as_either_keeps_it(tokenizer, chunk, tolerance, most):
    found = encode(tokenizer, chunk, tolerance=tolerance, max_tokens=most)
    assert torch.equal(found, the_plain_way(tokenizer, chunk, tolerance, most))


@pytest.mark.parametrize("size", ["PASS", "SLAB"])
def test_how_many_are_looked_at_together_makes_no_difference(networked, monkeypatch, size):
    chunk = CHUNKS["arm"]
    whole = [encode(networked, chunk, tolerance=t) for t in TOLERANCES]
    monkeypatch.setattr(adaptive, size, 17)
    for tolerance, codes in zip(TOLERANCES, whole, strict=True):
        assert torch.equal(encode(networked, chunk, tolerance=tolerance), codes)


def test_one_candidate_means_the_nearest_codes(networked):
    chunk = CHUNKS["arm"]
    nearest = encode(networked, chunk)
    codes = encode(networked, chunk, tolerance=0.05, beam=1)
    lengths = (codes >= 0).flatten(1).sum(-1).tolist()
    for row, length in enumerate(lengths):
        assert torch.equal(codes[row], networked.prefix(nearest, length)[row])
