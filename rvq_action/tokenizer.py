"""ActionTokenizer: physical units in, codes out, and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rvq_action import artifact
from rvq_action.chunk import ActionChunk, check_horizon
from rvq_action.config import TokenizerConfig
from rvq_action.embodiment import Embodiment, ModelInput
from rvq_action.layout import ActionLayout
from rvq_action.metrics import masked_mean_per_chunk
from rvq_action.model import TokenizerModel
from rvq_action.quantizer import ABSENT
from rvq_action.vocabulary import ActionVocabulary

Array = np.ndarray | Tensor


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

    @property
    def config(self) -> TokenizerConfig:
        return self.model.config

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
    def token_order(self) -> list[tuple[int, int]]:
        """(slot, level) of every token, in sequence."""
        return self.vocabulary.order

    def layout(self, embodiment: str | None = None) -> ActionLayout:
        return self._embodiment(embodiment)[1].layout

    def encode(
        self,
        actions: Array,
        proprio: Array | None = None,
        embodiment: str | None = None,
        fps: float | None = None,
        *,
        mask: Array | None = None,
        relative: bool = False,
        tolerance: float | None = None,
        condition_on: tuple[str, ...] = ("anchor", "embodiment"),
    ) -> Array:
        """Turn chunks into codes.

        Args:
            actions: [B, T, D] physical units, absolute unless `relative`.
            proprio: [B, D] just before the chunk, in the layout's channels; NaN where unknown.
            embodiment: May be left out where the tokenizer knows only one.
            fps: Frames per second; the training data's where omitted.
            mask: bool [B, T, D], True = real; every channel of the embodiment where omitted.
            relative: The actions are relative to the anchor already.
            tolerance: Emit codes only until a chunk's mean squared error in model space is at
                most this; the others are absent. None emits all.
            condition_on: What the networks may see of anchor and embodiment.

        Returns:
            int64 [B, S, K], absent = -1; numpy if `actions` was.

        Raises:
            ValueError: A wrong shape, NaN or infinite values, a missing anchor.
            KeyError: An unknown embodiment.
        """
        name, known = self._embodiment(embodiment)
        values = self._tensor(actions, "actions", ndim=3, width=known.layout.width)
        real = torch.ones_like(values, dtype=torch.bool)
        if mask is not None:
            real = torch.as_tensor(mask, device=values.device).expand_as(values)
        values = torch.where(real, values, 0.0)
        if not torch.isfinite(values).all():
            row, frame, channel = (~torch.isfinite(values)).nonzero()[0].tolist()
            raise ValueError(
                f"actions[{row}, {frame}, {known.layout.names[channel]!r}] is not finite. Mask "
                "it (mask=...) or drop the chunk."
            )
        anchor, anchor_mask = self._anchor(proprio, known, relative, len(values))
        rate = known.fps if fps is None else fps
        chunk = ActionChunk(values, real, anchor, anchor_mask, rate, name)
        with torch.inference_mode():
            given = self.prepare(chunk, relative=relative, condition_on=condition_on)
            codes = self.model.encode(given.x, given.mask, given.condition)
            if tolerance is not None:
                codes = self._shorten(codes, given, tolerance)
        return codes.cpu().numpy() if isinstance(actions, np.ndarray) else codes.clone()

    def decode(
        self,
        codes: Array,
        horizon: int,
        proprio: Array | None = None,
        embodiment: str | None = None,
        fps: float | None = None,
        *,
        relative: bool = False,
        condition_on: tuple[str, ...] = ("anchor", "embodiment"),
    ) -> Array:
        """Turn codes into chunks; any codes decode, inside the training range.

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
        check_horizon(horizon)
        name, known = self._embodiment(embodiment)
        integers = self._codes(codes)
        anchor, anchor_mask = self._anchor(proprio, known, relative, len(integers))
        blank = torch.zeros(len(integers), horizon, known.layout.width, device=integers.device)
        rate = known.fps if fps is None else fps
        real = torch.zeros_like(blank, dtype=torch.bool)
        chunk = ActionChunk(blank, real, anchor, anchor_mask, rate, name)
        with torch.inference_mode():
            given = self.prepare(chunk, relative=True, condition_on=condition_on)
            decoded = self.model.decode(integers, horizon, given.condition)
            physical = known.from_model(decoded, anchor, relative)
        return physical.cpu().numpy() if isinstance(codes, np.ndarray) else physical.clone()

    def prefix(self, codes: Array, length: int) -> Array:
        """The first `length` codes in token order; the others absent. [B, S, K] -> [B, S, K]."""
        integers = torch.as_tensor(codes).clone()
        for slot, level in self.token_order[length:]:
            integers[..., slot, level] = ABSENT
        return integers.numpy() if isinstance(codes, np.ndarray) else integers

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
        number = 1 + list(self.embodiments).index(name) if "embodiment" in condition_on else 0
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
        undecided = torch.ones(len(codes), dtype=torch.bool, device=codes.device)
        for length in range(1, self.tokens_per_chunk):
            trial = self.prefix(codes, length)
            frames = self.model.decode(trial, given.x.shape[1], given.condition)
            error = masked_mean_per_chunk((frames - given.x).square(), given.mask)
            done = undecided & (error <= tolerance)
            shortest[done] = trial[done]
            undecided &= ~done
            if not undecided.any():
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

    def _tensor(self, value: Array, what: str, ndim: int, width: int) -> Tensor:
        device = self.model.encoder.mean.device
        tensor = torch.as_tensor(value, device=device).float()
        if tensor.ndim != ndim or tensor.shape[-1] != width:
            form = f"[B, T, {width}]" if ndim == 3 else f"[B, {width}]"
            raise ValueError(f"{what} must be {form}, got {list(tensor.shape)}.")
        return tensor

    def _anchor(
        self, proprio: Array | None, known: Embodiment, relative: bool, batch: int
    ) -> tuple[Tensor | None, Tensor | None]:
        if proprio is None:
            if known.layout.needs_anchor and not relative:
                raise ValueError(
                    f"Layout {known.layout.name!r} is relative to the proprio anchor: give "
                    "proprio=[B, D], or relative=True if the actions are relative already."
                )
            return None, None
        anchor = self._tensor(proprio, "proprio", ndim=2, width=known.layout.width)
        if len(anchor) != batch:
            raise ValueError(f"proprio holds {len(anchor)} rows for {batch} chunks.")
        present = ~anchor.isnan()
        required = known.valid & torch.tensor([c.delta != "raw" for c in known.layout.channels])
        missing = required.to(present.device) & ~present.all(0)
        if not relative and missing.any():
            names = [known.layout.names[i] for i in missing.nonzero().flatten().tolist()]
            raise ValueError(f"proprio is NaN for {names}, whose actions are relative to it.")
        anchor = torch.where(present, anchor, 0.0)
        if not torch.isfinite(anchor).all():
            raise ValueError("proprio holds infinite values; check the robot's state.")
        return anchor, present

    def _codes(self, codes: Array) -> Tensor:
        integers = torch.as_tensor(codes, device=self.model.encoder.mean.device)
        slots, levels = self.config.num_slots, self.config.num_quantizers
        if integers.dtype.is_floating_point or integers.dtype == torch.bool:
            raise ValueError(f"codes must be integers, got {integers.dtype}.")
        if integers.ndim != 3 or integers.shape[1] != slots or not 1 <= integers.shape[2] <= levels:
            raise ValueError(
                f"codes must be [B, {slots}, k] with 1 <= k <= {levels}: {list(integers.shape)}."
            )
        low, high = (int(integers.min()), int(integers.max())) if integers.numel() else (0, 0)
        if low < ABSENT or high >= self.config.codebook_size:
            raise ValueError(
                f"codes must be {ABSENT} (absent) or 0..{self.config.codebook_size - 1}; got "
                f"{low}..{high}. They may come from another tokenizer."
            )
        return integers.long()
