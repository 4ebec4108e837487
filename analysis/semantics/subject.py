"""One tokenizer under the probes: its tokens of all windows, and what each view of them tells."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from analysis.rvq_codec import RvqCodec
from analysis.semantics import codes, labels, next_frame, retrieval
from analysis.semantics.codes import View
from analysis.semantics.fits import Fits
from analysis.semantics.labels import Label, Told
from analysis.semantics.next_frame import NextFrame
from analysis.semantics.probe import Inputs
from analysis.semantics.retrieval import Retrieval
from analysis.semantics.seen import SemanticSet


@dataclass(frozen=True)
class Probed:
    """What the probes found in one view of a tokenizer's tokens.

    Attributes:
        retrieval: Pictures found by the tokens alone.
        embedded: Pictures found by the tokens and what they stand for.
        floor: Pictures found from the right codes by probes fitted with shuffled images.
        next_frame: Prediction of the frame after the chunk.
        next_frame_of_others: The same from the codes of other windows.
        told: One entry per label.
    """

    retrieval: Retrieval
    embedded: Retrieval
    floor: Fits
    next_frame: NextFrame
    next_frame_of_others: NextFrame
    told: list[Told]


@dataclass
class Subject:
    """A tokenizer on one dataset.

    Attributes:
        codec: The tokenizer.
        data: The windows.
        start: The start feature as a probe reads it.
        labels: What else is to be told.
        training: [M, L] its tokens of the training windows.
        held_out: [N, L] its tokens of the held-out windows.
    """

    codec: RvqCodec
    data: SemanticSet
    start: Inputs
    labels: list[Label]
    training: np.ndarray
    held_out: np.ndarray
    _probed: dict[bytes, Probed] = field(default_factory=dict)

    @classmethod
    def of(cls, codec: RvqCodec, data: SemanticSet, start: Inputs, asked: list[Label]) -> Subject:
        """Encode all windows."""
        training, held_out = (codec.encode(p.batch) for p in (data.training, data.held_out))
        return cls(codec, data, start, asked, training, held_out)

    @property
    def views(self) -> list[View]:
        """The views that get a row, all tokens last."""
        return codes.views(self.codec)

    def counterpart(self, view: View) -> View:
        """The view of this tokenizer with as many tokens as another's: of its own, or a prefix."""
        count = min(view.tokens, self.codec.length)
        own = [mine for mine in self.views if mine.tokens == count]
        kept = np.arange(self.codec.length) < count
        return own[0] if own else View(f"@{count}", f"{count} tokens", kept)

    def probed(self, view: View) -> Probed:
        """What the probes find in a view; remembered."""
        key = view.kept.tobytes()
        if key not in self._probed:
            self._probed[key] = self._probe(view)
        return self._probed[key]

    def _probe(self, view: View) -> Probed:
        data = self.data
        tokens = view.of(self.training), view.of(self.held_out)
        inputs, ids = codes.read(self.codec, *tokens), codes.ids(self.codec, *tokens)
        return Probed(
            retrieval.compute_best(ids, data),
            retrieval.compute(inputs, data),
            Fits.of(lambda seed: retrieval.compute(ids[0], data.with_shuffled_pictures(seed))),
            next_frame.compute(self.start, inputs, data),
            next_frame.compute(self.start, inputs.of_other_windows(), data),
            [labels.compute(inputs, label, data) for label in self.labels],
        )
