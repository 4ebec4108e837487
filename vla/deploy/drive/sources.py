"""The policy that a robot is driven by: a folder here, or a server elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from vla.deploy.policies.policy import Policy, PolicyDescription
from vla.deploy.robots.kinds import Defaults

if TYPE_CHECKING:
    from vla.action_tokens import ActionTokens

SERVERS = ("ws://", "wss://")


class NotDriven(ValueError):
    """The robot could not be driven, or nobody has said that it may; nothing has moved."""


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
        fast: Whether it acts by the fast path.
        guided: Whether chunks in real time are guided, also where frames could be given.
        key_file: Holds the key of a server; the variable RVQ_ACTION_API_KEY does where None.
    """

    source: str
    embodiment: str | None = None
    cameras: Mapping[str, str] = field(default_factory=dict)
    chunk_s: float | None = None
    steps: int | None = None
    seed: int = 0
    device: str = "cpu"
    fast: bool = False
    guided: bool = False
    key_file: str | None = None

    def __post_init__(self) -> None:
        from vla.deploy.policies.vla_policy import check_sampling
        from vla.device import read_device

        check_sampling(self.steps, self.seed)
        read_device(self.device)


@dataclass(frozen=True)
class Opened:
    """A policy of which everything is known but its weights.

    Attributes:
        about: What it needs, and whose it is.
        load: Makes it ready to act, which may take minutes.
        defaults: What it brings along for the robot.
        seen: float [2, D], the lowest and highest state of its training data; None: not known.
        close: Lets go of it.
        is_here: Whether its network computes in this process.
    """

    about: PolicyDescription
    load: Callable[[], Policy]
    defaults: Defaults
    seen: np.ndarray | None = None
    close: Callable[[], None] = lambda: None
    is_here: bool = False


def open_policy(choice: PolicyChoice) -> Opened:
    """Read what a policy is, or connect to its server.

    Raises:
        NotDriven: The server cannot be reached.
        ValueError: It is none, or cannot act as is wanted.
        KeyError: It has no normalisation for such a robot.
    """
    return _elsewhere(choice) if choice.source.startswith(SERVERS) else _here(choice)


def _here(choice: PolicyChoice) -> Opened:
    from rvq_action.artifact.directory import locate
    from vla.artifact import OUTLINE_PATTERNS, outline
    from vla.deploy.policies.vla_policy import describe

    known = outline(locate(choice.source, None, OUTLINE_PATTERNS))
    config, tokenizer = known.config, known.tokenizer
    about = describe(config, tokenizer, choice.embodiment, choice.cameras, choice.chunk_s)
    has_rows = tokenizer.embodiments[about.embodiment].mapping is not None
    rows = tokenizer.mapping(about.embodiment) if has_rows else None
    brought = Defaults(rows, about.fps, tuple(about.cameras.values()), config.image_size)
    seen = seen_states(tokenizer, about.embodiment)
    return Opened(about, lambda: _load(choice), brought, seen, is_here=True)


def _load(choice: PolicyChoice) -> Policy:
    from vla.deploy.policies.vla_policy import DeployedVLA
    from vla.policy import VLAPolicy

    network = VLAPolicy.from_pretrained(choice.source, choice.device)
    network = network.accelerated() if choice.fast else network
    told = choice.embodiment, choice.cameras, choice.chunk_s, choice.steps, choice.seed
    return DeployedVLA(network, *told, committed_frames=0 if choice.guided else None)


def seen_states(tokenizer: ActionTokens, embodiment: str) -> np.ndarray:
    """float [2, D], the lowest and highest state in training; NaN where there was none."""
    statistics = tokenizer.embodiments[embodiment].statistics.proprio
    is_seen = np.array(statistics.count) > 0
    return np.where(is_seen, [statistics.min, statistics.max], np.nan)


def _elsewhere(choice: PolicyChoice) -> Opened:
    """A server's policy acts as the server was told to."""
    from vla.deploy.policies.remote_connection import PolicyUnavailable
    from vla.deploy.policies.remote_policy import RemotePolicy
    from vla.deploy.server.command import read_key

    own = choice.chunk_s, choice.steps, choice.device, choice.fast, choice.guided
    if own != (None, None, "cpu", False, False):
        raise ValueError(
            "The length of chunks, the sampler's steps, the device, the fast path and the guidance "
            "of a policy behind a server are said where it is served: rvq-vla serve."
        )
    key = read_key(choice.key_file, os.environ)
    try:
        policy = RemotePolicy(choice.source, None, key, choice.cameras, choice.seed)
    except PolicyUnavailable as error:
        raise NotDriven(str(error)) from error
    about = policy.description
    if choice.embodiment not in (None, about.embodiment):
        raise ValueError(
            f"The server's policy acts as {about.embodiment!r}, not as {choice.embodiment!r}."
        )
    brought = Defaults(rate=about.fps, cameras=tuple(about.cameras.values()))
    return Opened(about, lambda: policy, brought, close=policy.close)
