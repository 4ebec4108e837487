"""The two files by which transformers' AutoProcessor loads an artefact.

processor_config.json   says which class to load (`auto_map`), and its settings
processing_rvq.py       that class, re-exported from the package

Nothing here needs transformers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from rvq_action.housekeeping.json_file import read_json, write_json

if TYPE_CHECKING:
    from rvq_action.adaptive_length.tolerance import AnyTolerance

SETTINGS, CODE = "processor_config.json", "processing_rvq.py"
CLASS = "RvqActionProcessor"
LOADING = {"auto_map": {"AutoProcessor": f"{Path(CODE).stem}.{CLASS}"}, "processor_class": CLASS}
"""What AutoProcessor looks for."""

SOURCE = f'''"""Lets AutoProcessor load this tokenizer; the code is in the package rvq-action."""

try:
    from rvq_action.processing import {CLASS}
except ImportError as error:
    raise ImportError(
        f"This action tokenizer needs the package rvq-action (pip install rvq-action): {{error}}"
    ) from error

__all__ = ["{CLASS}"]
'''


@dataclass(frozen=True)
class ProcessorSettings:
    """What a processor does unless a call says otherwise.

    Attributes:
        embodiment: Whose chunks; needed where the tokenizer knows several.
        fps: Their frames per second; the training data's where None.
        time_horizon: T to decode; where None that of the last call, then the training chunks'.
        action_dim: D; the layout's.
        tolerance: Emit codes only until the error is within this, as `ActionTokenizer.encode`
            takes it; None emits all.
        hold: [D] what an empty sequence decodes to, normalised; the embodiment's standstill where
            None.
    """

    embodiment: str | None = None
    fps: float | None = None
    time_horizon: int | None = None
    action_dim: int | None = None
    tolerance: AnyTolerance | None = None
    hold: list[float] | None = None

    @classmethod
    def of(cls, processor: object) -> ProcessorSettings:
        """Those that a processor has as attributes."""
        return cls(**{field.name: getattr(processor, field.name) for field in fields(cls)})

    def to_dict(self) -> dict:
        """The content of processor_config.json."""
        return {**LOADING, **asdict(self)}

    @classmethod
    def load(cls, path: Path) -> ProcessorSettings:
        """Read an artefact's settings; the usual ones where it has no such file.

        Raises:
            ValueError: Not JSON, or an unknown setting.
        """
        if not (path / SETTINGS).is_file():
            return cls()
        data = read_json(path / SETTINGS)
        given = {name: value for name, value in data.items() if name not in LOADING}
        unknown = sorted(set(given) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"{path / SETTINGS}: unknown settings {unknown}; export it again.")
        return cls(**given)


def write_processor_files(path: Path, settings: ProcessorSettings) -> None:
    """Add the two files to an artefact directory."""
    write_json(settings.to_dict(), path / SETTINGS)
    (path / CODE).write_text(SOURCE, encoding="utf-8")
