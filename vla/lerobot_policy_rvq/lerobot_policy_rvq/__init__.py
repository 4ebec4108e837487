"""`rvq-action` inside LeRobot: importing this registers what the plugin brings.

LeRobot imports every installed distribution whose name starts with `lerobot_policy_`.
"""

from importlib.util import find_spec

from lerobot_policy_rvq.versions import check_version

check_version()  # before anything of LeRobot is looked for

from lerobot_policy_rvq.config_simulated_sawyer import SimulatedSawyerConfig  # noqa: E402
from lerobot_policy_rvq.configuration_rvq_vla import RvqVlaConfig  # noqa: E402
from lerobot_policy_rvq.optimization import (  # noqa: E402
    RvqVlaOptimizerConfig,
    RvqVlaSchedulerConfig,
)
from lerobot_policy_rvq.processor_rvq_vla import ChannelsToRows, RowsToChannels  # noqa: E402

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
