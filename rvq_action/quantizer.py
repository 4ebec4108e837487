"""Residual vector quantisation of slots, on vector-quantize-pytorch: the only file that knows it.

Every slot has its own codebook at every level, which all robots that fill the slot share. One
`VectorQuantize` per level holds the slots' codebooks as heads, so a level is one batched product;
the residual passes from level to level.
Quantisation runs in float32 whatever the surrounding precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, distributed, nn

from rvq_action.codebook_tables import CodebookTables, half_norms, nearest
from rvq_action.config import TokenizerConfig
from rvq_action.derived import Derived
from rvq_action.metrics import masked_mean
from rvq_action.semantic import LEVEL

MOVING_AVERAGE_SAMPLES = 512
"""What the codebooks' moving averages start from counts as so many samples."""
LEAST_USAGE = 0.1
"""What a code counts as in use from the start, as a share of a fair share."""


@dataclass(frozen=True)
class Quantized:
    """Result of quantising latents.

    Attributes:
        vectors: [B, s, C] quantised latents; gradients pass straight through to the latents.
        codes: int64 [B, s, K].
        commitment: Scalar, mean squared distance of the residuals to their codes.
    """

    vectors: Tensor
    codes: Tensor
    commitment: Tensor


class _Codebook(Protocol):
    """The library's codebook: embed and embed_avg [S, V, C], cluster_size [S, V]."""

    embed: Tensor
    embed_avg: Tensor
    cluster_size: Tensor
    initted: Tensor

    def update_codebook(self, flatten: Tensor, embed_onehot: Tensor) -> None: ...


class SlotResidualVQ(nn.Module):
    """S slots of width C, each through K residual levels of V codes.

    Latents and codes of a robot that fills only the first s slots have no others.
    """

    support: Tensor

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
        self.register_load_state_dict_pre_hook(_fit_library_version)
        self._books = [cast(_Codebook, level._codebook) for level in self.levels]
        self._tables: Derived[CodebookTables] = Derived()

    @property
    def codebooks(self) -> Tensor:
        """[K, S, V, C]."""
        return torch.stack([self._book(k).embed for k in range(self.config.num_quantizers)])

    def _book(self, level: int) -> _Codebook:
        return self._books[level]

    @property
    def tables(self) -> CodebookTables:
        """The codebooks as they are, laid out for looking up.

        Kept from call to call: laying them out anew takes half of encoding one chunk.
        """
        if torch.compiler.is_compiling():
            return CodebookTables.build(self.codebooks)
        books = [book.embed for book in self._books]
        return self._tables.get(books, lambda: CodebookTables.build(self.codebooks))

    @torch.no_grad()
    def set_codebooks(self, codebooks: Tensor, support: Tensor, usage: Tensor) -> None:
        """Install codebooks so that training goes on from them.

        Args:
            codebooks: [K, S, V, C].
            support: bool [K, S, C], components a level may use; others stay 0 for good.
            usage: [K, S, V] samples per code expected in a moving-average window; a code that
                nobody chose yet counts a little too, or the first step would move it to 0.
        """
        self.support.copy_(support)
        least = LEAST_USAGE * usage.mean(-1, keepdim=True)
        for level, (embed, size) in enumerate(zip(codebooks, usage.maximum(least), strict=True)):
            book = self._book(level)
            book.embed.copy_(embed)
            book.cluster_size.copy_(size)
            book.embed_avg.copy_(book.embed * book.cluster_size[..., None])
            book.initted.fill_(True)

    @torch.no_grad()
    def set_semantic(self, codebooks: Tensor, shares: Tensor) -> None:
        """Replace what the semantic codes stand for, and nothing else.

        Args:
            codebooks: [M, V, Q], on any device.
            shares: [M, V] of the samples that choose each code.
        """
        book, width = self._book(LEVEL), self.config.semantic_width
        slots, latents = slice(len(codebooks)), slice(self.config.slot_width - width, None)
        usage = shares.to(book.cluster_size) * MOVING_AVERAGE_SAMPLES
        usage = usage.maximum(LEAST_USAGE * usage.mean(-1, keepdim=True))
        book.embed[slots, :, latents] = codebooks.to(book.embed)
        book.cluster_size[slots] = usage
        book.embed_avg[slots] = book.embed[slots] * usage[..., None]

    @property
    def semantic(self) -> Tensor:
        """[M, V, Q], what the semantic codes stand for."""
        embed = self._book(LEVEL).embed[: self.config.semantic_slots]
        return embed[..., self.config.slot_width - self.config.semantic_width :]

    @torch.no_grad()
    def encode(self, latents: Tensor) -> Tensor:
        """Latents [B, s, C] -> codes int64 [B, s, K]; never moves a codebook."""
        return self.tables.of_slots(latents.shape[1]).encode(latents)

    def quantize(self, latents: Tensor) -> Quantized:
        """Latents [B, s, C] -> `Quantized`; never moves a codebook."""
        slots, residual = latents.shape[1], latents.float()
        tables = self.tables.of_slots(slots)
        codes = tables.encode(latents.detach())
        vectors, distances = torch.zeros_like(residual), []
        for level, code in enumerate(codes.unbind(-1)):
            chosen = tables.lookup(level, code)
            distances.append(masked_mean((residual - chosen).square(), self.support[level, :slots]))
            vectors, residual = vectors + chosen, residual - chosen
        straight = latents + (vectors - latents).detach()
        return Quantized(straight, codes, torch.stack(distances).mean())

    @torch.no_grad()
    def follow(self, *latents: Tensor) -> None:
        """Move the codebooks towards latents [B, s, C] of several robots.

        Several processes do this together, so each must do it equally often. From the second level
        on, copies with random signs count as well.
        """
        residual, filled = _stacked([part.float() for part in latents], self.config.num_slots)
        for index in range(self.config.num_quantizers):
            samples, real = residual, filled
            if index > 0:
                signs = torch.randint_like(residual, 2) * 2 - 1
                samples = torch.cat([residual, residual * signs])
                real = torch.cat([filled, filled])
            book = self._book(index)
            with torch.autocast(residual.device.type, enabled=False):
                codes = nearest(samples, book.embed.mT, half_norms(book.embed))
                chosen = nn.functional.one_hot(codes.T, self.config.codebook_size).to(samples)
                book.update_codebook(samples.transpose(0, 1), chosen * real.T[..., None])
            self._tend(index, samples, real)
            residual = residual - _lookup(book.embed, codes[: len(residual)])
        self._tables.forget()

    @torch.no_grad()
    def _tend(self, index: int, residual: Tensor, filled: Tensor) -> None:
        """Keep codes inside their support and reset the dead ones to samples of the batch.

        Args:
            index: Level.
            residual: [B, S, C].
            filled: bool [B, S], the samples that count; a slot that has none here is left alone.
        """
        book = self._book(index)
        fair = book.cluster_size.mean(-1, keepdim=True)
        dead = book.cluster_size < self.config.dead_code_share * fair
        slot, code = (dead & self._met(filled)[:, None]).nonzero().T
        if len(slot):
            draws = torch.randint(len(residual), (len(slot),)).to(slot.device)
            rows = filled.int().argsort(dim=0, descending=True, stable=True)
            fresh = residual[rows[draws % filled.sum(0).clamp(min=1)[slot], slot], slot]
            if _is_one_of_several():
                distributed.broadcast(fresh, src=0)
            book.embed[slot, code] = fresh
            book.cluster_size[slot, code] = fair[slot, 0]
            book.embed_avg[slot, code] = fresh * fair[slot]
        keep = self.support[index].reshape(-1, 1, self.config.slot_width)
        for tensor in (book.embed, book.embed_avg):
            tensor.mul_(keep)

    def _met(self, filled: Tensor) -> Tensor:
        """bool [S], slots that the first process has samples of, from bool [B, S]."""
        met = filled.any(0)
        if _is_one_of_several():
            distributed.broadcast(met, src=0)
        return met

    def first_level(self, latents: Tensor, codes: Tensor) -> Tensor:
        """First-level codes [B, s] of latents [B, s, C] -> vectors [B, s, C].

        Gradients pass straight through to the latents that the level is about.
        """
        about = latents * self.support[0, : latents.shape[1]]
        return about + (self.dequantize(codes[..., None]) - about).detach()

    def dequantize(self, codes: Tensor) -> Tensor:
        """Codes int64 [B, s, k] with k <= K -> [B, s, C]; absent codes add nothing."""
        return self.tables.of_slots(codes.shape[1]).dequantize(codes)


def _stacked(latents: Sequence[Tensor], slots: int) -> tuple[Tensor, Tensor]:
    """Latents [B, s, C] of several robots -> [ΣB, S, C], and bool [ΣB, S], the filled slots."""
    wide = [nn.functional.pad(part, (0, 0, 0, slots - part.shape[1])) for part in latents]
    counts = torch.tensor([part.shape[1] for part in latents for _ in range(len(part))])
    filled = torch.arange(slots) < counts[:, None]
    return torch.cat(wide), filled.to(latents[0].device)


def _lookup(book: Tensor, codes: Tensor) -> Tensor:
    """Codes [B, S] of one level's codebook [S, V, C] -> vectors [B, S, C]."""
    return book[torch.arange(len(book), device=codes.device), codes]


def _fit_library_version(module: nn.Module, state: dict[str, Tensor], prefix: str, *_) -> None:
    """Read what other versions of the library wrote: they differ in the shape of one flag."""
    for name, ours in module.named_buffers():
        if name.endswith("initted") and prefix + name in state:
            state[prefix + name] = state[prefix + name].reshape(ours.shape)


def _is_one_of_several() -> bool:
    """Whether this process trains together with others, as of now.

    The library's own check remembers its first answer, which may be older than the processes.
    """
    initialized = distributed.is_available() and distributed.is_initialized()
    return initialized and distributed.get_world_size() > 1
