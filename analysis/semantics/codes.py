"""What a probe reads of a tokenizer's codes, and which of the tokens it may read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.codecs import ABSENT
from analysis.rvq_codec import RvqCodec
from analysis.semantics.probe import Inputs, linear, standardised

QUARTERS = 4
LEVEL_DECAYS = (1.0, 0.5, 0.25)


@dataclass(frozen=True)
class View:
    """Some of a tokenizer's tokens.

    Attributes:
        name: Suffix of the row's name: nothing for all tokens, else `@` and their number.
        title: In words.
        kept: [L] bool.
    """

    name: str
    title: str
    kept: np.ndarray

    @property
    def tokens(self) -> int:
        """How many tokens it keeps."""
        return int(self.kept.sum())

    @property
    def is_prefix(self) -> bool:
        """Whether it keeps the first tokens and no others."""
        return bool(self.kept[: self.tokens].all())

    def of(self, tokens: np.ndarray) -> np.ndarray:
        """[N, L] tokens with the others absent."""
        return np.where(self.kept, tokens, ABSENT)


def views(codec: RvqCodec) -> list[View]:
    """The first level, each quarter of the tokens and all of them, by rising number.

    A quarter that holds the same tokens as the first level goes by the first level's title.
    """
    length = codec.length
    found = [View("", "all codes", np.ones(length, bool))]
    first = codec.levels(length) == 0
    parts = [("first level", first)]
    for quarter in range(1, QUARTERS):
        kept = np.arange(length) < max(1, round(length * quarter / QUARTERS))
        parts.append((f"{quarter}/{QUARTERS} of the tokens", kept))
    for title, kept in parts:
        if not any((kept == view.kept).all() for view in found):
            found.append(View(f"@{kept.sum()}", title, kept))
    return sorted(found, key=lambda view: view.tokens)


def ids(codec: RvqCodec, training: np.ndarray, asked: np.ndarray) -> list[Inputs]:
    """Shared tokens alone, as a language model meets them: names without geometry.

    One entry per weight of deeper levels against the ones above; the probe chooses on validation.

    Args:
        codec: The tokenizer.
        training: [M, L] tokens, absent ones left out.
        asked: [N, L] likewise.
    """
    sizes, levels = codec.sizes(training.shape[1]), codec.levels(training.shape[1])
    return [
        linear(*(one_hot(part, sizes, decay**levels) for part in (training, asked)))
        for decay in LEVEL_DECAYS
    ]


def read(codec: RvqCodec, training: np.ndarray, asked: np.ndarray) -> Inputs:
    """Shared tokens plus embedded codes, of [M, L] and [N, L] tokens with absent ones left out."""
    sizes = codec.sizes(training.shape[1])
    shared = linear(*(one_hot(part, sizes) for part in (training, asked)))
    return shared + standardised(*(codec.embed(part) for part in (training, asked)))


def one_hot(tokens: np.ndarray, sizes: np.ndarray, weights: np.ndarray | None = None):
    """[N, L] tokens -> sparse [N, sum of sizes], one column per position and code.

    Args:
        tokens: [N, L], absent ones left out.
        sizes: [L] codes of each position.
        weights: [L] what counts for a one at each position; 1 where omitted.
    """
    from scipy.sparse import csr_array

    offset = np.concatenate([[0], np.cumsum(sizes)])
    row, position = np.nonzero(tokens != ABSENT)
    column = offset[position] + tokens[row, position]
    ones = np.ones(len(row)) if weights is None else weights[position]
    shape = (len(tokens), int(offset[-1]))
    return csr_array((ones.astype(np.float32), (row, column)), shape=shape)


def counts(tokens: np.ndarray, size: int):
    """[N, L] tokens of one codebook -> sparse [N, V], how often each occurs, wherever it stands."""
    from scipy.sparse import csr_array

    row, position = np.nonzero(tokens != ABSENT)
    ones = np.ones(len(row), np.float32)
    return csr_array((ones, (row, tokens[row, position])), shape=(len(tokens), size))
