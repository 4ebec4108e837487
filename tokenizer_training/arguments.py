"""The words of `rvq-train fit`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from rvq_action.housekeeping.run_words import RunWords

FIT_WORDS = RunWords(Path(str(files("tokenizer_training") / "configs")), ("--data.datasets",))
