"""Trial: one attempt of a robot, and what is kept of it.

OUT/LAYER/ROBOT-000/             the recording, see `vla.deploy.recording.recorder`
OUT/LAYER/ROBOT-000.json         how it went, if in peace; a trial that has one is not repeated, and
                                 one that nobody answered for has failed
OUT/LAYER/ROBOT-000-aborted-1    the same two of a real robot's try that did not
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvq_action.housekeeping.json_file import read_json, write_json
from rvq_action.housekeeping.training_folder import differences
from vla.deploy.report import Ending
from vla.evaluation.progress.tracker import Progress

logger = logging.getLogger(__name__)
FORMAT_VERSION = 2
PEACEFUL = (Ending.DONE, Ending.TIME)
INTERRUPTED = "interrupted"
"""The ending of a trial whose process did not live to write one."""
UNANSWERED = "nobody said whether it was solved, so it counts as failed"
COUNTS = (
    *("seconds", "periods", "missed_deadlines", "sent", "chunks", "refused_chunks"),
    "watchdog_trips",
)

NO_REPORT = {
    "ending": INTERRUPTED,
    "detail": "the command ended before it could say how it went",
    **dict.fromkeys(COUNTS, 0),
    "clipped": {},
    "held": {},
    "problems": [],
}


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
            ValueError: It was made with other settings, or by another version.
        """
        return _read(self.result, decides) if self.result.is_file() else None

    def aborted(self, decides: dict[str, Any]) -> list[dict[str, Any]]:
        """How earlier tries went that did not end in peace; errors as `known`."""
        found = sorted(self.folder.parent.glob(f"{self.folder.name}-aborted-*.json"))
        return [_read(file, decides) for file in found]

    def row(
        self, told: Mapping[str, Any], success: bool | None, progress: Progress | None = None
    ) -> dict[str, Any]:
        """How it went, as plain data.

        Args:
            told: The report of its run.
            success: Whether it was solved; None where nobody can say.
            progress: How far it came, where that is known.
        """
        return {
            "name": self.folder.name,
            "robot": self.word,
            "number": self.number,
            "ending": str(told["ending"]),
            "detail": told["detail"],
            "success": success,
            "progress": progress and progress.score,
            "stage": progress and progress.stage,
            **{name: told[name] for name in COUNTS},
            "clipped": max(told["clipped"].values(), default=0),
            "held": dict(told["held"]),
            "problems": list(told["problems"]),
            "videos": self.videos,
        }

    def keep(self, row: dict[str, Any], decides: dict[str, Any]) -> dict[str, Any]:
        """Write down how it went, if in peace; a real robot's that did not is put aside.

        Returns:
            The row, under the name that it is kept by.
        """
        more = {"format_version": FORMAT_VERSION, "decides": decides}
        if ended(row):
            write_json(row | more, self.result)
        if ended(row) or not self.is_real:
            return row
        earlier = self.folder.parent.glob(f"{self.folder.name}-aborted-*.json")
        aside = self.folder.with_name(f"{self.folder.name}-aborted-{len(list(earlier)) + 1}")
        row = row | {"name": aside.name}
        write_json(row | more, aside.with_name(f"{aside.name}.json"))
        self.folder.rename(aside)
        return row

    def clear(self, decides: dict[str, Any]) -> None:
        """Settle what an earlier command left without a result, where a real robot moved.

        What ended in peace is kept as failed, since nobody said that it was solved, and is not
        repeated; what did not is put aside. All else makes room.
        """
        steps = self.folder / "steps.jsonl"
        if self.is_real and steps.is_file() and steps.stat().st_size:
            self.keep(self._left(), decides)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _left(self) -> dict[str, Any]:
        """What is known of a trial that the command did not survive."""
        report = self.folder / "report.json"
        told = read_json(report) if report.is_file() else {}
        row = self.row(NO_REPORT | told, False)
        if ended(row):
            logger.warning("%s: %s.", self.folder.name, UNANSWERED)
            row["detail"] = UNANSWERED
        return row

    @property
    def videos(self) -> list[str]:
        """Names of what the cameras saw."""
        return sorted(path.name for path in (self.folder / "videos").glob("*.mp4"))


def ended(row: dict[str, Any]) -> bool:
    """Whether a trial ended in peace."""
    return row["ending"] in PEACEFUL


def _read(file: Path, decides: dict[str, Any]) -> dict[str, Any]:
    row = read_json(file)
    if row.pop("format_version", None) != FORMAT_VERSION:
        raise ValueError(f"{file} is of another version of this command. Give another --out.")
    if changed := differences(row.pop("decides"), decides):
        raise ValueError(
            f"{file} is of a trial with other settings ({'; '.join(changed)}). Give another --out, "
            f"or delete {file.parent}."
        )
    return row


def _file_name(word: str) -> str:
    """A robot's word as the name of a file."""
    return re.sub(r"[^\w.-]+", "-", Path(word).name).strip("-")
