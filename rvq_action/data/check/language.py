"""Language: which episodes say what the robot does."""

from __future__ import annotations

from collections import Counter

from rvq_action.data.check.finding import Finding, counted, listed, passed, runs, warned
from rvq_action.data.check.recording import Recording
from rvq_action.data.task_text import is_placeholder


def check_language(recording: Recording) -> list[Finding]:
    """Episodes without an instruction, and how many different instructions there are."""
    silent = [
        index
        for index, tasks in zip(recording.indices, recording.tasks, strict=True)
        if all(is_placeholder(task) for task in tasks)
    ]
    spoken = Counter(t for tasks in recording.tasks for t in tasks if not is_placeholder(t))
    return [_coverage(silent, len(recording.indices)), _variety(spoken)]


def _coverage(silent: list[int], total: int) -> Finding:
    name = "language: coverage"
    if silent:
        return warned(
            name,
            f"{len(silent)} of {total} episodes have no task or a placeholder: {runs(silent)}",
            "Write a task for them, or train only the tokenizer on them: it needs no language.",
        )
    return passed(name, "every episode has a task")


def _variety(spoken: Counter) -> Finding:
    name = "language: variety"
    if len(spoken) < 2:
        texts = listed(repr(text) for text in spoken) or "none"
        return warned(
            name,
            f"{counted(len(spoken), 'task')} in all: {texts}",
            "Enough for a tokenizer. A policy cannot learn to listen from it: mix in other tasks.",
        )
    common, count = spoken.most_common(1)[0]
    return passed(name, f"{len(spoken)} tasks; most often {common!r}, {counted(count, 'episode')}")
