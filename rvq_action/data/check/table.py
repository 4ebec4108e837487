"""The table of findings as text or JSON."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from rvq_action.data.check.finding import Finding, Status

COLOURS = {Status.PASS: "32", Status.WARN: "33", Status.FAIL: "31"}
NARROWEST_MESSAGE = 30


def as_text(findings: Sequence[Finding], width: int, colour: bool) -> str:
    """An aligned table and a closing line.

    Args:
        findings: The rows.
        width: Columns of the terminal.
        colour: Whether to colour the verdicts.
    """
    label = max(len(f.name) for f in findings)
    room = max(NARROWEST_MESSAGE, width - label - 8)
    lines = [line for finding in findings for line in _row(finding, label, room, colour)]
    return "\n".join([*lines, "", summary(findings)])


def summary(findings: Sequence[Finding]) -> str:
    """How many of each verdict, and what follows."""
    count = Counter(f.status for f in findings)
    verdict = "Do not train on it yet." if count[Status.FAIL] else "It can be trained on."
    counts = ", ".join(f"{count[status]} {status.value}" for status in Status)
    return f"{counts}. {verdict}"


def as_json(findings: Sequence[Finding]) -> str:
    """A list of `{name, status, message, fix}`."""
    return json.dumps([asdict(f) for f in findings], indent=2, ensure_ascii=False)


def _row(finding: Finding, label: int, room: int, colour: bool) -> list[str]:
    status = finding.status.value
    shown = f"\033[{COLOURS[finding.status]}m{status}\033[0m" if colour else status
    message = textwrap.wrap(finding.message, room) or [""]
    fix = textwrap.wrap(f"-> {finding.fix}", room, subsequent_indent="   ") if finding.fix else []
    margin = " " * (label + 8)
    first = f"{shown}  {finding.name:<{label}}  {message[0]}"
    return [first, *(margin + line for line in [*message[1:], *fix])]
