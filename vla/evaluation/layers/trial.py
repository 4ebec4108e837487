"""Trial: one attempt of a robot, and what is kept of it.

OUT/LAYER/ROBOT-000/             the recording, see `vla.deploy.recorder`
OUT/LAYER/ROBOT-000.json         how it went, if in peace; a trial that has one is not repeated
OUT/LAYER/ROBOT-000-aborted-1    the same two of a real robot's try that did not
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvq_action.json_file import read_json, write_json
from rvq_action.training_folder import differences
from vla.deploy.report import Ending

PEACEFUL = (Ending.DONE, Ending.TIME)
INTERRUPTED = "interrupted"
"""The ending of a trial whose process did not live to write one."""
COUNTS = ("seconds", "periods", "missed_deadlines", "sent", "chunks", "refused_chunks")


@dataclass(frozen=True)
class Trial:
    """One attempt of one robot.

    Attributes:
        word: The robot, as the settings name it.
        number: Among its trials.
        speed: Fraction of full speed.
        folder: Of its recording.
        is_real: Whether something may break.
    """

    word: str
    number: int
    speed: float
    folder: Path
    is_real: bool

    @classmethod
    def of(cls, word: str, number: int, speed: float, layer: Path, is_real: bool) -> Trial:
        """One whose recording lies in the layer's folder."""
        return cls(word, number, speed, layer / f"{_file_name(word)}-{number:03d}", is_real)

    @property
    def result(self) -> Path:
        """Where it is written how it went."""
        return self.folder.with_name(f"{self.folder.name}.json")

    def known(self, decides: dict[str, Any]) -> dict[str, Any] | None:
        """How it went, where it need not be repeated.

        Raises:
            ValueError: It was made with other settings.
        """
        return _read(self.result, decides) if self.result.is_file() else None

    def aborted(self, decides: dict[str, Any]) -> list[dict[str, Any]]:
        """How earlier tries went that did not end in peace; errors as `known`."""
        found = sorted(self.folder.parent.glob(f"{self.folder.name}-aborted-*.json"))
        return [_read(file, decides) for file in found]

    def keep(self, row: dict[str, Any], decides: dict[str, Any]) -> dict[str, Any]:
        """Write down how it went, if in peace; a real robot's that did not is put aside.

        Returns:
            The row, under the name that it is kept by.
        """
        if ended(row):
            write_json(row | {"decides": decides}, self.result)
        if ended(row) or not self.is_real:
            return row
        earlier = self.folder.parent.glob(f"{self.folder.name}-aborted-*.json")
        aside = self.folder.with_name(f"{self.folder.name}-aborted-{len(list(earlier)) + 1}")
        row = row | {"name": aside.name}
        write_json(row | {"decides": decides}, aside.with_name(f"{aside.name}.json"))
        self.folder.rename(aside)
        return row

    def clear(self, decides: dict[str, Any]) -> None:
        """Make room: a real robot's recording without a result is put aside, if it moved."""
        steps, row = self.folder / "steps.jsonl", self._interrupted()
        if self.is_real and steps.is_file() and steps.stat().st_size and not ended(row):
            self.keep(row, decides)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _interrupted(self) -> dict[str, Any]:
        """What is known of a trial that the command did not survive."""
        report = self.folder / "report.json"
        told = read_json(report) if report.is_file() else {}
        return {
            "name": self.folder.name,
            "robot": self.word,
            "number": self.number,
            "ending": told.get("ending", INTERRUPTED),
            "detail": told.get("detail", "the command ended before it could say how it went"),
            "success": False,
            "progress": None,
            "stage": None,
            **{name: told.get(name, 0) for name in COUNTS},
            "clipped": 0,
            "held": {},
            "problems": [],
            "videos": self.videos,
        }

    @property
    def videos(self) -> list[str]:
        """Names of what the cameras saw."""
        return sorted(path.name for path in (self.folder / "videos").glob("*.mp4"))


def ended(row: dict[str, Any]) -> bool:
    """Whether a trial ended in peace."""
    return row["ending"] in PEACEFUL


def _read(file: Path, decides: dict[str, Any]) -> dict[str, Any]:
    row = read_json(file)
    if changed := differences(row.pop("decides"), decides):
        raise ValueError(
            f"{file} is of a trial with other settings ({'; '.join(changed)}). Give another --out, "
            f"or delete {file.parent}."
        )
    return row


def _file_name(word: str) -> str:
    """A robot's word as the name of a file."""
    return re.sub(r"[^\w.-]+", "-", Path(word).name).strip("-")
