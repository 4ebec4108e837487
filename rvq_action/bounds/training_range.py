"""The range of relative actions seen in training, and how a decoded chunk is kept inside."""

from __future__ import annotations

import torch
from torch import Tensor

from rvq_action.layout import ActionLayout
from rvq_action.rotation import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_rot6d,
    rot6d_to_matrix,
    straighten,
)
from rvq_action.statistics import ChannelStatistics

BISECTIONS, NEARBY = 16, 20
SEARCHES, PROJECTIONS = 64, 200
CLEAR = 1e-3
"""Below this length or sine a column has no direction to speak of."""


class TrainingRange:
    """Per-channel minimum and maximum of one embodiment's relative actions."""

    @torch.inference_mode(False)
    def __init__(self, statistics: ChannelStatistics, layout: ActionLayout) -> None:
        self.low = torch.tensor(statistics.min)
        self.high = torch.tensor(statistics.max)
        mean = torch.tensor(statistics.mean)
        seen = torch.tensor(statistics.count) > 0
        self.rotations = [block for block in layout.rotation_blocks if bool(seen[block].all())]
        self.centres = {block[0]: self._centre(block, mean[block]) for block in self.rotations}

    def clamp(self, relative: Tensor) -> Tensor:
        """Bring [..., D] inside, channel by channel; rotations stay rotations.

        A rotation that leaves the range goes to a near one inside, by alternating projections;
        where these do not arrive it is turned back towards the centre, as far as needed.
        """
        inside = torch.clamp(relative, self.low.to(relative), self.high.to(relative))
        for block in self.rotations:
            six = slice(block[0], block[-1] + 1)
            inside[..., six] = self._clamp_rotation(inside[..., six], block)
        return inside

    def contains(self, relative: Tensor, tolerance: float = 1e-4) -> Tensor:
        """bool [..., D]: whether each entry lies in the range, up to a share of its width."""
        slack = tolerance * (self.high - self.low).clamp(min=1e-3).to(relative)
        above = relative >= self.low.to(relative) - slack
        return above & (relative <= self.high.to(relative) + slack)

    def _clamp_rotation(self, rot6d: Tensor, block: list[int]) -> Tensor:
        low, high = self.low[block].to(rot6d), self.high[block].to(rot6d)
        projected = matrix_to_rot6d(rot6d_to_matrix(rot6d))
        if torch.compiler.is_compiling():
            return self._clamp_in_graph(projected, block)
        for _ in range(NEARBY):
            outside = ~self._holds(projected, block)
            if not outside.any():
                return projected
            inside = projected[outside].clamp(low, high)
            projected[outside] = matrix_to_rot6d(rot6d_to_matrix(inside))
        outside = ~self._holds(projected, block)
        projected[outside] = self._turn_back(projected[outside], block)
        return projected

    def _clamp_in_graph(self, projected: Tensor, block: list[int]) -> Tensor:
        """The same for a graph, which can neither stop early nor take some of the rows."""
        low, high = self.low[block].to(projected), self.high[block].to(projected)
        for _ in range(NEARBY):
            moved, smallest = straighten(projected.clamp(low, high))
            stays = self._holds(projected, block)[..., None] | (smallest < CLEAR)
            projected = torch.where(stays, projected, moved)
        turned = self._turn_back(projected, block)
        return torch.where(self._holds(projected, block)[..., None], projected, turned)

    def _turn_back(self, rot6d: Tensor, block: list[int]) -> Tensor:
        """Turn rotations [..., 6] towards the centre until they are inside, by bisection.

        By Rodrigues' formula for a turn by θ about the unit axis k, the two columns of a trial are
        a + b sin θ + c (1 - cos θ) with a, b, c = C, C K, C K² for the centre C and K = [k]×.
        """
        centre = self.centres[block[0]].to(rot6d)
        turn = matrix_to_axis_angle(centre.T @ rot6d_to_matrix(rot6d))
        angle = turn.norm(dim=-1, keepdim=True)
        a, b, c = _rodrigues(centre, turn / angle.clamp(min=1e-12))
        low, high = torch.zeros_like(turn[..., :1]), torch.ones_like(turn[..., :1])
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            trial = a + b * (angle * middle).sin() + c * (1 - (angle * middle).cos())
            holds = self._holds(trial, block)[..., None]
            low, high = torch.where(holds, middle, low), torch.where(holds, high, middle)
        return matrix_to_rot6d(centre @ axis_angle_to_matrix(turn * low))

    def _centre(self, block: list[int], mean: Tensor) -> Tensor:
        """A rotation [3, 3] inside the range: the mean training rotation if it is one.

        Otherwise (rotations were seen that are so far apart that their mean is none of them) the
        first one that alternating projections find, onto the range and onto the rotations.
        """
        low, high = self.low[block], self.high[block]
        share = torch.rand(SEARCHES, 6, generator=torch.Generator().manual_seed(0))
        trial = torch.cat([mean[None], low + share * (high - low)])
        for _ in range(PROJECTIONS):
            matrix = rot6d_to_matrix(trial)
            rot6d = matrix_to_rot6d(matrix)
            holds = self._holds(rot6d, block)
            if holds.any():
                return matrix[holds][0]
            trial = rot6d.clamp(low, high)
        return matrix[0]

    def _holds(self, rot6d: Tensor, block: list[int]) -> Tensor:
        low, high = self.low[block].to(rot6d), self.high[block].to(rot6d)
        return ((rot6d >= low - 1e-6) & (rot6d <= high + 1e-6)).all(-1)


def _rodrigues(centre: Tensor, axis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The columns of C, C K and C K² as 6-D, for a rotation C [3, 3] and axes k [..., 3]."""
    x, y, z = axis.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, z, -y, -z, zero, x), dim=-1)
    square = torch.stack((x * x - 1, x * y, x * z, x * y, y * y - 1, y * z), dim=-1)
    turned = (v.unflatten(-1, (2, 3)) @ centre.T for v in (cross, square))
    once, twice = (columns.flatten(-2) for columns in turned)
    return matrix_to_rot6d(centre), once, twice
