"""A case: tokenizers of ours beside FASTs, on one set of windows that they were not trained for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis import against_fast
from analysis.bootstrap import EpisodeBootstrap
from analysis.codecs import FastCodec
from analysis.evalset import EvalSet
from analysis.prefix_rise import largest_rise
from analysis.rows import Row, measure_rate
from analysis.rvq_codec import RvqCodec, prefixes

HORIZON, ROBOT = "horizon", "robot"


@dataclass(frozen=True)
class Case:
    """Everything measured in one case.

    Attributes:
        name: In words.
        kind: `horizon` (a trained robot, another horizon or rate) or `robot` (never trained on).
        windows: How many windows were scored.
        rows: Of FAST, then of ours with all prefixes.
        families: The names of our tokenizers.
        bootstrap: Over the episodes.
    """

    name: str
    kind: str
    windows: int
    rows: list[Row]
    families: list[str]
    bootstrap: EpisodeBootstrap

    def row(self, name: str) -> Row:
        """A row by its name."""
        return next(row for row in self.rows if row.name == name)

    def to_dict(self) -> dict:
        """As in transfer.json."""
        rows = {row.name: row.to_dict() for row in self.rows}
        return {"kind": self.kind, "windows": self.windows, "rows": rows}


def measure(
    name: str, kind: str, data: EvalSet, ours: Sequence[RvqCodec], fasts: Sequence[FastCodec]
) -> Case:
    """Length and error of every tokenizer and prefix, and the scores.

    Args:
        name: Name of the case.
        kind: Its kind.
        data: The windows.
        ours: Our tokenizers.
        fasts: FAST at its scales, fitted where the case says.
    """
    bootstrap = EpisodeBootstrap(data.episode_of)
    rows = [measure_rate(f, f.encode(data.batch), data, bootstrap)[0] for f in fasts]
    for codec in ours:
        tokens = codec.encode(data.batch)
        lengths: list[int | None] = [None, *prefixes(codec.length)[:-1]]
        own = []
        for prefix in lengths:
            row_kind = "rvq" if prefix is None else "rvq-prefix"
            own.append(measure_rate(codec, tokens, data, bootstrap, prefix, row_kind)[0])
        own[0].add("prefix_rise", largest_rise(codec, tokens, data, own))
        rows += own
    families = [codec.name for codec in ours]
    against_fast.add(rows, families, bootstrap)
    return Case(name, kind, len(data.batch), rows, families, bootstrap)
