"""Rolling out a policy: every start once, on disk as it is known, and what it adds up to."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from rvq_action.housekeeping.console import writable_folder
from vla.deploy.robots.rendering import select_backend
from vla.evaluation.closed_loop.loop import Outcome
from vla.evaluation.closed_loop.results import OutcomeLog, write_report
from vla.evaluation.closed_loop.stage import Staging
from vla.evaluation.closed_loop.starts import Start, fresh_starts
from vla.evaluation.closed_loop.workers import play_all
from vla.evaluation.progress.rubrics import rubrics_digest
from vla.processes import available_cores

logger = logging.getLogger(__name__)
BLOCK = 2**20


@dataclass(frozen=True)
class Rollouts:
    """What came out.

    Attributes:
        report: The JSON file of it.
        outcomes: Of every start, task by task.
    """

    report: Path
    outcomes: list[Outcome]


def roll_out(staging: Staging, workers: int | None = None, progress: bool = True) -> Rollouts:
    """Attempt every start of every task; goes on where it was stopped.

    Args:
        staging: The policy, what is attempted, and where the outcomes go.
        workers: Processes; one per available core where None.
        progress: Show a progress bar.

    Raises:
        FileNotFoundError: There is no such policy.
        ValueError: The policy cannot act there, or `out` holds outcomes of something else.
        RenderingUnavailable: Off-screen rendering does not work on this machine.
    """
    settings = staging.settings
    judged = {"policy": fingerprint(staging.policy), "rubrics": rubrics_digest()}
    claim = judged | settings.decisive()
    log = OutcomeLog(writable_folder(staging.out), claim)
    starts = [s for t in settings.tasks for s in fresh_starts(t, settings.starts, settings.seed)]
    missing = [start for start in starts if not log.has(start)]
    if len(missing) < len(starts):
        logger.info("%d of %d outcomes are there already.", len(starts) - len(missing), len(starts))
    if missing:
        select_backend()
        _attempt(staging, missing, log, workers or available_cores(), progress)
    outcomes = log.of(starts)
    return Rollouts(write_report(staging.out, claim, outcomes), outcomes)


def _attempt(
    staging: Staging, missing: list[Start], log: OutcomeLog, workers: int, progress: bool
) -> None:
    workers = max(1, min(workers, len(missing)))
    robots = -(-staging.robots // workers)
    solved = 0
    found = play_all(replace(staging, robots=robots), missing, workers)
    bar = tqdm(found, "rollouts", len(missing), unit="start", disable=not progress)
    for outcome in bar:
        log.add(outcome)
        solved += outcome.success
        bar.set_postfix_str(f"{solved} solved")


def fingerprint(policy: Path) -> str:
    """Equal for equal files.

    Raises:
        FileNotFoundError: There are none.
    """
    files = sorted(file for file in policy.rglob("*") if file.is_file())
    if not files:
        raise FileNotFoundError(f"There is no policy in {policy}.")
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(policy)).encode())
        with file.open("rb") as content:
            while block := content.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()[:16]
