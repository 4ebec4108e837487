"""A recorded episode as a policy, and how well a robot follows it.

The classic check before a policy of any kind: what has been done once must come out again, through
the same limits and the same loop. Joints that go the wrong way, grippers that are upside down and
units that are others show here, at a fifth of the speed.

    approach          the episode
    |0 ......... n-1| n n+1 ... n+N-1|     from where the robot stands to where the episode begins
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from rvq_action.data.dataset import RobotDataset
from vla.deploy.playing.chunking import straight
from vla.deploy.policies.policy import PolicyDescription, Request
from vla.deploy.report import Reason
from vla.deploy.safety.rates import rate_channels, state_unit
from vla.deploy.witness import Step

MISSED = 3
"""The last periods of an episode that may pass without a command."""


class RecordedPolicy:
    """Plays one episode, once, as a single chunk.

    Args:
        dataset: Read through its mapping.
        episode: Its number.
        approach_s: Of the way from where the robot stands to where the episode begins [s].

    Raises:
        ValueError: It has no such episode, or channels of the robot are not recorded.
    """

    def __init__(self, dataset: RobotDataset, episode: int = 0, approach_s: float = 0.0) -> None:
        if not 0 <= episode < dataset.reader.num_episodes:
            last = dataset.reader.num_episodes - 1
            raise ValueError(f"{dataset.path} has episodes 0..{last}, not {episode}.")
        recorded = dataset.episodes[episode]
        layout = dataset.layout
        if not recorded.mask.all():
            missing = [n for n, known in zip(layout.names, recorded.mask, strict=True) if not known]
            raise ValueError(
                f"{dataset.path} does not say what to do with {missing}: its mapping leaves them "
                "out. A robot cannot be driven by it."
            )
        self.actions = recorded.actions.astype(np.float64)
        self.states = np.where(recorded.proprio_mask, recorded.proprio, np.nan)
        self.instruction = recorded.task or "play a recording"
        self.approach = round(approach_s * dataset.fps)
        frames = self.approach + len(self.actions)
        self.description = PolicyDescription(dataset.embodiment, layout, dataset.fps, frames)

    def reset(self) -> None:
        """It always plays the same."""

    def act(self, request: Request) -> np.ndarray:
        """float64 [T, D]: all of it.

        Raises:
            ValueError: It was interrupted: its beginning does not follow from where the robot is.
        """
        if request.number:
            raise ValueError("The replay was interrupted. Replay it from where it begins.")
        return np.concatenate([self._approach(request.observation.proprio), self.actions])

    def _approach(self, state: np.ndarray) -> np.ndarray:
        """float64 [n, D]: in a straight line; what is a velocity, or not known, does not move."""
        layout, first = self.description.layout, self.actions[0]
        begin = np.where(np.isfinite(state), state, first)
        shares = np.arange(self.approach) / max(self.approach, 1)
        way = [straight(begin + share * (first - begin), layout) for share in shares]
        return np.where(rate_channels(layout), 0.0, np.reshape(way, (-1, layout.width)))


@dataclass
class Tracking:
    """Looks where the robot is while it is told what it did then: a `Witness`.

    Attributes:
        policy: What is played.
        errors: float64 [D] of every period of the episode: where it was less where it had been.
        is_over: Whether the last frame has been told, or was due where no command was.
        told: The last frame that was told.
        stride: Frames from that one to the one before.
    """

    policy: RecordedPolicy
    errors: list[np.ndarray] = field(default_factory=list)
    is_over: bool = False
    told: float = 0.0
    stride: float = 0.0
    problem = ""

    def step(self, step: Step) -> None:
        last = self.policy.description.horizon - 1
        if step.due is None and step.problem and step.problem.reason is Reason.LATE:
            self.is_over |= self.told + MISSED * self.stride > last
        if step.due is None or step.observation is None:
            return
        self.told, self.stride = step.due.frame, step.due.frame - self.told
        self.is_over |= self.told >= last
        frame = step.due.frame - self.policy.approach
        if frame < 0:
            return
        states = self.policy.states
        before = min(int(frame), len(states) - 1)
        after, share = min(before + 1, len(states) - 1), frame - before
        expected = (1 - share) * states[before] + share * states[after]
        self.errors.append(step.observation.proprio - expected)

    def event(self, time: float, kind: str, detail: str) -> None:
        """Nothing is made of it."""

    def lines(self) -> Iterator[str]:
        """Mean and largest distance, channel by channel."""
        if not self.errors:
            return
        yield f"{'channel':<20} {'unit':<11} {'off by, mean':>12} {'largest':>12}"
        distances = np.abs(self.errors)
        for index, channel in enumerate(self.policy.description.layout.channels):
            column = distances[:, index]
            known = column[np.isfinite(column)]
            if len(known):
                told = f"{known.mean():>12.4g} {known.max():>12.4g}"
                yield f"{channel.name:<20} {state_unit(channel):<11} {told}"
