"""The stream of training batches: batch number n is always the same, whoever asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rvq_action.data.samplers import WindowSampler
from tokenizer_training.augment import Augmentation
from tokenizer_training.features.narrow import Features
from tokenizer_training.sources import Source
from tokenizer_training.visual import Sample, VisualSource


class BatchStream:
    """Draws the batch of any step, from nothing but (seed, step, rank).

    Args:
        sources: The datasets.
        batch_size: B, samples of one process.
        seed: Of sampling and augmentation.
        augmentation: What happens to chunks on the way.
        rank: Number of this process.
        world_size: Number of processes.
        features: What a teacher saw, by dataset; datasets without train without.
        shuffled: A control: see `VisualSource`.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        batch_size: int,
        seed: int,
        augmentation: Augmentation,
        rank: int = 0,
        world_size: int = 1,
        features: Mapping[str, Features] | None = None,
        shuffled: bool = False,
    ) -> None:
        self.sources, self.augmentation = list(sources), augmentation
        self.windows = [s.moving_windows(augmentation.longest(s.horizon)) for s in sources]
        known = features or {}
        self.visual = {
            source.name: VisualSource(known[source.name], windows, shuffled, seed)
            for source, windows in zip(sources, self.windows, strict=True)
            if source.name in known
        }
        self.sampler = WindowSampler(self.windows, seed=seed)
        self.batch_size, self.seed = batch_size, seed
        self.rank, self.world_size = rank, world_size

    def batch(self, step: int) -> list[Sample]:
        """The samples of a step, one entry for every dataset that is present in it."""
        first = (step * self.world_size + self.rank) * self.batch_size
        draws = self.sampler.draws(first, self.batch_size)
        rng = np.random.default_rng([self.seed, step, self.rank])
        samples = []
        for number in np.unique(draws[:, 0]):
            source, windows = self.sources[number], self.windows[number]
            indices = draws[draws[:, 0] == number, 1]
            layout = source.dataset.layout
            chunk = self.augmentation.apply(windows.chunk(indices), source.horizon, layout, rng)
            visual = self.visual.get(source.name)
            targets = None if visual is None else visual.targets(indices, chunk.horizon)
            samples.append(Sample(source.name, chunk, targets))
        return samples


class StepLoader:
    """The batches from one step to another, as Lightning wants to iterate over them.

    Its state is the step alone, which Lightning keeps; the empty state here says that the loader
    may be resumed anywhere.

    Args:
        stream: Where the batches are from.
        start: First step.
        stop: Step after the last one.
    """

    def __init__(self, stream: BatchStream, start: int, stop: int) -> None:
        self.stream, self.start, self.stop = stream, start, stop

    def __len__(self) -> int:
        return self.stop

    def __iter__(self) -> Iterator[list[Sample]]:
        return map(self.stream.batch, range(self.start, self.stop))

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Nothing to restore: see the class."""
