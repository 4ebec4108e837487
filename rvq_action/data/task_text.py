"""Task texts that say nothing, and how to tell them."""

from __future__ import annotations

PLACEHOLDERS = frozenset(
    ["unlabelled", "unlabeled", "unknown", "none", "null", "nan", "n/a", "na", "todo", "tbd"]
    + ["task", "test", "default", "dummy", "placeholder", "untitled"]
)


def is_placeholder(task: str) -> bool:
    """Whether a task text says nothing."""
    text = task.strip().strip(".<>[]()").lower()
    return not text or text in PLACEHOLDERS
