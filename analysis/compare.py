"""Tokenizers beside FAST, bins and the Gaussian yardstick, all by one protocol.

metrics.json is `{dataset: {row: {"kind": ..., metric: value, metric + "_ci": [low, high]}}}`.
Intervals resample held-out episodes, whose number is `episodes`; with fewer than 4 there are none.
Beside the protocol's metrics a row NAME (a whole tokenizer, or its closed form) holds

    score, score_ci, score_points     against FAST as published, over that many of its prefixes
    score_adaptive                    the same over its tolerances, the rows NAME~e
    score_total, score_adaptive_total the same against the FAST whose encodings always decode
    ar_score, ar_score_adaptive       bits of a small autoregressive model relative to FAST's at
                                      equal error, likewise; where asked for
    token_ratio_max                   largest number of tokens over FAST's mean at equal error
    prefix_rise                       largest relative rise of the MSE from a prefix to the next,
                                      of all lengths, those without a row among them

and each of its points `ratio`, `ar_ratio`, `token_ratio`: the same of that point alone, and
`noise_wer_ratio`, its word error rate over that of FAST where one has its bits within 15 %. Each
also stands with `_total`. `yardstick_ratio` is a row's MSE over the Gaussian yardstick's at its
bits. `ar_bits` are the bits of that model; a tokenizer that emits level by
level has `ar_bits_slot_major`, too. Failures and `out_of_range` are shares; `error_GROUP_UNIT` is
the mean unclipped error of a channel group; `flip_ratio_level_K` the MSE after a wrong token of a
level over the MSE without. A row NAME~e has `within_tolerance`, the share of chunks whose error
is at most e in the model's own space (where even all tokens leave more, the chunk is emitted
anyway), and `within_tolerance_scored`, the share whose MSE in scored space is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping as ReadOnly
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from analysis import against_fast, rows, trajectories
from analysis.bootstrap import remark
from analysis.codecs import FAST_SCALES, BinsCodec, Codec, FastCodec
from analysis.evalset import EvalSet, load_eval_sets
from analysis.loading import LoadedTokenizer, check_robots, load_tokenizers, splits_of
from analysis.measuring import Bench
from analysis.modelability import LONGEST
from analysis.rows import Row
from analysis.rvq_codec import RvqCodec, prefixes
from analysis.trajectories import Trajectories
from analysis.yardstick import Yardstick, row_bits
from rvq_action.housekeeping.machine import hardware

WHOLE = ("rvq", "closed-form")


@dataclass
class DatasetComparison:
    """Everything measured on one dataset.

    Attributes:
        data: The held-out windows.
        rows: All rows, in the order of the table.
        trajectories: A few windows with their reconstructions.
        missing: Tokenizers that do not know the embodiment, and why.
    """

    data: EvalSet
    rows: list[Row] = field(default_factory=list)
    trajectories: Trajectories | None = None
    missing: dict[str, str] = field(default_factory=dict)

    def row(self, name: str) -> Row:
        """A row by its name."""
        return next(row for row in self.rows if row.name == name)

    def notes(self) -> list[str]:
        """What a reader must know about tokenizers that are absent or have no score, and more."""
        missing = [f"{name} ({why})" for name, why in self.missing.items()]
        notes = [f"Not shown here: {', '.join(missing)}"] if missing else []
        fast = [row.metrics["bits_mean"] for row in self.rows if row.kind == "fast"]
        for name in self.families:
            if "score" not in self.row(name).metrics:
                notes.append(
                    f"{name} has no score: fewer than two of its prefixes lie in FAST's range of "
                    f"bits, within {min(fast):.0f} to {max(fast):.0f}"
                )
        few = remark(len(np.unique(self.data.episode_of)))
        return notes + ([few] if few else []) + self._long_notes()

    def _long_notes(self) -> list[str]:
        """Which rows are too long to be modelled, where others are."""
        whole = [r for r in self.rows if r.prefix is None and r.point and "~" not in r.name]
        long = [row.name for row in whole if row.ar_point is None]
        if len(long) == len(whole) or not long:
            return []
        return [
            f"Without AR bits, since their sequences exceed {LONGEST} tokens: {', '.join(long)}"
        ]

    @property
    def families(self) -> list[str]:
        """The names of our tokenizers, each with the prefixes as its family."""
        return [row.name for row in self.rows if row.kind in WHOLE and row.name == row.family]


@dataclass
class Comparison:
    """The comparison on all datasets.

    Attributes:
        datasets: One entry per dataset.
        hardware: The machine in words.
    """

    datasets: list[DatasetComparison]
    hardware: str

    def metrics(self) -> dict[str, dict[str, dict]]:
        """As metrics.json: {dataset: {row: {"kind": ..., metric: value, metric_ci: [lo, hi]}}}."""
        return {d.data.name: {r.name: r.to_dict() for r in d.rows} for d in self.datasets}


def compute(
    tokenizers: Sequence[Path],
    data: Sequence[Path],
    fit_data: Sequence[Path] = (),
    mapping: Path | str | None = None,
    fast_total: bool = True,
    ar: bool = False,
    quiet: bool = False,
) -> Comparison:
    """Measure every tokenizer on every dataset.

    Args:
        tokenizers: Artefact directories; each one's closed form is found in or beside it.
        data: Datasets, scored on their held-out episodes.
        fit_data: Datasets to fit FAST, bins and the scored space on.
        mapping: Of the datasets; None to find each one's own.
        fast_total: Also measure the stronger FAST, whose own encodings always decode.
        ar: Also measure AR-modelability, which trains a small model per row.
        quiet: Draw no progress bar.

    Raises:
        ValueError: No tokenizer knows the robot of any dataset.
    """
    loaded = load_tokenizers(tokenizers)
    sets = load_eval_sets(data, fit_data, mapping, splits_of(loaded))
    check_robots([eval_set.embodiment for eval_set in sets], loaded)
    compared = [_compare(eval_set, loaded, fast_total, ar, quiet) for eval_set in sets]
    return Comparison(compared, hardware())


def write_metrics(comparison: Comparison, folder: Path) -> Path:
    """Write metrics.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.json"
    path.write_text(json.dumps(comparison.metrics(), indent=1, allow_nan=False) + "\n")
    return path


def _compare(
    data: EvalSet, loaded: Sequence[LoadedTokenizer], fast_total: bool, ar: bool, quiet: bool
) -> DatasetComparison:
    result = DatasetComparison(data)
    known = {}
    for entry in loaded:
        if data.embodiment in entry.embodiments:
            known[entry.name] = RvqCodec(entry.tokenizer, entry.name, entry.kind, data)
        else:
            known_names = ", ".join(entry.embodiments)
            result.missing[entry.name] = f"knows {known_names}, not {data.embodiment}"
    variants = [
        (scale, total) for total in (False, True)[: 1 + fast_total] for scale in FAST_SCALES
    ]
    steps = len(variants) + 1 + sum(len(prefixes(codec.length)) for codec in known.values())
    with tqdm(total=steps, desc=data.name, unit="row", disable=quiet) as progress:
        bench = Bench(data, result.rows, progress, ar)
        tokens: dict[str, tuple[Codec, np.ndarray]] = {}
        for scale, total in variants:
            fast = FastCodec(data, scale, total)
            tokens[fast.name] = fast, bench.add(fast)
        bench.add(BinsCodec(data))
        for name, codec in known.items():
            tokens[name] = codec, bench.add_ours(codec)
        bench.time()
    _add_yardstick(result)
    against_fast.add(result.rows, result.families, bench.bootstrap)
    result.trajectories = trajectories.compute(data, _drawn(tokens, list(known)))
    return result


def _add_yardstick(result: DatasetComparison) -> None:
    """Hold every row against the yardstick at its bits; and add rows of the yardstick itself."""
    yardstick = Yardstick.fit(result.data.training, result.data.batch.scored)
    coded = [row for row in result.rows if row.kind != "bins"]
    bits = [row.metrics["bits_mean"] for row in coded]
    for row, own in zip(coded, bits, strict=True):
        row.add("yardstick_ratio", row.metrics["mse"] / yardstick.mse(own))
    for level in row_bits(min(bits) / 1.3, max(bits) * 1.3):
        result.rows.append(rows.yardstick_row(level, yardstick.mse(level)))


def _drawn(
    tokens: ReadOnly[str, tuple[Codec, np.ndarray]], ours: Sequence[str]
) -> list[tuple[str, Codec, np.ndarray, int]]:
    """What the trajectories show: three prefixes of the first tokenizer of ours, or FAST."""
    if not ours:
        return [(n, *tokens[n], tokens[n][1].shape[1]) for n in ("fast@2.5", "fast@10")]
    codec, ids = tokens[ours[0]]
    lengths = sorted({max(1, round(ids.shape[1] * share)) for share in (0.25, 0.5, 1.0)})
    return [(f"{k} tokens", codec, ids, k) for k in lengths]
