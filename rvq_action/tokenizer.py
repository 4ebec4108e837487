"""ActionTokenizer: physical units in, codes out, and back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from rvq_action import artifact
from rvq_action.chunk import ActionChunk
from rvq_action.config import TokenizerConfig
from rvq_action.embodiment import Embodiment, ModelInput
from rvq_action.embodiment_table import added, check, row
from rvq_action.inputs import (
    AnyArray,
    read_actions,
    read_anchor,
    read_codes,
    read_horizon,
    read_rate,
    read_tolerance,
)
from rvq_action.layout import ActionLayout
from rvq_action.metrics import masked_mean_per_chunk
from rvq_action.model import TokenizerModel
from rvq_action.vocabulary import ABSENT, ActionVocabulary

if TYPE_CHECKING:
    from rvq_action.data.rows import RowMapping

Array = TypeVar("Array", np.ndarray, Tensor)
"""numpy in, numpy out; torch in, torch out."""


@dataclass(frozen=True)
class ActionTokenizer:
    """A trained tokenizer with the embodiments it knows.

    Attributes:
        model: The network, in model space.
        embodiments: By name.
        metadata: Provenance: split, settings, measured figures. JSON types only.
    """

    model: TokenizerModel
    embodiments: dict[str, Embodiment]
    metadata: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self.embodiments, self.config)

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
    def vocabulary(self) -> ActionVocabulary:
        """Codes <-> token ids, from id 0 on; shift it with `dataclasses.replace(first_id=...)`."""
        c = self.config
        return ActionVocabulary(c.num_slots, c.num_quantizers, c.codebook_size, c.token_order)

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

    @property
    def token_order(self) -> list[tuple[int, int]]:
        """(slot, level) of every token, in sequence."""
        return self.vocabulary.order

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

    def with_embodiment(self, name: str, embodiment: Embodiment) -> ActionTokenizer:
        """The same tokenizer with a robot more that it was not fitted on, by statistics alone.

        The robot's channels take the model's in order, normalised by its own statistics, and the
        networks are told no embodiment. How good that is depends on how its motions resemble those
        of the fitted robots: measure it with `rvq-analysis transfer`.

        Raises:
            ValueError: The name is taken, or the robot has more channels than the model.
        """
        return replace(self, embodiments=added(self.embodiments, name, embodiment))

    def encode(
        self,
        actions: Array,
        proprio: AnyArray | None = None,
        embodiment: str | None = None,
        fps: float | None = None,
        *,
        mask: AnyArray | None = None,
        relative: bool = False,
        tolerance: float | None = None,
        condition_on: tuple[str, ...] = ("anchor", "embodiment"),
    ) -> Array:
        """Turn chunks into codes.

        Args:
            actions: [B, T, D] in the layout's units, absolute unless `relative`. A dataset's or
                robot's own rows become that by `mapping`; an `OutOfRangeWarning` says once where
                they seem not to have.
            proprio: [B, D] just before the chunk, in the layout's channels; NaN where unknown.
            embodiment: May be left out where the tokenizer knows only one.
            fps: Frames per second; the training data's where omitted.
            mask: bool, broadcast to [B, T, D], True = real; everything is where omitted.
            relative: The actions are relative to the anchor already.
            tolerance: Emit codes only until a chunk's mean squared error in model space is at
                most this; the others are absent. None emits all.
            condition_on: What the networks may see of anchor and embodiment.

        Returns:
            int64 [B, S, K], absent = -1; numpy if `actions` was. A chunk's codes do not depend on
            the others in the batch, ties within float32's rounding apart.

        Raises:
            ValueError: A wrong shape, NaN or infinite values, a missing anchor, a rate or
                tolerance that is no positive number.
            KeyError: An unknown embodiment.
        """
        if tolerance is not None:
            tolerance = read_tolerance(tolerance)
        name, known = self._embodiment(embodiment)
        values, real = read_actions(actions, mask, known.layout, self.device)
        required = known.anchored(real.any(1), relative)
        anchor, anchor_mask = read_anchor(proprio, known.layout, required, self.device)
        rate = known.fps if fps is None else read_rate(fps)
        chunk = ActionChunk(values, real, anchor, anchor_mask, rate, name)
        with torch.inference_mode():
            given = self.prepare(chunk, relative=relative, condition_on=condition_on)
            known.watch.look(given.x, given.mask)
            codes = self.model.encode(given.x, given.mask, given.condition)
            if tolerance is not None:
                codes = self._shorten(codes, given, tolerance)
        return codes.cpu().numpy() if isinstance(actions, np.ndarray) else codes.clone()

    def decode(
        self,
        codes: Array,
        horizon: int,
        proprio: AnyArray | None = None,
        embodiment: str | None = None,
        fps: float | None = None,
        *,
        relative: bool = False,
        condition_on: tuple[str, ...] = ("anchor", "embodiment"),
    ) -> Array:
        """Turn codes into chunks; any codes decode.

        Every channel stays within its training range as the layout's delta rule sees it: raw
        channels as they are, the others relative to proprio. So no channel moves further than it
        did in the data, nor sets off from proprio further than a first frame did; but where that
        ends depends on where it starts: a robot's absolute limits are for whoever commands it.

        Args:
            codes: int64 [B, S, k], k <= K; absent = -1.
            horizon: T, frames to decode.
            proprio: [B, D] just before the chunk, in the layout's channels; NaN where unknown.
            embodiment: May be left out where the tokenizer knows only one.
            fps: Frames per second; the training data's where omitted.
            relative: Leave the actions relative to the anchor.
            condition_on: What the networks may see of anchor and embodiment.

        Returns:
            [B, T, D] float32, physical units; numpy if `codes` was.

        Raises:
            ValueError: Codes that are no codes, a missing anchor, a horizon outside 2..128.
            KeyError: An unknown embodiment.
        """
        horizon = read_horizon(horizon)
        name, known = self._embodiment(embodiment)
        integers = read_codes(codes, self.config, self.device)
        blank = torch.zeros(len(integers), horizon, known.layout.width, device=self.device)
        required = known.anchored(torch.ones_like(blank[:, 0], dtype=torch.bool), relative)
        anchor, anchor_mask = read_anchor(proprio, known.layout, required, self.device)
        rate = known.fps if fps is None else read_rate(fps)
        real = torch.zeros_like(blank, dtype=torch.bool)
        chunk = ActionChunk(blank, real, anchor, anchor_mask, rate, name)
        with torch.inference_mode():
            given = self.prepare(chunk, relative=True, condition_on=condition_on)
            decoded = self.model.decode(integers, horizon, given.condition)
            physical = known.from_model(decoded, anchor, relative, rate)
        return physical.cpu().numpy() if isinstance(codes, np.ndarray) else physical.clone()

    def prefix(self, codes: Array, length: int) -> Array:
        """The first `length` codes in token order; the others absent.

        Args:
            codes: int64 [..., S, k], k <= K.
            length: 0..S·K.

        Raises:
            ValueError: A length outside that.
        """
        if not 0 <= length <= self.tokens_per_chunk:
            raise ValueError(f"A prefix has 0..{self.tokens_per_chunk} tokens, not {length}.")
        place = self.vocabulary.from_order(torch.arange(self.tokens_per_chunk))
        late = place[:, : codes.shape[-1]] >= length
        if isinstance(codes, np.ndarray):
            return np.where(late.numpy(), ABSENT, codes)
        return codes.masked_fill(late.to(codes.device), ABSENT)

    def prepare(
        self,
        chunk: ActionChunk,
        relative: bool = False,
        condition_on: tuple[str, ...] = ("anchor", "embodiment"),
    ) -> ModelInput:
        """What the model takes of a chunk: relative, normalised, padded to the model's width."""
        name, known = self._embodiment(chunk.embodiment)
        unknown = sorted(set(condition_on) - {"anchor", "embodiment"})
        if unknown:
            raise ValueError(f"condition_on takes 'anchor' and 'embodiment', not {unknown}.")
        number = row(self.embodiments, name) if "embodiment" in condition_on else 0
        given = known.to_model(chunk, number, self.config.width, relative)
        return given if "anchor" in condition_on else given.without_anchor()

    def save_pretrained(self, path: str | Path) -> None:
        """Write the artefact directory, whole or not at all."""
        artifact.save(self, Path(path))

    @classmethod
    def from_pretrained(cls, path: str | Path, revision: str | None = None) -> ActionTokenizer:
        """Load a directory, or a repository of the hub where no such directory exists."""
        return cls(*artifact.load(artifact.locate(path, revision)))

    def push_to_hub(self, repo_id: str, private: bool = False) -> str:
        """Upload the artefact; returns its address. Needs `rvq-action[hub]`."""
        return artifact.push(self, repo_id, private)

    def _shorten(self, codes: Tensor, given: ModelInput, tolerance: float) -> Tensor:
        """Drop the codes after the first prefix that is within the tolerance."""
        shortest = codes.clone()
        undecided = torch.arange(len(codes), device=codes.device)
        for length in range(1, self.tokens_per_chunk):
            trial, seen = self.prefix(codes[undecided], length), given.rows(undecided)
            frames = self.model.decode(trial, seen.x.shape[1], seen.condition)
            error = masked_mean_per_chunk((frames - seen.x).square(), seen.mask)
            done = error <= tolerance
            shortest[undecided[done]] = trial[done]
            undecided = undecided[~done]
            if not len(undecided):
                break
        return shortest

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
