"""The policy that a robot is driven by: a folder here, or a server elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vla.deploy.policy import Policy
from vla.deploy.robots.kinds import Defaults

SERVERS = ("ws://", "wss://")


@dataclass(frozen=True)
class PolicyChoice:
    """Which policy, and how it acts.

    Attributes:
        source: Its folder, the id of a repository of the hub, or the address of a server.
        embodiment: The robot it acts as; may be left out where it knows only one.
        cameras: Its cameras -> those of the robot, where their names differ.
        chunk_s: Of a chunk [s]; the action tokenizer's where None.
        steps: Of the sampler; the policy's own where None.
        seed: Of the noise.
        device: Of the network.
    """

    source: str
    embodiment: str | None = None
    cameras: Mapping[str, str] = field(default_factory=dict)
    chunk_s: float | None = None
    steps: int | None = None
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class Opened:
    """A policy that is ready to act.

    Attributes:
        policy: The policy.
        defaults: What it brings along for the robot.
        seen: float [2, D], the lowest and highest state of its training data; None: not known.
    """

    policy: Policy
    defaults: Defaults
    seen: np.ndarray | None = None


def open_policy(choice: PolicyChoice) -> Opened:
    """Load a policy, or connect to its server.

    Raises:
        ValueError: It is none, or cannot act as is wanted.
        KeyError: It has no normalisation for such a robot.
    """
    return _elsewhere(choice) if choice.source.startswith(SERVERS) else _here(choice)


def _here(choice: PolicyChoice) -> Opened:
    from vla.deploy.vla_policy import DeployedVLA
    from vla.policy import VLAPolicy

    network = VLAPolicy.from_pretrained(choice.source, choice.device)
    told = choice.embodiment, choice.cameras, choice.chunk_s, choice.steps, choice.seed
    policy = DeployedVLA(network, *told)
    known = network.tokenizer.embodiments[policy.embodiment]
    rows = None if known.mapping is None else network.tokenizer.mapping(policy.embodiment)
    views = tuple(policy.cameras.values())
    statistics = known.statistics.proprio
    is_seen = np.array(statistics.count) > 0
    seen = np.where(is_seen, [statistics.min, statistics.max], np.nan)
    return Opened(policy, Defaults(rows, policy.fps, views, network.config.image_size), seen)


def _elsewhere(choice: PolicyChoice) -> Opened:
    """A server's policy acts as the server was told to."""
    from vla.deploy.remote_policy import RemotePolicy

    if choice.chunk_s is not None or choice.steps is not None or choice.device != "cpu":
        raise ValueError(
            "The length of chunks, the sampler's steps and the device of a policy behind a server "
            "are said where it is served: rvq-vla serve."
        )
    policy = RemotePolicy(choice.source, cameras=choice.cameras)
    about = policy.description
    if choice.embodiment not in (None, about.embodiment):
        raise ValueError(
            f"The server's policy acts as {about.embodiment!r}, not as {choice.embodiment!r}."
        )
    return Opened(policy, Defaults(rate=about.fps, cameras=tuple(about.cameras.values())))


def camera_names(words: Sequence[str]) -> dict[str, str]:
    """`policy=robot` -> its camera: the robot's.

    Raises:
        ValueError: A word is no such pair.
    """
    pairs = [word.partition("=") for word in words]
    if wrong := ["".join(pair) for pair in pairs if not (pair[0] and pair[2])]:
        raise ValueError(f"Cameras are given as POLICY=ROBOT, got {wrong}.")
    return {name: own for name, _, own in pairs}
