"""The best code of every number of tokens.

Choosing the nearest code at every level makes every prefix good, but n tokens that are chosen
together say more than the first n of those: a beam search keeps the best few candidates of each
slot from level to level. Since slots are independent of one another, one pass gives the best code
of each slot at every depth, and with it the best code of every number of tokens. What is best is
said by the distance to the latents; `adaptive` says where decoding sees it otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rvq_action.codebook_tables import BLOCK, BLOCKWISE_FROM, CodebookTables, nearest
from rvq_action.quantizer import SlotResidualVQ
from rvq_action.semantic import LEVEL
from rvq_action.vocabulary import ABSENT

SCORES = 2**20
"""Distances held at a time: more of them only leave the processor's cache."""


@dataclass(frozen=True)
class CodeLadder:
    """The best code of every number of tokens.

    Attributes:
        codes: int64 [B, S, K+1, K], the codes of each slot when it has its first 0..K levels.
        place: int64 [S, K], position of each code in token order.
    """

    codes: Tensor
    place: Tensor

    def of_length(self, lengths: Tensor, rows: Tensor) -> Tensor:
        """Codes int64 [n, S, K] of some chunks.

        Args:
            lengths: int64 [n], numbers of tokens.
            rows: int64 [n], positions of the chunks in the batch.
        """
        depth = (self.place < lengths[:, None, None]).sum(-1)
        slots = torch.arange(len(self.place), device=depth.device)
        return self.codes[rows[:, None], slots, depth]


def deepest(place: Tensor, length: int) -> int:
    """Levels that the first `length` codes reach, by the position [S, K] of each."""
    return int((place < length).sum(-1).max())


def climb(
    quantizer: SlotResidualVQ, latents: Tensor, place: Tensor, beam: int, most: int
) -> CodeLadder:
    """Find the best codes of latents [B, S, C]; never moves a codebook.

    Args:
        quantizer: Holds the codebooks.
        latents: [B, S, C].
        place: int64 [S, K], position of each code in token order.
        beam: Candidates per slot and level; 1 takes the nearest code at every level.
        most: Tokens beyond which nobody will ask.
    """
    search = Search.of(quantizer, latents, beam)
    while search.level < deepest(place, most):
        search = search.deeper()
    return search.ladder(place)


@dataclass(frozen=True)
class Search:
    """A search for codes that has come to some level.

    Attributes:
        tables: The codebooks.
        semantic_slots: Slots whose first code is not traded against the motion below it.
        beam: Candidates per slot and level.
        paths: int64 [B, S, w, k], the codes of the candidates, the nearest first.
        rest: [B, S, w, C], what they leave of the latents.
        best: int64 [B, S, j] for j = 0..k, the nearest candidate at each level.
    """

    tables: CodebookTables
    semantic_slots: int
    beam: int
    paths: Tensor
    rest: Tensor
    best: tuple[Tensor, ...]

    @classmethod
    def of(cls, quantizer: SlotResidualVQ, latents: Tensor, beam: int) -> Search:
        """Before its first level, of latents [B, S, C]."""
        tables, rest = quantizer.tables.of_slots(latents.shape[1]), latents.float()[:, :, None]
        none = torch.empty(*rest.shape[:3], 0, dtype=torch.int64, device=rest.device)
        return cls(tables, quantizer.config.semantic_slots, beam, none, rest, (none[:, :, 0],))

    @property
    def level(self) -> int:
        """k, how many levels are done."""
        return len(self.best) - 1

    def rows(self, rows: Tensor) -> Search:
        """That of some chunks, int64 [n]."""
        best = tuple(codes[rows] for codes in self.best)
        return replace(self, paths=self.paths[rows], rest=self.rest[rows], best=best)

    def nearest(self) -> Search:
        """That which has always taken the nearest code; only until the first level is done."""
        assert self.level <= 1
        return replace(self, beam=1, paths=self.paths[:, :, :1], rest=self.rest[:, :, :1])

    def deeper(self) -> Search:
        """The same, one level further."""
        parts = [self._step(*part) for part in self._parts()]
        paths, rest = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return replace(self, paths=paths, rest=rest, best=(*self.best, paths[:, :, 0]))

    def ladder(self, place: Tensor) -> CodeLadder:
        """What was found; codes of deeper levels are absent. Place: int64 [S, K]."""
        levels = place.shape[1]
        shape = (*self.best[0].shape[:2], levels + 1, levels)
        table = torch.full(shape, ABSENT, dtype=torch.int64, device=self.rest.device)
        for depth, codes in enumerate(self.best):
            table[:, :, depth, :depth] = codes
        return CodeLadder(table, place.to(table.device))

    def _parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Paths and rests of as many chunks as are looked at together."""
        scores = self.rest.shape[1] * self.rest.shape[2] * self.tables.columns.shape[-1]
        count = max(1, SCORES // scores)
        return zip(self.paths.split(count), self.rest.split(count), strict=True)

    def _step(self, paths: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """One level for some chunks: longer paths [B, S, W, k+1] and new rests [B, S, W, C]."""
        columns, norms = self.tables.columns[self.level], self.tables.half_norms[self.level]
        if self.beam == 1:
            code = nearest(rest[:, :, 0], columns, norms)[:, :, None]
            vectors = self.tables.lookup(self.level, code[..., 0])[:, :, None]
            return torch.cat([paths, code[..., None]], dim=-1), rest - vectors
        batch, slots, width, latents = rest.shape
        flat = rest.transpose(0, 1).reshape(slots, batch * width, latents)
        with torch.autocast(rest.device.type, enabled=False):
            scores = torch.baddbmm(norms, flat, columns, alpha=-1).unflatten(1, (batch, width))
        # Half the squared distance but for what candidates of one parent share.
        shared = rest.square().sum(-1).transpose(0, 1) / 2
        if self.level == LEVEL + 1:
            shared[: self.semantic_slots, :, 1:] = torch.inf
        chosen = _smallest(scores, shared if width > 1 else None, self.beam).transpose(0, 1)
        parent, code = chosen // scores.shape[-1], chosen % scores.shape[-1]
        vectors = self.tables.vectors[code + self.tables.first[:, self.level, None]]
        longer = torch.cat([_of(paths, parent), code[..., None]], dim=-1)
        return longer, _of(rest, parent) - vectors


def _smallest(scores: Tensor, shared: Tensor | None, count: int) -> Tensor:
    """Where the smallest of scores [S, B, w, V] + shared [S, B, w] are: int64 [S, B, W] in w·V.

    The smallest numbers lie in the blocks with the smallest minima, so only these are sorted.
    """
    size = scores.shape[-1]
    block = BLOCK if size >= BLOCKWISE_FROM and size % BLOCK == 0 else 1
    blocks = scores.unflatten(-1, (-1, block))
    least = blocks.amin(-1) if block > 1 else scores
    if shared is not None:
        least = least + shared[..., None]
    least, blocks = least.flatten(2), blocks.flatten(2, 3)
    kept = least.topk(min(count, least.shape[-1]), largest=False).indices
    if block == 1:
        return kept
    within = blocks.take_along_dim(kept[..., None], dim=2)
    if shared is not None:
        parent = kept // (size // block)
        within = within + shared.take_along_dim(parent, dim=2)[..., None]
    chosen = within.flatten(2).topk(count, largest=False).indices
    return kept.take_along_dim(chosen // block, dim=2) * block + chosen % block


def _of(values: Tensor, parent: Tensor) -> Tensor:
    """Values [B, S, w, n] of the candidates that others [B, S, W] go on from."""
    return values.gather(2, parent[..., None].expand(*parent.shape, values.shape[-1]))
