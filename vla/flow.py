"""Flow matching from noise to an action chunk (arXiv 2210.02747), with straight paths.

    flow_time τ: 0 = noise ε, 1 = data A          A_τ = τ A + (1 - τ) ε
    the network predicts the velocity f           dA_τ/dτ = A - ε
    where a step with f would end                 Â = A_τ + (1 - τ) f

The loss is taken in *action space*, ‖Â - A‖², which is the velocity's (1 - τ)²‖f - (A - ε)‖²: a
velocity's error weighs as much as it will move the action. In training 1 - τ/0.999 ~ Beta(1.5, 1),
so that most steps look at noisy chunks, where the decisions fall.

Time may differ from frame to frame. A frame at τ = 1 is *given*: it is the data, no noise is drawn
so near to it, and there is nothing to predict in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rvq_action.metrics import masked_mean_per_chunk

DATA = 1.0
"""Flow time of frames that are given; that of all others ends at a time_scale below it."""
Velocity = Callable[[Tensor, Tensor], Tensor]
"""(actions [B, T, D], time [B]) -> velocities [B, T, D]."""
Guide = Callable[[Velocity], Velocity]
"""Makes another velocity field of one."""


@dataclass(frozen=True)
class FlowDraw:
    """The random part of a training step.

    Attributes:
        noise: float32 [B, T, D], standard normal.
        time: float32 [B], or [B, T] frame by frame: flow time in 0..time_scale, or DATA.
    """

    noise: Tensor
    time: Tensor

    @classmethod
    def sample(
        cls, actions: Tensor, alpha: float, scale: float, generator: torch.Generator | None = None
    ) -> FlowDraw:
        """Draw for actions [B, T, D]: τ = scale · (1 - u), u ~ Beta(alpha, 1) = U^(1/alpha)."""
        device = actions.device
        noise = torch.randn(actions.shape, generator=generator, device=device)
        uniform = torch.rand(len(actions), generator=generator, device=device)
        return cls(noise, scale * (1 - uniform ** (1 / alpha)))

    def give(self, frames: Tensor) -> FlowDraw:
        """The same draw, but that the first frames are given: int64 [B], of each sample."""
        given = first_frames(frames, self.noise.shape[1])
        return FlowDraw(self.noise, torch.where(given, DATA, per_frame(self.time)[..., 0]))

    def noisy(self, actions: Tensor, mask: Tensor) -> Tensor:
        """A_τ, float32 [B, T, D]; masked entries 0."""
        time = per_frame(self.time)
        return torch.where(mask, time * actions + (1 - time) * self.noise, 0.0)

    def target(self, actions: Tensor) -> Tensor:
        """The velocity that leads from the noise to the actions."""
        return actions - self.noise


@dataclass(frozen=True)
class Given:
    """First frames that a sampler is given: what robots are committed to.

    The frames stay as they are while the others come out of their noise, and their own flow time
    says so. It takes a model that was trained so, see `VLAConfig.committed_frames`.

    Attributes:
        actions: float32 [B, T, D] in the space of the flow; anything where not given.
        frames: int64 [B], how many first frames of each chunk are given.
    """

    actions: Tensor
    frames: Tensor

    @property
    def mask(self) -> Tensor:
        """bool [B, T, 1], True = given."""
        return first_frames(self.frames, self.actions.shape[1])[..., None]

    def start(self, noise: Tensor) -> Tensor:
        """Where the sampler starts, given its noise [B, T, D]."""
        return torch.where(self.mask, self.actions, noise)

    def __call__(self, velocity: Velocity) -> Velocity:
        """The same velocity field, in which given frames are the data and stay."""

        def field(actions: Tensor, time: Tensor) -> Tensor:
            times = torch.where(self.mask, DATA, per_frame(time))
            return torch.where(self.mask, 0.0, velocity(actions, times[..., 0]))

        return field


def first_frames(counts: Tensor, horizon: int) -> Tensor:
    """int64 [B] -> bool [B, T], True for so many first frames."""
    return torch.arange(horizon, device=counts.device) < counts[:, None]


def per_frame(time: Tensor) -> Tensor:
    """[B] or [B, T] -> [B, 1 or T, 1], to go with actions."""
    return time.view(len(time), -1, 1)


def flow_loss(
    velocity: Tensor, actions: Tensor, mask: Tensor, draw: FlowDraw, objective: str
) -> Tensor:
    """Mean squared error of every sample, over real channels of real frames: [B]; 0 without any.

    Frames that are given do not count.

    Args:
        velocity: [B, T, D], predicted at the noisy actions.
        actions: [B, T, D], the data.
        mask: bool [B, T, D], True = real.
        draw: Noise and time that the noisy actions were made of.
        objective: `action`: of the action that the velocity leads to; `velocity`: of itself.
    """
    if objective == "action":
        left = 1 - per_frame(draw.time)
        error = draw.noisy(actions, mask) + left * velocity - actions
    else:
        error = velocity - draw.target(actions)
    return masked_mean_per_chunk(error.square(), mask & (per_frame(draw.time) < DATA))


def sampler_steps(steps: int | None, usual: int) -> int:
    """How many steps a sampler takes: the usual number where none is asked for.

    Raises:
        ValueError: Fewer than one, which would give the noise back.
    """
    if steps is None:
        return usual
    if steps < 1:
        raise ValueError(f"steps of the flow's sampler start at 1, got {steps}.")
    return steps


def integrate(velocity: Velocity, noise: Tensor, steps: int, scale: float) -> Tensor:
    """Euler's method from noise to data.

    Args:
        velocity: The field.
        noise: [B, T, D] at flow time 0.
        steps: How many, of equal length.
        scale: The flow time to end at.

    Returns:
        [B, T, D].
    """
    actions, step = noise, scale / steps
    for number in range(steps):
        time = torch.full((len(noise),), number * step, device=noise.device)
        actions = actions + step * velocity(actions, time)
    return actions


def seeded(*key: int) -> torch.Generator:
    """A source of noise that depends on every number of a key."""
    words = np.random.SeedSequence(key).generate_state(1)
    return torch.Generator().manual_seed(int(words[0]))


def draw_noise(
    actions: Tensor, generator: torch.Generator | Sequence[torch.Generator] | None
) -> Tensor:
    """Noise of the shape [B, T, D] of actions, from one source or from one for every robot."""
    if isinstance(generator, Sequence):
        rows = [torch.randn(actions.shape[1:], generator=g, device=g.device) for g in generator]
        return torch.stack(rows)
    place = actions.device if generator is None else generator.device
    return torch.randn(actions.shape, generator=generator, device=place)
