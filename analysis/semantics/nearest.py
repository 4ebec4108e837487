"""A few queries with the pictures their codes found: the chunk's own last frame beside the first
three windows of the ranking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.pictures import data_uri
from analysis.semantics.retrieval import Retrieval
from analysis.semantics.seen import SemanticSet

QUERIES = 5
SIDE = 128


@dataclass(frozen=True)
class Frame:
    """One picture.

    Attributes:
        place: Episode and second, in words.
        address: A data URI of the picture.
        own: Whether it is the query's own window.
    """

    place: str
    address: str
    own: bool


@dataclass(frozen=True)
class Query:
    """A chunk's true last frame and, by tokenizer, the frames its codes found, best first."""

    truth: Frame
    found: dict[str, list[Frame]]


def compute(data: SemanticSet, results: dict[str, Retrieval]) -> list[Query]:
    """Queries spread evenly over the first gallery, with what each tokenizer found for them."""
    size = int((next(iter(results.values())).gallery == 0).sum())
    chosen = np.unique(np.linspace(0, size - 1, QUERIES + 2)[1:-1].round().astype(int))
    shown = _Pictures(data)
    queries = []
    for number in chosen:
        own = int(next(iter(results.values())).query[number])
        found = {
            name: [
                shown.frame(int(window), own) for window in result.nearest[number] if window >= 0
            ]
            for name, result in results.items()
        }
        queries.append(Query(shown.frame(own, own), found))
    return queries


@dataclass(frozen=True)
class _Pictures:
    """Last frames of held-out windows, by the first of the teacher's cameras."""

    data: SemanticSet

    def frame(self, window: int, own: int) -> Frame:
        """The last frame of a window, small."""
        held_out, rate = self.data.held_out, self.data.data.fps
        episode = int(held_out.episode[window])
        last = int(held_out.start[window]) + self.data.data.horizon - 1
        reader, camera = self.data.dataset.reader, self.data.cameras[0]
        times = reader.episode(episode)["timestamp"][[last]]
        image = reader.frames(episode, camera, times.reshape(-1))[0]
        place = f"episode {episode}, {last / rate:.1f} s"
        return Frame(place, data_uri(image, SIDE), window == own)
