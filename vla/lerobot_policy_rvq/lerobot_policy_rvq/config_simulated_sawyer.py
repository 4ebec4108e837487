"""`--robot.type=rvq_simulated_sawyer`: the options of a simulated arm."""

from dataclasses import dataclass

from lerobot.robots.config import RobotConfig


@RobotConfig.register_subclass("rvq_simulated_sawyer")
@dataclass(kw_only=True)
class SimulatedSawyerConfig(RobotConfig):
    """Meta-World's arm as a robot that LeRobot drives.

    Attributes:
        task: Meta-World's name of the task.
        image_size: Pixels per side.
        camera_names: Meta-World's cameras.
        seed: Of the first start; every next one has the next number.
        kinds_in_names: Let the names of numbers end in .pos and .vel: `lerobot-rollout` passes
            over all others.
    """

    task: str = "drawer-close-v3"
    image_size: int = 112
    camera_names: tuple[str, ...] = ("corner3", "gripperPOV")
    seed: int = 0
    kinds_in_names: bool = False
