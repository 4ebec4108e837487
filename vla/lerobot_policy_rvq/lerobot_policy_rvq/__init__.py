"""`rvq-action` inside LeRobot: importing this registers what the plugin brings.

LeRobot imports every installed distribution whose name starts with `lerobot_policy_`.
"""

from importlib.util import find_spec

from lerobot_policy_rvq.config_simulated_sawyer import SimulatedSawyerConfig
from lerobot_policy_rvq.configuration_rvq_vla import RvqVlaConfig
from lerobot_policy_rvq.optimization import RvqVlaOptimizerConfig, RvqVlaSchedulerConfig
from lerobot_policy_rvq.processor_rvq_vla import ChannelsToRows, RowsToChannels

__all__ = [
    "ChannelsToRows",
    "RowsToChannels",
    "RvqVlaConfig",
    "RvqVlaOptimizerConfig",
    "RvqVlaSchedulerConfig",
    "SimulatedSawyerConfig",
]

if find_spec("gymnasium") is not None:
    from lerobot_policy_rvq.environment import SawyerEnvConfig  # noqa: F401
