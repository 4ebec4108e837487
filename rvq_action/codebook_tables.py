"""Codebooks laid out for looking up: all that encoding and decoding need of a quantizer.

Nearest codes are found by the product of residuals and codes, |r - c|²/2 = |c|²/2 - r·c + const,
in float32 whatever the surrounding precision.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding

from rvq_action.branching import may_look
from rvq_action.vocabulary import ABSENT

SCORES = 2**20
"""Distances held at a time: more of them only leave the processor's cache."""
BLOCK, BLOCKWISE_FROM = 32, 512
"""A row of so many scores or more is searched in blocks of this many."""


class CodebookTables(NamedTuple):
    """Codebooks [K, S, V, C] as they are at one moment.

    Attributes:
        columns: [K, S, C, V], for the product with residuals.
        half_norms: [K, S, 1, V], half the squared length of every code.
        vectors: [K·S·V + 1, C], code by code; the last one is 0 and stands for an absent code.
        first: int64 [S, K], the row of code 0 of every (slot, level) in `vectors`.
    """

    columns: Tensor
    half_norms: Tensor
    vectors: Tensor
    first: Tensor

    @classmethod
    def build(cls, codebooks: Tensor) -> CodebookTables:
        """Lay out codebooks [K, S, V, C]."""
        levels, slots, codes, width = codebooks.shape
        rows = torch.arange(levels * slots, device=codebooks.device) * codes
        return cls(
            codebooks.mT.contiguous(),
            half_norms(codebooks),
            torch.cat([codebooks.flatten(0, 2), codebooks.new_zeros(1, width)]),
            rows.unflatten(0, (levels, slots)).T,
        )

    def of_slots(self, count: int) -> CodebookTables:
        """Those of the first slots, for robots that fill no more."""
        own = slice(count)
        return self._replace(
            columns=self.columns[:, own], half_norms=self.half_norms[:, own], first=self.first[own]
        )

    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, S, C] of all slots -> codes int64 [B, S, K]."""
        residual, codes = latents.float(), []
        with torch.autocast(latents.device.type, enabled=False):
            for level, (columns, norms) in enumerate(
                zip(self.columns.unbind(), self.half_norms.unbind(), strict=True)
            ):
                if level:
                    residual = residual - self.lookup(level - 1, codes[-1])
                codes.append(nearest(residual, columns, norms))
        return torch.stack(codes, dim=-1)

    def lookup(self, level: int, codes: Tensor) -> Tensor:
        """Codes [B, S] of one level and all slots, none absent -> vectors [B, S, C]."""
        return embedding(codes + self.first[:, level], self.vectors)

    def dequantize(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, S, k] with k <= K, all slots -> [B, S, C]; absent codes add nothing."""
        rows = codes + self.first[:, : codes.shape[-1]]
        rows = rows.masked_fill(codes == ABSENT, self.vectors.shape[0] - 1)
        return embedding(rows, self.vectors).sum(-2)


def half_norms(codes: Tensor) -> Tensor:
    """Half the squared length of codes [..., V, C] -> [..., 1, V]."""
    return codes.square().sum(-1).unsqueeze(-2) / 2


def nearest(residual: Tensor, columns: Tensor, norms: Tensor) -> Tensor:
    """Nearest codes int64 [B, S].

    Args:
        residual: float32 [B, S, C].
        columns: [S, C, V], the codes of one level.
        norms: [S, 1, V], from `half_norms`.
    """
    rows = max(1, SCORES // (columns.shape[0] * columns.shape[2]))
    if torch.compiler.is_compiling() or len(residual) <= rows:
        return _smallest(torch.baddbmm(norms, residual.transpose(0, 1), columns, alpha=-1)).T
    return torch.cat([nearest(part, columns, norms) for part in residual.split(rows)])


def _smallest(scores: Tensor) -> Tensor:
    """Index of the smallest score, the first of equals: [S, B, V] -> int64 [S, B].

    torch's `argmin` takes as long as the product before it, on a CPU; `amin` is vectorised. So
    the smallest block is found first and searched afterwards, which takes half as long.
    """
    count = scores.shape[-1]
    if not may_look(scores) or count < BLOCKWISE_FROM or count % BLOCK or scores.shape[1] < BLOCK:
        return scores.argmin(-1)
    blocks = scores.unflatten(-1, (-1, BLOCK))
    block = blocks.amin(-1).argmin(-1, keepdim=True)
    within = blocks.take_along_dim(block.unsqueeze(-1), dim=-2).argmin(-1)
    return (block * BLOCK + within).squeeze(-1)
