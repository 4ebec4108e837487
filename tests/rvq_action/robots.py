"""Synthetic robots for tests of the tokenizer: smooth motion in known layouts, fitted quickly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rvq_action import WALL_26, ActionChunk, ActionLayout, ActionTokenizer, joint_space
from rvq_action.analytic import fit_closed_form
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.embodiment import Embodiment
from rvq_action.fast_interface.chunk_space import ChunkSpace
from rvq_action.layout import Channel, DeltaRule
from rvq_action.relative import to_relative
from rvq_action.rotation import axis_angle_to_matrix, matrix_to_rot6d
from rvq_action.statistics import StatisticsBuilder

RECIPE = ClosedFormRecipe(
    num_quantizers=3,
    codebook_size=64,
    channels="together",
    iterations=3,
    samples_per_code=8,
    hidden=16,
    depth=1,
)
"""Channels are together in all of them, as in most robots; `closed_form/test_mixing.py` lets them
choose."""
ARM_FPS, ARM_HORIZON = 20.0, 20
WALL_FPS, WALL_HORIZON = 10.0, 10

ARM = ActionLayout(
    "arm_with_gripper",
    (*joint_space(3).channels, Channel("gripper", "gripper", "gripper", DeltaRule.RAW)),
)


def waves(batch: int, horizon: int, width: int, fps: float, generator: torch.Generator) -> Tensor:
    """[B, T, D] sums of three slow sinusoids of random amplitude and phase."""
    time = torch.arange(horizon)[None, :, None] / fps
    total = torch.zeros(batch, horizon, width)
    for frequency in (0.3, 0.7, 1.5):
        amplitude = torch.randn(batch, 1, width, generator=generator) * 0.3 / frequency
        phase = 2 * math.pi * torch.rand(batch, 1, width, generator=generator)
        total += amplitude * torch.sin(2 * math.pi * frequency * time + phase)
    return total


def switched(batch: int, horizon: int, generator: torch.Generator) -> Tensor:
    """[B, T] of zeros and ones, changing at most once: a gripper."""
    change = torch.randint(-horizon, 2 * horizon, (batch, 1), generator=generator)
    before = torch.randint(0, 2, (batch, 1), generator=generator)
    return (before ^ (torch.arange(horizon) >= change)).float()


def arm_chunk(
    batch: int, horizon: int = ARM_HORIZON, fps: float = ARM_FPS, seed: int = 0
) -> ActionChunk:
    """Three joints, relative to proprio, and a gripper."""
    generator = torch.Generator().manual_seed(seed)
    actions = torch.cat(
        [
            waves(batch, horizon, 3, fps, generator),
            switched(batch, horizon, generator)[..., None],
        ],
        dim=-1,
    )
    real = torch.ones_like(actions, dtype=torch.bool)
    return ActionChunk(actions, real, actions[:, 0].clone(), real[:, 0], fps, "arm")


def wall_chunk(
    batch: int, horizon: int = WALL_HORIZON, fps: float = WALL_FPS, seed: int = 0
) -> ActionChunk:
    """The right arm of the 26-channel layout; the other channels are absent."""
    generator = torch.Generator().manual_seed(seed)
    right = slice(WALL_26.index("right_x"), WALL_26.index("right_gripper") + 1)
    start = axis_angle_to_matrix(torch.randn(batch, 1, 3, generator=generator))
    turn = axis_angle_to_matrix(waves(batch, horizon, 3, fps, generator))
    actions = torch.zeros(batch, horizon, WALL_26.width)
    actions[..., right] = torch.cat(
        [
            waves(batch, horizon, 3, fps, generator),
            matrix_to_rot6d(start @ turn),
            switched(batch, horizon, generator)[..., None],
        ],
        dim=-1,
    )
    real = torch.zeros_like(actions, dtype=torch.bool)
    real[..., right] = True
    return ActionChunk(actions, real, actions[:, 0].clone(), real[:, 0], fps, "wall")


def embodiment_of(layout: ActionLayout, chunk: ActionChunk) -> Embodiment:
    builder = StatisticsBuilder(layout)
    builder.update(chunk)
    return Embodiment(layout, builder.build(), chunk.fps)


def normalized(tokenizer: ActionTokenizer, chunk: ActionChunk) -> Tensor:
    """[B, T, D] as a policy's preprocessing hands it to FAST: relative and normalised."""
    known = tokenizer.embodiments[chunk.embodiment]
    relative = to_relative(chunk.actions, chunk.anchor, known.layout, chunk.mask)
    return ChunkSpace(known).to_chunks(relative)


def fit(
    chunks: dict[str, tuple[ActionLayout, ActionChunk]], recipe: ClosedFormRecipe = RECIPE
) -> ActionTokenizer:
    """A closed form on one batch of windows per embodiment."""
    embodiments = {name: embodiment_of(*pair) for name, pair in chunks.items()}
    return fit_closed_form([chunk for _, chunk in chunks.values()], embodiments, recipe)


def wake_networks(tokenizer: ActionTokenizer, seed: int = 0) -> None:
    """Give the networks, zero after the fit, a say in what comes out."""
    torch.manual_seed(seed)
    for half in (tokenizer.model.encoder, tokenizer.model.decoder):
        torch.nn.init.normal_(half.network.leave.weight, std=0.05)
        for block in half.network.blocks:
            torch.nn.init.normal_(block.modulation.weight, std=0.2)
