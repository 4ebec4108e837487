"""A finished run as a small JSON file: enough to draw the table without the run's folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rvq_action.json_file import read_json
from rvq_action.training_folder import write_text

FORMAT_VERSION = 1


@dataclass(frozen=True)
class AblationRow:
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
        codebook_size: V as it came out: at most a quarter of the windows.
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

    @property
    def fingerprint(self) -> str:
        """Equal for equal settings."""
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def save(self, file: Path) -> None:
        """Write it, whole or not at all; one line per attribute."""
        data = {
            "format_version": FORMAT_VERSION,
            "fingerprint": self.fingerprint,
            **asdict(self),
        }
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in data.items()]
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, "{\n" + ",\n".join(lines) + "\n}\n")

    @classmethod
    def load(cls, file: Path) -> AblationRow:
        """Inverse of `save`.

        Raises:
            ValueError: It is damaged, no row, or of another format.
        """
        data = read_json(file)
        version, names = data.pop("format_version", None), {field.name for field in fields(cls)}
        stored = data.pop("fingerprint", None)
        if version != FORMAT_VERSION or set(data) != names:
            raise ValueError(
                f"{file} is no row of an ablation in format {FORMAT_VERSION}. Delete it and train "
                "it again: rvq-train ablate."
            )
        row = cls(**data)
        if row.fingerprint != stored:
            raise ValueError(
                f"The settings in {file} were changed by hand: they do not have its fingerprint. "
                "Restore the file, or delete it and train it again: rvq-train ablate."
            )
        return row


def row_file(out: Path, dataset: str, recipe: str, seed: int) -> Path:
    """Where the row of a run is kept."""
    return out / dataset / f"{recipe}-seed{seed}.json"


def load_rows(out: Path, dataset: str) -> dict[Path, AblationRow]:
    """All rows of a dataset by file, in the order of their names."""
    return {file: AblationRow.load(file) for file in sorted((out / dataset).glob("*-seed*.json"))}
