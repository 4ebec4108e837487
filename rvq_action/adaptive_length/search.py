"""The best code of every number of tokens.

Choosing the nearest code at every level makes every prefix good, but n tokens that are chosen
together say more than the first n of those: a beam search keeps the best few candidates of each
slot from level to level. Since slots are independent of one another, one pass gives the best code
of each slot at every depth, and with it the best code of every number of tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
    config = quantizer.config
    if beam == 1:
        greedy = quantizer.encode(latents)
        tables = [_table([greedy[..., :k] for k in range(config.num_quantizers + 1)])]
    else:
        slots = latents.shape[1]
        books = quantizer.codebooks[: int((place < most).sum(-1).max()), :slots]
        rows = max(1, SCORES // (slots * config.codebook_size * beam))
        parts = latents.float().split(rows)
        tables = [_search(books, part, beam, config.semantic_slots) for part in parts]
    table = torch.cat(tables)
    depth = config.num_quantizers + 1 - table.shape[2], config.num_quantizers - table.shape[3]
    table = torch.nn.functional.pad(table, (0, depth[1], 0, depth[0]), value=ABSENT)
    return CodeLadder(table, place.to(table.device))


def _search(books: Tensor, latents: Tensor, beam: int, semantic_slots: int) -> Tensor:
    """Codebooks [K, S, V, C] and latents [B, S, C] -> best codes [B, S, K+1, K]."""
    slots, size = books.shape[1:3]
    residual = latents[:, :, None]
    paths = torch.empty(*residual.shape[:3], 0, dtype=torch.int64, device=latents.device)
    best = [paths[:, :, 0]]
    for level, book in enumerate(books):
        distance = _distances(book, residual)
        if level == LEVEL + 1:
            # A semantic code is not traded against the motion that the levels below it code.
            distance[:, :semantic_slots, 1:] = torch.inf
        width = min(beam, distance.shape[2] * size)
        chosen = distance.flatten(2).topk(width, largest=False).indices
        parent, code = chosen // size, chosen % size
        vectors = book[torch.arange(slots, device=code.device)[:, None], code]
        residual = _of(residual, parent) - vectors
        paths = torch.cat([_of(paths, parent), code[..., None]], dim=-1)
        best.append(paths[:, :, 0])
    return _table(best)


def _distances(book: Tensor, residual: Tensor) -> Tensor:
    """Half the squared distance of residuals [B, S, w, C] to codes [S, V, C]: [B, S, w, V]."""
    batch, slots, width, latents = residual.shape
    flat = residual.transpose(0, 1).reshape(slots, batch * width, latents)
    half_norm = book.square().sum(-1)[:, None] / 2
    distance = torch.baddbmm(half_norm, flat, book.mT, alpha=-1)
    distance = distance + flat.square().sum(-1, keepdim=True) / 2
    return distance.unflatten(1, (batch, width)).transpose(0, 1)


def _of(values: Tensor, parent: Tensor) -> Tensor:
    """Values [B, S, w, n] of the candidates that others [B, S, W] go on from."""
    return values.gather(2, parent[..., None].expand(*parent.shape, values.shape[-1]))


def _table(best: list[Tensor]) -> Tensor:
    """Codes [B, S, k] for k = 0..K -> [B, S, K+1, K]."""
    deepest = best[-1].shape[-1]
    padded = [
        torch.nn.functional.pad(codes, (0, deepest - codes.shape[-1]), value=ABSENT)
        for codes in best
    ]
    return torch.stack(padded, dim=2)
