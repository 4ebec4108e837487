"""`lerobot-rvq-server`: LeRobot's asynchronous policy server, which then also serves rvq_vla.

LeRobot's server answers only the policy types on a list of its own. This is the same program with
ours on that list; its flags are LeRobot's, as is the client that goes with it, `python -m
lerobot.async_inference.robot_client`. They speak pickle: serve only where nobody else can connect.
"""

from __future__ import annotations

from lerobot.async_inference import constants
from lerobot.utils.import_utils import register_third_party_plugins

from lerobot_policy_rvq.modeling_rvq_vla import RvqVlaPolicy


def register() -> None:
    """Put our policy on LeRobot's list; a second call changes nothing."""
    register_third_party_plugins()
    if RvqVlaPolicy.name not in constants.SUPPORTED_POLICIES:
        constants.SUPPORTED_POLICIES.append(RvqVlaPolicy.name)


def main() -> None:
    """The console script."""
    register()
    from lerobot.async_inference.policy_server import serve

    serve()


if __name__ == "__main__":
    main()
