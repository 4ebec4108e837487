"""The folder of a training run: whose it is, and whether it is done.

checkpoints/last.ckpt    where a killed run goes on
run.json                 settings and data; a run is never continued with others
COMPLETE                 written last
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

CONTENTS = "contents"
"""Under which settings hold what is in the files that options only name: mappings, a tokenizer."""


@dataclass(frozen=True)
class TrainingFolder:
    """Attributes:
    path: The folder.
    PARTS: All that a run leaves in it.
    """

    path: Path
    PARTS: ClassVar[tuple[str, ...]] = ("checkpoints", "logs", "run.json", "COMPLETE")

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def record(self) -> Path:
        return self.path / "run.json"

    @property
    def is_complete(self) -> bool:
        return (self.path / "COMPLETE").is_file()

    def claim(self, settings: dict[str, Any], fresh: bool) -> None:
        """Make the folder this run's own.

        Args:
            settings: Everything that decides the result; JSON types.
            fresh: Whether to remove what an earlier run left.

        Raises:
            ValueError: The folder holds something else, or a run with other settings.
        """
        if fresh:
            self.clear()
        settings = json.loads(json.dumps(settings))
        if self.record.is_file():
            differing = self.differs(settings)
            if differing:
                raise ValueError(
                    f"{self.path} holds a run with other settings ({'; '.join(differing)}). Choose "
                    "another --run_dir, or start it afresh with --resume never."
                )
            return
        if self.path.is_dir() and any(self.path.iterdir()):
            raise ValueError(
                f"{self.path} holds other files ({sorted(p.name for p in self.path.iterdir())[:3]} "
                "...). Choose an empty --run_dir."
            )
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.record, json.dumps(settings, indent=2) + "\n")

    def differs(self, settings: dict[str, Any]) -> list[str]:
        """What differs between the settings of the run in the folder and these; JSON types."""
        return changes(json.loads(self.record.read_text()), settings)

    def finish(self, summary: str) -> None:
        """Mark the run as done."""
        write_text(self.path / "COMPLETE", summary + "\n")

    def clear(self) -> None:
        """Remove what a run left; a folder without a run keeps everything."""
        if not self.record.is_file():
            return
        for name in self.PARTS:
            part = self.path / name
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between the settings that a run had and those that are asked for now.

    A run of before contents were remembered is taken to have had these.
    """
    if CONTENTS not in old:
        new = {name: entry for name, entry in new.items() if name != CONTENTS}
    return differences(old, new)


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """What differs between two nested dicts, as `name: old -> new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new})
        parts = [(f"{name}.{key}".lstrip("."), old.get(key), new.get(key)) for key in keys]
        return [line for key, a, b in parts for line in differences(a, b, key)]
    return [] if old == new else [f"{name}: {old!r} -> {new!r}"]
