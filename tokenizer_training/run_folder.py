"""The folder of a tokenizer's run.

tokenizer/               the best artefact so far
closed_form/             the artefact that training started from
logs/                    TensorBoard

and what `rvq_action.housekeeping.training_folder` keeps in it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rvq_action.housekeeping.training_folder import TrainingFolder

WAIT_SECONDS = 1800


@dataclass(frozen=True)
class RunFolder(TrainingFolder):
    """Attributes:
    path: The folder.
    """

    PARTS: ClassVar[tuple[str, ...]] = ("tokenizer", "closed_form", *TrainingFolder.PARTS)

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer"

    @property
    def closed_form(self) -> Path:
        return self.path / "closed_form"

    @property
    def steps(self) -> int:
        """Steps that a complete run trained."""
        return int((self.path / "COMPLETE").read_text().split()[0])

    def release(self) -> None:
        """Take back a claim that nothing has come of."""
        if not self.tokenizer.is_dir():
            self.clear()

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
