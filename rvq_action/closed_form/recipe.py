"""What a closed form is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ClosedFormRecipe:
    """What the closed form is made of.

    Attributes:
        slots_per_channel: Latent slots per moving channel.
        slots: Latent slots in all, whatever the robot; None leaves it to `slots_per_channel`.
        num_quantizers: K, levels per slot.
        codebook_size: V at most, any number; where windows are too few for `windows_per_code`,
            the largest power of two that they are enough for, 16 at least.
        windows_per_code: Windows that a codebook asks for, per code.
        channels: Components are of all channels `together`, or of each one `apart`; `auto` leaves
            that to each robot's windows, see `rvq_action.closed_form.mixing`.
        max_frequencies: F at most; the longest horizon of the samples where that is smaller.
        max_windows: Windows that k-means sees.
        iterations: Passes of k-means.
        samples_per_code: Copies with random signs and sizes join the windows until a codebook has
            about so many samples per code.
        hidden: Width of the networks that training starts from zero.
        depth: Blocks of those networks.
        semantic_slots: M, slots whose first-level codes are semantic; see `rvq_action.semantic`.
        semantic_width: Q, latents that those codes are about.
        token_order: `level_major`, every prefix a coarser chunk, or `slot_major`.
        seed: Seed of everything random.
    """

    slots_per_channel: float = 0.6
    slots: int | None = None
    num_quantizers: int = 4
    codebook_size: int = 1024
    windows_per_code: int = 4
    channels: Literal["auto", "together", "apart"] = "auto"
    max_frequencies: int = 64
    max_windows: int = 16_000
    iterations: int = 10
    samples_per_code: int = 32
    hidden: int = 256
    depth: int = 2
    semantic_slots: int = 0
    semantic_width: int = 16
    token_order: Literal["level_major", "slot_major"] = "level_major"
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"num_quantizers": 1, "codebook_size": 2, "max_frequencies": 2, "max_windows": 1}
        least |= {"windows_per_code": 1}
        least |= {"iterations": 1, "samples_per_code": 1, "hidden": 1, "depth": 0}
        least |= {"semantic_slots": 0, "semantic_width": 1}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ValueError(
                    f"ClosedFormRecipe.{name} must be at least {smallest}: {getattr(self, name)}."
                )
        if self.channels not in ("auto", "together", "apart"):
            raise ValueError(
                f"ClosedFormRecipe.channels must be auto, together or apart: {self.channels!r}."
            )
        if self.slots is not None and self.slots <= self.semantic_slots:
            raise ValueError(
                f"ClosedFormRecipe.slots must be above semantic_slots ({self.semantic_slots}), or "
                f"null: {self.slots}."
            )
        if not self.slots_per_channel > 0:
            raise ValueError(
                f"ClosedFormRecipe.slots_per_channel must be positive: {self.slots_per_channel}."
            )
