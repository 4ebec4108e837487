"""Recipes side by side: mean and spread over seeds, and the differences to two of them.

ablation.json is `{dataset: {"facts": {...}, "rows": {recipe: {metric: value, metric + "_ci": [low,
high], metric + "_spread": ...}}}}` with the metrics of `sums.py`, means over seeds. Beside them:

    METRIC_over_full, METRIC_over_plain      difference of the means to `full`, to `plain_rvq`
    mse_times_full, mse_times_plain          ratio of the errors at equal bits
    tokens, first_tokens, bits, levels, codebook_size, seeds, seconds

`_spread` is the standard deviation over seeds. Intervals, of 95 %, resample held-out episodes, the
same ones for both sides of a difference: seeds are averaged before. With fewer than 4 such episodes
there are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from analysis.ablation.sums import Measured
from analysis.bootstrap import EpisodeBootstrap, Estimate, interval
from analysis.rows import Row
from analysis.semantics.price import at_bits
from tokenizer_training.ablation.recipes import FULL, PLAIN, packaged_recipes
from tokenizer_training.ablation.row import AblationRow

REFERENCES = {"full": FULL, "plain": PLAIN}


@dataclass(frozen=True)
class Group:
    """All seeds of one recipe on one dataset.

    Attributes:
        name: Of the recipe.
        rows: One per seed.
        measured: Likewise.
        bootstrap: Over the held-out episodes.
    """

    name: str
    rows: list[AblationRow]
    measured: list[Measured]
    bootstrap: EpisodeBootstrap

    @property
    def metrics(self) -> list[str]:
        """Names of what was measured."""
        return list(self.measured[0].ratios)

    def values(self, metric: str) -> np.ndarray:
        """[seeds]."""
        return np.array([m.ratios[metric].value for m in self.measured])

    def estimate(self, metric: str, less: Group | None = None) -> Estimate:
        """Mean over the seeds, less that of another recipe, with its interval."""
        value, replicates = self._mean(metric)
        if less is not None:
            other, others = less._mean(metric)
            value, replicates = value - other, replicates - others
        return interval(value, replicates)

    def times(self, other: Group) -> Estimate | None:
        """The error over another recipe's at equal bits: all that both have; None if none are."""
        ends = [(m.curve.bits[0], m.curve.bits[-1]) for g in (self, other) for m in g.measured]
        lowest, highest = np.array(ends).T
        if lowest.max() > highest.min():
            return None
        bits = float(highest.min())
        (above, others), (below, theirs) = self._error(bits), other._error(bits)
        return interval(above / below, others / theirs)

    def _mean(self, metric: str) -> tuple[float, np.ndarray]:
        """The mean over seeds, and [R] under every resampling."""
        ratios = [m.ratios[metric] for m in self.measured]
        replicates = [self.bootstrap.replicates(r.of, r.over) for r in ratios]
        return float(self.values(metric).mean()), np.mean(replicates, axis=0)

    def _error(self, bits: float) -> tuple[float, np.ndarray]:
        """Geometric mean over seeds of the error at so many bits, and [R] resampled."""
        curves = [m.curve for m in self.measured]
        values = [at_bits(bits, c.bits, c.mse) for c in curves]
        replicates = [at_bits(bits, c.bits, c.replicates(self.bootstrap)) for c in curves]
        return float(np.exp(np.log(values).mean())), np.exp(np.log(replicates).mean(axis=0))


@dataclass(frozen=True)
class Ablation:
    """One dataset.

    Attributes:
        dataset: Its name.
        groups: Recipes, full first and plain second.
        missing: What is not in the table, and why.
    """

    dataset: str
    groups: list[Group]
    missing: list[str]

    @cached_property
    def rows(self) -> list[Row]:
        """A row per group."""
        return [self._row(group) for group in self.groups]

    def group(self, name: str) -> Group | None:
        """The group of a recipe, if there is one."""
        return next((group for group in self.groups if group.name == name), None)

    @property
    def chance(self) -> float:
        """R@1 of a guess."""
        return 1 / self.groups[0].measured[0].candidates

    def to_dict(self) -> dict[str, Any]:
        """As in ablation.json."""
        measured = self.groups[0].measured[0]
        facts = {
            "held_out_episodes": measured.episodes.tolist(),
            "chance_r1": self.chance,
            "measured_by": measured.by,
            "differs": {group.name: group.rows[0].differs for group in self.groups},
            "seeds": {group.name: [row.seed for row in group.rows] for group in self.groups},
            "missing": self.missing,
        }
        return {"facts": facts, "rows": {row.name: row.to_dict() for row in self.rows}}

    def _row(self, group: Group) -> Row:
        row = Row(group.name, group.name, "recipe")
        _describe(row, group)
        for metric in group.metrics:
            row.add(metric, group.estimate(metric))
            if len(group.rows) > 1:
                row.add(f"{metric}_spread", float(group.values(metric).std(ddof=1)))
        for name, recipe in REFERENCES.items():
            other = self.group(recipe)
            if other is not None and other is not group:
                _compare(row, group, other, name)
        return row


def compute(rows: Sequence[AblationRow]) -> Ablation:
    """Put the measured rows of one dataset side by side.

    Raises:
        ValueError: None was measured, or not all of them with the same means.
    """
    dataset, measured = rows[0].dataset, [row for row in rows if row.measured is not None]
    if not measured:
        raise ValueError(
            f"No row of {dataset} was measured yet: give --data with the dataset, and --features "
            "with its cache."
        )
    figures = {id(row): Measured.from_dict(row.measured) for row in measured if row.measured}
    _check_alike(dataset, list(figures.values()))
    bootstrap = EpisodeBootstrap(figures[id(measured[0])].episodes)
    order = [*packaged_recipes(), *sorted({row.recipe for row in measured})]
    groups = []
    for name in dict.fromkeys(order):
        members = sorted((row for row in measured if row.recipe == name), key=lambda r: r.seed)
        if members:
            groups.append(Group(name, members, [figures[id(r)] for r in members], bootstrap))
    missing = [f"{r.recipe} with seed {r.seed}" for r in rows if r.measured is None]
    return Ablation(dataset, groups, missing)


def _describe(row: Row, group: Group) -> None:
    """What came out, and how long it took."""
    first, measured = group.rows[0], group.measured[0]
    row.add("tokens", float(first.tokens))
    row.add("first_tokens", float(measured.first_tokens))
    row.add("bits", float(measured.bits))
    row.add("levels", float(first.levels))
    row.add("codebook_size", float(first.codebook_size))
    row.add("seeds", float(len(group.rows)))
    lasted = [r.seconds for r in group.rows if r.seconds is not None]
    if lasted:
        row.add("seconds", float(np.mean(lasted)))


def _compare(row: Row, group: Group, other: Group, name: str) -> None:
    for metric in group.metrics:
        row.add(f"{metric}_over_{name}", group.estimate(metric, less=other))
    times = group.times(other)
    if times is not None:
        row.add(f"mse_times_{name}", times)


def _check_alike(dataset: str, figures: Sequence[Measured]) -> None:
    """Figures are compared only where they are of the same episodes, with the same yardstick."""
    for measured in figures[1:]:
        same = np.array_equal(measured.episodes, figures[0].episodes)
        if measured.by != figures[0].by or not same:
            raise ValueError(
                f"The rows of {dataset} were not measured alike: {measured.by} on episodes "
                f"{measured.episodes.tolist()}, {figures[0].by} on "
                f"{figures[0].episodes.tolist()}. Measure them again: give --data and --features."
            )
