"""The result of the semantic measurements of one dataset."""

from __future__ import annotations

from dataclasses import dataclass, field

from analysis.rows import Row
from analysis.semantics.latents import LatentPicture
from analysis.semantics.price import PrefixErrors
from analysis.semantics.seen import SemanticSet
from analysis.semantics.subject import Probed, Subject


@dataclass
class Study:
    """Everything measured on one dataset.

    Attributes:
        data: The windows with what the teacher saw.
        teacher: Kind of the teacher.
        fingerprint: Of the features.
        plain: Name of the plain tokenizer, or None.
        rows: All rows.
        subjects: The tokenizers, by name.
        errors: Their reconstruction errors.
        latents: Their latents on a plane.
        missing: What was not measured, and why.
    """

    data: SemanticSet
    teacher: str
    fingerprint: str
    plain: str | None = None
    rows: list[Row] = field(default_factory=list)
    subjects: dict[str, Subject] = field(default_factory=dict)
    errors: dict[str, PrefixErrors] = field(default_factory=dict)
    latents: list[LatentPicture] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.data.data.name

    @property
    def candidates(self) -> float:
        """Windows per gallery, mean over the galleries."""
        return sum(map(len, self.data.galleries)) / len(self.data.galleries)

    @property
    def chance(self) -> float:
        """R@1 of a guess."""
        return 1 / self.candidates

    def row(self, name: str) -> Row:
        """A row by its name."""
        return next(row for row in self.rows if row.name == name)

    def of_kind(self, kind: str) -> list[Row]:
        """All rows of a kind."""
        return [row for row in self.rows if row.kind == kind]

    def probed(self, name: str) -> Probed:
        """What the probes found in all codes of a tokenizer."""
        subject = self.subjects[name]
        return subject.probed(subject.views[-1])

    def to_dict(self) -> dict:
        """As in semantics.json."""
        split = self.data.data.split
        facts = {
            "teacher": self.teacher,
            "features": self.fingerprint,
            "cameras": list(self.data.cameras),
            "plain": self.plain,
            "galleries": [len(gallery) for gallery in self.data.galleries],
            "chance_r1": self.chance,
            "training_windows": len(self.data.training),
            "held_out_episodes": list(split.held_out),
            "views": {
                f"{name}{view.name}": view.title
                for name, subject in self.subjects.items()
                for view in subject.views
            },
            "missing": self.missing,
        }
        return {"facts": facts, "rows": {row.name: row.to_dict() for row in self.rows}}
