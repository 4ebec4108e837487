"""Measures tokenizers on one dataset, one row after another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm.auto import tqdm

from analysis import stability, timing
from analysis.adaptive import AdaptiveCodec, reached, tolerances
from analysis.bootstrap import EpisodeBootstrap
from analysis.codecs import Codec
from analysis.evalset import EvalSet
from analysis.modelability import Modelability, slot_major
from analysis.prefix_rise import largest_rise
from analysis.rows import Row, measure
from analysis.rvq_codec import RvqCodec, prefixes
from analysis.score import RatePoint
from analysis.stability import Disturbed

MODELLED_TOLERANCES = 3
"""Of adaptive length, whose every tolerance needs a model of its own."""


class Bench:
    """Measures codecs on one dataset and collects their rows.

    Args:
        data: The held-out windows.
        rows: Where the rows go.
        progress: Moves on by one for every row.
        ar: Whether to measure AR-modelability, too.
    """

    def __init__(self, data: EvalSet, rows: list[Row], progress: tqdm, ar: bool) -> None:
        self.data, self.rows, self.progress = data, rows, progress
        self.bootstrap = EpisodeBootstrap(data.episode_of)
        self.disturbed = stability.disturb(data)
        self.modelability = Modelability(data) if ar else None
        self._timed: list[tuple[Row, Codec]] = []

    def add(self, codec: Codec) -> np.ndarray:
        """One row for the whole codec; returns its tokens."""
        self.progress.set_postfix_str(codec.name)
        tokens = codec.encode(self.data.batch)
        row = self._measure(codec, tokens, self.disturbed.map(codec.encode), None)
        if self.modelability:
            seen = codec.encode(self.modelability.training)
            self._add_ar([row], self.modelability.bits(codec, seen, tokens))
        return tokens

    def add_ours(self, codec: RvqCodec) -> np.ndarray:
        """Rows for all tokens, for every prefix and for tolerances; returns the tokens."""
        self.progress.set_postfix_str(codec.name)
        tokens, disturbed = codec.encode(self.data.batch), self.disturbed.map(codec.encode)
        kinds: list[int | None] = [None, *prefixes(codec.length)[:-1]]
        rows = [self._measure(codec, tokens, disturbed, prefix) for prefix in kinds]
        rows[0].add("prefix_rise", largest_rise(codec, tokens, self.data, rows))
        if self.modelability:
            seen = codec.encode(self.modelability.training)
            self._add_ar(rows, self.modelability.bits(codec, seen, tokens))
            self._add_slot_major(rows[0], codec, seen, tokens)
        self._add_adaptive(codec)
        return tokens

    def time(self) -> None:
        """Time all whole codecs that were added, side by side, and add that to their rows."""
        found = timing.measure([codec for _, codec in self._timed], self.data)
        for (row, _), times in zip(self._timed, found, strict=True):
            for metric, estimate in times.items():
                row.add(metric, estimate)

    def _add_slot_major(
        self, row: Row, codec: RvqCodec, seen: np.ndarray, tokens: np.ndarray
    ) -> None:
        """What the tokens of a level-major tokenizer would cost slot by slot."""
        levels = codec.levels(codec.length)
        assert self.modelability is not None
        if levels.max() == 0 or (np.diff(levels) < 0).any():
            return
        bits = self.modelability.bits(codec, seen, tokens, slot_major(levels))
        if bits is not None:
            row.add("ar_bits_slot_major", self.bootstrap.mean(bits.sum(1)))

    def _add_adaptive(self, codec: RvqCodec) -> None:
        self.progress.set_postfix_str(f"{codec.name}~")
        best, disturbed = codec.best(self.data.batch), self.disturbed.map(codec.best)
        chosen = tolerances(best.errors)
        self.progress.total = (self.progress.total or 0) + len(chosen)
        modelled = _spread(chosen, MODELLED_TOLERANCES) if self.modelability else []
        seen = codec.best(self.modelability.training) if self.modelability else None
        for tolerance in chosen:
            adaptive = AdaptiveCodec(codec, tolerance)
            cut, shortened = disturbed.map(adaptive.cut), adaptive.cut(best)
            row = self._measure(adaptive, shortened, cut, None, timed=False)
            self._add_kept(row, reached(best.errors, tolerance), tolerance)
            if self.modelability and seen and tolerance in modelled:
                self._add_ar([row], self.modelability.bits(adaptive, adaptive.cut(seen), shortened))

    def _add_kept(self, row: Row, kept: np.ndarray, tolerance: float) -> None:
        """Shares of the chunks within a tolerance: bool [N] in model space, and in scored space."""
        assert row.point is not None
        scored = row.point.squared_error / row.point.values
        row.add("within_tolerance", self.bootstrap.mean(kept))
        row.add("within_tolerance_scored", self.bootstrap.mean(scored <= tolerance))

    def _measure(
        self,
        codec: Codec,
        tokens: np.ndarray,
        disturbed: Disturbed[np.ndarray],
        prefix: int | None,
        timed: bool = True,
    ) -> Row:
        kind = "rvq-prefix" if prefix is not None and codec.kind == "rvq" else codec.kind
        row = measure(codec, tokens, self.data, self.bootstrap, disturbed, prefix, kind)
        if prefix is None and timed:
            self._timed.append((row, codec))
        self.rows.append(row)
        self.progress.update()
        return row

    def _add_ar(self, rows: Sequence[Row], bits: np.ndarray | None) -> None:
        """AR bits of rows that are prefixes of one sequence, from its bits [N, L] per token."""
        for row in rows if bits is not None else ():
            assert row.point is not None and bits is not None
            total = bits[:, : row.prefix].sum(1)
            row.add("ar_bits", self.bootstrap.mean(total))
            row.ar_point = RatePoint(total, row.point.squared_error, row.point.values)


def _spread(values: Sequence[float], most: int) -> list[float]:
    """At most so many of the values, from the middle outwards evenly."""
    places = np.linspace(0, len(values) - 1, most + 2)[1:-1].round().astype(int)
    return [values[i] for i in np.unique(places)] if values else []
