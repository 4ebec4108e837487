"""One embodiment of a tokenizer: layout, statistics, the way into model space and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from rvq_action.adaptive_length.tolerance import ToleranceWatch
from rvq_action.blocks import Condition, full_precision
from rvq_action.bounds.rest import Rest
from rvq_action.bounds.start_range import StartRange
from rvq_action.bounds.training_range import TrainingRange
from rvq_action.branching import may_look
from rvq_action.chunk import ActionChunk
from rvq_action.layout import ActionLayout
from rvq_action.normalize import Normalizer
from rvq_action.novelty.range_watch import RangeWatch
from rvq_action.relative import to_absolute, to_relative
from rvq_action.statistics import EmbodimentStatistics

RATE_TOLERANCE = 1e-3
"""Frame rates that differ by less are the same."""


@dataclass(frozen=True)
class ModelInput:
    """What `TokenizerModel` takes: x [B, T, D] in model space, bool mask, condition.

    All chunks are of one robot.
    """

    x: Tensor
    mask: Tensor
    condition: Condition

    def without_anchor(self) -> ModelInput:
        """The same input for networks that may not see the anchor."""
        return replace(self, condition=replace(self.condition, anchor=None, anchor_mask=None))

    def rows(self, rows: Tensor) -> ModelInput:
        """Some chunks of the batch, int64 [n]."""
        return ModelInput(self.x[rows], self.mask[rows], self.condition.rows(rows))


@dataclass(frozen=True)
class Embodiment:
    """A robot the tokenizer knows.

    Attributes:
        layout: Its channels.
        statistics: Of relative actions and proprio, on training episodes.
        fps: Frames per second of its training data.
        mapping: How its dataset's features become the layout, as `Mapping.to_dict` gives it.
        fitted: Whether the model was fitted on its data; else it was added, with a linear path.
    """

    layout: ActionLayout
    statistics: EmbodimentStatistics
    fps: float
    mapping: dict | None = field(default=None, compare=False)
    fitted: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.fps < math.inf:
            raise ValueError(f"fps must be a positive number of frames per second: {self.fps}.")
        widths = len(self.statistics.actions.count), len(self.statistics.proprio.count)
        if widths != (self.layout.width, self.layout.width):
            raise ValueError(
                f"The statistics are {widths} channels wide, layout {self.layout.name!r} has "
                f"{self.layout.width}. Compute them again with `rvq-train statistics`."
            )

    def to_dict(self) -> dict[str, Any]:
        """All but the statistics, which have a file of their own; JSON types."""
        data = {"layout": self.layout.to_dict(), "fps": self.fps, "mapping": self.mapping}
        return data if self.fitted else {**data, "fitted": False}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], statistics: EmbodimentStatistics) -> Self:
        """Inverse of `to_dict`, given the statistics.

        Raises:
            KeyError: Something is missing.
            TypeError: Something is of another type.
            ValueError: Something is of no use.
        """
        layout, fps = ActionLayout.from_dict(data["layout"]), float(data["fps"])
        return cls(layout, statistics, fps, data["mapping"], data.get("fitted", True))

    @cached_property
    def actions(self) -> Normalizer:
        return Normalizer(self.statistics.actions)

    @cached_property
    def proprio(self) -> Normalizer:
        return Normalizer(self.statistics.proprio)

    @cached_property
    def range(self) -> TrainingRange:
        return TrainingRange(self.statistics.actions, self.layout)

    @cached_property
    def start(self) -> StartRange:
        return StartRange(self.statistics, self.range, self.layout)

    @cached_property
    def watch(self) -> RangeWatch:
        return RangeWatch(self.actions, self.range, self.layout)

    @cached_property
    def rest(self) -> Rest:
        return Rest(self.layout, self.actions, self.statistics.actions.mean)

    @cached_property
    def tolerance_watch(self) -> ToleranceWatch:
        return ToleranceWatch()

    @property
    def valid(self) -> Tensor:
        """bool [D], channels that had data in training."""
        return self.actions.seen

    @cached_property
    def is_whole(self) -> bool:
        """Whether every channel had data in training."""
        return bool(self.valid.all())

    @cached_property
    @torch.inference_mode(False)
    def needed(self) -> Tensor:
        """bool [D], proprio entries that absolute actions in all valid channels are relative to."""
        return (self.valid[:, None] & self._origins).any(0)

    def anchored(self, real: Tensor, relative: bool) -> Tensor:
        """Which proprio entries the real channels cannot do without; bool [B, D] -> [B, D].

        Args:
            real: Channels with a real entry.
            relative: Whether the actions are relative already, so that nothing is needed.
        """
        if relative:
            return torch.zeros_like(real)
        used = real & self.valid.to(real.device)
        return (used[..., None] & self._origins.to(real.device)).any(1)

    @cached_property
    @torch.inference_mode(False)
    def _origins(self) -> Tensor:
        """bool [D, D]: the channels (columns) whose anchor a channel (row) is relative to."""
        origins = torch.zeros(self.layout.width, self.layout.width, dtype=torch.bool)
        for channel, others in self.layout.origins.items():
            origins[channel, others] = True
        return origins

    def to_model(
        self, chunk: ActionChunk, number: int, width: int, relative: bool, path: int = 0
    ) -> ModelInput:
        """Chunk -> relative -> normalised -> padded to the model's width.

        Args:
            chunk: Physical units.
            number: Row of the embodiment table; 0 = none.
            width: Channels of the model.
            relative: Whether the actions are relative already.
            path: Number of the linear path.
        """
        mask = chunk.mask & self.valid.to(chunk.mask.device)
        actions = torch.where(mask, chunk.actions, 0.0)
        if not relative:
            with full_precision(actions):
                actions = to_relative(actions, chunk.anchor, self.layout, mask)
        x = self.actions.normalize(actions, mask)
        duration = x.new_full((x.shape[0],), chunk.horizon / chunk.fps)
        known = chunk.anchor, chunk.anchor_mask
        condition = self.condition(*known, number, width, duration, path)
        return ModelInput(_widen(x, width), _widen(mask, width), condition)

    def condition(
        self,
        anchor: Tensor | None,
        anchor_mask: Tensor | None,
        number: int,
        width: int,
        duration: Tensor,
        path: int = 0,
    ) -> Condition:
        """What the networks may know beside the chunk.

        Args:
            anchor: [B, D] proprio, or None.
            anchor_mask: bool [B, D], or None.
            number: Row of the embodiment table; 0 = none.
            width: Channels of the model.
            duration: [B] seconds covered by the chunk.
            path: Number of the linear path.
        """
        embodiment = torch.full_like(duration, number, dtype=torch.int64)
        if anchor is None or anchor_mask is None:
            return Condition(None, None, embodiment, duration, path)
        known = anchor_mask & self.proprio.seen.to(duration.device)
        normalized = self.proprio.normalize(anchor, known)
        given = _widen(normalized, width), _widen(known, width)
        return Condition(*given, embodiment, duration, path)

    def from_model(
        self,
        x: Tensor,
        anchor: Tensor | None,
        relative: bool,
        fps: float | None = None,
        sets_off: bool = True,
    ) -> Tensor:
        """Model space [B, T, D_model] -> physical [B, T, D].

        Before it is made absolute, the motion is kept inside the training range, its first frame
        inside that of first frames. At a lower rate than in training the first frame lies further
        ahead than any that was measured, and only the range of all frames holds.

        Args:
            x: What the model decoded.
            anchor: [B, D] proprio; may be None only where nothing is relative to it.
            relative: Whether to leave the actions relative to the anchor.
            fps: Frames per second; the training data's where omitted.
            sets_off: Whether chunks begin with their first frame. One that goes on from frames of
                another set off with that one's: the range of first frames is not for it.
        """
        physical = self.actions.denormalize(x[..., : self.layout.width])
        return self.to_physical(physical, anchor, relative, fps, sets_off)

    def kept(self, x: Tensor, fps: float | None = None) -> Tensor:
        """What `from_model` leaves of chunks, still in model space: [B, T, D or more] -> [B, T, D].

        Where no rotation is to be kept one, that is a clamp but for chunks that set off elsewhere.
        """
        x = x[..., : self.layout.width]
        if self.range.rotations or not may_look(x):
            return self.actions.normalize(self.from_model(x, None, True, fps))
        inside = self.actions.clamp(x)
        if self.start.first is not None and self._shows_first(fps):
            leaves = self.start.leaves(self.actions.denormalize(x[:, 0]))
            moved = leaves.nonzero().squeeze(-1)
            inside[moved] = self.actions.normalize(self.from_model(x[moved], None, True, fps))
        return inside

    def _shows_first(self, fps: float | None) -> bool:
        """Whether a first frame lies no further ahead than those of training."""
        return fps is None or fps >= self.fps * (1 - RATE_TOLERANCE)

    def to_physical(
        self,
        motion: Tensor,
        anchor: Tensor | None,
        relative: bool,
        fps: float | None = None,
        sets_off: bool = True,
    ) -> Tensor:
        """The second half of `from_model`: a relative motion [B, T, D] kept in range, absolute."""
        with full_precision(motion):
            inside = self.range.clamp(motion)
            if sets_off and self._shows_first(fps):
                inside = self.start.join(inside)
            mask = None if self.is_whole else self.valid.to(motion.device).expand_as(inside)
            if not relative:
                return to_absolute(inside, anchor, self.layout, mask)
            return inside if mask is None else torch.where(mask, inside, 0.0)


def _widen(tensor: Tensor, width: int) -> Tensor:
    """[..., D] -> [..., width], the other channels 0 or False."""
    extra = width - tensor.shape[-1]
    return pad(tensor, (0, extra)) if extra else tensor
