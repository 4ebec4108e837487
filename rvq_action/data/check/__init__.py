"""Check a dataset before anyone trains on it: `check_dataset`, and `rvq-action check`."""

from rvq_action.data.check.finding import Finding, Status
from rvq_action.data.check.run import check_dataset

__all__ = ["Finding", "Status", "check_dataset"]
