"""VLADataModule: the same batches in a run that was stopped as in one that was not."""

from __future__ import annotations

import warnings

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from vla.data.settings import DataSettings
from vla.training.datamodule import VLADataModule


class Watcher(LightningModule):
    """Trains nothing and remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[torch.Tensor] = []

    def training_step(self, batch, _):
        self.seen.append(batch.ids)
        return self.weight * 0.0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture
def run(policy, recordings, talks, tmp_path):
    def train(
        steps: int, name: str = "run", resume: bool = False, accumulate: int = 2
    ) -> list[torch.Tensor]:
        folder = tmp_path / name
        data = DataSettings(
            (str(recordings),), (str(talks),), batch_size=5, accumulation=2, workers=1
        )
        model = Watcher()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's advice on workers and logging
            trainer = Trainer(
                max_steps=steps,
                accumulate_grad_batches=accumulate,
                accelerator="cpu",
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=[ModelCheckpoint(folder, save_last=True, every_n_train_steps=1)],
            )
            checkpoint = folder / "last.ckpt" if resume else None
            trainer.fit(model, VLADataModule(policy.samples, data), ckpt_path=checkpoint)
        return model.seen

    return train


def test_a_resumed_run_goes_on_where_it_stopped(run):
    whole = run(4, "whole")
    stopped, resumed = run(1, "stopped"), run(4, "stopped", resume=True)
    assert len(whole) == 8 and len(stopped) == 2 and len(resumed) == 6
    for expected, found in zip(whole, stopped + resumed, strict=True):
        assert torch.equal(expected, found)


def test_accumulation_must_be_what_batches_are_mixed_for(run):
    with pytest.raises(ValueError, match="accumulates 3 micro-batches, but the data are mixed"):
        run(1, accumulate=3)


def test_a_run_needs_an_end(run):
    with pytest.raises(ValueError, match="max_steps"):
        run(-1)
