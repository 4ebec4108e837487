"""Tokenizers where they were not trained: other horizons and rates, other robots, joint models.

transfer.json is `{dataset: {"cases": {case: {"kind", "windows", "rows": {row: metrics}}},
"joint": [...], "missing": {tokenizer: why}}}`; rows and metrics are those of metrics.json.

* `horizon`: a robot that the tokenizer was trained on, in windows of 15 and 50 frames at the
  recorded rate, and in windows of one second with the recording resampled to 10 and 50 Hz. FAST
  was fitted at the recorded rate on windows of one second, as the tokenizer was.
* `robot`: a robot that the tokenizer was never trained on, with a linear path and statistics of
  its training episodes, and in rows of their own (`NAME, statistics alone`) with these statistics
  and no window; once beside the FAST fitted on these episodes, once beside one fitted on the
  tokenizer's own robots, for whom the robot is as new.

The scored space is that of the dataset's training windows throughout.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from analysis.codecs import FAST_SCALES, FastCodec
from analysis.evalset import EvalSet, load_eval_sets
from analysis.loading import LoadedTokenizer, load_tokenizers, splits_of
from analysis.rvq_codec import RvqCodec
from analysis.transfer import case, joint
from analysis.transfer.case import HORIZON, ROBOT, Case
from analysis.transfer.conditions import conditions_of, cut, possible
from analysis.transfer.joint import JointComparison
from rvq_action.chunk import ActionChunk
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.embodiment import Embodiment
from rvq_action.statistics import StatisticsBuilder

PASS = 2048
"""Windows whose statistics are added at a time."""
MOST = ClosedFormRecipe.max_windows
"""Windows that a linear path is fitted on."""


@dataclass
class Transfer:
    """Everything measured on one dataset.

    Attributes:
        data: The held-out windows as trained.
        cases: The first one as trained, where a tokenizer knows the robot.
        joints: Joint tokenizers beside single ones.
        missing: Tokenizers that could not be measured, and why.
    """

    data: EvalSet
    cases: list[Case] = field(default_factory=list)
    joints: list[JointComparison] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict:
        """As in transfer.json."""
        cases = {c.name: c.to_dict() for c in self.cases}
        joints = [j.to_dict() for j in self.joints]
        return {"cases": cases, "joint": joints, "missing": self.missing}


def compute(
    tokenizers: Sequence[Path],
    data: Sequence[Path],
    joint_model: Path | None = None,
    singles: Sequence[Path] = (),
    mapping: Path | str | None = None,
    quiet: bool = False,
) -> list[Transfer]:
    """Measure every tokenizer on every dataset.

    Args:
        tokenizers: Artefact directories.
        data: Datasets, scored on their held-out episodes; also those that the tokenizers were
            trained on, if FAST is to be fitted on them for robots that are new.
        joint_model: One trained on several robots, to be held against `singles`.
        singles: Tokenizers trained on one robot each.
        mapping: Of the datasets; None to find each one's own.
        quiet: Draw no progress bar.

    Raises:
        ValueError: A joint tokenizer without single ones, or the reverse.
    """
    if (joint_model is None) != (not singles):
        raise ValueError("--joint and --singles go together: give both, or neither.")
    loaded = load_tokenizers(tokenizers, closed_forms=False)
    together = load_tokenizers([joint_model] if joint_model else [], closed_forms=False)
    alone = load_tokenizers(singles, closed_forms=False)
    if not (loaded or together):
        raise ValueError("Nothing to measure: give --tokenizers, or --joint and --singles.")
    sets = load_eval_sets(data, [], mapping, splits_of([*loaded, *together, *alone]))
    results = []
    for eval_set in tqdm(sets, unit="dataset", disable=quiet):
        result = Transfer(eval_set)
        fasts = _fasts(eval_set)
        _add_horizons(result, loaded, fasts)
        _add_robots(result, loaded, fasts, sets)
        _add_joint(result, together, alone, fasts)
        results.append(result)
    return results


def write(results: Sequence[Transfer], folder: Path) -> Path:
    """Write transfer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "transfer.json"
    content = {result.data.name: result.to_dict() for result in results}
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def _fasts(data: EvalSet, training: Sequence | None = None) -> list[FastCodec]:
    return [FastCodec(data, s, total, training) for total in (False, True) for s in FAST_SCALES]


def _codecs(entries: Sequence[LoadedTokenizer], data: EvalSet) -> list[RvqCodec]:
    known = [entry for entry in entries if data.embodiment in entry.embodiments]
    return [RvqCodec(entry.tokenizer, entry.name, entry.kind, data) for entry in known]


def _add_horizons(
    result: Transfer, loaded: Sequence[LoadedTokenizer], fasts: Sequence[FastCodec]
) -> None:
    """The robots that were trained on."""
    if not _codecs(loaded, result.data):
        return
    for condition in possible(result.data, conditions_of(result.data)):
        windows = cut(result.data, condition)
        ours = _codecs(loaded, windows)
        result.cases.append(case.measure(condition.name, HORIZON, windows, ours, fasts))


def _add_robots(
    result: Transfer,
    loaded: Sequence[LoadedTokenizer],
    fasts: Sequence[FastCodec],
    sets: Sequence[EvalSet],
) -> None:
    """The robot as one that some tokenizers were never trained on."""
    data = result.data
    new = [entry for entry in loaded if data.embodiment not in entry.embodiments]
    described = _described(data) if new else None
    windows = _windows(data) if new else None
    for entry in new:
        assert described is not None and windows is not None
        ways = {entry.name: windows, f"{entry.name}, statistics alone": None}
        try:
            grown = {
                way: entry.tokenizer.with_embodiment(data.embodiment, described, given)
                for way, given in ways.items()
            }
        except ValueError as error:
            result.missing[entry.name] = str(error)
            continue
        ours = [RvqCodec(tokenizer, way, entry.kind, data) for way, tokenizer in grown.items()]
        name = f"{entry.name}, robot added"
        beside = f"{name}; FAST fitted on the robot"
        result.cases.append(case.measure(beside, ROBOT, data, ours, fasts))
        own = [s for s in sets if s.embodiment in entry.embodiments]
        if own:
            chunks = [chunk for s in own for chunk in s.training]
            beside = f"{name}; FAST fitted on {', '.join(s.name for s in own)}"
            rivals = _fasts(data, chunks)
            result.cases.append(case.measure(beside, ROBOT, data, ours, rivals))


def _described(data: EvalSet) -> Embodiment:
    """The robot by the statistics of its training episodes."""
    builder = StatisticsBuilder(data.layout)
    for first in range(0, len(data.fit_windows), PASS):
        builder.update(data.fit_windows.chunk(slice(first, first + PASS)))
    return Embodiment(data.layout, builder.build(), data.fps)


def _windows(data: EvalSet) -> ActionChunk:
    """Windows of its training episodes, evenly spread."""
    count = len(data.fit_windows)
    return data.fit_windows.chunk(np.linspace(0, count - 1, min(count, MOST)).round().astype(int))


def _add_joint(
    result: Transfer,
    together: Sequence[LoadedTokenizer],
    alone: Sequence[LoadedTokenizer],
    fasts: Sequence[FastCodec],
) -> None:
    """The joint tokenizer beside the ones that were trained on this robot alone."""
    joints, singles = (_codecs(entries, result.data) for entries in (together, alone))
    if not joints or not singles:
        return
    name = f"{joints[0].name} beside {', '.join(codec.name for codec in singles)}"
    measured = case.measure(name, HORIZON, result.data, [*joints, *singles], fasts)
    result.cases.append(measured)
    for codec in singles:
        result.joints.append(joint.compare(measured, joints[0].name, codec.name))
