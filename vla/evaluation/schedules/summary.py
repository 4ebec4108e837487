"""What attempts in several modes add up to, with intervals over starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from vla.evaluation.shares import Share

DRAWS, SEED = 2000, 0
BASE = "asynchronous"
"""The naive mode that others are held against."""
Row = dict[str, Any]


def summarize(rows: Sequence[Row]) -> dict[str, Row]:
    """Mode -> its figures; null where there is nothing to measure.

    Those with a `_ci` beside them have a 95 % bootstrap interval over starts.
    """
    modes = {mode: _by_start(rows, mode) for mode in dict.fromkeys(row["mode"] for row in rows)}
    return {mode: _plain(_figures(own, modes.get(BASE, {}))) for mode, own in modes.items()}


def _by_start(rows: Sequence[Row], mode: str) -> dict[tuple[str, int], Row]:
    return {(row["task"], row["number"]): row for row in rows if row["mode"] == mode}


def _figures(own: dict[tuple[str, int], Row], base: dict[tuple[str, int], Row]) -> Row:
    mine, shared = list(own.values()), [key for key in own if key in base]
    pairs = [(own[key], base[key]) for key in shared]
    found = {"starts": len(mine), "success": asdict(Share.of([row["success"] for row in mine]))}
    measures: dict[str, Callable[[Sequence[Row]], float]] = {
        "missed": missed,
        "overrun": overrun,
        "jump": jump,
        "inside": inside,
        "seconds": lambda some: float(np.mean([row["seconds"] for row in some])),
    }
    for name, measure in measures.items():
        found[name], found[f"{name}_ci"] = measure(mine), interval(mine, measure)
    found["groups"] = {
        name: jump([{"jump": row["jump_by_group"][name]} for row in mine])
        for name in mine[0]["jump_by_group"]
    }
    for name in ("inference_ms", "delay_periods"):
        medians = [row[name]["median"] for row in mine if row[name]]
        found[name] = float(np.median(medians)) if medians else 0.0
    if pairs:
        found["jump_ratio"], found["jump_ratio_ci"] = ratio(pairs), interval(pairs, ratio)
        found["only_here"] = sum(a["success"] and not b["success"] for a, b in pairs)
        found["only_there"] = sum(b["success"] and not a["success"] for a, b in pairs)
    return found


def missed(rows: Sequence[Row]) -> float:
    """Share of control periods, since the first command, in which no new command came in time."""
    return sum(row["missed"] for row in rows) / max(sum(row["periods"] for row in rows), 1)


def overrun(rows: Sequence[Row]) -> float:
    """Share of control periods in which the loop itself came too late."""
    return sum(row["overrun"] for row in rows) / max(sum(row["periods"] for row in rows), 1)


def jump(rows: Sequence[Row]) -> float:
    """Mean over all seams; NaN where there are none."""
    return _mean(rows, "jump")


def inside(rows: Sequence[Row]) -> float:
    """The same within chunks: what a seam between equals would cost; NaN where there is nothing."""
    return _mean(rows, "inside")


def _mean(rows: Sequence[Row], name: str) -> float:
    values = [value for row in rows for value in row[name]]
    return sum(values) / len(values) if values else float("nan")


def ratio(pairs: Sequence[tuple[Row, Row]]) -> float:
    """The jump of the first ones over that of the second ones."""
    return jump([a for a, _ in pairs]) / jump([b for _, b in pairs])


def interval(items: Sequence[Any], measure: Callable[[Sequence[Any]], float]) -> list[float]:
    """95 % bootstrap interval of a measure over items drawn anew."""
    random = np.random.default_rng(SEED)
    drawn = random.integers(len(items), size=(DRAWS, len(items)))
    found = [measure([items[i] for i in draw]) for draw in drawn]
    if np.isnan(found).all():
        return [float("nan")] * 2
    return [float(edge) for edge in np.nanquantile(found, (0.025, 0.975))]


def _plain(figures: Any) -> Any:
    """The same without NaN, which JSON does not have."""
    if isinstance(figures, dict):
        return {name: _plain(value) for name, value in figures.items()}
    if isinstance(figures, list):
        return [_plain(value) for value in figures]
    return None if isinstance(figures, float) and np.isnan(figures) else figures
