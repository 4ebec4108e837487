"""Windows of a dataset together with what the visual teacher saw at their frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from analysis.evalset import Batch, EvalSet
from analysis.semantics import galleries
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.split import split_episodes
from rvq_action.data.windows import Windows
from tokenizer_training.features.components import MOST_COMPONENTS, leading_components

if TYPE_CHECKING:
    from tokenizer_training.features.cache import DatasetFeatures, FeatureCache

PROBE_WINDOWS = 3000
"""At most so many training windows, evenly spread, fit a probe: its cost grows with their cube."""
VALIDATION_SHARE = 0.25
"""Of the training episodes: there the strength of a probe is chosen."""


@dataclass(frozen=True)
class Seen:
    """N windows and the teacher's features, float32; of wide ones the leading components.

    Attributes:
        batch: The windows.
        episode: [N] their episodes.
        start: [N] their first frames.
        tasks: [N] their task texts.
        first: [N, F] feature of the first frame.
        last: [N, F] feature of the last frame.
        following: [N, F] feature of the frame right after the window; zeros where unknown.
        followed: [N] bool, whether there is such a frame.
    """

    batch: Batch
    episode: np.ndarray
    start: np.ndarray
    tasks: np.ndarray
    first: np.ndarray
    last: np.ndarray
    following: np.ndarray
    followed: np.ndarray

    @property
    def pictures(self) -> np.ndarray:
        """[N, 2F] features of the first and the last frame end to end: what is to be found."""
        return np.concatenate([self.first, self.last], axis=1)

    def __len__(self) -> int:
        return len(self.episode)

    def seeing(self, others: np.ndarray) -> Seen:
        """The same windows with what was seen around others, [N] positions."""
        names = ("first", "last", "following", "followed")
        return replace(self, **{name: getattr(self, name)[others] for name in names})


@dataclass(frozen=True)
class SemanticSet:
    """One dataset, ready to be probed.

    Attributes:
        data: Its held-out windows in scored space, for stability and reconstruction.
        dataset: The dataset itself, for pictures.
        cameras: The teacher's cameras.
        training: Windows of the training episodes, thinned out.
        validation: [M] bool: those of the training windows on which strengths are chosen; their
            episodes are training episodes of the tokenizers.
        held_out: The windows of all galleries.
        galleries: Per seed, positions of its windows among `held_out`.
    """

    data: EvalSet
    dataset: RobotDataset
    cameras: tuple[str, ...]
    training: Seen
    validation: np.ndarray
    held_out: Seen
    galleries: list[np.ndarray]

    def with_shuffled_pictures(self, seed: int = 0) -> SemanticSet:
        """The control of the fit: pictures are dealt out anew among the training windows.

        Held-out windows keep theirs: a probe fitted so is asked with the right codes, and what it
        still finds, it was not taught by the pictures of the windows that it read.
        """
        others = np.random.default_rng(seed).permutation(len(self.training))
        return replace(self, training=self.training.seeing(others))


def load(
    data: EvalSet, dataset: RobotDataset, features: DatasetFeatures, seeds: int
) -> SemanticSet:
    """Cut training windows and galleries, and look their features up.

    Wide features are narrowed to the leading components of the training windows' features, as in
    training: what comes after would cost the cube of their width.

    Raises:
        ValueError: The cache is stale, incomplete, or its teacher has seen held-out episodes; or
            there is only one training episode.
    """
    features.check_complete(dataset)
    features.check_split(data.split.train)
    windows = Windows([dataset.episodes[i] for i in data.split.train], data.horizon)
    most = min(len(windows), PROBE_WINDOWS)
    thinned = np.unique(np.linspace(0, len(windows) - 1, most).round().astype(int))
    training = _see(data, windows, thinned, features)
    episodes, starts = data.windows.episode_ids, data.windows.starts
    drawn = [galleries.draw(episodes, starts, data.horizon, seed) for seed in range(seeds)]
    union = np.unique(np.concatenate(drawn))
    held_out = _see(data, data.windows, union, features)
    training, held_out = _narrowed(training, held_out)
    return SemanticSet(
        data,
        dataset,
        features.cameras,
        training,
        _validation(training.episode),
        held_out,
        [np.searchsorted(union, gallery) for gallery in drawn],
    )


def _see(data: EvalSet, windows: Windows, indices: np.ndarray, features: DatasetFeatures) -> Seen:
    episode, start = windows.episode_ids[indices], windows.starts[indices]
    first, first_known = features.lookup(episode, start)
    last, last_known = features.lookup(episode, start + data.horizon - 1)
    following, followed = features.lookup(episode, start + data.horizon)
    if not bool((first_known & last_known).all()):
        raise ValueError(
            f"The features of {data.name!r} do not cover all frames of its episodes. Run "
            "`rvq-train features` on it again."
        )
    return Seen(
        data.cut(windows, indices),
        episode,
        start,
        np.array(windows.tasks, dtype=object)[indices],
        first.numpy(),
        last.numpy(),
        following.numpy(),
        followed.numpy(),
    )


def _narrowed(training: Seen, held_out: Seen) -> tuple[Seen, Seen]:
    """Both with the leading components of the training windows' features; narrow ones as is."""
    if training.first.shape[1] <= MOST_COMPONENTS:
        return training, held_out
    frames = torch.from_numpy(np.concatenate([training.first, training.last]))
    mean, directions = (part.numpy() for part in leading_components(frames))

    def narrow(seen: Seen) -> Seen:
        first, last, following = (
            (features - mean) @ directions for features in (seen.first, seen.last, seen.following)
        )
        following[~seen.followed] = 0
        return replace(seen, first=first, last=last, following=following)

    return narrow(training), narrow(held_out)


def _validation(episode: np.ndarray) -> np.ndarray:
    """Which windows belong to the inner held-out episodes."""
    numbers = np.unique(episode)
    if len(numbers) < 2:
        raise ValueError(
            "Probes need two training episodes at least: one to fit on, one to choose their "
            "strength on. Record more."
        )
    inner = split_episodes(len(numbers), held_out=VALIDATION_SHARE)
    return np.isin(episode, numbers[list(inner.held_out)])


def cache_of(caches: Sequence[FeatureCache], name: str) -> DatasetFeatures:
    """The features of a dataset, from the one cache that holds them.

    Raises:
        ValueError: None of the caches holds the dataset, or several do.
    """
    holding = [cache for cache in caches if name in cache.datasets]
    if len(holding) != 1:
        found = ", ".join(str(cache.path) for cache in holding) or "none"
        raise ValueError(
            f"Exactly one of the caches must hold features of {name!r}; {found} does. Name one, "
            "or extract them with `rvq-train features`."
        )
    return holding[0].dataset(name)
