"""Which runs are still to be trained: those without a row, checked before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rvq_action.json_file import read_json
from tokenizer_training.ablation.row import AblationRow
from tokenizer_training.ablation.run import Run
from tokenizer_training.features.cache import FeatureCache
from tokenizer_training.fit import describe
from tokenizer_training.fit_cli import FitCLI, decisive
from tokenizer_training.run_folder import differences
from tokenizer_training.sources import open_sources

SHOWN = 3


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
    """What is asked of datasets and caches, once each."""

    def __init__(self) -> None:
        self.found, self.features = cache(_found), cache(_features)


def _compare(run: Run, out: Path, facts: _Facts) -> tuple[Planned | None, list[str]]:
    """The run if it is to be trained, and what differs in its row or folder, if anything."""
    claims = _claims(run, facts)
    settings, teacher = _portable(claims, run, facts)
    differing: list[str] = []
    if run.row(out).is_file():
        differing = differences(AblationRow.load(run.row(out)).settings, settings)
        if not differing:
            return None, []
    other = _folder_differs(run, claims, settings)
    return Planned(run, settings, teacher, fresh=bool(other)), differing or other


def _folder_differs(run: Run, claims: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """What differs in the run's folder: an option, or the features behind the same path."""
    if not run.folder.record.is_file():
        return []
    differing, artefact = run.folder.differs(claims), run.folder.tokenizer / "metadata.json"
    if differing or not artefact.is_file():
        return differing
    seen = read_json(artefact).get("features", {}).get(run.dataset_name)
    return differences({"features": seen}, {"features": settings.get("features")})


def _claims(run: Run, facts: _Facts) -> dict[str, Any]:
    """What `fit` will write into the run's folder."""
    try:
        parsed = ParsedOptions(run.words())
    except SystemExit as error:
        raise ValueError(
            f"{run.name}: `rvq-train fit` does not understand its options (see above). Mend "
            f"{run.recipe.file.name} or the budget."
        ) from error
    config = json.loads(parsed.parser.dump(parsed.config, format="json"))
    found = facts.found(run.dataset, run.budget.mapping)
    return {**decisive(config), "found": {run.dataset_name: found}}


def _portable(claims: dict[str, Any], run: Run, facts: _Facts) -> tuple[dict[str, Any], str | None]:
    """The settings without paths of this machine, and the kind of the teacher."""
    data = {k: v for k, v in claims["data"].items() if k not in ("datasets", "features")}
    settings = {**claims, "data": data}
    if run.budget.mapping is not None:
        settings["mapping"] = Path(run.budget.mapping).name
    if run.recipe.cache is None:
        return settings, None
    fingerprint, teacher = facts.features(run.recipe.cache, run.dataset_name)
    return settings | {"features": fingerprint}, teacher


def _found(dataset: Path, mapping: str | None) -> dict[str, Any]:
    return describe(open_sources([dataset], mapping)[0])


def _features(path: Path, dataset: str) -> tuple[str, str]:
    """Fingerprint of the features, and kind of the teacher."""
    opened = FeatureCache.open(path)
    return opened.dataset(dataset).fingerprint, opened.teacher.kind
