"""What a run of an experiment came to, as a small JSON file that is kept beside the documentation.

The file remembers everything that decided the result, so that it stands without the run's folder,
is not trained again, and is not mistaken for that of a run with other settings.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from rvq_action.housekeeping.json_file import read_json
from rvq_action.housekeeping.training_folder import write_text

FORMAT_VERSION = 1


class ResultRow:
    """To be inherited by a frozen dataclass of JSON types.

    Attributes:
        settings: Everything that decides the result; no path.
        COMMAND: What makes such rows.
    """

    settings: dict[str, Any]
    COMMAND: ClassVar[str]

    @property
    def fingerprint(self) -> str:
        """Equal for equal settings."""
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def save(self, file: Path) -> None:
        """Write it, whole or not at all; one line per attribute."""
        told = asdict(self)  # type: ignore[call-overload]
        data = {"format_version": FORMAT_VERSION, "fingerprint": self.fingerprint, **told}
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in data.items()]
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, "{\n" + ",\n".join(lines) + "\n}\n")

    @classmethod
    def load(cls, file: Path) -> Self:
        """Inverse of `save`.

        Raises:
            ValueError: It is damaged, no row, or of another format.
        """
        data = read_json(file)
        names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        version, stored = data.pop("format_version", None), data.pop("fingerprint", None)
        if version != FORMAT_VERSION or set(data) != names:
            raise ValueError(
                f"{file} is no row of an ablation in format {FORMAT_VERSION}. Delete it and train "
                f"it again: {cls.COMMAND}."
            )
        row = cls(**data)
        if row.fingerprint != stored:
            raise ValueError(
                f"The settings in {file} were changed by hand: they do not have its fingerprint. "
                f"Restore the file, or delete it and train it again: {cls.COMMAND}."
            )
        return row
