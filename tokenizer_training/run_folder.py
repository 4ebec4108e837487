"""The folder of a run: what lies in it, whose it is, and whether it is done.

tokenizer/               the best artefact so far
closed_form/             the artefact that training started from
checkpoints/last.ckpt    where a killed run goes on
logs/                    TensorBoard
run.json                 settings and data; a run is never continued with others
COMPLETE                 written last
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WAIT_SECONDS = 1800
PARTS = ("tokenizer", "closed_form", "checkpoints", "logs", "run.json", "COMPLETE")


@dataclass(frozen=True)
class RunFolder:
    """Attributes:
    path: The folder.
    """

    path: Path

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer"

    @property
    def closed_form(self) -> Path:
        return self.path / "closed_form"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def record(self) -> Path:
        return self.path / "run.json"

    @property
    def is_complete(self) -> bool:
        return (self.path / "COMPLETE").is_file()

    @property
    def steps(self) -> int:
        """Steps that a complete run trained."""
        return int((self.path / "COMPLETE").read_text().split()[0])

    def claim(self, settings: dict[str, Any], fresh: bool) -> None:
        """Make the folder this run's own.

        Args:
            settings: Everything that decides the result; JSON types.
            fresh: Whether to remove what an earlier run left.

        Raises:
            ValueError: The folder holds something else, or a run with other settings.
        """
        if fresh:
            self._clear()
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

    def release(self) -> None:
        """Take back a claim that nothing has come of."""
        if not self.tokenizer.is_dir():
            self._clear()

    def differs(self, settings: dict[str, Any]) -> list[str]:
        """What differs between the settings of the run in the folder and these; JSON types."""
        return differences(json.loads(self.record.read_text()), settings)

    def wait_for_closed_form(self) -> None:
        """Wait for the process that makes it.

        Raises:
            TimeoutError: It never came.
        """
        for _ in range(WAIT_SECONDS):
            if self.closed_form.is_dir():
                return
            time.sleep(1)
        raise TimeoutError(f"No {self.closed_form} after {WAIT_SECONDS} s; see the first process.")

    def finish(self, summary: str) -> None:
        """Mark the run as done."""
        write_text(self.path / "COMPLETE", summary + "\n")

    def _clear(self) -> None:
        if not self.record.is_file():
            return
        for name in PARTS:
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


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """What differs between two nested dicts, as `name: old -> new`."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new})
        parts = [(f"{name}.{key}".lstrip("."), old.get(key), new.get(key)) for key in keys]
        return [line for key, a, b in parts for line in differences(a, b, key)]
    return [] if old == new else [f"{name}: {old!r} -> {new!r}"]
