"""Measure the runs that were not measured yet, and keep the figures in their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import stability
from analysis.ablation.sums import Curve, Measured, Ratio, per_episode
from analysis.evalset import Batch, load_eval_set
from analysis.loading import LoadedTokenizer, load_tokenizers, splits_of
from analysis.rvq_codec import RvqCodec
from analysis.semantics import codes, next_frame, noise, price, retrieval, seen
from analysis.semantics.codes import View
from analysis.semantics.probe import Inputs
from analysis.semantics.seen import SemanticSet
from analysis.stability import SIGMAS, Disturbed
from rvq_action.data.dataset import RobotDataset

if TYPE_CHECKING:
    from tokenizer_training.ablation.row import AblationRow
    from tokenizer_training.features.cache import DatasetFeatures

PROTOCOL = 1
"""Raised whenever the figures of a row change their meaning."""


@dataclass(frozen=True)
class Bench:
    """What all runs on one dataset are measured with.

    Attributes:
        data: The windows, with what the teacher saw.
        start: The start feature as a probe reads it.
        disturbed: The disturbed windows.
        by: The same in a few words.
    """

    data: SemanticSet
    start: Inputs
    disturbed: Disturbed[Batch]
    by: dict[str, Any]

    @property
    def episodes(self) -> np.ndarray:
        """[E] held-out episodes, ascending."""
        return np.unique(self.data.data.split.held_out)


def measured_by(features: DatasetFeatures, seeds: int) -> dict[str, Any]:
    """What figures must have in common to be compared."""
    return {"protocol": PROTOCOL, "features": features.fingerprint, "galleries": seeds}


def measure_rows(
    rows: Mapping[Path, AblationRow],
    runs_dir: Path,
    dataset: RobotDataset,
    features: DatasetFeatures,
    seeds: int = 3,
    quiet: bool = False,
) -> dict[Path, AblationRow]:
    """All rows with figures; those that had none are written.

    Args:
        rows: By file, all of one dataset.
        runs_dir: Where the runs lie.
        dataset: The dataset.
        features: What a teacher saw in it: the yardstick of all rows, whatever trained them.
        seeds: Galleries.
        quiet: Draw no progress bar.

    Raises:
        ValueError: A run that is to be measured is not there, is another one, or held out other
            episodes.
    """
    from tqdm.auto import tqdm

    by, known = measured_by(features, seeds), dict(rows)
    pending = {f: r for f, r in rows.items() if r.measured is None or r.measured["by"] != by}
    if not pending:
        return known
    loaded = {file: _load(row, runs_dir) for file, row in pending.items()}
    bench = _bench(list(loaded.values()), dataset, features, seeds)
    for file, entry in tqdm(loaded.items(), desc=dataset.name, unit="run", disable=quiet):
        known[file] = replace(rows[file], measured=measure(entry, bench).to_dict())
        known[file].save(file)
    return known


def measure(entry: LoadedTokenizer, bench: Bench) -> Measured:
    """Measure one run."""
    data, episodes = bench.data, bench.episodes
    codec = RvqCodec(entry.tokenizer, entry.name, entry.kind, data.data)
    first = codec.levels(codec.length) == 0
    views = {
        "_first": View(f"@{first.sum()}", "first level", first),
        "": View("", "all codes", np.ones(codec.length, bool)),
    }
    tokens = [codec.encode(part.batch) for part in (data.training, data.held_out)]
    kept = {suffix: [view.of(part) for part in tokens] for suffix, view in views.items()}
    ratios = _retrieval(codec, kept, bench)
    ratios["next_frame_skill"] = _skill(codes.read(codec, *kept[""]), bench)
    curve = _curve(codec, views[""], bench)
    ratios["mse"] = Ratio(curve.squared_error[-1], curve.values)
    steady, bits = _steadiness(codec, bench)
    candidates = float(np.mean([len(gallery) for gallery in data.galleries]))
    return Measured(bench.by, episodes, int(first.sum()), bits, candidates, ratios | steady, curve)


def _load(row: AblationRow, runs_dir: Path) -> LoadedTokenizer:
    """The tokenizer of a row."""
    from tokenizer_training.ablation.run import run_folder

    folder = run_folder(runs_dir, row.dataset, row.recipe, row.seed)
    if not folder.is_complete:
        raise ValueError(
            f"The run {folder.path} is to be measured, but is not there or not finished. Point "
            "--runs_dir at the runs, or delete its row and train it again: rvq-train ablate."
        )
    (entry,) = load_tokenizers([folder.tokenizer], closed_forms=False)
    metadata = entry.tokenizer.metadata
    if (metadata["steps"], metadata.get("figures", {})) != (row.best_step, row.figures):
        raise ValueError(
            f"{folder.path} holds another run than the row of {row.recipe} with seed {row.seed}: "
            "its figures on validation differ. Delete the row and train it again: rvq-train ablate."
        )
    return entry


def _bench(
    loaded: list[LoadedTokenizer], dataset: RobotDataset, features: DatasetFeatures, seeds: int
) -> Bench:
    eval_set = load_eval_set(dataset, None, splits_of(loaded))
    data = seen.load(eval_set, dataset, features, seeds)
    start, disturbed = next_frame.start_inputs(data), stability.disturb(eval_set)
    return Bench(data, start, disturbed, measured_by(features, seeds))


def _retrieval(
    codec: RvqCodec, kept: dict[str, list[np.ndarray]], bench: Bench
) -> dict[str, Ratio]:
    """What the tokens find, training and held-out ones by suffix; with and without vectors."""
    data, episodes = bench.data, bench.episodes
    ratios = {}
    for suffix, tokens in kept.items():
        found = {
            "retrieval": retrieval.compute_best(codes.ids(codec, *tokens), data),
            "embedded": retrieval.compute(codes.read(codec, *tokens), data),
        }
        for name, result in found.items():
            queries = per_episode(np.ones(len(result.rank)), result.episode, episodes)
            for within in (1, 5):
                hits = per_episode(result.hits(within), result.episode, episodes)
                ratios[f"{name}_r{within}{suffix}"] = Ratio(hits, queries)
    return ratios


def _skill(inputs: Inputs, bench: Bench) -> Ratio:
    result = next_frame.compute(bench.start, inputs, bench.data)
    foretold, change = (
        per_episode(values, result.episode, bench.episodes)
        for values in (result.change - result.error, result.change)
    )
    return Ratio(foretold, change)


def _curve(codec: RvqCodec, whole: View, bench: Bench) -> Curve:
    errors, episodes = price.compute(codec, bench.data.data, [whole]), bench.episodes
    squared = [per_episode(p.squared_error, errors.episode, episodes) for p in errors.points]
    values = per_episode(errors.points[0].values, errors.episode, episodes)
    return Curve(errors.bits, np.array(squared), values)


def _steadiness(codec: RvqCodec, bench: Bench) -> tuple[dict[str, Ratio], float]:
    """Word error rates and overlap, and the bits of a chunk."""
    data, episodes = bench.data.data, bench.episodes
    steady = noise.compute(noise.encode(codec, data, bench.disturbed), data)

    def mean(values: np.ndarray, episode_of: np.ndarray) -> Ratio:
        count = per_episode(np.ones(len(values)), episode_of, episodes)
        return Ratio(per_episode(values, episode_of, episodes), count)

    ratios = {
        f"noise_wer_{sigma:g}": mean(rates, steady.episode)
        for sigma, rates in zip(SIGMAS, steady.wer, strict=True)
    }
    return ratios | {"token_overlap": mean(steady.overlap, steady.pair_episode)}, steady.bits
