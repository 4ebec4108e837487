"""A finished run as a small JSON file: enough to draw the table without the run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rvq_action.housekeeping.result_row import ResultRow


@dataclass(frozen=True)
class AblationRow(ResultRow):
    """One run.

    Attributes:
        recipe: What was tried.
        seed: With which seed.
        dataset: Name of the dataset.
        parent: Configuration that the recipe lies on top of.
        differs: Options of the recipe, by dotted name.
        settings: Everything that decides the result; no path.
        teacher: Kind of the visual teacher; None where nothing was seen.
        tokens: Per chunk.
        levels: K.
        codebook_size: V as it came out: fewer than asked for where windows are few.
        steps: Steps trained.
        best_step: The step that validated best, which is the one kept.
        seconds: Wall time; None where the run was stopped in between.
        figures: On validation episodes, by the names in the log.
        measured: On held-out episodes, by `rvq-analysis ablation`; None before that.
    """

    recipe: str
    seed: int
    dataset: str
    parent: str
    differs: dict[str, Any]
    settings: dict[str, Any]
    teacher: str | None
    tokens: int
    levels: int
    codebook_size: int
    steps: int
    best_step: int
    seconds: float | None
    figures: dict[str, float]
    measured: dict[str, Any] | None = None
    COMMAND: ClassVar[str] = "rvq-train ablate"


def row_file(out: Path, dataset: str, recipe: str, seed: int) -> Path:
    """Where the row of a run is kept."""
    return out / dataset / f"{recipe}-seed{seed}.json"


def load_rows(out: Path, dataset: str) -> dict[Path, AblationRow]:
    """All rows of a dataset by file, in the order of their names."""
    return {file: AblationRow.load(file) for file in sorted((out / dataset).glob("*-seed*.json"))}
