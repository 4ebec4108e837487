"""Windows of a robot of which only statistics are known.

Every channel moves on its own, by a Gaussian curve with the robot's mean and spread. How a curve
goes on in time is borrowed: its components covary as those of the fitted robots' channels do on
average, as their linear paths keep them; for a channel relative to the anchor only those count
that are relative to it, too. So what the robot's channels do together, how heavy their tails are
and which of them are switches is not known, and not assumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from rvq_action.closed_form.transform import Windows
from rvq_action.embodiment import Embodiment
from rvq_action.layout import ActionLayout, DeltaRule
from rvq_action.model import TokenizerModel
from rvq_action.time_basis import to_frames

COUNT = 4096
LEAST_SHARE = 1e-6
"""Of a window's energy; a channel that has less does not move."""


@torch.no_grad()
def imagine_windows(
    model: TokenizerModel, fitted: Sequence[Embodiment], robot: Embodiment
) -> Windows:
    """Windows of a robot in model space, as wide as the model.

    They may leave the robot's range, as a linear path may, and are drawn so that channels do not
    covary by chance: each of their principal components is one channel's.

    Args:
        model: Fitted on other robots, on windows about as long as those that the statistics are of.
        fitted: These robots, in order.
        robot: Layout and statistics.
    """
    frequencies, width = model.config.num_frequencies, robot.layout.width
    curves = _independent(frequencies * width).unflatten(1, (width, frequencies))
    covariances, alike = _covariances(model, fitted)
    relative = _relative(robot.layout)
    for which, lenders in ((relative, alike), (~relative, torch.ones_like(alike))):
        borrowed = covariances[lenders if lenders.any() else ~lenders].mean(0)
        energies, vectors = torch.linalg.eigh(borrowed.double())
        way = (vectors * energies.clamp(min=0).sqrt()).float()
        curves[:, which] = curves[:, which] @ way.T
    known, normalizer = robot.statistics.actions, robot.actions
    mean = (torch.tensor(known.mean) - normalizer.middle) / normalizer.scale
    frames = mean + torch.tensor(known.std) / normalizer.scale * to_frames(
        curves.transpose(1, 2), frequencies
    )
    mask = robot.valid.expand_as(frames)
    missing = 0, model.config.width - width
    return Windows(pad(torch.where(mask, frames, 0.0), missing), pad(mask, missing))


def _independent(count: int) -> Tensor:
    """[N, count] normal numbers, of a mean of 0, a spread of 1 and no covariance."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(max(COUNT, 2 * count), count, generator=generator)
    return torch.linalg.qr(drawn - drawn.mean(0)).Q * math.sqrt(len(drawn))


def _covariances(model: TokenizerModel, fitted: Sequence[Embodiment]) -> tuple[Tensor, Tensor]:
    """[n, F, F] of the components of every channel that moves, for a mean square of 1 over frames.

    Returns:
        They, and bool [n], whether the channel is relative to the anchor.
    """
    config, found, relative = model.config, [], []
    for number, robot in enumerate(fitted):
        sizes = model.decoder.latent_scale[number][:, None]
        rows = (model.decoder.components[number] * sizes).cpu()
        rows = rows.unflatten(1, (config.num_frequencies, config.width))[..., : robot.layout.width]
        covariances = torch.einsum("nfd,ngd->dfg", rows, rows)
        energies = covariances.diagonal(dim1=1, dim2=2).sum(-1)
        moving = energies > LEAST_SHARE * energies.sum()
        share = covariances[moving] / energies[moving, None, None]
        found.append(share * config.num_frequencies)
        relative.append(_relative(robot.layout)[moving])
    return torch.cat(found), torch.cat(relative)


def _relative(layout: ActionLayout) -> Tensor:
    """bool [D], whether a channel is relative to the anchor."""
    return torch.tensor([channel.delta is not DeltaRule.RAW for channel in layout.channels])
