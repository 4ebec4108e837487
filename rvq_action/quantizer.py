"""Residual vector quantisation of slots, on vector-quantize-pytorch: the only file that knows it.

Every slot has its own codebook at every level. One `VectorQuantize` per level holds the slots'
codebooks as heads, so a level is one batched product; the residual passes from level to level.
Quantisation runs in float32 whatever the surrounding precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rvq_action.config import TokenizerConfig

if TYPE_CHECKING:
    from vector_quantize_pytorch import VectorQuantize

ABSENT = -1


@dataclass(frozen=True)
class Quantized:
    """Result of quantising latents.

    Attributes:
        vectors: [B, S, C] quantised latents; gradients pass straight through to the latents.
        codes: int64 [B, S, K].
        commitment: Scalar, mean squared distance of the residuals to their codes.
    """

    vectors: Tensor
    codes: Tensor
    commitment: Tensor


class SlotResidualVQ(nn.Module):
    """S slots of width C, each through K residual levels of V codes."""

    def __init__(self, config: TokenizerConfig) -> None:
        from vector_quantize_pytorch import VectorQuantize

        super().__init__()
        self.config = config
        slots, width = config.num_slots, config.slot_width
        self.levels = nn.ModuleList(
            VectorQuantize(
                dim=slots * width,
                codebook_dim=width,
                heads=slots,
                separate_codebook_per_head=True,
                codebook_size=config.codebook_size,
                decay=config.decay,
                commitment_weight=0.0,
                rotation_trick=False,
                threshold_ema_dead_code=0,
                sync_codebook=_is_one_of_several(),
            )
            for _ in range(config.num_quantizers)
        )
        support = torch.ones(config.num_quantizers, slots, width, dtype=torch.bool)
        self.register_buffer("support", support)

    @property
    def codebooks(self) -> Tensor:
        """[K, S, V, C]."""
        return torch.stack([level._codebook.embed for level in self.levels])

    @torch.no_grad()
    def set_codebooks(self, codebooks: Tensor, support: Tensor, usage: Tensor) -> None:
        """Install codebooks so that training goes on from them.

        Args:
            codebooks: [K, S, V, C].
            support: bool [K, S, C], components a level may use; others stay 0 for good.
            usage: [K, S, V] samples per code expected in a moving-average window.
        """
        self.support.copy_(support)
        for level, embed, size in zip(self.levels, codebooks, usage, strict=True):
            book = level._codebook
            book.embed.copy_(embed)
            book.cluster_size.copy_(size)
            book.embed_avg.copy_(book.embed * book.cluster_size[..., None])
            book.initted.fill_(True)

    def quantize(self, latents: Tensor) -> Quantized:
        """Latents [B, S, C] -> `Quantized`; in training mode the codebooks follow the data."""
        residual = latents.float()
        vectors, codes, distances = torch.zeros_like(residual), [], []
        for index, level in enumerate(self.levels):
            chosen, code = self._step(index, level, residual.detach())
            distances.append((residual - chosen).square().mean())
            vectors, residual = vectors + chosen, residual - chosen
            codes.append(code)
        straight = latents + (vectors - latents).detach()
        commitment = torch.stack(distances).mean()
        return Quantized(straight, torch.stack(codes, dim=-1), commitment)

    def _step(self, index: int, level: VectorQuantize, residual: Tensor) -> tuple[Tensor, Tensor]:
        """One level: [B, S, C] -> chosen vectors [B, S, C] and codes [B, S]."""
        if not self.training:
            codes = self._nearest(level._codebook.embed, residual)
            return self._lookup(index, codes), codes
        batch = len(residual)
        if index > 0:
            signs = torch.randint_like(residual, 2) * 2 - 1
            residual = torch.cat([residual, residual * signs])
        with torch.autocast(residual.device.type, enabled=False):
            _, codes, _ = level(residual.flatten(1)[:, None])
        codes = codes.reshape(len(residual), self.config.num_slots)[:batch]
        self._tend(index, level, residual)
        return self._lookup(index, codes), codes

    @staticmethod
    def _nearest(book: Tensor, residual: Tensor) -> Tensor:
        """Codebooks [S, V, C] and residual [B, S, C] -> nearest codes [B, S]."""
        half_norm = book.square().sum(-1)[:, None] / 2
        score = torch.baddbmm(half_norm, residual.transpose(0, 1), book.mT, alpha=-1)
        return score.argmin(-1).T

    @torch.no_grad()
    def _tend(self, index: int, level: VectorQuantize, residual: Tensor) -> None:
        """Keep codes inside their support and reset the dead ones to samples of the batch."""
        book, samples = level._codebook, residual.transpose(0, 1)
        size = book.cluster_size
        fair = size.sum(-1, keepdim=True) / self.config.codebook_size
        for slot, code in (size < self.config.dead_code_share * fair).nonzero().tolist():
            pick = torch.randint(len(residual), (1,)).item()
            book.embed[slot, code] = samples[slot, pick]
            size[slot, code] = fair[slot, 0]
            book.embed_avg[slot, code] = samples[slot, pick] * fair[slot, 0]
        keep = self.support[index].reshape(-1, 1, self.config.slot_width)
        for tensor in (book.embed, book.embed_avg):
            tensor.mul_(keep)

    def _lookup(self, index: int, codes: Tensor) -> Tensor:
        """Codes [B, S] of one level -> vectors [B, S, C]; absent codes -> 0."""
        book = self.levels[index]._codebook.embed
        slots = torch.arange(self.config.num_slots, device=codes.device)
        present = codes != ABSENT
        return book[slots, codes.clamp(min=0)] * present[..., None]

    def dequantize(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, S, k] with k <= K -> [B, S, C]; absent codes add nothing."""
        vectors = [self._lookup(k, codes[..., k]) for k in range(codes.shape[-1])]
        return torch.stack(vectors).sum(dim=0)


def _is_one_of_several() -> bool:
    """Whether this process trains together with others, as of now.

    The library's own check remembers its first answer, which may be older than the processes.
    """
    distributed = torch.distributed
    initialized = distributed.is_available() and distributed.is_initialized()
    return initialized and distributed.get_world_size() > 1
