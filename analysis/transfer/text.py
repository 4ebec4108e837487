"""The transfer measurements as text: for the terminal, and what the page says in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.bootstrap import remark
from analysis.columns import BITS, EPISODES, MSE, SCORE, SCORE_TOTAL, TOKENS
from analysis.table import aligned, cell, with_interval
from analysis.transfer.case import Case
from analysis.transfer.joint import JointComparison
from analysis.transfer.study import Transfer

COLUMNS = (EPISODES, TOKENS, BITS, MSE, SCORE, SCORE_TOTAL)
WITH_INTERVAL = (SCORE, SCORE_TOTAL)
JOINT_HEADINGS = ("joint", "single", "MSE at equal bits", "score", "score, single", "score ratio")


def render(results: Sequence[Transfer]) -> str:
    """All datasets, one table each."""
    return "\n\n".join(map(_dataset, results))


def _dataset(result: Transfer) -> str:
    lines = [["case", "tokenizer", *(c.heading for c in COLUMNS), "FAST fails"]]
    for case in result.cases:
        for name in case.families:
            row = case.row(name)
            cells = [(with_interval if c in WITH_INTERVAL else cell)(row, c) for c in COLUMNS]
            lines.append([case.name, name, *cells, fast_failures(case)])
    parts = [result.data.name, aligned(lines)] if result.cases else [result.data.name]
    if result.joints:
        parts += ["", aligned([JOINT_HEADINGS, *map(joint_cells, result.joints)])]
    return "\n".join([*parts, *notes(result)])


def joint_cells(comparison: JointComparison) -> list[str]:
    """A line of the table of joint tokenizers; empty where there is no figure."""
    joint, single = comparison.scores
    value, low, high = comparison.error
    error = f"{value:.2f}" if np.isfinite(value) else ""
    error += f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else ""
    figures = [f"{x:.2f}" if np.isfinite(x) else "" for x in (joint, single, joint / single)]
    return [comparison.joint, comparison.single, error, *figures]


def fast_failures(case: Case) -> str:
    """Between which shares of the chunks FAST as published fails on, over its scales."""
    shares = [100 * r.metrics["decode_failures"] for r in case.rows if r.kind == "fast"]
    low, high = min(shares), max(shares)
    return f"{low:.3g} %" if low == high else f"{low:.3g}–{high:.3g} %"


def notes(result: Transfer) -> list[str]:
    """What a reader must know about tokenizers or scores that are absent, and intervals."""
    found = [f"Not measured: {name} ({why})" for name, why in result.missing.items()]
    few = remark(len(result.data.split.held_out))
    found += [few] if few and result.cases else []
    for case in result.cases:
        for name in case.families:
            if "score" not in case.row(name).metrics:
                found.append(
                    f"{name} has no score in the case “{case.name}”: fewer than two of its "
                    "prefixes lie in FAST's range of bits"
                )
    return found
