"""Which versions of LeRobot this was tested with, and a word where it meets another."""

import warnings
from importlib.metadata import version

from packaging.version import Version

OLDEST, NEWEST = "0.4.4", "0.6.1"


def check_version() -> None:
    """Warn where LeRobot is older or newer; whatever fails then has been announced."""
    found = version("lerobot")
    if not Version(OLDEST) <= Version(found) <= Version(NEWEST):
        warnings.warn(
            f"LeRobot {found} is installed; lerobot_policy_rvq was tested with {OLDEST} and "
            f"{NEWEST}. Where something fails, install one of these: docs/lerobot.md says how.",
            stacklevel=2,
        )
