"""Which runs are still to be trained: those without a row, checked before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rvq_action.housekeeping.training_folder import changes
from rvq_action.tokenizer import ActionTokenizer
from tokenizer_training.ablation.row import AblationRow
from tokenizer_training.ablation.run import Run
from tokenizer_training.features.cache import DatasetFeatures, FeatureCache
from tokenizer_training.fit import decided
from tokenizer_training.fit_cli import FitCLI, decisive
from tokenizer_training.sources import Source, open_sources

SHOWN = 3
SPLITTING = ("split_seed", "held_out", "validation", "seconds")
"""Options of the data by which a dataset is opened, as `open_sources` takes them."""
BEFORE = {"closed_form": {"channels": "together"}}
"""What stood before there was an option, where that is not the option's default."""


class ParsedOptions(FitCLI):
    """The options of a run, read and checked, but nothing built from them."""

    def instantiate_classes(self) -> None:
        """Nothing: a plan needs no model, data or trainer."""


@dataclass(frozen=True)
class Planned:
    """A run that is to be trained.

    Attributes:
        run: The run.
        settings: Everything that decides its result, as its row remembers it: no path.
        teacher: Kind of the visual teacher.
        fresh: The run's folder holds one with other settings, which is to go.
    """

    run: Run
    settings: dict[str, Any]
    teacher: str | None
    fresh: bool = False


def plan(runs: Sequence[Run], out: Path, again: bool = False) -> list[Planned]:
    """The runs without a row of these settings.

    Args:
        runs: All that are asked for.
        out: Folder of the rows.
        again: Train runs anew whose row, or folder, has other settings.

    Raises:
        FileNotFoundError: A dataset or a cache is missing.
        ValueError: One is not usable, a row is damaged, or there are rows or folders with other
            settings.
    """
    missing, strays, facts = [], [], _Facts()
    for run in runs:
        planned, differing = _compare(run, out, facts)
        strays += [f"{run.name} ({'; '.join(differing[:SHOWN])})"] if differing else []
        missing += [planned] if planned is not None else []
    if strays and not again:
        raise ValueError(
            f"{len(strays)} of {len(runs)} runs are there with other settings: {strays[0]}"
            f"{' ...' if strays[1:] else ''}. Train them anew with --again, or choose another "
            "--out and --runs_dir."
        )
    return missing


class _Facts:
    """Datasets, caches and tokenizers, opened once each."""

    def __init__(self) -> None:
        self.sources, self._features = cache(_sources), cache(_features)
        self.tokenizer = cache(ActionTokenizer.from_pretrained)
        self.defaults = cache(_defaults)

    def seen(self, run: Run) -> dict[str, DatasetFeatures]:
        """The features that the run learns from, by dataset."""
        if run.recipe.cache is None:
            return {}
        return {run.dataset_name: self._features(run.recipe.cache, run.dataset_name)}


def _compare(run: Run, out: Path, facts: _Facts) -> tuple[Planned | None, list[str]]:
    """The run if it is to be trained, and what differs in its row or folder, if anything."""
    claims = _claims(run, facts)
    settings = _portable(claims, run)
    differing: list[str] = []
    if run.row(out).is_file():
        known = AblationRow.load(run.row(out)).settings
        differing = changes(completed(known, facts.defaults()), settings)
        if not differing:
            return None, []
    other = run.folder.differs(claims) if run.folder.record.is_file() else []
    teacher = next((seen.teacher.kind for seen in facts.seen(run).values()), None)
    return Planned(run, settings, teacher, fresh=bool(other)), differing or other


def completed(settings: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Settings with the options that came after they were written.

    Args:
        settings: Nested; as a row remembers them.
        defaults: Every option there is now, as it was before one could choose.
    """
    filled = dict(settings)
    for name, default in defaults.items():
        if isinstance(default, dict) and isinstance(filled.get(name, {}), dict):
            filled[name] = completed(filled.get(name, {}), default)
        else:
            filled.setdefault(name, default)
    return filled


def _defaults() -> dict[str, Any]:
    """Every option that decides a result, as it is where nothing is said, or was `BEFORE`."""
    parsed = ParsedOptions(["--run_dir", ".", "--data.datasets", "."])
    options = decisive(json.loads(parsed.parser.dump(parsed.config, format="json")))
    return completed(BEFORE, {**options, "data": _without_paths(options["data"])})


def _without_paths(data: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k not in ("datasets", "features")}


def _claims(run: Run, facts: _Facts) -> dict[str, Any]:
    """What `fit` will write into the run's folder."""
    try:
        parsed = ParsedOptions(run.words())
    except SystemExit as error:
        raise ValueError(
            f"{run.name}: `rvq-train fit` does not understand its options (see above). Mend "
            f"{run.recipe.file.name} or the budget."
        ) from error
    options = decisive(json.loads(parsed.parser.dump(parsed.config, format="json")))
    data = options["data"]
    how = options.get("mapping"), *(data[name] for name in SPLITTING)
    sources = facts.sources(run.dataset, *how)
    known = options.get("tokenizer")
    start = None if known is None else facts.tokenizer(known)
    return decided(options, sources, facts.seen(run), start)


def _portable(claims: dict[str, Any], run: Run) -> dict[str, Any]:
    """The settings without paths of this machine."""
    settings = {**claims, "data": _without_paths(claims["data"])}
    if settings.get("mapping") is not None:
        settings["mapping"] = Path(settings["mapping"]).name
    return settings


def _sources(dataset: Path, *how: Any) -> list[Source]:
    return open_sources([dataset], *how)


def _features(path: Path, dataset: str) -> DatasetFeatures:
    return FeatureCache.open(path).dataset(dataset)
