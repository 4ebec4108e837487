"""How well a policy answers questions about pictures, beside whoever always says the usual thing.

Measured on held-out conversations before and after a policy learns to act, it says what of its
vision and language is retained. An answer is right where it equals the expected one, letter case,
punctuation and spaces apart.
"""

from __future__ import annotations

import string
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from vla.data.conversation_source import read_picture
from vla.data.conversations import Conversation, read_conversations
from vla.images import Image

RESAMPLES, TAILS = 1000, (0.025, 0.975)
ALL = "all"


class Answerer(Protocol):
    """What is measured: `VLAPolicy`, or anything that answers."""

    def generate_text(
        self, images: Sequence[Image], question: str, max_tokens: int = 128
    ) -> str: ...


@dataclass(frozen=True)
class Accuracy:
    """Of one kind of question.

    Attributes:
        count: Questions asked.
        accuracy: Share of right answers.
        low: Lower end of the 95 % interval, by resampling recordings; NaN with a single one.
        high: Upper end of it.
        majority: Share that is right for whoever always gives the most usual training answer.
        retained: Accuracy as a share of an earlier one; NaN where there is none to compare with.
    """

    count: int
    accuracy: float
    low: float
    high: float
    majority: float
    retained: float = float("nan")


def measure_vqa(
    policy: Answerer,
    held_out: str | Path,
    train: str | Path,
    limit: int | None = None,
    before: dict[str, Accuracy] | None = None,
    progress: bool = False,
) -> dict[str, Accuracy]:
    """Ask the first question of held-out conversations.

    Args:
        policy: Answers greedily.
        held_out: A file of conversations that the policy has not been trained on.
        train: The file that usual answers are counted in.
        limit: Most questions of a kind, evenly spread; all where None.
        before: What an earlier policy reached, to say what is retained of it.
        progress: Show a progress bar.

    Returns:
        Kind -> accuracy, and `all` of them together.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is damaged; or `limit` is no number of questions.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 question, got {limit}.")
    usual = usual_answers(read_conversations(train))
    entries = _spread(read_conversations(held_out), limit)
    hits: dict[str, list[tuple[bool, bool, str]]] = defaultdict(list)
    for entry in tqdm(entries, "questions", disable=not progress):
        question, answer = entry.turns[0]
        wanted = normalize_answer(answer)
        longest = 8 + 2 * len(answer.encode())
        said = policy.generate_text([read_picture(p) for p in entry.images], question, longest)
        right = normalize_answer(said) == wanted
        row = (right, usual.get(entry.kind) == wanted, entry.group)
        hits[entry.kind].append(row)
        hits[ALL].append(row)
    earlier = before or {}
    return {kind: _accuracy(rows, earlier.get(kind)) for kind, rows in sorted(hits.items())}


def usual_answers(entries: Sequence[Conversation]) -> dict[str, str]:
    """Kind -> the most usual first answer, normalised; the first in the alphabet of several."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        counts[entry.kind][normalize_answer(entry.turns[0][1])] += 1
    return {kind: min(found, key=lambda a: (-found[a], a)) for kind, found in counts.items()}


def normalize_answer(answer: str) -> str:
    """Without letter case, punctuation and superfluous spaces."""
    plain = answer.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(plain.split())


def _spread(entries: list[Conversation], limit: int | None) -> list[Conversation]:
    by_kind: dict[str, list[Conversation]] = defaultdict(list)
    for entry in entries:
        by_kind[entry.kind].append(entry)
    chosen: list[Conversation] = []
    for found in by_kind.values():
        count = len(found) if limit is None else min(limit, len(found))
        chosen += [found[i * len(found) // count] for i in range(count)]
    return chosen


def _accuracy(rows: list[tuple[bool, bool, str]], before: Accuracy | None) -> Accuracy:
    right, usual, groups = (np.array(column) for column in zip(*rows, strict=True))
    low, high = _interval(right.astype(float), groups)
    share = float(right.mean())
    retained = share / before.accuracy if before and before.accuracy else float("nan")
    return Accuracy(len(rows), share, low, high, float(usual.mean()), retained)


def _interval(values: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean: answers about one recording are not independent.

    Args:
        values: [N].
        groups: [N], the recording of each.
    """
    _, number = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(number, values), np.bincount(number)
    if len(sizes) < 2:
        return float("nan"), float("nan")
    picks = np.random.default_rng(0).integers(len(sizes), size=(RESAMPLES, len(sizes)))
    low, high = np.quantile(sums[picks].sum(1) / sizes[picks].sum(1), TAILS)
    return float(low), float(high)
