"""The whole of `rvq-analysis ablation`: measure what is new, put rows side by side, write it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.ablation import comparison, measure
from analysis.ablation.comparison import Ablation
from analysis.semantics import seen
from rvq_action.data.dataset import RobotDataset
from rvq_action.housekeeping.json_file import write_json
from tokenizer_training.ablation.row import AblationRow, load_rows

logger = logging.getLogger(__name__)


def compute(
    rows_dir: Path,
    runs_dir: Path,
    features: Sequence[Path] = (),
    data: Sequence[Path] = (),
    seeds: int = 3,
    mapping: Path | str | None = None,
    quiet: bool = False,
) -> list[Ablation]:
    """Measure the runs that were not measured yet, and compare all.

    Args:
        rows_dir: Folder of the rows of `rvq-train ablate`.
        runs_dir: Folder of its runs; needed for those to be measured.
        features: Caches of `rvq-train features`, one of them with each of the datasets.
        data: Datasets whose runs are to be measured; rows of others are taken as they are.
        seeds: Galleries.
        mapping: Of the datasets; None to find each one's own.
        quiet: Draw no progress bar.

    Raises:
        FileNotFoundError: There are no rows, or a dataset or cache is missing.
        ValueError: A run cannot be measured, or rows do not go together; says why.
    """
    from tokenizer_training.features.cache import FeatureCache

    if seeds < 1:
        raise ValueError(f"--seeds {seeds}: at least one gallery is needed.")
    found = _rows(rows_dir)
    caches = [FeatureCache.open(path) for path in features]
    for path in data:
        dataset = RobotDataset.open(path, mapping)
        if dataset.name not in found:
            raise ValueError(
                f"{rows_dir} has rows of {', '.join(found)}, but none of {dataset.name}. Train "
                "them: rvq-train ablate."
            )
        looked, rows = seen.cache_of(caches, dataset.name), found[dataset.name]
        found[dataset.name] = measure.measure_rows(rows, runs_dir, dataset, looked, seeds, quiet)
    return [comparison.compute(list(rows.values())) for rows in _measured(found)]


def write(ablations: Sequence[Ablation], folder: Path) -> Path:
    """Write ablation.json."""
    path = folder / "ablation.json"
    write_json({ablation.dataset: ablation.to_dict() for ablation in ablations}, path)
    return path


def _measured(found: Mapping[str, Mapping[Path, AblationRow]]) -> list[Mapping[Path, AblationRow]]:
    """The datasets that have measured rows, or all where none has."""
    late = [n for n, rows in found.items() if not any(row.measured for row in rows.values())]
    if late and len(late) < len(found):
        logger.warning(
            "%s: not measured yet, left out. Give --data and --features.", ", ".join(late)
        )
        return [rows for name, rows in found.items() if name not in late]
    return list(found.values())


def _rows(folder: Path) -> dict[str, Mapping[Path, AblationRow]]:
    """All rows by dataset."""
    datasets = sorted({file.parent.name for file in folder.glob("*/*-seed*.json")})
    if not datasets:
        raise FileNotFoundError(
            f"{folder} has no rows of an ablation. Train some: rvq-train ablate --out {folder}"
        )
    return {name: load_rows(folder, name) for name in datasets}
