"""Adaptive length: as many tokens as a chunk needs, and no more than it may have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rvq_action.adaptive_length.search import CodeLadder, climb
from rvq_action.adaptive_length.tolerance import Tolerance
from rvq_action.inputs import read_count
from rvq_action.playback import Playback

BEAM = 4
"""Candidates per slot and level where tokens are limited: twice as many gain little more."""
PASS = 2048
"""Codes decoded at a time: many lengths of few chunks, or few lengths of many."""


@dataclass(frozen=True)
class Limits:
    """How many tokens a chunk gets.

    Attributes:
        tolerance: It gets no more than it needs to be within this.
        max_tokens: It never gets more than this.
        beam: Candidates of the search for its codes.
    """

    tolerance: Tolerance | None
    max_tokens: int
    beam: int

    def unbounded(self, tokens: int) -> bool:
        """Whether a chunk simply gets the nearest codes, all `tokens` of them."""
        return self.tolerance is None and self.max_tokens == tokens and self.beam == 1


def read_limits(
    tolerance: Tolerance | None, max_tokens: int | None, beam: int | None, tokens: int
) -> Limits:
    """Fill in what was not given.

    Args:
        tolerance: None for no bound on the error.
        max_tokens: None for all.
        beam: None for `BEAM` where one of the others is given, else 1.
        tokens: Of a whole chunk.

    Raises:
        ValueError: Numbers that are no whole ones, or out of range.
    """
    if beam is None:
        beam = 1 if tolerance is None and max_tokens is None else BEAM
    most = tokens if max_tokens is None else read_count(max_tokens, "max_tokens", 0, tokens)
    return Limits(tolerance, most, read_count(beam, "beam", 1))


def emit(playback: Playback, limits: Limits, place: Tensor) -> tuple[Tensor, Tensor]:
    """Codes int64 [B, S, K] within the limits, and bool [B] whether the tolerance is kept.

    Args:
        playback: The chunks.
        limits: How many tokens each gets.
        place: int64 [S, K], position of each code in token order.
    """
    model, given = playback.model, playback.given
    if limits.unbounded(place.numel()):
        codes = model.encode(given.x, given.mask, given.condition)
        return codes, torch.ones(len(codes), dtype=torch.bool, device=codes.device)
    ladder = ladder_of(playback, place, limits.beam, limits.max_tokens)
    rows = torch.arange(len(playback.chunk), device=place.device)
    lengths, reached = rows.new_full((len(rows),), limits.max_tokens), rows >= 0
    if limits.tolerance is not None:
        lengths, reached = _shortest(ladder, playback, limits.tolerance, limits.max_tokens)
    return ladder.of_length(lengths, rows), reached


def ladder_of(playback: Playback, place: Tensor, beam: int, most: int) -> CodeLadder:
    """The best codes of every number of tokens up to `most`; arguments as for `climb`."""
    model, given = playback.model, playback.given
    latents = model.latents(given.x, given.mask, given.condition)
    return climb(model.quantizer, latents, place, beam, most)


def _shortest(
    ladder: CodeLadder, playback: Playback, tolerance: Tolerance, most: int
) -> tuple[Tensor, Tensor]:
    """The first length of each chunk that is within the tolerance, int64 [B], and bool [B].

    Errors need not fall with every token, so no length is skipped; but many are tried at once.
    """
    count = len(ladder.codes)
    undecided = torch.arange(count, device=ladder.codes.device)
    lengths, reached = torch.full_like(undecided, most), torch.zeros_like(undecided).bool()
    first = 0
    while first <= most and len(undecided):
        stop = min(most + 1, first + max(1, PASS // len(undecided)))
        trial = torch.arange(first, stop, device=undecided.device)
        rows = undecided.repeat_interleave(len(trial))
        codes = ladder.of_length(trial.repeat(len(undecided)), rows)
        within = playback.within(tolerance, codes, rows).view(len(undecided), len(trial))
        done = within.any(-1)
        lengths[undecided[done]] = first + within[done].int().argmax(-1)
        reached[undecided[done]] = True
        undecided, first = undecided[~done], stop
    return lengths, reached
