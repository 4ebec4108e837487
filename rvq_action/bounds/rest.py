"""A robot that holds: what a chunk without any code decodes to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from rvq_action.layout import ActionLayout, DeltaRule
from rvq_action.normalize import Normalizer
from rvq_action.relative import to_relative


class Rest:
    """The chunk in which nothing moves.

    Channels relative to the anchor stay there and velocities are 0. Other raw channels, a gripper
    say, keep the anchor's value, or have the mean they had in training where that is unknown.

    Args:
        layout: The channels.
        normalizer: Of relative actions.
        mean: [D] of relative actions in training.

    Attributes:
        standstill: [D] relative action of a robot that holds and whose state is not known.
        keeps: bool [D], channels that keep the anchor's value.
    """

    @torch.inference_mode(False)
    def __init__(self, layout: ActionLayout, normalizer: Normalizer, mean: Sequence[float]) -> None:
        self.keeps = torch.tensor(
            [c.delta is DeltaRule.RAW and not c.unit.endswith("/s") for c in layout.channels]
        )
        anchor = torch.where(self.keeps, torch.tensor(mean), 0.0)
        self.standstill = to_relative(anchor[None], anchor, layout)[0]
        self._normalizer = normalizer

    def like(self, x: Tensor, anchor: Tensor | None, anchor_mask: Tensor | None) -> Tensor:
        """The chunk at rest in model space, in the shape of `x`.

        Args:
            x: [B, T, D_model].
            anchor: [B, D] proprio in physical units, or None.
            anchor_mask: bool [B, D], True = known.
        """
        rest = self.standstill.to(x).expand(x.shape[0], -1)
        if anchor is not None and anchor_mask is not None:
            rest = torch.where(self.keeps.to(x.device) & anchor_mask, anchor, rest)
        held = pad(self._normalizer.normalize(rest), (0, x.shape[-1] - rest.shape[-1]))
        return held[:, None].expand_as(x)
