"""TokenizerState: what a tokenizer is, without what it does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from rvq_action.chunk import ActionChunk
from rvq_action.config import TokenizerConfig
from rvq_action.embodiment import Embodiment, ModelInput
from rvq_action.layout import ActionLayout
from rvq_action.model import TokenizerModel

if TYPE_CHECKING:
    from rvq_action.data.rows import RowMapping


@dataclass(frozen=True)
class TokenizerState:
    """A model, the robots that it knows, and where it is from.

    Attributes:
        model: The network, in model space.
        embodiments: By name.
        metadata: Provenance: split, settings, measured figures; calibration. JSON types only.
    """

    model: TokenizerModel
    embodiments: dict[str, Embodiment]
    metadata: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.embodiments) != self.config.num_embodiments:
            raise ValueError(
                f"{len(self.embodiments)} embodiments ({sorted(self.embodiments)}) for a model "
                f"fitted on {self.config.num_embodiments}. To add a robot, fit on its data."
            )
        for name, known in self.embodiments.items():
            if known.layout.width > self.config.width:
                raise ValueError(
                    f"{name!r} has {known.layout.width} channels, but this tokenizer takes at "
                    f"most {self.config.width}. Fit one on that robot's data."
                )

    def __repr__(self) -> str:
        robots = ", ".join(f"{n} {e.fps:g} Hz" for n, e in self.embodiments.items())
        length = f", {self.seconds:g} s" if self.seconds else ""
        return (
            f"ActionTokenizer({robots}{length}: {self.tokens_per_chunk} tokens of "
            f"{self.bits_per_token:g} bits, {self.metadata.get('steps', 0)} training steps)"
        )

    @property
    def config(self) -> TokenizerConfig:
        return self.model.config

    @property
    def device(self) -> torch.device:
        return self.model.encoder.mean.device

    @property
    def tokens_per_chunk(self) -> int:
        return self.config.num_slots * self.config.num_quantizers

    @property
    def bits_per_token(self) -> float:
        return float(np.log2(self.config.codebook_size))

    @property
    def seconds(self) -> float | None:
        """How long the chunks were that it was fitted on, where it says so [s]."""
        return self.metadata.get("seconds")

    def layout(self, embodiment: str | None = None) -> ActionLayout:
        return self._embodiment(embodiment)[1].layout

    def mapping(self, embodiment: str | None = None) -> RowMapping:
        """The way from rows as the robot or its dataset gives them to the layout, and back.

        Raises:
            KeyError: An unknown embodiment.
            ValueError: The tokenizer was not fitted on a dataset.
        """
        from rvq_action.data.mapping import Mapping
        from rvq_action.data.rows import RowMapping

        name, known = self._embodiment(embodiment)
        if known.mapping is None:
            raise ValueError(
                f"{name!r} stores no mapping: it was fitted on chunks in the units of its layout."
            )
        return RowMapping(Mapping.from_dict(known.mapping, f"the mapping of {name!r}"))

    def prepare(
        self,
        chunk: ActionChunk,
        relative: bool = False,
        condition_on: tuple[str, ...] = ("anchor", "embodiment"),
    ) -> ModelInput:
        """What the model takes of a chunk: relative, normalised, padded to the model's width."""
        name, known = self._embodiment(chunk.embodiment)
        row = self._row(name, condition_on)
        given = known.to_model(chunk, row, self.config.width, relative)
        return given if "anchor" in condition_on else given.without_anchor()

    def _row(self, name: str, condition_on: tuple[str, ...]) -> int:
        """Row of the embodiment table; 0 = none."""
        if unknown := sorted({*condition_on} - {"anchor", "embodiment"}):
            raise ValueError(f"condition_on takes 'anchor' and 'embodiment', not {unknown}.")
        return 1 + list(self.embodiments).index(name) if "embodiment" in condition_on else 0

    def _embodiment(self, name: str | None) -> tuple[str, Embodiment]:
        if name is None:
            if len(self.embodiments) != 1:
                raise ValueError(f"Say which embodiment: one of {sorted(self.embodiments)}.")
            return next(iter(self.embodiments.items()))
        if name not in self.embodiments:
            raise KeyError(
                f"Unknown embodiment {name!r}; this tokenizer knows {sorted(self.embodiments)}. "
                "Train on that robot's data to add it."
            )
        return name, self.embodiments[name]
