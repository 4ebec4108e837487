"""TokenizerState: what a tokenizer is, without what it does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from rvq_action import embodiment_table
from rvq_action.chunk import ActionChunk
from rvq_action.closed_form.imagined import imagine_windows
from rvq_action.closed_form.path_install import with_path
from rvq_action.closed_form.transform import Windows
from rvq_action.config import TokenizerConfig
from rvq_action.embodiment import Embodiment, ModelInput
from rvq_action.layout import ActionLayout
from rvq_action.model import TokenizerModel
from rvq_action.novelty.fit_watch import FitWatch

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
        embodiment_table.check(self.embodiments, self.config)

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
        """Of the robot that has most; `vocabulary_of(embodiment)` says any robot's."""
        return self.config.num_slots * self.config.num_quantizers

    @property
    def bits_per_token(self) -> float:
        return float(np.log2(self.config.codebook_size))

    @property
    def seconds(self) -> float | None:
        """How long the chunks were that it was fitted on, where it says so [s]."""
        return self.metadata.get("seconds")

    @cached_property
    def fit_watches(self) -> dict[str, FitWatch]:
        """By embodiment; what they have said is forgotten with the object."""
        return {name: FitWatch.of(self, name) for name in self.embodiments}

    def path_number(self, embodiment: str) -> int:
        """The number of a robot's linear path in the model."""
        return embodiment_table.path_number(self.embodiments, embodiment)

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

    def with_embodiment(
        self,
        name: str,
        embodiment: Embodiment,
        windows: ActionChunk | None = None,
        slots: int | None = None,
    ) -> Self:
        """The same tokenizer with a robot more that it was not fitted on.

        From windows of the robot alone, within seconds, comes a linear path of its own to the
        codebooks, which stay as they are, as everything does for the other robots. The networks
        have no say in its chunks. How good that is depends on how the robot's latents resemble
        those of the fitted robots: measure it with `rvq-analysis transfer`.

        Args:
            name: Of the robot.
            embodiment: Its layout and statistics.
            windows: Its chunks, absolute, as those that a tokenizer is fitted on. Where omitted its
                statistics alone have to do (`closed_form.imagined`), at 1.3 to 2.5 times the error.
            slots: How many slots its codes have; by its moving channels, as in a fit, where
                omitted. Never more than the tokenizer has.

        Raises:
            ValueError: The name is taken, the robot has more channels than the model, or there is
                no window, or nothing in them ever moves.
        """
        known = embodiment_table.added(self.embodiments, name, embodiment)
        embodiment_table.check_width(name, embodiment, self.config)
        if windows is None:
            fitted = [robot for robot in self.embodiments.values() if robot.fitted]
            seen = imagine_windows(self.model, fitted, embodiment)
        else:
            given = embodiment.to_model(windows, 0, self.config.width, relative=False)
            seen = Windows(given.x.cpu(), given.mask.cpu())
        return replace(self, model=with_path(self.model, seen, slots), embodiments=known)

    def prepare(
        self,
        chunk: ActionChunk,
        relative: bool = False,
        condition_on: tuple[str, ...] = ("anchor", "embodiment"),
    ) -> ModelInput:
        """What the model takes of a chunk: relative, normalised, padded to the model's width."""
        name, known = self._embodiment(chunk.embodiment)
        row = self._row(name, condition_on)
        given = known.to_model(chunk, row, self.config.width, relative, self.path_number(name))
        return given if "anchor" in condition_on else given.without_anchor()

    def _row(self, name: str, condition_on: tuple[str, ...]) -> int:
        """Row of the embodiment table; 0 = none."""
        if unknown := sorted({*condition_on} - {"anchor", "embodiment"}):
            raise ValueError(f"condition_on takes 'anchor' and 'embodiment', not {unknown}.")
        known = "embodiment" in condition_on
        return embodiment_table.row(self.embodiments, name) if known else 0

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
