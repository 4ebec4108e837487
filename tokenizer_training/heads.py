"""The heads of the visual terms and of masked modelling: there in training only."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rvq_action.config import TokenizerConfig
from tokenizer_training import losses
from tokenizer_training.features.narrow import Narrowing
from tokenizer_training.visual import VisualTargets

HIDDEN, DROPOUT = 256, 0.1
START_TEMPERATURE, LEAST_TEMPERATURE = 0.07, 0.05
LEAST_SPREAD, SMALLEST_SPREAD = 0.3, 1e-6
"""A teacher's components spread less than this share of the widest one are not blown up further,
and what never changes counts as spread this little."""


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
        self.register_buffer("scale", spread.maximum(least_spread(spread)).sqrt())

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.scale


class Whitening(nn.Module):
    """Teacher features [..., F] -> principal components of unit spread, as far as they have any.

    Args:
        features: [N, F] of fitted episodes.
    """

    mean: Tensor
    components: Tensor

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", features.mean(0))
        centred = (features - self.mean).double()
        energies, vectors = torch.linalg.eigh(centred.T @ centred / len(features))
        spread = energies.clamp(min=0).sqrt()
        components = vectors / spread.maximum(least_spread(spread))
        self.register_buffer("components", components.float())

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) @ self.components


class AlignmentHead(nn.Module):
    """Brings semantic latents to where a teacher's whitened features are.

    The teacher's side stays as it is: what is learnt there would be learnt by heart. Ours is one
    linear map, so that what the latents know lies open.

    Args:
        config: Of the tokenizer.
        first: [N, F] features at the first frames of windows of fitted episodes.
        last: [N, F] at their last frames.
    """

    def __init__(self, config: TokenizerConfig, first: Tensor, last: Tensor) -> None:
        super().__init__()
        slots, points = config.semantic_slots, config.semantic_width
        frames = torch.cat([first, last])
        self.pair_teacher = Whitening(torch.cat([first, last], dim=-1))
        self.frame_teacher = Whitening(frames)
        self.chunk = nn.Linear(slots * points, 2 * first.shape[1])
        self.slots = nn.ModuleList(nn.Linear(points, first.shape[1]) for _ in range(slots))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(START_TEMPERATURE)))

    @property
    def temperature(self) -> Tensor:
        return self.log_temperature.exp().clamp(min=LEAST_TEMPERATURE)

    def chunk_level(self, points: Tensor, targets: VisualTargets) -> Tensor:
        """All latents [B, M, Q] against the first and the last frame; scalar."""
        theirs = self.pair_teacher(torch.cat([targets.first, targets.last], dim=-1))
        ours = self.chunk(points.flatten(1))
        return losses.alignment(ours, theirs, self.temperature, targets.near())

    def slot_level(self, points: Tensor, targets: VisualTargets) -> Tensor:
        """Each slot against one frame: the earlier half the first, the others the last; scalar."""
        near, terms = targets.near(), []
        for number, head in enumerate(self.slots):
            early = 2 * number + 1 < len(self.slots)
            theirs = self.frame_teacher(targets.first if early else targets.last)
            terms.append(losses.alignment(head(points[:, number]), theirs, self.temperature, near))
        return torch.stack(terms).mean()


class VisualHeads(nn.Module):
    """The heads of one dataset's visual terms.

    Args:
        config: Of the tokenizer.
        fitted: What was seen around windows of fitted episodes.
        narrowing: What all features that come here were narrowed by, where they were wide; kept
            for a run that goes on, not used.
    """

    def __init__(
        self, config: TokenizerConfig, fitted: VisualTargets, narrowing: Narrowing | None = None
    ) -> None:
        super().__init__()
        self.narrowing = narrowing
        first, last = fitted.first[fitted.seen], fitted.last[fitted.seen]
        self.alignment = AlignmentHead(config, first, last)
        self.scale = FeatureScale(first)
        self.num_slots = config.num_slots
        self.next_frame = perceptron(config.num_slots * config.slot_width, first.shape[1])

    def forward(self, points: Tensor, latents: Tensor, targets: VisualTargets) -> dict[str, Tensor]:
        """The visual terms, over the chunks that have pictures.

        Args:
            points: [B, M, Q] semantic latents before quantisation.
            latents: [B, s, C] quantised latents, scaled.
            targets: What was seen around the chunks.
        """
        seen, points = targets.rows(targets.seen), points[targets.seen]
        levels = self.alignment.chunk_level, self.alignment.slot_level
        whole = nn.functional.pad(latents, (0, 0, 0, self.num_slots - latents.shape[1])).flatten(1)
        foretold, following = self.next_frame(whole), self.scale(targets.following)
        return {
            "alignment": torch.stack([level(points, seen) for level in levels]).mean(),
            "next_frame": losses.next_frame(foretold, following, targets.followed),
        }

    def surprise(self, points: Tensor, targets: VisualTargets) -> Tensor:
        """InfoNCE of latents [B, M, Q] at chunk level; scalar."""
        return self.alignment.chunk_level(points[targets.seen], targets.rows(targets.seen))


class MaskedModellingHead(nn.Module):
    """A small transformer over the first-level vectors of all slots that guesses hidden codes.

    Of the codes to guess, 15 %, the vectors of 80 % are hidden, 10 % are another chunk's and 10 %
    are as they were (Devlin et al., BERT, section 3.1).

    Args:
        config: Of the tokenizer.
    """

    WIDTH = 128
    SHARE, HIDDEN_SHARE, SWAPPED_SHARE = 0.15, 0.8, 0.1

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        width = self.WIDTH
        self.enter = nn.Linear(config.slot_width, width)
        self.slot = nn.Parameter(0.02 * torch.randn(config.num_slots, width))
        self.hidden = nn.Parameter(0.02 * torch.randn(width))
        layer = nn.TransformerEncoderLayer(
            width, nhead=4, dim_feedforward=2 * width, dropout=DROPOUT, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.leave = nn.Linear(width, config.codebook_size)

    def forward(self, vectors: Tensor, codes: Tensor, generator: torch.Generator) -> Tensor:
        """The term.

        Args:
            vectors: [B, s, C] first-level code vectors, scaled.
            codes: int64 [B, s] first-level codes.
            generator: Decides what is hidden; on the CPU.
        """
        guess, fate = (torch.rand(codes.shape, generator=generator) for _ in range(2))
        guess, fate = (guess < self.SHARE).to(codes.device), fate.to(codes.device)
        hide = guess & (fate < self.HIDDEN_SHARE)
        swap = guess & (fate >= 1 - self.SWAPPED_SHARE)
        shown = torch.where(swap[..., None], vectors.roll(1, dims=0), vectors)
        slot = self.slot[: codes.shape[1]]
        entered = torch.where(hide[..., None], self.hidden, self.enter(shown)) + slot
        return losses.masked_modelling(self.leave(self.layers(entered)[guess]), codes[guess])


def build_heads(
    config: TokenizerConfig,
    fitted: Mapping[str, VisualTargets],
    narrowings: Mapping[str, Narrowing],
) -> nn.ModuleDict:
    """`VisualHeads` by dataset.

    Args:
        config: Of the tokenizer.
        fitted: What was seen around windows of fitted episodes of each dataset.
        narrowings: What it was narrowed by, where it was wide.
    """
    heads = {key(n): VisualHeads(config, seen, narrowings.get(n)) for n, seen in fitted.items()}
    return nn.ModuleDict(heads)


def key(dataset: str) -> str:
    """The name of a dataset, as torch wants the names of modules: no method's, and without dots."""
    return "of " + dataset.replace(".", "·")


def least_spread(spread: Tensor) -> Tensor:
    """The spread below which none of [F] components counts."""
    return LEAST_SPREAD * spread.max().clamp(min=SMALLEST_SPREAD)


def perceptron(in_features: int, out_features: int) -> nn.Sequential:
    """One hidden layer."""
    return nn.Sequential(
        nn.Linear(in_features, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, out_features),
    )  # fmt: skip
