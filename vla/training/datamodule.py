"""VLADataModule: a policy's data as Lightning wants it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from vla.data.settings import DataSettings
from vla.data.stream import MicroBatches, SampleStream
from vla.samples import SampleBuilder
from vla.sequence import Batch


class MicroBatchLoader:
    """Micro-batches to the end of a run, read ahead by workers.

    Its state is the step alone, which Lightning keeps; the empty state here says that it may be
    resumed anywhere.

    Args:
        stream: Where the batches are from.
        start: First micro-batch.
        stop: Micro-batch after the last one.
    """

    def __init__(self, stream: SampleStream, start: int, stop: int) -> None:
        self.stream, self.start, self.stop = stream, start, stop

    def __len__(self) -> int:
        return self.stop

    def __iter__(self) -> Iterator[Batch]:
        batches = MicroBatches(self.stream, self.start, self.stop)
        workers = self.stream.settings.workers
        context = "fork" if workers else None  # what a stream holds is opened, and not to be copied
        return iter(
            DataLoader(
                batches, batch_size=None, num_workers=workers, multiprocessing_context=context
            )
        )

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Nothing to restore: see the class."""


class VLADataModule(LightningDataModule):
    """Robots' windows and conversations for a policy.

    The trainer's `accumulate_grad_batches` must be the settings' `accumulation`.

    Args:
        builder: The policy's sequences (`VLAPolicy.samples`).
        settings: What they are made from.
    """

    def __init__(self, builder: SampleBuilder, settings: DataSettings) -> None:
        super().__init__()
        self.builder, self.settings = builder, settings

    @cached_property
    def stream(self) -> SampleStream:
        """This process's samples; opened once, errors as `SampleStream.open`."""
        trainer = self.trainer
        place = (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)
        return SampleStream.open(self.builder, self.settings, *place)

    def train_dataloader(self) -> MicroBatchLoader:
        trainer, accumulation = self.trainer, self.settings.accumulation
        assert trainer is not None
        if trainer.accumulate_grad_batches != accumulation:
            raise ValueError(
                f"The trainer accumulates {trainer.accumulate_grad_batches} micro-batches, but the "
                f"data are mixed for {accumulation}. Give both the same number."
            )
        if trainer.max_steps < 1:
            raise ValueError("Say how long to train: the trainer's max_steps.")
        start = trainer.global_step * accumulation
        return MicroBatchLoader(self.stream, start, trainer.max_steps * accumulation)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        return batch.to(device)
