"""Adaptive length: as many tokens as a chunk needs, and no more than it may have.

Codes that are chosen together lie nearer to the latents than the nearest code at every level, and
mostly decode nearer to the chunk. Not always: networks, ranges that decoding keeps and robots whose
latents are measured in units of their own see distances differently. So both are decoded, and of
the two a chunk gets the one that decodes nearer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rvq_action.adaptive_length.search import CodeLadder, Search, deepest
from rvq_action.adaptive_length.tolerance import Tolerance
from rvq_action.inputs import read_count
from rvq_action.playback import Playback
from rvq_action.vocabulary import ABSENT

BEAM = 4
"""Candidates per slot and level where tokens are limited: twice as many gain little more."""
PASS = 256
"""Codes decoded at a time: many lengths of few chunks, or few lengths of many."""
SLAB = 2048
"""Chunks searched at a time."""


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
    model, given, count = playback.model, playback.given, len(playback.chunk)
    if limits.unbounded(place.numel()):
        codes = model.encode(given.x, given.mask, given.condition)
        return codes, torch.ones(len(codes), dtype=torch.bool, device=codes.device)
    slabs = torch.arange(count, device=place.device).split(SLAB) if count > SLAB else [None]
    found = [
        _emit(playback if slab is None else playback.rows(slab), limits, place) for slab in slabs
    ]
    codes, reached = zip(*found, strict=True)
    return torch.cat(codes), torch.cat(reached)


def _emit(playback: Playback, limits: Limits, place: Tensor) -> tuple[Tensor, Tensor]:
    """The same for as many chunks as are searched at a time."""
    if limits.tolerance is not None:
        searches = [_search(playback, limits.beam)]
        return _shortest(searches, playback.heard(), limits.tolerance, limits.max_tokens, place)
    ladders = ladders_of(playback, place, limits.beam, limits.max_tokens)
    rows = torch.arange(len(playback.chunk), device=place.device)
    lengths, reached = torch.full_like(rows, limits.max_tokens), torch.ones_like(rows).bool()
    if len(ladders) == 1:
        return ladders[0].of_length(lengths, rows), reached
    return choose(playback, ladders, lengths, rows).codes, reached


def _search(playback: Playback, beam: int) -> Search:
    model, given = playback.model, playback.given
    latents = model.latents(given.x, given.mask, given.condition)
    return Search.of(model.quantizer, latents, beam)


def _deeper(searches: Sequence[Search]) -> list[Search]:
    """All one level further; below the first, the nearest codes beside those chosen together."""
    if len(searches) == 1 and searches[0].level == 1 and searches[0].beam > 1:
        searches = [*searches, searches[0].nearest()]
    return [search.deeper() for search in searches]


def ladders_of(playback: Playback, place: Tensor, beam: int, most: int) -> list[CodeLadder]:
    """The codes chosen together for every number of tokens up to `most`, and the nearest codes.

    There is one ladder only where both are the same. Arguments as for `climb`.
    """
    searches = [_search(playback, beam)]
    for _ in range(deepest(place, most)):
        searches = _deeper(searches)
    return [search.ladder(place) for search in searches]


@dataclass(frozen=True)
class Choice:
    """Of several ladders' codes, chunk by chunk, the ones that decode nearest.

    Attributes:
        codes: int64 [n, S, K].
        within: bool [n], whether they keep the tolerance; True where there is none.
        mse: [n], their mean squared error in model space.
        ladder: int64 [n], whose they are.
    """

    codes: Tensor
    within: Tensor
    mse: Tensor
    ladder: Tensor


def choose(
    playback: Playback,
    ladders: Sequence[CodeLadder],
    lengths: Tensor,
    rows: Tensor,
    tolerance: Tolerance | None = None,
) -> Choice:
    """Decode what ladders have and choose: what keeps the tolerance first, then what is nearest.

    Args:
        playback: The chunks.
        ladders: Of the same chunks; of two that are equally good the first.
        lengths: int64 [n], numbers of tokens.
        rows: int64 [n], the chunks.
        tolerance: None where any error will do.
    """
    codes = ladders[0].of_length(lengths, rows)
    rivals = [ladder.of_length(lengths, rows) for ladder in ladders[1:]]
    differ = [(other != codes).flatten(1).any(-1).nonzero().squeeze(-1) for other in rivals]
    trials = [codes, *(other[at] for other, at in zip(rivals, differ, strict=True))]
    tried = torch.cat([rows, *(rows[at] for at in differ)])
    parts = [len(trial) for trial in trials]
    judged = (found.split(parts) for found in playback.judge(tolerance, torch.cat(trials), tried))
    (within, mse), *others = zip(*judged, strict=True)
    whose = torch.zeros_like(rows)
    for number, (at, (keeps, error)) in enumerate(zip(differ, others, strict=True), start=1):
        better = (keeps & ~within[at]) | ((keeps == within[at]) & (error < mse[at]))
        moved = at[better]
        codes[moved], whose[moved] = trials[number][better], number
        within[moved], mse[moved] = keeps[better], error[better]
    return Choice(codes, within, mse, whose)


def _shortest(
    searches: list[Search], playback: Playback, tolerance: Tolerance, most: int, place: Tensor
) -> tuple[Tensor, Tensor]:
    """Codes int64 [B, S, K] of the first length that is within the tolerance, and bool [B].

    Errors need not fall with every token, so no length is skipped; but several are tried at once.
    A level is searched only for the chunks that need it.
    """
    undecided = torch.arange(len(playback.chunk), device=place.device)
    codes = torch.full((len(undecided), *place.shape), ABSENT, device=place.device)
    reached, first = torch.zeros_like(undecided).bool(), 0
    while first <= most and len(undecided):
        stop = min(most + 1, first + max(1, PASS // len(undecided)))
        while searches[0].level < deepest(place, stop - 1):
            searches = _deeper(searches)
        trial = torch.arange(first, stop, device=place.device)
        rows = torch.arange(len(undecided), device=place.device).repeat_interleave(len(trial))
        ladders, lengths = [s.ladder(place) for s in searches], trial.repeat(len(undecided))
        choice = choose(playback, ladders, lengths, rows, tolerance)
        within = choice.within.view(len(undecided), len(trial))
        at = torch.where(within.any(-1), within.int().argmax(-1), len(trial) - 1)
        codes[undecided] = choice.codes.unflatten(0, within.shape)[rows[:: len(trial)], at]
        done = within.any(-1)
        reached[undecided[done]] = True
        left, first = (~done).nonzero().squeeze(-1), stop
        undecided = undecided[left]
        searches, playback = [s.rows(left) for s in searches], playback.rows(left)
    return codes, reached
