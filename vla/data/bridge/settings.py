"""BridgeSettings: what is asked about which recordings."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from vla.data.bridge.rules import RULES


@dataclass(frozen=True)
class BridgeSettings:
    """What is asked about which recordings.

    Attributes:
        data: Folders of LeRobotDatasets.
        tokenizer: Folder of an action tokenizer, whose split is kept to; seed 0's where None.
        mapping: Of the datasets; each one's own where None.
        cameras: Those looked through; all where None.
        kinds: Kinds of questions, see `vla.data.bridge.rules`.
        per_answer: Most questions with one answer, per dataset, kind and part.
        seed: Of the choice.
    """

    data: tuple[str, ...]
    tokenizer: str | None = None
    mapping: str | None = None
    cameras: tuple[str, ...] | None = None
    kinds: tuple[str, ...] = tuple(RULES)
    per_answer: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in RULES]
        if unknown or not self.kinds:
            raise ValueError(f"kinds must be some of {list(RULES)}, got {list(self.kinds)}.")
        if not self.data or self.per_answer < 1 or self.seed < 0:
            raise ValueError("Name a dataset; per_answer starts at 1, seed at 0.")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as json gives it back."""
        return json.loads(json.dumps(asdict(self)))
