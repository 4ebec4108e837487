"""How a run went, in words and as the exit status of a command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vla.deploy.report import Ending, RunReport
from vla.deploy.settings import speed_in_words

PEACEFUL, STOPPED, EMERGENCY = 0, 3, 4


def status(report: RunReport) -> int:
    """0 where the task was solved or time was up, 4 after an emergency stop, 3 where else the
    robot had to be stopped."""
    if report.ending in (Ending.DONE, Ending.TIME):
        return PEACEFUL
    return EMERGENCY if report.ending is Ending.EMERGENCY_STOP else STOPPED


def lines(report: RunReport) -> Iterator[str]:
    """The report."""
    detail = f" ({report.detail})" if report.detail else ""
    yield f"ended          {report.ending}{detail}, after {report.seconds:.1f} s"
    yield f"speed          {speed_in_words(report.speed)}"
    missed = f"{report.missed_deadlines} of {report.periods} missed ({report.missed_share:.2%})"
    yield f"deadlines      {missed}"
    yield f"commands       {report.sent} sent, {_counts(report.clipped, 'none clipped', 'clipped')}"
    yield f"held           {_counts(report.held, 'never', 'periods')}"
    yield f"chunks         {report.chunks} played, {report.refused_chunks} refused"
    yield f"inference      {_spread(report.inference_ms)} ms"
    yield f"delay          {_spread(report.delay_periods)} periods"
    yield f"watchdog       {report.watchdog_trips} trips"
    if report.recording is not None:
        yield f"recording      {report.recording}"
    if report.dataset is not None:
        yield f"dataset        {report.dataset}"
    for problem in report.problems:
        yield f"problem        {problem}"


def _counts(counts: Mapping[str, int], nothing: str, what: str) -> str:
    found = ", ".join(f"{name}: {count}" for name, count in counts.items())
    return f"{what} {found}" if found else nothing


def _spread(found: Mapping[str, float]) -> str:
    if not found:
        return "-"
    return "median {median:.1f}, p95 {p95:.1f}, max {max:.1f}".format(**found)
