"""What decoding makes of codes, and how far that is from what was recorded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rvq_action.adaptive_length.tolerance import (
    AnyTolerance,
    Tolerance,
    group_units,
    read_tolerance,
)
from rvq_action.blocks import Condition
from rvq_action.branching import may_look
from rvq_action.chunk import ActionChunk
from rvq_action.embodiment import Embodiment, ModelInput
from rvq_action.layout import ROTATION_UNIT, ActionLayout
from rvq_action.metrics import masked_mean_per_chunk
from rvq_action.model import TokenizerModel
from rvq_action.normalize import to_scored
from rvq_action.rotation import geodesic_angle, rot6d_to_matrix
from rvq_action.vocabulary import ABSENT


@dataclass(frozen=True)
class Fidelity:
    """How far decoded chunks are from the recorded ones; tensors, or arrays as the actions were.

    Channels that the tokenizer was not trained on do not count.

    Attributes:
        tokens: int64 [B], codes that are there.
        mse: [B], mean squared error in model space.
        scored: [B], mean squared error in scored space, by the tokenizer's own statistics.
        largest: [B] by channel group, the largest error of any real entry in the group's unit; of
            a rotation the largest angle in rad.
        layout: Says the groups.
    """

    tokens: np.ndarray | Tensor
    mse: np.ndarray | Tensor
    scored: np.ndarray | Tensor
    largest: Mapping[str, np.ndarray | Tensor]
    layout: ActionLayout

    def within(self, tolerance: AnyTolerance) -> np.ndarray | Tensor:
        """bool [B], whether a chunk is within what `ActionTokenizer.encode` takes as tolerance."""
        bounds = read_tolerance(tolerance, self.layout)
        return holds(bounds, self.mse, self.scored, self.largest)

    def numpy(self) -> Fidelity:
        """The same with arrays for tensors."""
        largest = {group: _numpy(error) for group, error in self.largest.items()}
        tokens, mse, scored = map(_numpy, (self.tokens, self.mse, self.scored))
        return Fidelity(tokens, mse, scored, largest, self.layout)


def _numpy(values: np.ndarray | Tensor) -> np.ndarray:
    return torch.as_tensor(values).cpu().numpy()


def holds(tolerance: Tolerance, mse: Any, scored: Any, largest: Mapping[str, Any]) -> Any:
    """bool [B], whether errors [B] are within a tolerance; only the bounded ones are looked at."""
    kept = [largest[group] <= limit for group, limit in tolerance.largest.items()]
    if tolerance.mse is not None:
        kept.append(mse <= tolerance.mse)
    if tolerance.scored is not None:
        kept.append(scored <= tolerance.scored)
    return reduce(and_, kept)


def decode_frames(
    model: TokenizerModel,
    known: Embodiment,
    codes: Tensor,
    horizon: int,
    condition: Condition,
    anchor: tuple[Tensor | None, Tensor | None],
) -> Tensor:
    """Codes int64 [B, S, k] -> [B, T, D] in model space; without any code a chunk holds.

    Args:
        model: Decodes.
        known: The robot.
        codes: Absent = -1.
        horizon: T.
        condition: What the networks may know, and whose linear path it is.
        anchor: Physical proprio [B, D] and its bool mask, or None twice.
    """
    empty = (codes == ABSENT).flatten(1).all(-1)
    if may_look(codes) and bool(empty.all()):
        blank = condition.duration.new_empty(len(codes), horizon, known.layout.width)
        return known.rest.like(blank, *anchor)
    frames = model.decode(codes, horizon, condition, known.layout.width)
    return torch.where(empty[:, None, None], known.rest.like(frames, *anchor), frames)


@dataclass(frozen=True)
class Playback:
    """Holds decoded chunks against recorded ones.

    Attributes:
        model: Decodes.
        known: The robot.
        chunk: What was recorded.
        given: The same as the model takes it.
        relative: Whether the recorded actions are relative to the anchor already.
    """

    model: TokenizerModel
    known: Embodiment
    chunk: ActionChunk
    given: ModelInput
    relative: bool

    def rows(self, rows: Tensor) -> Playback:
        """That of some chunks, int64 [n]."""
        return replace(self, chunk=self.chunk.rows(rows), given=self.given.rows(rows))

    def heard(self) -> Playback:
        """The same, for decoding many codes of each chunk."""
        condition = self.model.decoder.hear(self.given.condition)
        return replace(self, given=replace(self.given, condition=condition))

    def fidelity(self, codes: Tensor) -> Fidelity:
        """Of codes int64 [B, S, K]."""
        rows = torch.arange(len(codes), device=codes.device)
        groups = [group for group, unit in group_units(self.known.layout).items() if unit]
        tokens, frames = (codes != ABSENT).flatten(1).sum(-1), self._frames(codes, rows)
        kept, largest = self._kept(frames), self._largest(frames, rows, groups)
        mse, scored = self._mse(kept, rows), self._mse(kept, rows, scored=True)
        return Fidelity(tokens, mse, scored, largest, self.known.layout)

    def judge(
        self, tolerance: Tolerance | None, codes: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Whether codes keep a tolerance, bool [n], and their error as `mse` tells it, [n].

        Args:
            tolerance: None where any error will do.
            codes: int64 [n, S, K], absent = -1.
            rows: int64 [n], the chunks that they are of.
        """
        frames = self._frames(codes, rows)
        kept = self._kept(frames)
        mse = self._mse(kept, rows)
        if tolerance is None:
            return torch.ones_like(mse).bool(), mse
        scored = None if tolerance.scored is None else self._mse(kept, rows, scored=True)
        largest = self._largest(frames, rows, tolerance.largest)
        return holds(tolerance, mse, scored, largest), mse

    def mse(self, codes: Tensor, rows: Tensor) -> Tensor:
        """[n] mean squared error in model space of codes [n, S, K]; arguments as for `judge`."""
        return self._mse(self._kept(self._frames(codes, rows)), rows)

    def _kept(self, frames: Tensor) -> Tensor:
        """What decoding leaves of frames [n, T, D_model], in model space [n, T, D]."""
        return self.known.kept(frames, self.chunk.fps)

    def _mse(self, kept: Tensor, rows: Tensor, scored: bool = False) -> Tensor:
        """[n] mean squared error in model space of what is kept, [n, T, D]; or in scored space."""
        width = self.known.layout.width
        given, mask = self.given.x[rows, :, :width], self.given.mask[rows, :, :width]
        error = to_scored(kept) - to_scored(given) if scored else kept - given
        return masked_mean_per_chunk(error.square(), mask)

    def _largest(self, frames: Tensor, rows: Tensor, groups: Collection[str]) -> dict[str, Tensor]:
        """[n] largest error by channel group of decoded frames [n, T, D_model]."""
        if not groups:
            return {}
        layout = self.known.layout
        anchor = None if self.chunk.anchor is None else self.chunk.anchor[rows]
        decoded = self.known.from_model(frames, anchor, self.relative, self.chunk.fps)
        recorded, real = self.chunk.actions[rows], self.given.mask[rows]
        errors = {}
        for group in groups:
            channels = layout.groups[group]
            a, b, mask = decoded[..., channels], recorded[..., channels], real[..., channels]
            if layout.channels[channels[0]].unit == ROTATION_UNIT:
                error = geodesic_angle(rot6d_to_matrix(a), rot6d_to_matrix(b))[..., None]
                mask = mask.all(-1, keepdim=True)
            else:
                error = (a - b).abs()
            errors[group] = torch.where(mask, error, 0.0).flatten(1).amax(-1)
        return errors

    def _frames(self, codes: Tensor, rows: Tensor) -> Tensor:
        anchor, mask = self.chunk.anchor, self.chunk.anchor_mask
        known = (anchor, mask) if anchor is None or mask is None else (anchor[rows], mask[rows])
        condition = self.given.condition.rows(rows)
        return decode_frames(self.model, self.known, codes, self.chunk.horizon, condition, known)
