"""`--env.type=rvq_sawyer`: Meta-World as an environment of LeRobot's, as our datasets see it."""

import atexit
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

from lerobot_policy_rvq.refusals import said_aloud
from vla.deploy.robots.metaworld import ACTION_NAMES, STATE_NAMES, MetaWorldRobot
from vla.deploy.robots.metaworld_tasks import INSTRUCTIONS, check_task

GYM_ID = "lerobot_policy_rvq/Sawyer-v0"


@EnvConfig.register_subclass("rvq_sawyer")
@dataclass
class SawyerEnvConfig(EnvConfig):
    """One Meta-World task.

    Attributes:
        task: Meta-World's name of it.
        fps: Control steps that count as a second.
        image_size: Pixels per side.
        camera_names: Meta-World's cameras.
        episode_length: Steps after which an episode has failed.
    """

    task: str | None = "drawer-close-v3"
    fps: int = 20
    image_size: int = 112
    camera_names: tuple[str, ...] = ("corner3", "gripperPOV")
    episode_length: int = 200
    features: dict[str, PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with said_aloud():
            check_task(str(self.task))
        shape = (self.image_size, self.image_size, 3)
        self.features = {
            ACTION: PolicyFeature(FeatureType.ACTION, (len(ACTION_NAMES),)),
            "agent_pos": PolicyFeature(FeatureType.STATE, (len(STATE_NAMES),)),
        } | {f"pixels/{c}": PolicyFeature(FeatureType.VISUAL, shape) for c in self.camera_names}
        seen = {f"pixels/{c}": f"{OBS_IMAGES}.{c}" for c in self.camera_names}
        self.features_map = {ACTION: ACTION, "agent_pos": OBS_STATE} | seen

    @property
    def package_name(self) -> str:
        return GYM_ID.split("/")[0]

    @property
    def gym_id(self) -> str:
        return GYM_ID

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "image_size": self.image_size,
            "cameras": tuple(self.camera_names),
            "episode_length": self.episode_length,
            "fps": self.fps,
        }


class SawyerEnv(gymnasium.Env):
    """A Meta-World task, to be evaluated on.

    Args:
        task: Meta-World's name of it.
        image_size: Pixels per side.
        cameras: Meta-World's cameras; videos are of the first.
        episode_length: Steps after which an episode has failed.
        fps: Of the videos.
    """

    def __init__(
        self, task: str, image_size: int, cameras: tuple[str, ...], episode_length: int, fps: int
    ) -> None:
        self.task, self.task_description = task, INSTRUCTIONS[task]
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": fps}
        self.render_mode = "rgb_array"
        self._max_episode_steps, self._steps = episode_length, 0
        self._world = MetaWorldRobot(task, image_size, cameras)
        atexit.register(self.close)  # before OpenGL ends, whoever forgets
        picture = spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        state = spaces.Box(-np.inf, np.inf, (len(STATE_NAMES),), np.float32)
        pixels = spaces.Dict(dict.fromkeys(cameras, picture))
        self.observation_space = spaces.Dict({"pixels": pixels, "agent_pos": state})
        self.action_space = spaces.Box(-1.0, 1.0, (len(ACTION_NAMES),), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Draw a start from a seed, or the next one."""
        super().reset(seed=seed)
        start = int(self.np_random.integers(2**31)) if seed is None else seed
        self._world.reset(start)
        self._steps = 0
        return self._observe(), {"is_success": False}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take a control step; the reward is 1 when the task is solved."""
        solved = self._world.step(np.clip(action, -1.0, 1.0))
        self._steps += 1
        late = self._steps >= self._max_episode_steps
        return self._observe(), float(solved), solved, late, {"is_success": solved}

    def render(self) -> np.ndarray:
        """What the first camera sees."""
        return next(iter(self._world.images().values()))

    def close(self) -> None:
        """Free the world."""
        self._world.close()

    def _observe(self) -> dict[str, Any]:
        images = {name: np.ascontiguousarray(i) for name, i in self._world.images().items()}
        return {"pixels": images, "agent_pos": self._world.state()}


gymnasium.register(
    GYM_ID,
    entry_point=f"{SawyerEnv.__module__}:{SawyerEnv.__name__}",
    disable_env_checker=True,
    order_enforce=False,
)
