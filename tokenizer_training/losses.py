"""The terms of the training objective, as pure functions with masks.

A term, its weight in the config and its key in the log share one name (the fields of
`LossWeights`). All sizes are in model space unless a docstring says otherwise.

Which parts a term teaches, where the encoder learns at all (`encoder_rate`; recipes leave it):

    reconstruction, rotation, dct, smoothness    encoder, semantic network, decoder
    commitment                                   encoder, semantic network
    alignment                                    semantic network, its own head and temperature
    next_frame, masked_modelling                 encoder, semantic network, a head of their own

Gradients pass straight through codes to what was quantised, so that all but alignment teach encoder
and semantic network alike. Alignment reads the semantic latents before they are quantised, and its
gradient ends at the network that they come of. No term teaches codebooks: these follow the latents.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch_dct
from torch import Tensor
from torch.nn import functional

from rvq_action.layout import ActionLayout
from rvq_action.metrics import masked_mean
from rvq_action.normalize import Normalizer
from rvq_action.rotation import geodesic_angle, rot6d_to_matrix


@dataclass(frozen=True)
class LossWeights:
    """Weight of every term.

    Attributes:
        reconstruction: L1, averaged within and then over channel groups.
        rotation: Angle between rotations, in radians.
        dct: L1 of the orthonormal DCT-II along time.
        smoothness: L1 of the frame-to-frame differences.
        commitment: Squared distance of the latents to their codes; for networks that make latents.
        alignment: InfoNCE between semantic latents and what a teacher saw during the chunk.
        next_frame: L1 of the teacher's feature right after the chunk, foretold from the codes.
        masked_modelling: Cross-entropy of hidden first-level codes, guessed from the others.
    """

    reconstruction: float = 1.0
    rotation: float = 0.2
    dct: float = 0.5
    smoothness: float = 0.3
    commitment: float = 0.1
    alignment: float = 0.0
    next_frame: float = 0.0
    masked_modelling: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(f"Loss weight {field.name} is negative: {self}.")

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the terms.

        Raises:
            ValueError: A term has no weight, or a weight above 0 has no term.
        """
        weights = {field.name: getattr(self, field.name) for field in fields(self)}
        stray = sorted(set(terms) - set(weights))
        missing = sorted(name for name in set(weights) - set(terms) if weights[name])
        if stray or missing:
            raise ValueError(
                f"Loss terms and weights must share their names: no weight for {stray}, no term "
                f"for {missing}. The names are {sorted(weights)}."
            )
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum()

    @property
    def visual(self) -> list[str]:
        """The terms in use that need pictures."""
        return [name for name in ("alignment", "next_frame") if getattr(self, name) > 0]


def reconstruction(
    prediction: Tensor, target: Tensor, mask: Tensor, layout: ActionLayout
) -> Tensor:
    """Mean absolute error per channel group, averaged over the groups that have real entries.

    Args:
        prediction: [B, T, D].
        target: [B, T, D].
        mask: bool [B, T, D], True = real.
        layout: Names the groups.

    Returns:
        Scalar.
    """
    error = torch.where(mask, (prediction - target).abs(), 0.0).sum(dim=(0, 1))
    count = mask.sum(dim=(0, 1))
    members = _membership(layout).to(error)
    sums, counts = members @ error, members @ count.to(error)
    return masked_mean(sums / counts.clamp(min=1), counts > 0)


def rotation(
    prediction: Tensor, target: Tensor, mask: Tensor, layout: ActionLayout, normalizer: Normalizer
) -> Tensor:
    """Mean geodesic angle between the 6-D rotations of the layout, in radians.

    The angle between two rotations relative to one anchor is the angle between the absolute
    ones, so no anchor is needed.

    Args:
        prediction: [B, T, D].
        target: [B, T, D].
        mask: bool [B, T, D]; a rotation counts where all six channels are real.
        layout: Says where the rotations are.
        normalizer: Takes model space to physical units.

    Returns:
        Scalar, 0 for a layout without rotations.
    """
    if not layout.rotation_blocks:
        return prediction.new_zeros(())
    indices = torch.tensor(layout.rotation_blocks, device=prediction.device)
    ours, theirs = (
        rot6d_to_matrix(normalizer.denormalize(x)[..., indices]) for x in (prediction, target)
    )
    return masked_mean(geodesic_angle(ours, theirs), mask[..., indices].all(dim=-1))


def dct(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error of the orthonormal DCT-II along time, on valid frames only.

    Every series (a channel of a chunk) is transformed at its own valid length, so that no
    padding enters its spectrum. A series whose real frames do not come first, in one piece, has
    no spectrum and is left out.

    Args:
        prediction: [B, T, D].
        target: [B, T, D].
        mask: bool [B, T, D], True = real.

    Returns:
        Scalar.
    """
    error = (prediction - target).float().transpose(1, 2).flatten(0, 1)
    real = mask.transpose(1, 2).flatten(0, 1)
    length = real.long().cumprod(dim=-1).sum(dim=-1)
    length = torch.where(length == real.sum(dim=-1), length, 0)
    total, count = error.new_zeros(()), 0
    for frames in length.unique().tolist():
        if frames:
            series = error[length == frames, :frames]
            total = total + torch_dct.dct(series, norm="ortho").abs().sum()
            count += series.numel()
    return total / max(count, 1)


def smoothness(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error of the frame-to-frame differences.

    Args:
        prediction: [B, T, D].
        target: [B, T, D].
        mask: bool [B, T, D]; a difference counts where both of its frames are real.

    Returns:
        Scalar.
    """
    difference = (prediction - target).diff(dim=1)
    return masked_mean(difference.abs(), mask[:, 1:] & mask[:, :-1])


def alignment(ours: Tensor, theirs: Tensor, temperature: Tensor, near: Tensor) -> Tensor:
    """Symmetric InfoNCE (van den Oord et al. 2018; both ways, Radford et al. 2021).

    Args:
        ours: [B, E] of any length.
        theirs: [B, E] of any length; row i belongs to row i.
        temperature: Scalar.
        near: bool [B, B], pairs that are no negatives of one another.

    Returns:
        Scalar: log B where nothing is told apart, 0 where everything is; 0 without a chunk.
    """
    if not len(ours):
        return ours.sum()
    ours, theirs = functional.normalize(ours, dim=-1), functional.normalize(theirs, dim=-1)
    own = torch.eye(len(ours), dtype=torch.bool, device=ours.device)
    logits = (ours @ theirs.T / temperature).masked_fill(near & ~own, -torch.inf)
    target = torch.arange(len(ours), device=ours.device)
    to_theirs, to_ours = (functional.cross_entropy(x, target) for x in (logits, logits.T))
    return (to_theirs + to_ours) / 2


def next_frame(prediction: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean absolute error of a teacher's features.

    Args:
        prediction: [B, F].
        target: [B, F].
        known: bool [B], where there is a target.

    Returns:
        Scalar.
    """
    return masked_mean((prediction - target).abs(), known[:, None])


def masked_modelling(logits: Tensor, codes: Tensor) -> Tensor:
    """Mean cross-entropy of the codes to guess, in nats.

    Args:
        logits: [N, V].
        codes: int64 [N].

    Returns:
        Scalar, 0 where none is to be guessed.
    """
    return functional.cross_entropy(logits, codes, reduction="sum") / max(len(codes), 1)


def _membership(layout: ActionLayout) -> Tensor:
    """[G, D], 1 where a channel belongs to a group."""
    members = torch.zeros(len(layout.groups), layout.width)
    for row, indices in enumerate(layout.groups.values()):
        members[row, indices] = 1.0
    return members
