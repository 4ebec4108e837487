"""FAST's interface on our tokenizer: the class that transformers' AutoProcessor loads.

A *chunk* here is what a policy's preprocessing hands to FAST: [T, D], relative to the anchor where
the layout says so, normalised so that the training data's quantiles lie on ±1; see
`rvq_action.fast_interface.chunk_space`. The anchor itself is not given, so networks that know it do
without. A chunk lasts T / fps seconds: where `fps` is another than the training data's, say so.

Decoding is total: any integers give a chunk inside the training range that sets off where training
chunks did, and `flags` says what had to be repaired. An empty sequence holds: channels relative to
the anchor do not move, raw velocities are 0, other raw channels (a gripper's opening, whatever
`fit` was given) have the mean they had in training, unless `hold` says better.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from transformers.processing_utils import ProcessorMixin

from rvq_action.adaptive_length.tolerance import AnyTolerance
from rvq_action.artifact import directory
from rvq_action.artifact.processor_files import SETTINGS, ProcessorSettings
from rvq_action.closed_form.fit_chunks import fit_chunks
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.embodiment import Embodiment
from rvq_action.fast_interface.chunk_space import ChunkSpace, choose_horizon
from rvq_action.fast_interface.facade import MIN_TOKEN, FastFacade, ignore_scale, scale_for
from rvq_action.fast_interface.repair import DecodeFlags, Tokens, repair
from rvq_action.inputs import AnyArray, read_rate
from rvq_action.novelty.chunk_fit import ChunkFit
from rvq_action.tokenizer import ActionTokenizer

IGNORED = ("trust_remote_code", "code_revision", "proxies", "use_fast")
"""What AutoProcessor passes on that means nothing here."""


class RvqActionProcessor(ProcessorMixin):
    """Chunks to token ids and back, as FAST's processor does it.

    Attributes:
        rvq: The tokenizer.
        embodiment, fps, time_horizon, action_dim, tolerance, hold: See `ProcessorSettings`.
        flags: What the last `decode` had to repair.
        min_token: Of the façade `bpe_tokenizer`, as is `scale`.
    """

    attributes: ClassVar[list[str]] = []
    min_token = MIN_TOKEN

    def __init__(
        self,
        rvq: ActionTokenizer,
        embodiment: str | None = None,
        fps: float | None = None,
        time_horizon: int | None = None,
        action_dim: int | None = None,
        tolerance: AnyTolerance | None = None,
        hold: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.rvq = rvq
        self.embodiment = embodiment
        self.fps = fps
        self.time_horizon = time_horizon
        self.action_dim = action_dim
        self.tolerance = tolerance
        self.hold = None if hold is None else [float(value) for value in hold]
        if embodiment is not None or len(rvq.embodiments) == 1:
            self.action_dim = ChunkSpace(self._robot(None)[1]).width(action_dim)
        self.called_time_horizon = time_horizon
        self.called_action_dim = self.action_dim
        self.flags: DecodeFlags | None = None

    def __repr__(self) -> str:
        return f"RvqActionProcessor({self.rvq!r}, {self.settings})"

    @property
    def settings(self) -> ProcessorSettings:
        """What is saved beside the tokenizer."""
        return ProcessorSettings.of(self)

    @property
    def vocab_size(self) -> int:
        """Number of token ids: 0 .. vocab_size - 1."""
        return self.rvq.vocabulary.size

    @property
    def scale(self) -> float:
        return scale_for(ChunkSpace(self._robot(None)[1]).largest)

    @property
    def bpe_tokenizer(self) -> FastFacade:
        """For code that decodes FAST by hand; see `rvq_action.fast_interface.facade`."""
        return FastFacade(self, self.scale)

    def __call__(
        self,
        action_chunk: AnyArray | Sequence,
        *,
        embodiment: str | None = None,
        fps: float | None = None,
        tolerance: AnyTolerance | None = None,
    ) -> list[list[int]]:
        """Token ids of chunks.

        Args:
            action_chunk: [B, T, D] or [T, D] (a batch of one), normalised.
            embodiment: As in the constructor.
            fps: As in the constructor.
            tolerance: As in the constructor.

        Returns:
            B sequences of at most S·K ids, coarse first; all equally long without a tolerance.

        Raises:
            ValueError: A wrong shape, NaN or infinite values, a horizon outside 2..128.
            KeyError: An unknown embodiment.
        """
        name, known = self._robot(embodiment)
        space = ChunkSpace(known)
        chunks = space.read(action_chunk)
        codes = self.rvq.encode(
            space.to_motion(chunks),
            embodiment=name,
            fps=self._rate(fps, known),
            relative=True,
            tolerance=self.tolerance if tolerance is None else tolerance,
        )
        self.called_time_horizon, self.called_action_dim = chunks.shape[1:]
        return self.rvq.vocabulary_of(name).to_sequences(codes)

    def score(
        self,
        action_chunk: AnyArray | Sequence,
        *,
        embodiment: str | None = None,
        fps: float | None = None,
    ) -> ChunkFit:
        """How much chunks are like those the tokenizer was fitted on, as `ActionTokenizer.score`.

        The anchor is not given, so that units which make motions smaller are not noticed.

        Args:
            action_chunk: As for encoding, like everything else.

        Returns:
            float32 [B] each.

        Raises:
            ValueError: As for encoding; or the artefact stores no calibration.
            KeyError: An unknown embodiment.
        """
        name, known = self._robot(embodiment)
        space = ChunkSpace(known)
        motion = space.to_motion(space.read(action_chunk)).numpy()
        return self.rvq.score(motion, None, name, self._rate(fps, known), relative=True)

    def decode(
        self,
        tokens: Tokens,
        *,
        time_horizon: int | None = None,
        action_dim: int | None = None,
        embodiment: str | None = None,
        fps: float | None = None,
        hold: AnyArray | Sequence[float] | None = None,
    ) -> np.ndarray:
        """Chunks of any sequences of integers; `flags` tells what had to be repaired.

        Args:
            tokens: B sequences of ids, ragged or not; a flat one is a batch of one.
            time_horizon: T; else the constructor's, else that of the last call, else the training
                chunks' length.
            action_dim: D; must be the layout's.
            embodiment: As in the constructor.
            fps: As in the constructor.
            hold: [D] or [B, D], normalised: what an empty sequence decodes to.

        Returns:
            float32 [B, T, D], normalised.

        Raises:
            ValueError: Tokens that are no integers, a horizon outside 2..128 or not to be known,
                another number of channels than the layout's.
            KeyError: An unknown embodiment.
        """
        name, known = self._robot(embodiment)
        space, rate = ChunkSpace(known), self._rate(fps, known)
        width, choices = space.width(action_dim), (self.time_horizon, self.called_time_horizon)
        horizon = choose_horizon((time_horizon, *choices), self.rvq.seconds, rate)
        codes, self.flags = repair(tokens, self.rvq.vocabulary_of(name).with_end())
        held = torch.from_numpy(self.flags.held)
        motion = self.rvq.decode(codes, horizon, None, name, rate, relative=True).cpu()
        rest = space.read_frames(self.hold if hold is None else hold, len(codes))[held]
        frames = rest[:, None].expand(-1, horizon, width)
        motion[held] = known.to_physical(frames, None, relative=True, fps=rate)
        self.called_time_horizon, self.called_action_dim = horizon, width
        return space.to_chunks(motion).numpy()

    @classmethod
    def fit(
        cls,
        action_data: Sequence[np.ndarray] | np.ndarray,
        scale: float | None = None,
        vocab_size: int | None = None,
        *,
        time_horizon: int | None = None,
        action_dim: int | None = None,
        fps: float | None = None,
        hold: Sequence[float] | None = None,
        recipe: ClosedFormRecipe | None = None,
    ) -> RvqActionProcessor:
        """A new processor from chunks, by the closed form, within seconds.

        Args:
            action_data: N chunks [T, D], normalised, of one length.
            scale: FAST's rounding; has no counterpart and is ignored with a warning.
            vocab_size: Number of token ids at most.
            time_horizon: As in the constructor.
            action_dim: D; must be that of the chunks.
            fps: Frames per second of the chunks; T, a second each, where omitted.
            hold: As in the constructor.
            recipe: What the closed form is made of.

        Raises:
            ValueError: No chunk, chunks of several shapes, NaN or infinite values, nothing moves,
                or a vocabulary too small.
        """
        ignore_scale(scale)
        rvq = fit_chunks(action_data, fps, vocab_size, recipe)
        return cls(rvq, None, fps, time_horizon, action_dim, hold=hold)

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The content of processor_config.json."""
        return self.settings.to_dict()

    def save_pretrained(
        self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any
    ) -> list[str]:
        """Write the tokenizer's artefact with the settings of this processor."""
        directory.save(self.rvq, Path(save_directory), self.settings)
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", Path(save_directory).name), **kwargs)
        return [str(Path(save_directory) / SETTINGS)]

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, **options: Any) -> str:
        """Upload the artefact with the settings of this processor.

        Args:
            repo_id: owner/name.
            private: Whether a new repository is to be private.
            options: `token`, `commit_message` and what else the hub's client takes.
        """
        return directory.push(self.rvq, repo_id, bool(private), self.settings, **options)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | PathLike,
        cache_dir: str | PathLike | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str = "main",
        **kwargs: Any,
    ) -> RvqActionProcessor:
        """Load an artefact, a directory or a hub id; settings may be given anew by keyword."""
        known = {field.name for field in fields(ProcessorSettings)}
        stray = [k for k in kwargs if k not in (*known, *IGNORED) and not k.startswith("_")]
        if stray:
            warnings.warn(f"Ignored {stray}; settings are {sorted(known)}.", stacklevel=2)
        path = directory.locate(
            str(pretrained_model_name_or_path),
            revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        stored = ProcessorSettings.load(path)
        settings = {name: kwargs.get(name, getattr(stored, name)) for name in known}
        return cls(ActionTokenizer(*directory.load(path)), **settings)

    def _robot(self, embodiment: str | None) -> tuple[str, Embodiment]:
        name = embodiment or self.embodiment
        self.rvq.layout(name)
        name = name or next(iter(self.rvq.embodiments))
        return name, self.rvq.embodiments[name]

    def _rate(self, fps: float | None, known: Embodiment) -> float:
        given = self.fps if fps is None else fps
        return known.fps if given is None else read_rate(given)
