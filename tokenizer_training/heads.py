"""The heads of the visual terms and of masked modelling: there in training only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from rvq_action.config import TokenizerConfig
from tokenizer_training import losses
from tokenizer_training.visual import VisualTargets

EMBEDDING, HIDDEN = 64, 256
DROPOUT = 0.1
START_TEMPERATURE, LEAST_TEMPERATURE = 0.1, 0.05
LEAST_SCALE = 1e-3


class FeatureScale(nn.Module):
    """Teacher features [..., F] -> centred, and divided by the root of their spread.

    Half of the way to unit spread: a teacher's weak components neither vanish nor shout.

    Args:
        features: [N, F] of fitted episodes.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", features.mean(0))
        spread = features.std(0, correction=0)
        self.register_buffer("scale", spread.clamp(min=LEAST_SCALE * spread.max()).sqrt())

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.scale


class AlignmentHead(nn.Module):
    """Brings semantic latents and teacher features into one space.

    Args:
        config: Of the tokenizer.
        width: F, features of one frame.
    """

    def __init__(self, config: TokenizerConfig, width: int) -> None:
        super().__init__()
        slots, points = config.semantic_slots, config.semantic_width
        self.chunk = nn.Linear(slots * points, EMBEDDING)
        self.slots = nn.ModuleList(nn.Linear(points, EMBEDDING) for _ in range(slots))
        self.chunk_teacher = perceptron(2 * width, EMBEDDING)
        self.slot_teacher = perceptron(width, EMBEDDING)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(START_TEMPERATURE)))

    @property
    def temperature(self) -> Tensor:
        return self.log_temperature.exp().clamp(min=LEAST_TEMPERATURE)

    def chunk_level(self, points: Tensor, targets: VisualTargets) -> Tensor:
        """All latents [B, M, Q] against the first and the last frame, scaled; scalar."""
        ours = self.chunk(points.flatten(1))
        theirs = self.chunk_teacher(torch.cat([targets.first, targets.last], dim=-1))
        return losses.alignment(ours, theirs, self.temperature, targets.near())

    def slot_level(self, points: Tensor, targets: VisualTargets) -> Tensor:
        """Each slot's latents against one frame: the first slots the first, the others the last."""
        near, frames = targets.near(), (targets.first, targets.last)
        terms = []
        for number, head in enumerate(self.slots):
            late = 2 * number >= len(self.slots) if len(self.slots) > 1 else True
            theirs = self.slot_teacher(frames[late])
            terms.append(losses.alignment(head(points[:, number]), theirs, self.temperature, near))
        return torch.stack(terms).mean()


class VisualHeads(nn.Module):
    """The heads of one dataset's visual terms.

    Args:
        config: Of the tokenizer.
        features: [N, F] of fitted episodes.
    """

    def __init__(self, config: TokenizerConfig, features: Tensor) -> None:
        super().__init__()
        self.scale = FeatureScale(features)
        self.alignment = AlignmentHead(config, features.shape[1])
        latents = config.num_slots * config.slot_width
        self.next_frame = perceptron(latents, features.shape[1])

    def forward(self, points: Tensor, latents: Tensor, targets: VisualTargets) -> dict[str, Tensor]:
        """The visual terms, over the chunks that have pictures.

        Args:
            points: [B, M, Q] semantic latents before quantisation.
            latents: [B, S, C] quantised latents, scaled.
            targets: What was seen around the chunks.
        """
        seen = self.scaled(targets).rows(targets.seen)
        points = points[targets.seen]
        chunk, slots = (
            level(points, seen) for level in (self.alignment.chunk_level, self.alignment.slot_level)
        )
        foretold = self.next_frame(latents.flatten(1))
        following = self.scale(targets.following)
        return {
            "alignment": (chunk + slots) / 2,
            "next_frame": losses.next_frame(foretold, following, targets.followed),
        }

    def surprise(self, points: Tensor, targets: VisualTargets) -> Tensor:
        """InfoNCE of latents [B, M, Q] at chunk level; scalar."""
        seen = self.scaled(targets).rows(targets.seen)
        return self.alignment.chunk_level(points[targets.seen], seen)

    def scaled(self, targets: VisualTargets) -> VisualTargets:
        """Targets in the units that the terms are measured in."""
        first, last, following = (
            self.scale(f) for f in (targets.first, targets.last, targets.following)
        )
        return replace(targets, first=first, last=last, following=following)


class MaskedModellingHead(nn.Module):
    """A small transformer over the first-level vectors of all slots that guesses hidden codes.

    Of the codes to guess, 15 %, the vectors of 80 % are hidden, 10 % are another chunk's and 10 %
    are as they were (Devlin et al., BERT, section 3.1).

    Args:
        config: Of the tokenizer.
    """

    SHARE, HIDDEN_SHARE, SWAPPED_SHARE = 0.15, 0.8, 0.1

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.enter = nn.Linear(config.slot_width, HIDDEN)
        self.slot = nn.Parameter(0.02 * torch.randn(config.num_slots, HIDDEN))
        self.hidden = nn.Parameter(0.02 * torch.randn(HIDDEN))
        layer = nn.TransformerEncoderLayer(
            HIDDEN, nhead=4, dim_feedforward=2 * HIDDEN, dropout=DROPOUT, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.leave = nn.Linear(HIDDEN, config.codebook_size)

    def forward(self, vectors: Tensor, codes: Tensor, generator: torch.Generator) -> Tensor:
        """The term.

        Args:
            vectors: [B, S, C] first-level code vectors, scaled.
            codes: int64 [B, S] first-level codes.
            generator: Decides what is hidden; on the CPU.
        """
        guess, fate = (torch.rand(codes.shape, generator=generator) for _ in range(2))
        guess, fate = (guess < self.SHARE).to(codes.device), fate.to(codes.device)
        hide = guess & (fate < self.HIDDEN_SHARE)
        swap = guess & (fate >= 1 - self.SWAPPED_SHARE)
        shown = torch.where(swap[..., None], vectors.roll(1, dims=0), vectors)
        entered = torch.where(hide[..., None], self.hidden, self.enter(shown)) + self.slot
        return losses.masked_modelling(self.leave(self.layers(entered)), codes, guess)


def build_heads(config: TokenizerConfig, features: Mapping[str, Tensor]) -> nn.ModuleDict:
    """`VisualHeads` by dataset, given [N, F] features of the fitted episodes of each."""
    return nn.ModuleDict({key(name): VisualHeads(config, f) for name, f in features.items()})


def key(dataset: str) -> str:
    """The name of a dataset, as torch wants the names of modules."""
    return dataset.replace(".", "·")


def perceptron(in_features: int, out_features: int) -> nn.Sequential:
    """One hidden layer."""
    return nn.Sequential(
        nn.Linear(in_features, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, out_features),
    )  # fmt: skip
