"""A tokenizer artefact of ours as a codec: token ids in token order, any prefix decodes.

It is given the recording as it is, absolute and in physical units; what it decodes goes the way of
the recording: relative to the anchor, into scored space, clipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from analysis.codecs import ABSENT, Decoded
from analysis.evalset import Batch, EvalSet
from rvq_action.adaptive_length.adaptive import BEAM, choose, ladders_of
from rvq_action.adaptive_length.search import CodeLadder
from rvq_action.chunk import ActionChunk
from rvq_action.playback import Playback

if TYPE_CHECKING:
    from rvq_action.embodiment import ModelInput
    from rvq_action.tokenizer import ActionTokenizer

BATCH = 512
CLOSED_FORM = "closed_form"


@dataclass(frozen=True)
class BestCodes:
    """The best codes of every number of tokens.

    Attributes:
        codes: [N, R, S, K+1, K], those of the ladders to choose from, see `CodeLadder`.
        ladder: [N, L+1], which of the R decodes nearest.
        errors: [N, L+1], its mean squared error in the model's own space.
    """

    codes: np.ndarray
    ladder: np.ndarray
    errors: np.ndarray


class RvqCodec:
    """A tokenizer of ours on one dataset.

    Args:
        tokenizer: The loaded artefact.
        name: Name of its row.
        kind: `rvq` or `closed-form`.
        data: Supplies layout, rate and scored space.

    Raises:
        ValueError: The tokenizer knows the embodiment under another layout.
    """

    def __init__(self, tokenizer: ActionTokenizer, name: str, kind: str, data: EvalSet) -> None:
        self.name, self.kind = name, kind
        self._tokenizer, self._data = tokenizer, data
        layout = tokenizer.layout(data.embodiment)
        if layout.names != data.layout.names:
            raise ValueError(
                f"{name} was trained on {data.embodiment!r} with channels {layout.names}, but "
                f"{data.name} has {data.layout.names}. Pass the mapping it was trained with."
            )
        self._vocabulary = tokenizer.vocabulary_of(data.embodiment)
        order = self._vocabulary.order
        self._slots = np.array([slot for slot, _ in order])
        self._levels = np.array([level for _, level in order])
        bits = np.broadcast_to(np.asarray(tokenizer.bits_per_token, float), len(order))
        self._sizes = np.rint(2**bits).astype(int)

    @property
    def length(self) -> int:
        """L, tokens of a whole chunk."""
        return len(self._slots)

    @property
    def bits(self) -> float:
        """Of a whole chunk."""
        return float(np.log2(self._sizes).sum())

    def encode(self, batch: Batch) -> np.ndarray:
        parts = [self._encode(batch.take(part)) for part in _slices(len(batch))]
        return np.concatenate(parts)

    def _encode(self, batch: Batch) -> np.ndarray:
        codes = self._tokenizer.encode(batch.actions, mask=batch.mask, **self._context(batch))
        return np.asarray(codes[:, self._slots, self._levels])

    def decode(self, tokens: np.ndarray, batch: Batch) -> Decoded:
        parts = [self._decode(tokens[part], batch.take(part)) for part in _slices(len(batch))]
        relative = np.concatenate(parts)
        failed = ~np.isfinite(relative).all(axis=(1, 2))
        space = self._data.space
        relative[failed] = space.inverse(np.zeros(relative.shape[1:]))
        return Decoded(space.clip(space.transform(relative)), failed, relative)

    def _decode(self, tokens: np.ndarray, batch: Batch) -> np.ndarray:
        absolute = self._tokenizer.decode(
            self._codes(tokens), horizon=batch.actions.shape[1], **self._context(batch)
        )
        return self._data.to_relative(torch.as_tensor(absolute), batch)

    @torch.inference_mode()
    def embed(self, tokens: np.ndarray) -> np.ndarray:
        """[N, L] tokens, absent ones -1 -> [N, s * C] their vectors, summed over the levels."""
        quantizer = self._tokenizer.model.quantizer
        return quantizer.dequantize(self._codes(tokens)).flatten(1).cpu().numpy()

    @torch.inference_mode()
    def latents(self, batch: Batch) -> np.ndarray:
        """[N, s * C] what the encoder makes of the windows, before quantisation."""
        parts = [self._given(batch.take(part)) for part in _slices(len(batch))]
        model = self._tokenizer.model
        return np.concatenate(
            [model.latents(p.x, p.mask, p.condition).flatten(1).cpu().numpy() for p in parts]
        )

    def _codes(self, tokens: np.ndarray) -> torch.Tensor:
        """[N, L] token ids, cut short or not -> codes [N, S, K]."""
        shape = (len(tokens), self._slots.max() + 1, self._levels.max() + 1)
        codes = torch.full(shape, ABSENT, dtype=torch.int64)
        emitted = tokens.shape[1]
        codes[:, self._slots[:emitted], self._levels[:emitted]] = torch.from_numpy(tokens)
        return codes

    def _context(self, batch: Batch) -> dict:
        """What the tokenizer is told beside the chunk; proprio is NaN where unknown."""
        proprio = batch.anchor
        if proprio is not None and batch.anchor_mask is not None:
            proprio = torch.where(batch.anchor_mask, proprio, torch.nan)
        return {"proprio": proprio, "embodiment": self._data.embodiment, "fps": self._data.fps}

    def best(self, batch: Batch) -> BestCodes:
        """What `ActionTokenizer.encode(tolerance=...)` chooses from."""
        parts = [self._best(batch.take(part)) for part in _slices(len(batch))]
        return BestCodes(*map(np.concatenate, zip(*parts, strict=True)))

    @torch.inference_mode()
    def _best(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        playback = self._playback(batch)
        place = self._vocabulary.from_order(torch.arange(self.length))
        ladders = ladders_of(playback, place, BEAM, self.length)
        rows = torch.arange(len(batch))
        lengths = [torch.full_like(rows, length) for length in range(self.length + 1)]
        chosen = [choose(playback, ladders, length, rows) for length in lengths]
        codes = torch.stack([ladder.codes.to(torch.int32) for ladder in ladders], dim=1)
        ladder = torch.stack([choice.ladder for choice in chosen], dim=1)
        errors = torch.stack([choice.mse for choice in chosen], dim=1)
        return codes.numpy(), ladder.numpy(), errors.numpy()

    def of_length(self, best: BestCodes, lengths: np.ndarray) -> np.ndarray:
        """[N, L] token ids of the best codes with so many tokens [N], absent -1."""
        place = self._vocabulary.from_order(torch.arange(self.length))
        chunks, several = best.codes.shape[:2]
        rows = np.arange(chunks) * several + best.ladder[np.arange(chunks), lengths]
        flat = torch.from_numpy(best.codes.reshape(-1, *best.codes.shape[2:]))
        chosen = CodeLadder(flat, place).of_length(
            torch.from_numpy(lengths), torch.from_numpy(rows)
        )
        return chosen.long().numpy()[:, self._slots, self._levels]

    def _given(self, batch: Batch) -> ModelInput:
        """The windows as the model takes them."""
        return self._playback(batch).given

    def _playback(self, batch: Batch) -> Playback:
        chunk = ActionChunk(
            batch.actions,
            batch.mask,
            batch.anchor,
            batch.anchor_mask,
            self._data.fps,
            self._data.embodiment,
        )
        tokenizer = self._tokenizer
        known = tokenizer.embodiments[self._data.embodiment]
        return Playback(tokenizer.model, known, chunk, tokenizer.prepare(chunk), relative=False)

    def sizes(self, length: int) -> np.ndarray:
        return self._sizes[:length]

    def codebooks(self, length: int) -> np.ndarray:
        return np.arange(length)

    def levels(self, length: int) -> np.ndarray:
        return self._levels[:length]


def prefixes(length: int, most: int = 32) -> list[int]:
    """The prefix lengths that get a row: every one, or about `most` spread evenly over all.

    Args:
        length: L, tokens of a whole chunk.
        most: Above this many, evenly spaced lengths stand for all, with 1, 2 and 4 added.
    """
    if length <= most:
        return list(range(1, length + 1))
    even = np.linspace(0, length, most + 1)[1:].round().astype(int).tolist()
    return sorted({1, 2, 4, *even})


def artefact_name(path: Path) -> str:
    """A directory's name; that of the run above it where it is just called `tokenizer`."""
    path = path.resolve()
    return path.parent.name if path.name == "tokenizer" else path.name


def closed_form_of(path: Path) -> Path | None:
    """The closed form stored in an artefact's directory, or beside it."""
    places = (path / CLOSED_FORM, path.parent / CLOSED_FORM)
    return next((p for p in places if (p / "config.json").is_file()), None)


def _slices(count: int) -> list[slice]:
    return [slice(start, start + BATCH) for start in range(0, count, BATCH)]
