"""ActionDataModule: what a run is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from lightning import LightningDataModule

from rvq_action.data.split import HELD_OUT, VALIDATION
from tokenizer_training.augment import Augmentation
from tokenizer_training.features.cache import DatasetFeatures, FeatureCache
from tokenizer_training.features.narrow import Features
from tokenizer_training.sources import Source, open_sources
from tokenizer_training.stream import BatchStream, StepLoader
from tokenizer_training.visual import Sample


class ActionDataModule(LightningDataModule):
    """Windows of one or several datasets.

    Args:
        datasets: Folders of LeRobotDatasets.
        augmentation: What happens to chunks before they are trained on.
        features: Cache of visual features, from `rvq-train features`; null trains without pictures.
        shuffle_images: A control: every window gets what was seen around another one.
        mapping: Mapping of the datasets: a YAML file or a packaged name; each one's own if null.
        seconds: Duration of a chunk.
        batch_size: Samples per step and process.
        held_out: Share of the episodes that training never reads.
        validation: Share of the training episodes that choose the best tokenizer; at least one.
        split_seed: Of the split into those.
        seed: Of sampling and augmentation.

    Attributes:
        shown: What batches are given of the features, by dataset; to be set before the trainer
            runs.
    """

    shown: Mapping[str, Features]

    def __init__(
        self,
        datasets: list[str],
        augmentation: Augmentation,
        features: str | None = None,
        shuffle_images: bool = False,
        mapping: str | None = None,
        seconds: float = 1.0,
        batch_size: int = 256,
        held_out: float = HELD_OUT,
        validation: float = VALIDATION,
        split_seed: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        self.datasets, self.mapping = datasets, mapping
        self.cache, self.shuffle_images = features, shuffle_images
        self.augmentation, self.seconds, self.batch_size = augmentation, seconds, batch_size
        self.shares = {"held_out": held_out, "validation": validation}
        self.split_seed, self.seed = split_seed, seed

    @cached_property
    def sources(self) -> list[Source]:
        """The datasets, opened once.

        Raises:
            FileNotFoundError: A dataset is missing.
            ValueError: A dataset is damaged or too small, or two clash.
        """
        return open_sources(
            self.datasets, self.mapping, self.split_seed, seconds=self.seconds, **self.shares
        )

    @cached_property
    def features(self) -> dict[str, DatasetFeatures]:
        """What a teacher saw, by dataset; checked to be of these recordings and this split.

        Raises:
            FileNotFoundError: There is no such cache.
            ValueError: The cache is damaged, stale, of another split, or of none of the datasets.
        """
        if self.cache is None:
            return {}
        cache = FeatureCache.open(self.cache)
        sources = {s.name: s for s in self.sources if s.name in cache.datasets}
        if not sources:
            raise ValueError(
                f"{self.cache} has features of {list(cache.datasets)}, but of none of "
                f"{[source.name for source in self.sources]}. Extract them: rvq-train features."
            )
        features = {name: cache.dataset(name) for name in sources}
        for name, source in sources.items():
            features[name].check_complete(source.dataset)
            features[name].check_split(source.split.train)
        return features

    def train_dataloader(self) -> StepLoader:
        trainer = self.trainer
        assert trainer is not None
        stream = BatchStream(
            self.sources,
            self.batch_size,
            self.seed,
            self.augmentation,
            trainer.global_rank,
            trainer.world_size,
            self.shown,
            self.shuffle_images,
        )
        return StepLoader(stream, trainer.global_step, trainer.max_steps)

    def transfer_batch_to_device(
        self, batch: list[Sample], device: torch.device, dataloader_idx: int
    ) -> Any:
        return [sample.to(device) for sample in batch]
