"""Policy: what the control loop asks for the next chunk, whatever is behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from rvq_action.layout import ActionLayout
from vla.deploy.robots.protocol import RobotDescription, RobotObservation


@dataclass(frozen=True)
class Committed:
    """What the robot will go on doing while the next chunk is computed.

    Attributes:
        actions: float64 [n, D] physical, absolute: what the running chunk has for the frames of the
            next one, from its first on.
        delay: d, how many of them will have been executed when the next chunk arrives.
    """

    actions: np.ndarray
    delay: int


@dataclass(frozen=True)
class Request:
    """What a chunk is asked for with.

    Attributes:
        observation: Of the robot.
        instruction: What it is to do.
        number: Of the request in its run, from 0.
        committed: For real-time chunking: the frames that the chunk has to go on from.
        seed: Of the noise, together with the number; the policy's own where None.
    """

    observation: RobotObservation
    instruction: str
    number: int = 0
    committed: Committed | None = None
    seed: int | None = None


@dataclass(frozen=True)
class PolicyDescription:
    """What must be known of a policy before it drives a robot.

    Attributes:
        embodiment: The robot it acts as: whose normalisation it uses.
        layout: The channels of its chunks.
        fps: Frames per second of its chunks [Hz].
        horizon: T, frames of a chunk.
        cameras: Its cameras -> those of the robot.
        real_time: Whether it can go on from committed frames.
    """

    embodiment: str
    layout: ActionLayout
    fps: float
    horizon: int
    cameras: Mapping[str, str] = field(default_factory=dict)
    real_time: bool = False


class Policy(Protocol):
    """Whoever decides."""

    @property
    def description(self) -> PolicyDescription: ...

    def reset(self) -> None:
        """A new run begins."""
        ...

    def act(self, request: Request) -> np.ndarray:
        """A chunk, float [T, D]: physical units, absolute, from the observation's moment on."""
        ...


def check_match(policy: PolicyDescription, robot: RobotDescription) -> None:
    """Refuse a policy that cannot drive a robot.

    Raises:
        ValueError: Says what is missing: a camera, channels, kinematics, or another policy.
    """
    missing = {own: name for own, name in policy.cameras.items() if name not in robot.cameras}
    if missing:
        raise ValueError(
            f"The policy looks through {missing}, but the robot has the cameras "
            f"{sorted(robot.cameras)}. Say which of them stands for each."
        )
    if policy.layout != robot.layout:
        _refuse_layouts(policy.layout, robot.layout)
    if policy.embodiment != robot.embodiment:
        raise ValueError(
            f"The policy acts as {policy.embodiment!r}, with the normalisation of that robot; this "
            f"one is {robot.embodiment!r}. Choose the embodiment that it was trained on."
        )


def _refuse_layouts(policy: ActionLayout, robot: ActionLayout) -> None:
    gives_poses, takes_poses = (bool(layout.rotation_blocks) for layout in (policy, robot))
    if gives_poses and not takes_poses:
        raise ValueError(
            f"The policy gives poses of an end effector ({policy.name!r}), but the robot takes "
            f"joints ({robot.name!r}: {', '.join(robot.names)}). That takes inverse kinematics "
            "from the robot's URDF, which there is none of here: train on joints, or drive the "
            "robot by an interface of its own that takes poses."
        )
    if takes_poses and not gives_poses:
        raise ValueError(
            f"The policy gives joints ({policy.name!r}), but the robot takes poses of an end "
            f"effector ({robot.name!r}) and tells none of its joints, which the policy acts "
            "relative to. Drive the robot by its joints."
        )
    differing = sorted({c.name for c in policy.channels} ^ {c.name for c in robot.channels})
    raise ValueError(
        f"The policy's channels ({policy.name!r}) are not the robot's ({robot.name!r}): "
        f"{differing or 'same names, other units, groups or order'}. Use the mapping of the "
        "dataset that the policy was trained on for both."
    )
