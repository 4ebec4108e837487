"""As many questions for every answer of a kind, so that guessing the usual one earns nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from vla.data.bridge.question import Question

FEWEST, RARE = 2, 0.1
"""An answer is not asked for with fewer moments, or a smaller share of the usual answer's."""


def balance(
    questions: Iterable[Question],
    per_answer: int,
    rng: np.random.Generator,
    known: frozenset[tuple[str, str]] | None = None,
) -> list[Question]:
    """Choose questions: of every kind each answer equally often.

    The number is that of the rarest answer, very rare ones apart, which are not asked for. Episodes
    take turns, so that no long one prevails.

    Args:
        questions: All that could be asked.
        per_answer: Most questions of a kind with one answer.
        rng: Where chance comes from.
        known: (kind, answer) that may be asked; all where None.

    Returns:
        In the order of kind, episode and frames. A kind with a single answer left is not asked.
    """
    by_answer: dict[str, dict[str, list[Question]]] = defaultdict(lambda: defaultdict(list))
    for question in questions:
        if known is None or (question.kind, question.answer) in known:
            by_answer[question.kind][question.answer].append(question)
    chosen: list[Question] = []
    for answers in by_answer.values():
        count = _how_many([len(found) for found in answers.values()], per_answer)
        for _, found in sorted(answers.items()):
            chosen += _by_turns(found, rng)[:count] if len(found) >= count > 0 else []
    return sorted(chosen, key=lambda q: (q.kind, q.episode, q.frames, q.text))


def _how_many(counts: list[int], most: int) -> int:
    """How often to ask for every answer that is there so often; 0 where fewer than two are."""
    counts = [min(count, most) for count in counts]
    enough = [n for n in counts if n >= max(FEWEST, RARE * max(counts))]
    return min(enough) if len(enough) > 1 else 0


def answers_of(questions: Iterable[Question]) -> dict[str, dict[str, int]]:
    """Kind -> answer -> how often."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for question in questions:
        counts[question.kind][question.answer] += 1
    return {kind: dict(sorted(found.items())) for kind, found in sorted(counts.items())}


def _by_turns(questions: list[Question], rng: np.random.Generator) -> list[Question]:
    """At random, one of every episode before any comes again."""
    turn: Counter[int] = Counter()
    keyed = []
    for place in rng.permutation(len(questions)):
        question = questions[place]
        keyed.append((turn[question.episode], rng.random(), question))
        turn[question.episode] += 1
    return [question for _, _, question in sorted(keyed, key=lambda entry: entry[:2])]
