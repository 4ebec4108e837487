"""LeRobotArm: any `lerobot.robots.Robot` (SO-101, Koch, ALOHA, ...); all that is known of LeRobot.

LeRobot's robots give and take numbers by name (`shoulder_pan.pos`); the mapping of the dataset that
was recorded with the robot says which channels they are.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rvq_action.data.mapping import Mapping as ChannelMapping
from rvq_action.data.rows import RowMapping
from vla.deploy.robots.lerobot_silence import check_unit, keep_power
from vla.deploy.robots.protocol import RobotDescription, RobotError, RobotObservation
from vla.deploy.robots.stance import Stance
from vla.deploy.safety.limits import Limits


def build(
    config: Mapping[str, Any],
    modules: Sequence[str] = (),
    mapping: ChannelMapping | None = None,
) -> Any:
    """A LeRobot robot from its own configuration.

    Args:
        config: As LeRobot writes it: `{"type": "so101_follower", "port": ..., "cameras": ...}`.
        modules: To import first, since LeRobot knows only robots and cameras that have been:
            `lerobot.robots.so_follower`, `lerobot.cameras.opencv`, a plugin of your own.
        mapping: Of its dataset, whose unit is held against LeRobot's; see `check_unit`.

    Returns:
        The robot. Unless its configuration asks for it, an arm is not let go of in the end.

    Raises:
        ImportError: One of the modules is not installed.
        ValueError: LeRobot is not, or refuses the configuration; or its unit is not known.
    """
    try:
        import draccus
        from lerobot.robots import RobotConfig, make_robot_from_config
    except ModuleNotFoundError as error:
        raise ValueError(
            f"LeRobot drives this robot, and is not installed here ({error}). Install it beside "
            "this library, as docs/lerobot.md says."
        ) from error
    for module in modules:
        importlib.import_module(module)
    with _refusals(config, modules):
        decoded = draccus.decode(RobotConfig, dict(config))
    keep_power(decoded, config)
    if mapping is not None:
        check_unit(decoded, config, mapping)
    with _refusals(config, modules):
        return make_robot_from_config(decoded)


@contextlib.contextmanager
def _refusals(config: Mapping[str, Any], modules: Sequence[str]) -> Iterator[None]:
    """LeRobot's errors, as one that says what was asked of it."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"LeRobot cannot build a robot of {dict(config)}: {type(error).__name__}: {error}. "
            f"Robots and cameras of the modules {list(modules)} are known; name the missing ones."
        ) from error


class LeRobotArm:
    """A LeRobot robot.

    Args:
        robot: The robot, not connected; see `build`.
        rows: The mapping of its dataset: `policy.tokenizer.mapping("so101")`.
        rate: Commands per second.
        limits: What it may be told.
        motors: Names of the mapping's numbers -> the robot's, where they differ.
        cameras: Names of cameras -> the robot's; all of them by their own names where None.
        now: The time of the loop.

    Raises:
        ValueError: The mapping does not speak of this robot's motors, or it has no such camera.
    """

    def __init__(
        self,
        robot: Any,
        rows: RowMapping,
        rate: float,
        limits: Limits | None = None,
        motors: Mapping[str, str] | None = None,
        cameras: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._robot, self._rows, self._now = robot, rows, now
        self._motors = dict(motors or {})
        seen = robot.observation_features
        pictures = {name: shape for name, shape in seen.items() if isinstance(shape, tuple)}
        self._cameras = dict(cameras) if cameras is not None else {n: n for n in pictures}
        self._check_cameras(pictures)
        self._check_motors(set(seen), set(robot.action_features))
        sizes = {name: tuple(pictures[key][:2]) for name, key in self._cameras.items()}
        self.description = RobotDescription.mapped(rows.mapping, rate, sizes, limits)
        self._stance = Stance(rows.mapping.layout)

    def connect(self) -> None:
        """Connect, without ever calibrating: that moves the arm by hand and asks questions.

        LeRobot writes the motors' settings without torque: the arm may sag for a moment. It is read
        once, so that it can be stopped whenever that may be.

        Raises:
            RobotError: It cannot be reached or read, or is not calibrated.
        """
        self._stance = Stance(self.description.layout)
        try:
            self._robot.connect(calibrate=False)
        except Exception as error:
            raise RobotError(f"{self._robot} cannot be reached: {error}") from error
        if not self._robot.is_calibrated:
            self.disconnect()
            raise RobotError(f"{self._robot} is not calibrated. Run lerobot-calibrate first.")
        try:
            self.observe()
        except Exception as error:
            self.disconnect()
            raise RobotError(f"{self._robot} cannot be read: {error}") from error

    def observe(self) -> RobotObservation:
        begin = self._now()
        seen = self._robot.get_observation()
        numbers = {own: seen[name] for own, name in self._names("state").items()}
        proprio = self._rows.read_proprio(numbers)
        self._stance.saw(proprio)
        images = {name: np.asarray(seen[key]) for name, key in self._cameras.items()}
        return RobotObservation(begin, proprio.astype(np.float32), images)

    def send(self, command: np.ndarray) -> None:
        self._robot.send_action(self._named(command))
        self._stance.told(command)

    def hold(self, command: np.ndarray | None) -> None:
        """Under power, where it was told to be or, if it was told nothing, where it stands.

        Raises:
            RobotError: Neither is known, and it has no velocities that could be ended.
        """
        if command is None:
            self._rest()
        else:
            self.send(command)

    def stop(self) -> None:
        """Under power where it was told to be last, which does not take reading it; an arm that is
        let go of falls. Errors as `hold`."""
        self._rest()

    def disconnect(self) -> None:
        """Under power all the same, as `build` has it."""
        if self._robot.is_connected:
            self._robot.disconnect()

    def _rest(self) -> None:
        """Where its places are not known at least its velocities are ended."""
        named = self._named(self._stance.rest())
        known = {name: value for name, value in named.items() if math.isfinite(value)}
        if not known:
            raise RobotError(f"{self._robot} does not say where it stands, and was told nothing.")
        self._robot.send_action(known)

    def _named(self, command: np.ndarray) -> dict[str, float]:
        """A command [D] by the robot's names."""
        written, columns = self._rows.write_actions(command), self._rows.columns
        values = {n: v for f, row in written.items() for n, v in zip(columns[f], row, strict=True)}
        return {name: float(values[own]) for own, name in self._names("action").items()}

    def _names(self, kind: str) -> dict[str, str]:
        """The mapping's numbers that are read or written -> the robot's names."""
        mapping = self._rows.mapping
        terms = mapping.action if kind == "action" else mapping.proprio
        used = [
            self._rows.columns[term.feature][i]
            for term in terms
            for i in term.positions(self._rows.columns.__getitem__)
        ]
        return {own: self._motors.get(own, own) for own in used}

    def _check_motors(self, seen: set[str], actions: set[str]) -> None:
        reads, writes = (set(self._names(kind).values()) for kind in ("state", "action"))
        if unknown := sorted((reads - seen) | (writes - actions)):
            raise ValueError(
                f"The mapping of {self._rows.mapping.embodiment!r} speaks of {unknown}, which the "
                f"robot does not have: it gives {sorted(seen)} and takes {sorted(actions)}. Name "
                "its motors under `motors`."
            )
        if missing := sorted(actions - writes):
            raise ValueError(
                f"The robot takes {missing}, which the mapping of "
                f"{self._rows.mapping.embodiment!r} says nothing of. Use the mapping of a dataset "
                "that was recorded with this robot."
            )

    def _check_cameras(self, pictures: Mapping[str, tuple]) -> None:
        if unknown := {n: key for n, key in self._cameras.items() if key not in pictures}:
            raise ValueError(f"The robot has the cameras {sorted(pictures)}, not {unknown}.")
