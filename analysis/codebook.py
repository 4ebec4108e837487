"""How much of its codebooks a tokenizer uses on held-out windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from analysis.codecs import ABSENT, Codec
from analysis.style import GRID, SERIES, TEXT
from rvq_action import metrics


@dataclass(frozen=True)
class CodebookUse:
    """Use of each of Q codebooks.

    Attributes:
        utilisation: [Q] share of the codes that occur at all.
        perplexity: [Q] exp of the entropy of the codes.
        size: [Q] V.
        level: [Q] quantizer level.
        windows: How many windows were encoded: a codebook cannot use more codes than it has seen
            tokens.
    """

    utilisation: np.ndarray
    perplexity: np.ndarray
    size: np.ndarray
    level: np.ndarray
    windows: int

    def per_level(self) -> dict[int, tuple[float, float]]:
        """Mean utilisation and perplexity of every level's codebooks."""
        return {
            int(level): (
                float(self.utilisation[self.level == level].mean()),
                float(self.perplexity[self.level == level].mean()),
            )
            for level in np.unique(self.level)
        }


def compute(codec: Codec, tokens: np.ndarray) -> CodebookUse:
    """Count the codes of token ids [N, L]."""
    length = tokens.shape[1]
    books, sizes, levels = codec.codebooks(length), codec.sizes(length), codec.levels(length)
    rows = []
    for book in np.unique(books):
        columns = np.flatnonzero(books == book)
        size = int(sizes[columns[0]])
        counts = torch.from_numpy(np.bincount(_emitted(tokens[:, columns]), minlength=size))
        use = float(metrics.utilisation(counts)), float(metrics.perplexity(counts))
        rows.append((*use, size, levels[columns[0]]))
    utilisation, perplexity, size, level = map(np.array, zip(*rows, strict=True))
    return CodebookUse(utilisation, perplexity, size, level, len(tokens))


def _emitted(tokens: np.ndarray) -> np.ndarray:
    return tokens[tokens != ABSENT]


def plot(result: CodebookUse, ax) -> None:
    """Utilisation as bars and relative perplexity as dots, over the codebooks in token order."""
    position = np.arange(1, len(result.size) + 1)
    for level in np.unique(result.level):
        of_level = result.level == level
        colour = SERIES[int(level) % len(SERIES)]
        label = f"utilisation, level {level + 1}"
        ax.bar(position[of_level], result.utilisation[of_level], 0.8, color=colour, label=label)
    ax.plot(
        position,
        result.perplexity / result.size,
        "o",
        color=TEXT,
        markersize=3.5,
        label="perplexity / V",
    )
    ax.set(ylim=(0, 1.02), xlabel="token", ylabel="share of the codebook")
    ax.set_xlim(0.4, len(position) + 0.6)
    ax.grid(axis="y", color=GRID)
