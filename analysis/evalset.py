"""The held-out windows of one dataset, with the scored space they are judged in."""

from __future__ import annotations

from collections.abc import Mapping as ReadOnly
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analysis.scored import ScoredSpace
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.split import Split, split_episodes
from rvq_action.data.windows import Windows, horizon_frames
from rvq_action.layout import ActionLayout
from rvq_action.relative import to_absolute, to_relative

MAX_WINDOWS, MAX_VALUES = 20_000, 10_000_000
"""Beyond so many windows, or values in them, windows are thinned out evenly: time and memory."""


@dataclass(frozen=True)
class Batch:
    """Windows in every form that a tokenizer may ask for.

    Attributes:
        actions: [N, T, D] float32 absolute, physical units.
        mask: [N, T, D] bool.
        anchor: [N, D], or None where the dataset has no proprio.
        anchor_mask: [N, D] bool, or None.
        relative: [N, T, C] the valid channels in relative model space, physical units.
        scored: [N, T, C] the same in scored space, clipped.
    """

    actions: Tensor
    mask: Tensor
    anchor: Tensor | None
    anchor_mask: Tensor | None
    relative: np.ndarray
    scored: np.ndarray

    def __len__(self) -> int:
        return len(self.actions)

    def take(self, indices: np.ndarray | slice) -> Batch:
        """Some of the windows."""
        return Batch(
            self.actions[indices],
            self.mask[indices],
            None if self.anchor is None else self.anchor[indices],
            None if self.anchor_mask is None else self.anchor_mask[indices],
            self.relative[indices],
            self.scored[indices],
        )


@dataclass(frozen=True)
class EvalSet:
    """One dataset's held-out windows and what was fitted on its training windows.

    Attributes:
        name: Name of the dataset.
        embodiment: Name of the embodiment.
        layout: Layout of the D channels.
        channels: The C channels that are valid in every window; the others are not scored.
        fps: Frames per second.
        split: Episodes by use.
        split_source: Where the split is from, in words.
        windows: All held-out windows at stride 1.
        indices: [N] those of `windows` that are scored.
        batch: The N scored windows.
        episode_of: [N] episode of each.
        fit_windows: All training windows at stride 1.
        training: [M, T, C] of them in scored space, thinned out where they are many.
        space: The scored space.
    """

    name: str
    embodiment: str
    layout: ActionLayout
    channels: np.ndarray
    fps: float
    split: Split
    split_source: str
    windows: Windows
    indices: np.ndarray
    batch: Batch
    episode_of: np.ndarray
    fit_windows: Windows
    training: np.ndarray
    space: ScoredSpace

    @property
    def horizon(self) -> int:
        """T."""
        return self.windows.horizon

    def load(self, indices: np.ndarray) -> Batch:
        """Any of `windows`, by number."""
        return self.cut(self.windows, indices)

    def cut(self, windows: Windows, indices: np.ndarray) -> Batch:
        """Windows of other episodes of the same robot, by number, in this scored space."""
        return _batch(windows, indices, self.layout, self.channels, self.space)

    def training_windows(self, most: int) -> tuple[np.ndarray, Batch]:
        """[M] episode numbers and the batch of at most so many training windows."""
        count = len(self.fit_windows)
        chosen = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
        return self.fit_windows.episode_ids[chosen], self.cut(self.fit_windows, chosen)

    def to_relative(self, absolute: Tensor, batch: Batch) -> np.ndarray:
        """[N, T, D] absolute -> [N, T, C] valid channels in relative model space."""
        moved = to_relative(absolute, batch.anchor, self.layout, batch.mask)
        return moved[..., self.channels].double().numpy()

    def noisy(self, batch: Batch, sigma: float, seed: int = 0) -> Batch:
        """The windows plus N(0, sigma^2) in scored space, in every form."""
        noise = np.random.default_rng(seed).normal(0, sigma, batch.scored.shape)
        moved = batch.relative + noise * self.space.half_width
        full = torch.zeros_like(batch.actions)
        full[..., self.channels] = torch.from_numpy(moved).float()
        actions = to_absolute(full, batch.anchor, self.layout, batch.mask)
        return replace(batch, actions=actions, relative=moved, scored=batch.scored + noise)


def load_eval_set(
    dataset: RobotDataset, fit_data: RobotDataset | None, splits: ReadOnly[str, Split]
) -> EvalSet:
    """Cut a dataset into held-out and training windows, and fit the scored space.

    Args:
        dataset: The dataset whose held-out episodes are scored.
        fit_data: Where the scored space, FAST and bins are fitted; None for the training
            episodes of `dataset`.
        splits: The splits that the tokenizers recorded, by dataset name.
    """
    split, source = _choose_split(dataset, fit_data, splits)
    horizon = horizon_frames(dataset.fps)
    windows = Windows([dataset.episodes[i] for i in split.held_out], horizon)
    fit_windows = Windows(_fit_episodes(dataset, fit_data, split, splits), horizon)
    _check_alike(windows, fit_windows)
    indices, fit_indices = thinned(windows), thinned(fit_windows)
    channels = _valid_channels(windows, fit_windows)
    fit_relative = _relative(fit_windows, fit_indices, dataset.layout, channels)
    space = ScoredSpace.fit(fit_relative)
    return EvalSet(
        name=dataset.name,
        embodiment=dataset.embodiment,
        layout=dataset.layout,
        channels=channels,
        fps=dataset.fps,
        split=split,
        split_source=source,
        windows=windows,
        indices=indices,
        batch=_batch(windows, indices, dataset.layout, channels, space),
        episode_of=windows.episode_ids[indices],
        fit_windows=fit_windows,
        training=space.clip(space.transform(fit_relative)),
        space=space,
    )


def _choose_split(
    dataset: RobotDataset, fit_data: RobotDataset | None, splits: ReadOnly[str, Split]
) -> tuple[Split, str]:
    count = dataset.reader.num_episodes
    if dataset.name in splits:
        split = splits[dataset.name]
        if max(split.train + split.held_out) >= count:
            raise ValueError(
                f"The tokenizer's split of {dataset.name!r} names episode "
                f"{max(split.train + split.held_out)}, but the dataset has {count} episodes. "
                "Point --data at the dataset it was trained on."
            )
        return split, "recorded in the tokenizer"
    if fit_data is not None and fit_data.path.resolve() != dataset.path.resolve():
        return Split((), tuple(range(count)), 0), f"all episodes; fitted on {fit_data.name}"
    return split_episodes(count), "seed 0"


def _fit_episodes(
    dataset: RobotDataset,
    fit_data: RobotDataset | None,
    split: Split,
    splits: ReadOnly[str, Split],
) -> Sequence:
    if fit_data is None or fit_data.path.resolve() == dataset.path.resolve():
        return [dataset.episodes[i] for i in split.train]
    if fit_data.name in splits:
        return [fit_data.episodes[i] for i in splits[fit_data.name].train]
    return fit_data.episodes


def _check_alike(windows: Windows, fit_windows: Windows) -> None:
    a, b = windows.episodes[0], fit_windows.episodes[0]
    if (a.layout, a.fps) != (b.layout, b.fps):
        raise ValueError(
            f"The fit data has layout {b.layout.name!r} at {b.fps} Hz, the data "
            f"{a.layout.name!r} at {a.fps} Hz. Fit on a dataset of the same robot and rate."
        )


def _valid_channels(*groups: Windows) -> np.ndarray:
    masks = [episode.mask for windows in groups for episode in windows.episodes]
    return np.flatnonzero(np.all(masks, axis=0))


def thinned(windows: Windows) -> np.ndarray:
    """Numbers of the windows that are scored: all, or evenly spread ones where they are many."""
    values = windows.horizon * windows.episodes[0].layout.width
    most = min(len(windows), MAX_WINDOWS, max(1, MAX_VALUES // values))
    return np.unique(np.linspace(0, len(windows) - 1, most).round().astype(int))


def _relative(
    windows: Windows, indices: np.ndarray, layout: ActionLayout, channels: np.ndarray
) -> np.ndarray:
    chunk = windows.chunk(indices)
    moved = to_relative(chunk.actions, chunk.anchor, layout, chunk.mask)
    return moved[..., channels].double().numpy()


def _batch(
    windows: Windows,
    indices: np.ndarray,
    layout: ActionLayout,
    channels: np.ndarray,
    space: ScoredSpace,
) -> Batch:
    chunk = windows.chunk(indices)
    relative = _relative(windows, indices, layout, channels)
    scored = space.clip(space.transform(relative))
    return Batch(chunk.actions, chunk.mask, chunk.anchor, chunk.anchor_mask, relative, scored)


def load_eval_sets(
    data: Sequence[Path],
    fit_data: Sequence[Path],
    mapping: Path | str | None,
    splits: ReadOnly[str, Split],
) -> list[EvalSet]:
    """One `EvalSet` per dataset.

    Args:
        data: Datasets to score on.
        fit_data: Nothing (each dataset's own training episodes), one dataset for all, or one per
            dataset.
        mapping: Of every dataset; None to find each one's own.
        splits: The splits that the tokenizers recorded, by dataset name.

    Raises:
        ValueError: The number of fit datasets fits neither, or two datasets share a name.
    """
    if len(fit_data) not in (0, 1, len(data)):
        raise ValueError(
            f"{len(fit_data)} fit datasets for {len(data)} datasets: give none, one, or one each."
        )
    names = [Path(path).resolve().name for path in data]
    if len(set(names)) < len(names):
        raise ValueError(f"Two datasets share a folder name: {names}. Rename one.")
    fits = list(fit_data) if len(fit_data) != 1 else list(fit_data) * len(data)
    opened = [RobotDataset.open(path, mapping) for path in data]
    if not fits:
        return [load_eval_set(dataset, None, splits) for dataset in opened]
    fitted = [RobotDataset.open(path, mapping) for path in fits]
    return [load_eval_set(d, f, splits) for d, f in zip(opened, fitted, strict=True)]
