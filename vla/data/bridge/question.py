"""Question: one thing that can be asked about an episode, and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """A question about one or two frames of an episode.

    Attributes:
        kind: Which rule made it.
        text: What is asked, with the answers that may be given.
        answer: One of them.
        episode: Number of the episode.
        frames: Numbers of the frames that are shown.
    """

    kind: str
    text: str
    answer: str
    episode: int
    frames: tuple[int, ...]


def choices(answers: Sequence[str]) -> str:
    """The answers to choose from, in words."""
    return f"Answer with one of: {'; '.join(answers)}."
