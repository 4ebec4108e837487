"""The search for codes against trying them all."""

from __future__ import annotations

import itertools

import pytest
import torch

from rvq_action.adaptive_length.search import _smallest, climb
from rvq_action.config import TokenizerConfig
from rvq_action.quantizer import SlotResidualVQ

SLOTS, LEVELS, SIZE = 2, 3, 4


@pytest.fixture(params=["level_major", "slot_major"])
def place(request) -> torch.Tensor:
    order = torch.arange(SLOTS * LEVELS)
    if request.param == "level_major":
        return order.view(LEVELS, SLOTS).T.contiguous()
    return order.view(SLOTS, LEVELS)


def quantizer(semantic: int = 0) -> SlotResidualVQ:
    """Random codes, the deeper the smaller; semantic ones in the last two latents."""
    shape = {"num_slots": SLOTS, "num_quantizers": LEVELS, "codebook_size": SIZE, "slot_width": 4}
    config = TokenizerConfig.tiny(
        **shape, semantic_slots=semantic, semantic_width=2 if semantic else 0
    )
    made, generator = SlotResidualVQ(config), torch.Generator().manual_seed(0)
    books = torch.randn(LEVELS, SLOTS, SIZE, 4, generator=generator)
    books = books * torch.tensor([1.0, 0.7, 0.5])[:, None, None, None]
    support = torch.ones(LEVELS, SLOTS, 4, dtype=torch.bool)
    if semantic:
        support[0, :semantic] = torch.tensor([False, False, True, True])
        support[1:, :semantic] = torch.tensor([True, True, False, False])
    made.set_codebooks(books * support[:, :, None], support, torch.ones(LEVELS, SLOTS, SIZE))
    return made


def latents(count: int = 16) -> torch.Tensor:
    return torch.randn(count, SLOTS, 4, generator=torch.Generator().manual_seed(1))


def distance(made: SlotResidualVQ, codes: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """[B, S] squared."""
    return (made.dequantize(codes) - x).square().sum(-1)


def test_a_wide_beam_finds_what_trying_all_finds(place):
    made, x = quantizer(), latents()
    ladder = climb(made, x, place, beam=SIZE**LEVELS, most=SLOTS * LEVELS)
    rows = torch.arange(len(x))
    for length in range(SLOTS * LEVELS + 1):
        codes = ladder.of_length(torch.full_like(rows, length), rows)
        assert ((codes >= 0) == (place < length)).all()
        found = distance(made, codes, x)
        for slot in range(SLOTS):
            depth = int((place[slot] < length).sum())
            trials = []
            for choice in itertools.product(range(SIZE), repeat=depth):
                trial = torch.full_like(codes, -1)
                trial[:, slot, :depth] = torch.tensor(choice, dtype=torch.int64)
                trials.append(distance(made, trial, x)[:, slot])
            torch.testing.assert_close(found[:, slot], torch.stack(trials).amin(0))


def test_a_wider_beam_is_never_worse_and_one_is_the_nearest_code(place):
    made, x, rows = quantizer(), latents(200), torch.arange(200)
    full = torch.full_like(rows, SLOTS * LEVELS)
    codes = [climb(made, x, place, beam, 6).of_length(full, rows) for beam in (1, 2, 4, 16)]
    assert torch.equal(codes[0], made.encode(x))
    errors = [float(distance(made, c, x).mean()) for c in codes]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.9 * errors[0]


def test_no_level_is_searched_that_nobody_asks_for(place):
    ladder = climb(quantizer(), latents(), place, beam=4, most=1)
    assert (ladder.codes[:, :, 2:] == -1).all() and (ladder.codes[:, :, 1, 0] >= 0).all()


def test_a_semantic_code_is_not_traded_for_motion(place):
    made, x = quantizer(semantic=1), latents(200)
    rows, full = torch.arange(200), torch.full((200,), SLOTS * LEVELS)
    nearest, found = made.encode(x), climb(made, x, place, 4, 6).of_length(full, rows)
    assert torch.equal(found[:, 0, 0], nearest[:, 0, 0])
    assert distance(made, found, x).mean() < distance(made, nearest, x).mean()
    assert (found[:, 1, 0] != nearest[:, 1, 0]).any()


def test_the_search_never_moves_a_codebook(place):
    made = quantizer()
    before = made.codebooks.clone()
    made.train()
    climb(made, latents(), place, 4, 6)
    assert torch.equal(made.codebooks, before)


@pytest.mark.parametrize("size", [64, 1024])
@pytest.mark.parametrize("width", [1, 4])
def test_the_smallest_scores_are_found_block_by_block(size, width):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 5, width, size, generator=generator)
    shared = torch.randn(3, 5, width, generator=generator)
    shared[:1, :, 1:] = torch.inf
    expected = (scores + shared[..., None]).flatten(2).topk(4, largest=False).indices
    assert torch.equal(_smallest(scores, shared, 4), expected)
    alone = scores.flatten(2).topk(4, largest=False).indices
    assert torch.equal(_smallest(scores, None, 4), alone)
