"""A finished run as a small JSON file: enough to draw the table without the run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rvq_action.housekeeping.result_row import ResultRow


@dataclass(frozen=True)
class TokenRow(ResultRow):
    """One run.

    Attributes:
        arm: Whose words were learnt.
        seed: With which seed.
        dataset: Name of the demonstrations.
        settings: Everything that decides the result; no path.
        tokens: Per chunk, at most; 0 where none were learnt.
        levels: K.
        codebook_size: V.
        steps: Steps trained.
        seconds: Wall time of the training; None where it was stopped in between.
        solved: Task -> a letter per start, in their order: `1` where the flow head solved it.
        vqa: Kind of question -> count, accuracy, majority; nothing where none were asked.
    """

    arm: str
    seed: int
    dataset: str
    settings: dict[str, Any]
    tokens: int
    levels: int
    codebook_size: int
    steps: int
    seconds: float | None
    solved: dict[str, str]
    vqa: dict[str, dict[str, float]]
    COMMAND: ClassVar[str] = "rvq-vla ablate"


def row_file(out: Path, dataset: str, arm: str, seed: int) -> Path:
    """Where the row of a run is kept."""
    return out / dataset / f"{arm}-seed{seed}.json"


def load_rows(out: Path) -> dict[str, list[TokenRow]]:
    """All rows by dataset, in the order of their files' names.

    Raises:
        FileNotFoundError: There are none.
        ValueError: One is damaged.
    """
    found: dict[str, list[TokenRow]] = {}
    for file in sorted(out.glob("*/*-seed*.json")):
        found.setdefault(file.parent.name, []).append(TokenRow.load(file))
    if not found:
        raise FileNotFoundError(f"{out} has no rows. Train some: rvq-vla ablate --rows {out}")
    return found
