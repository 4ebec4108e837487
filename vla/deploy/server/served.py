"""ServedPolicy: what a policy server needs of a policy. `DeployedVLA` is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from rvq_action.rotation import matrix_to_rot6d
from vla.deploy.policies.policy import PolicyDescription, Request
from vla.deploy.robots.protocol import RobotObservation


class ServedPolicy(Protocol):
    """A policy for several robots of one kind at once, which remembers none of them."""

    @property
    def description(self) -> PolicyDescription:
        """Its robot's cameras are named as clients name them."""
        ...

    @property
    def image_size(self) -> int:
        """Pixels per side of the pictures that it sees."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """The channels of the state that it must be told; others may be NaN."""
        ...

    @property
    def fingerprint(self) -> str:
        """Tells it apart from others of the same description."""
        ...

    def check(self, instruction: str) -> None:
        """Refuse what it cannot be told, before it is asked.

        Raises:
            ValueError: Says why.
        """
        ...

    def act_many(self, requests: Sequence[Request]) -> list[np.ndarray]:
        """A chunk [T, D] for each, none dependent on the others."""
        ...


def first_request(policy: ServedPolicy) -> Request:
    """Something to warm a policy up with: grey pictures, a state of zeros and no rotations."""
    about, size = policy.description, policy.image_size
    state = np.zeros(about.layout.width, dtype=np.float32)
    for block in about.layout.rotation_blocks:
        state[block] = matrix_to_rot6d(torch.eye(3)).numpy()
    grey = np.full((size, size, 3), 128, dtype=np.uint8)
    images = dict.fromkeys(about.cameras.values(), grey)
    return Request(RobotObservation(0.0, state, images), "warm up")
