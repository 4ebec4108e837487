"""Is what the robot says to be believed: complete, fresh, and do its cameras live?"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np

from vla.deploy.robots.protocol import RobotDescription, RobotObservation


@dataclass
class ObservationChecks:
    """Looks at one observation after the other.

    Attributes:
        robot: Whose they are.
        stale_after: Age of an observation [s] from which it is not to be acted on.
        frozen_after: Time [s] for which a live camera may show the same picture.
    """

    robot: RobotDescription
    stale_after: float
    frozen_after: float
    _known: np.ndarray | None = None
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)

    def problem(self, observation: RobotObservation, now: float) -> str:
        """What is wrong with an observation, empty where nothing is."""
        return (
            self._shape(observation)
            or self._state(observation)
            or self._age(observation, now)
            or self._frozen(observation, now)
        )

    def _shape(self, observation: RobotObservation) -> str:
        width = self.robot.layout.width
        if np.shape(observation.proprio) != (width,):
            return f"the state has the shape {np.shape(observation.proprio)} instead of ({width},)"
        for name, size in self.robot.cameras.items():
            image = observation.images.get(name)
            if image is None:
                return f"there is no picture of the camera {name!r}"
            if image.shape != (*size, 3) or image.dtype != np.uint8:
                found = f"{image.dtype} {list(image.shape)}"
                return f"the picture of {name!r} is {found} instead of uint8 {[*size, 3]}"
        return ""

    def _state(self, observation: RobotObservation) -> str:
        """What was known at first has to stay known."""
        known = np.isfinite(observation.proprio)
        if self._known is None:
            self._known = known
        lost = self._known & ~known
        names = [
            name for name, is_lost in zip(self.robot.layout.names, lost, strict=True) if is_lost
        ]
        return f"the state of {names} is not a number" if names else ""

    def _age(self, observation: RobotObservation, now: float) -> str:
        age = now - observation.time
        return f"the observation is {age:.3f} s old" if age > self.stale_after else ""

    def _frozen(self, observation: RobotObservation, now: float) -> str:
        """Every camera is looked at, so that each one's time counts."""
        if not self.robot.live_cameras:
            return ""
        frozen = [n for n in self.robot.cameras if self._stands(n, observation.images[n], now)]
        return (
            f"the picture of {frozen} has not changed for {self.frozen_after} s" if frozen else ""
        )

    def _stands(self, camera: str, image: np.ndarray, now: float) -> bool:
        digest = zlib.crc32(np.ascontiguousarray(image).data)
        before, since = self._seen.get(camera, (None, now))
        if digest != before:
            since = now
        self._seen[camera] = digest, since
        return now - since >= self.frozen_after
