"""ActionTokenizer: physical units in, codes out, and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from rvq_action.adaptive_length.adaptive import emit, read_limits
from rvq_action.adaptive_length.tolerance import AnyTolerance, read_tolerance
from rvq_action.artifact import directory
from rvq_action.chunk import ActionChunk
from rvq_action.inputs import (
    AnyArray,
    read_actions,
    read_anchor,
    read_codes,
    read_horizon,
    read_rate,
)
from rvq_action.novelty.calibration import Calibration
from rvq_action.novelty.chunk_fit import ChunkFit, measure
from rvq_action.playback import Fidelity, Playback, decode_frames
from rvq_action.tokenizer_state import TokenizerState
from rvq_action.vocabulary import ABSENT, ActionVocabulary

Array = TypeVar("Array", np.ndarray, Tensor)
"""numpy in, numpy out; torch in, torch out."""


@dataclass(frozen=True, repr=False)
class ActionTokenizer(TokenizerState):
    """A trained tokenizer with the embodiments it knows."""

    @property
    def vocabulary(self) -> ActionVocabulary:
        """Codes <-> token ids, from id 0 on; shift it with `dataclasses.replace(first_id=...)`.

        Its ids are those of all robots, its length that of the robot with most slots.
        """
        c = self.config
        return ActionVocabulary(c.num_slots, c.num_quantizers, c.codebook_size, c.token_order)

    def vocabulary_of(self, embodiment: str | None = None) -> ActionVocabulary:
        """The vocabulary for a robot's codes: the same ids as for others, as many tokens as it has.

        Args:
            embodiment: May be left out where the tokenizer knows only one.

        Raises:
            KeyError: An unknown embodiment.
        """
        name, _ = self._embodiment(embodiment)
        return self.vocabulary.of_slots(self.config.path_slots[self.path_number(name)])

    @property
    def token_order(self) -> list[tuple[int, int]]:
        """(slot, level) of every token, in sequence, for the robot with most slots."""
        return self.vocabulary.order

    def encode(
        self,
        actions: Array,
        proprio: AnyArray | None = None,
        embodiment: str | None = None,
        fps: float | None = None,
        *,
        mask: AnyArray | None = None,
        relative: bool = False,
        tolerance: AnyTolerance | None = None,
        max_tokens: int | None = None,
        beam: int | None = None,
        condition_on: tuple[str, ...] = ("anchor", "embodiment"),
    ) -> Array:
        """Turn chunks into codes.

        Args:
            actions: [B, T, D] in the layout's units, absolute unless `relative`. A dataset's or
                robot's own rows become that by `mapping`. Where they seem not to have, or the first
                chunks are unlike training, an `OutOfRange-` or `OutOfDistributionWarning` says so.
            proprio: [B, D] just before the chunk, in the layout's channels; NaN where unknown.
            embodiment: May be left out where the tokenizer knows only one.
            fps: Frames per second; the training data's where omitted.
            mask: bool, broadcast to [B, T, D], True = real; everything is where omitted.
            relative: The actions are relative to the anchor already.
            tolerance: Emit only as many codes as keep a chunk within this; the others are absent.
                The mean squared error in model space that `decode` may leave, or bounds by name
                as `AnyTolerance` explains them: `{"position": 0.002, "scored": 1e-3}`. A
                `ToleranceWarning` says once where all do not suffice.
            max_tokens: Emit at most so many codes: of those chosen together and the nearest ones
                whichever decode nearer, chunk by chunk.
            beam: Candidates kept per slot in the search for codes: more lower the error and take
                longer. 1 takes the nearest code at every level, so that every prefix is good and
                noise changes few codes. None: 1, but 4 with `tolerance` or `max_tokens`, whose
                codes may be chosen together and then are no prefix of all codes.
            condition_on: What the networks may see of anchor and embodiment.

        Returns:
            int64 [B, s, K] of the s slots that the robot fills, absent = -1; numpy if `actions`
            was. A chunk's codes do not depend on the others in the batch, ties within float32's
            rounding apart.

        Raises:
            ValueError: A wrong shape, NaN or infinite values, a missing anchor, a rate or
                tolerance that is no positive number, an unknown channel group.
            KeyError: An unknown embodiment.
        """
        name, known = self._embodiment(embodiment)
        vocabulary = self.vocabulary_of(name)
        tokens = vocabulary.tokens_per_chunk
        bound = None if tolerance is None else read_tolerance(tolerance, known.layout)
        limits = read_limits(bound, max_tokens, beam, tokens)
        playback = self._playback(actions, proprio, embodiment, fps, mask, relative, condition_on)
        place = vocabulary.from_order(torch.arange(tokens, device=self.device))
        with torch.inference_mode():
            known.watch.look(playback.given.x, playback.given.mask)
            self.fit_watches[name].look(playback)
            codes, reached = emit(playback, limits, place)
            known.tolerance_watch.look(reached, limits.max_tokens)
        return codes.cpu().numpy() if isinstance(actions, np.ndarray) else codes.clone()

    def fidelity(
        self,
        actions: Array,
        codes: Array,
        proprio: AnyArray | None = None,
        embodiment: str | None = None,
        fps: float | None = None,
        *,
        mask: AnyArray | None = None,
        relative: bool = False,
        condition_on: tuple[str, ...] = ("anchor", "embodiment"),
    ) -> Fidelity:
        """How far what `decode` makes of codes is from the actions they are of.

        Args:
            actions: As `encode` was given them, like everything but `codes`.
            codes: int64 [B, s, k], k <= K, as `encode` returned them.

        Raises:
            ValueError: As `encode` and `decode`; or codes of another number of chunks.
        """
        playback = self._playback(actions, proprio, embodiment, fps, mask, relative, condition_on)
        integers = read_codes(codes, self.config, playback.given.condition.path, self.device)
        if len(integers) != len(playback.chunk):
            raise ValueError(
                f"codes of {len(integers)} chunks for {len(playback.chunk)} of actions. Give those "
                "that `encode` returned for these actions."
            )
        with torch.inference_mode():
            found = playback.fidelity(integers)
        return found.numpy() if isinstance(actions, np.ndarray) else found

    def score(
        self,
        actions: Array,
        proprio: AnyArray | None = None,
        embodiment: str | None = None,
        fps: float | None = None,
        *,
        mask: AnyArray | None = None,
        relative: bool = False,
    ) -> ChunkFit:
        """How much chunks are like those the tokenizer was fitted on; see `novelty.chunk_fit`.

        Args:
            actions: As for `encode`, like everything else. Without proprio, units that make
                motions smaller are not noticed.

        Raises:
            ValueError: As `encode`; or the artefact stores no calibration.
        """
        name, _ = self._embodiment(embodiment)
        calibration = Calibration.of(self, name)
        playback = self._playback(actions, proprio, embodiment, fps, mask, relative)
        with torch.inference_mode():
            fit = calibration.judge(*measure(playback))
        return fit.numpy() if isinstance(actions, np.ndarray) else fit

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

        A chunk without any code holds: relative channels stay at proprio, velocities are 0, other
        raw channels keep proprio's value, or have their mean in training where that is unknown.

        Every channel stays within its training range as the layout's delta rule sees it: raw
        channels as they are, the others relative to proprio. So no channel moves further than it
        did in the data, nor sets off from proprio further than a first frame did, below the
        training rate apart; but where that ends depends on where it starts: a robot's absolute
        limits are for whoever commands it.

        Args:
            codes: int64 [B, s, k], k <= K; absent = -1.
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
        horizon, device = read_horizon(horizon), self.device
        name, known = self._embodiment(embodiment)
        row = self._row(name, condition_on)
        path = self.path_number(name)
        integers = read_codes(codes, self.config, path, device)
        required = (known.needed & (not relative)).to(device).expand(len(integers), -1)
        anchor, anchor_mask = read_anchor(proprio, known.layout, required, device)
        rate = known.fps if fps is None else read_rate(fps)
        with torch.inference_mode():
            listens = self.model.decoder.listens and "anchor" in condition_on
            seen = (anchor, anchor_mask) if listens else (None, None)
            duration = torch.full((len(integers),), horizon / rate, device=device)
            condition = known.condition(*seen, row, self.config.width, duration, path)
            decoded = decode_frames(
                self.model, known, integers, horizon, condition, (anchor, anchor_mask)
            )
            physical = known.from_model(decoded, anchor, relative, rate)
        return physical.cpu().numpy() if isinstance(codes, np.ndarray) else physical.clone()

    def prefix(self, codes: Array, length: int) -> Array:
        """The first `length` codes in token order; the others absent.

        Args:
            codes: int64 [..., s, k], k <= K, of a robot with s slots.
            length: 0..s·K.

        Raises:
            ValueError: A length outside that.
        """
        vocabulary = self.vocabulary.of_slots(codes.shape[-2])
        if not 0 <= length <= vocabulary.tokens_per_chunk:
            raise ValueError(f"A prefix has 0..{vocabulary.tokens_per_chunk} tokens, not {length}.")
        place = vocabulary.from_order(torch.arange(vocabulary.tokens_per_chunk))
        late = place[:, : codes.shape[-1]] >= length
        if isinstance(codes, np.ndarray):
            return np.where(late.numpy(), ABSENT, codes)
        return codes.masked_fill(late.to(codes.device), ABSENT)

    def save_pretrained(self, path: str | Path) -> None:
        """Write the artefact directory, whole or not at all."""
        directory.save(self, Path(path))

    @classmethod
    def from_pretrained(cls, path: str | Path, revision: str | None = None) -> ActionTokenizer:
        """Load a directory, or a repository of the hub where no such directory exists."""
        return cls(*directory.load(directory.locate(path, revision)))

    def push_to_hub(self, repo_id: str, private: bool = False) -> str:
        """Upload the artefact; returns its address. Needs `rvq-action[hub]`."""
        return directory.push(self, repo_id, private)

    def _playback(
        self,
        actions: Array,
        proprio: AnyArray | None,
        embodiment: str | None,
        fps: float | None,
        mask: AnyArray | None,
        relative: bool,
        condition_on: tuple[str, ...] = ("anchor", "embodiment"),
    ) -> Playback:
        """What a caller gives of recorded chunks, checked."""
        name, known = self._embodiment(embodiment)
        values, real = read_actions(actions, mask, known.layout, self.device)
        required = known.anchored(real.any(1), relative)
        anchor, anchor_mask = read_anchor(proprio, known.layout, required, self.device)
        rate = known.fps if fps is None else read_rate(fps)
        chunk = ActionChunk(values, real, anchor, anchor_mask, rate, name)
        with torch.inference_mode():
            given = self.prepare(chunk, relative=relative, condition_on=condition_on)
        return Playback(self.model, known, chunk, given, relative)
