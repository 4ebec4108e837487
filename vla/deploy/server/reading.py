"""From a client's message to a request, held against what the policy has declared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from vla.deploy.policies.policy import Committed, Request
from vla.deploy.robots.protocol import RobotObservation
from vla.deploy.server.declaration import (
    COMMITTED,
    DELAY,
    MAX_PROMPT,
    NUMBER,
    PROMPT,
    SEED,
    Declaration,
)
from vla.images import Image, fit

LARGEST = 2**63 - 1
LONGEST = 4096
"""Committed frames; no chunk is nearly as long."""


@dataclass(frozen=True)
class RequestReader:
    """Reads messages for one policy.

    Attributes:
        declaration: What it wants.
        check: Refuses an instruction that it cannot be told by a ValueError.
    """

    declaration: Declaration
    check: Callable[[str], None]

    @cached_property
    def wanted(self) -> tuple[str, ...]:
        """The keys that every message has."""
        return tuple(self.declaration.to_metadata()["observation"])

    def unknown(self, message: dict[Any, Any]) -> list[str]:
        """Keys that are not read: they are let be, as openpi's servers do."""
        known = {*self.wanted, *self.declaration.to_metadata()["optional"]}
        return sorted(str(key) for key in message if key not in known)

    def read(self, message: Any, number: int, now: float) -> Request:
        """A request.

        Args:
            message: As it was unpacked.
            number: Of the request, where the message does not say.
            now: When it came [s].

        Raises:
            ValueError: Names what is missing or wrong, and what was expected.
        """
        if not isinstance(message, dict):
            raise ValueError(f"an observation is a map, got {type(message).__name__}")
        if missing := [key for key in self.wanted if key not in message]:
            has = sorted(map(str, message))
            raise ValueError(f"the observation lacks {missing}; it has {has}")
        state = self._state(message[self.declaration.state_key])
        cameras = dict.fromkeys(self.declaration.policy.cameras.values())
        keys = {name: self.declaration.image_key(name) for name in cameras}
        images = {name: self._image(message[key], key) for name, key in keys.items()}
        told = RobotObservation(now, state, images), self._prompt(message[PROMPT])
        numbers = _whole(message.get(NUMBER, number), NUMBER)
        seed = None if message.get(SEED) is None else _whole(message[SEED], SEED)
        return Request(*told, numbers, self._committed(message), seed)

    def _state(self, value: Any) -> np.ndarray:
        """float32 [D]."""
        key, layout = self.declaration.state_key, self.declaration.policy.layout
        state = _numbers(value, key)
        if state.shape != (layout.width,):
            raise ValueError(
                f"{key!r} must be [{layout.width}] numbers ({', '.join(layout.names)}), got an "
                f"array {list(state.shape)}"
            )
        with np.errstate(over="ignore"):
            state = state.astype(np.float32)
        named = dict(zip(layout.names, state, strict=True))
        if wrong := [n for n, x in named.items() if np.isinf(x)]:
            raise ValueError(f"{key!r} is infinite for {wrong}")
        if wrong := [n for n in self.declaration.needs if np.isnan(named[n])]:
            raise ValueError(f"{key!r} is NaN for {wrong}, which the policy has to know")
        return state

    def _image(self, value: Any, key: str) -> Image:
        """uint8 [S, S, 3] of uint8 [H, W, 3] or [3, H, W]."""
        is_array = isinstance(value, np.ndarray)
        if not is_array or not _is_picture(value):
            found = f"{value.dtype} {list(value.shape)}" if is_array else type(value).__name__
            raise ValueError(f"{key!r} must be a uint8 array [H, W, 3] or [3, H, W], got {found}")
        view = value if value.shape[2] == 3 else value.transpose(1, 2, 0)
        return fit(view, self.declaration.image_size)

    def _prompt(self, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            found = str(value)[:40]
            raise ValueError(f"{PROMPT!r} must be a text that says what to do, got {found!r}")
        if len(value) > MAX_PROMPT:
            told = f"{PROMPT!r} has {len(value)} characters"
            raise ValueError(f"{told}; at most {MAX_PROMPT} are read")
        self.check(value)
        return value

    def _committed(self, message: dict[Any, Any]) -> Committed | None:
        frames, delay = message.get(COMMITTED), message.get(DELAY)
        if frames is None and delay is None:
            return None
        if frames is None or delay is None:
            raise ValueError(f"{COMMITTED!r} and {DELAY!r} go together")
        if not self.declaration.policy.real_time:
            raise ValueError(f"the policy cannot go on from {COMMITTED!r} frames")
        width, actions = self.declaration.policy.layout.width, _numbers(frames, COMMITTED)
        if actions.shape[1:] != (width,) or not 0 < len(actions) <= LONGEST:
            raise ValueError(f"{COMMITTED!r} must be [n, {width}], got {list(actions.shape)}")
        if not np.isfinite(actions).all():
            raise ValueError(f"{COMMITTED!r} holds numbers that are not finite")
        if _whole(delay, DELAY) > len(actions):
            raise ValueError(f"{DELAY!r} is {delay}, but {COMMITTED!r} has {len(actions)} frames")
        return Committed(actions, int(delay))


def _is_picture(value: np.ndarray) -> bool:
    is_three_wide = value.ndim == 3 and 3 in (value.shape[0], value.shape[2])
    return value.dtype == np.uint8 and is_three_wide and value.size > 0


def _numbers(value: Any, key: str) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or not value.ndim:
        found = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"{key!r} must be an array of numbers, got {found}")
    return value.astype(np.float64)


def _whole(value: Any, key: str) -> int:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole or not 0 <= value <= LARGEST:
        raise ValueError(f"{key!r} must be a whole number from 0 on, got {str(value)[:40]!r}")
    return int(value)
