"""MetaWorldRobot: one Meta-World task as a robot with cameras, and its scripted expert.

Conventions of the simulator, kept as they are:
  action [4]   dx, dy, dz in units of STEP_M per control step, gripper -1 = open .. 1 = closed
  state  [4]   hand x, y, z in m, gripper opening 0 = closed .. 1 = open (0.1 m)
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from vla.deploy.robots.look_alike import check_look_alike, disguise
from vla.deploy.robots.metaworld_tasks import INSTRUCTIONS, check_task
from vla.deploy.robots.rendering import select_backend

ROBOT_TYPE = "metaworld_sawyer"
STEP_M = 0.01
"""What an action of 1 asks of the hand in one control step, in m."""
ACTION_NAMES = ("dx", "dy", "dz", "gripper")
STATE_NAMES = ("hand_x", "hand_y", "hand_z", "gripper_opening")
CAMERAS = ("topview", "corner", "corner2", "corner3", "corner4", "behindGripper", "gripperPOV")
OBJECT, GOAL = slice(4, 7), slice(36, 39)
"""Where the simulator's own observation has the object and the goal, x, y, z in m."""
INFO_SIGNALS = (
    *("success", "near_object", "grasp_success", "grasp_reward"),
    *("in_place_reward", "obj_to_target", "unscaled_reward"),
)
DISTANCES = ("hand_to_object", "hand_to_goal", "object_to_goal")
SIGNALS = (*INFO_SIGNALS, *DISTANCES)
"""What `MetaWorldRobot.signals` tells: the simulator's info, and distances in m."""
UPSIDE_DOWN = frozenset({"corner", "corner2", "corner3", "corner4"})
"""Cameras whose pictures Meta-World renders upside down; they are turned here."""


def check_cameras(cameras: Sequence[str]) -> None:
    """Refuse cameras that Meta-World does not have.

    Raises:
        ValueError: Names those, and those that it has.
    """
    if unknown := sorted(set(cameras) - set(CAMERAS)):
        raise ValueError(f"Meta-World has no camera {unknown}; it has {list(CAMERAS)}.")


class MetaWorldRobot:
    """A simulated Sawyer arm in front of one Meta-World task.

    Args:
        task: Name of the task, such as `drawer-close-v3`.
        image_size: Height and width of the pictures in pixels.
        cameras: Which of Meta-World's cameras to render.
        look_alike: Make the task look like the others of `LOOK_ALIKE`.

    Raises:
        ValueError: Meta-World has no such task or camera, or the task cannot look like others.
        RenderingUnavailable: No OpenGL backend works on this machine.
    """

    def __init__(
        self, task: str, image_size: int, cameras: Sequence[str], look_alike: bool = False
    ) -> None:
        check_task(task)
        if look_alike:
            check_look_alike(task)
        check_cameras(cameras)
        select_backend()
        self.instruction = INSTRUCTIONS[task]
        self._cameras = tuple(cameras)
        self._environment = _make_environment(task)
        if look_alike:
            disguise(self._environment)
        self._renderer = _make_renderer(self._environment.model, image_size)
        self._expert = _make_expert(task)
        self._observation = np.zeros(0)
        self._info: dict[str, float] = {}

    def reset(self, seed: int) -> None:
        """Draw a new start (object and goal) from a seed."""
        self._environment.seed(seed)
        self._observation, _ = self._environment.reset()
        self._info = {}

    def state(self) -> np.ndarray:
        """Proprio [4] float32."""
        return self._observation[:4].astype(np.float32)

    def images(self) -> dict[str, np.ndarray]:
        """A uint8 RGB picture [H, W, 3] per camera."""
        return {camera: self._render(camera) for camera in self._cameras}

    def expert_action(self) -> np.ndarray:
        """What the scripted expert does now, [4] float32 within [-1, 1].

        The expert asks for more than the simulator's range; the simulator clips, and so the
        clipped action is the one that is executed.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Constant.s. may be too high")
            action = self._expert.get_action(self._observation)
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def step(self, action: np.ndarray) -> bool:
        """Execute an action [4] for one control step.

        Returns:
            Whether the task is solved.
        """
        self._observation, _, _, _, self._info = self._environment.step(action)
        return bool(self._info["success"])

    def signals(self) -> dict[str, float]:
        """How far the task is, by `SIGNALS`; no policy sees it.

        Nothing before the first step: after a reset some tasks still tell of the scene before.
        """
        if not self._info:
            return {}
        hand, thing, goal = (self._observation[part] for part in (slice(3), OBJECT, GOAL))
        pairs = zip(DISTANCES, ((hand, thing), (hand, goal), (thing, goal)), strict=True)
        distances = {name: float(np.linalg.norm(a - b)) for name, (a, b) in pairs}
        return {name: float(value) for name, value in self._info.items()} | distances

    def close(self) -> None:
        """Free the OpenGL context."""
        self._renderer.close()

    def __enter__(self) -> MetaWorldRobot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _render(self, camera: str) -> np.ndarray:
        self._renderer.update_scene(self._environment.data, camera)
        picture = self._renderer.render()
        return picture[::-1, ::-1] if camera in UPSIDE_DOWN else picture


def _make_environment(task: str):
    """The task with its goal in the expert's observation and a fresh start on every reset."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE

    kind: Any = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f"{task}-goal-observable"]
    environment = kind(seed=0)
    environment._freeze_rand_vec = False
    environment.seeded_rand_vec = True
    return environment


def _make_expert(task: str):
    from metaworld.policies import ENV_POLICY_MAP

    kind: Any = ENV_POLICY_MAP[task]
    return kind()


def _make_renderer(model, image_size: int):
    """A renderer without multisampling, shadows and reflections: about ten times the speed."""
    import mujoco

    model.vis.quality.offsamples = 0
    model.vis.quality.shadowsize = 0
    for side in ("offwidth", "offheight"):
        setattr(model.vis.global_, side, max(image_size, getattr(model.vis.global_, side)))
    renderer = mujoco.Renderer(model, image_size, image_size)
    for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
        renderer.scene.flags[flag] = False
    return renderer
