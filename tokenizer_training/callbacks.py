"""What happens beside the steps: choosing the best tokenizer, and being able to go on."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer, seed_everything

from rvq_action.chunk import ActionChunk
from rvq_action.closed_form.semantic_codebooks import fit_semantic_codebooks
from rvq_action.data.split import MIN_VALIDATION
from rvq_action.tokenizer import ActionTokenizer
from tokenizer_training.evaluation import Evaluation, evaluate
from tokenizer_training.module import TokenizerModule
from tokenizer_training.visual import Sample


@dataclass(frozen=True)
class ValidationSettings:
    """How the best tokenizer is chosen.

    Attributes:
        every_n_steps: Steps between two looks.
        windows: Validation windows per dataset, evenly spread.
        prefixes: Prefixes, evenly spaced, over which the error is averaged.
        least_episodes: With fewer validation episodes than this nobody can tell learning from
            memorising: the run ends with the closed form, fitted on them as well.
    """

    every_n_steps: int = 100
    windows: int = 1024
    prefixes: int = 8
    least_episodes: int = MIN_VALIDATION

    def __post_init__(self) -> None:
        _check_positive(self)


@dataclass(frozen=True)
class SemanticSettings:
    """How the semantic codes follow the semantic network.

    Attributes:
        every_n_steps: Steps between two times.
        windows: Windows per embodiment that they are fitted on.
        iterations: Passes of k-means.
    """

    every_n_steps: int = 100
    windows: int = 8192
    iterations: int = 3

    def __post_init__(self) -> None:
        _check_positive(self)


def _check_positive(settings: ValidationSettings | SemanticSettings) -> None:
    for field in fields(settings):
        if getattr(settings, field.name) < 1:
            raise ValueError(f"{field.name} must be at least 1: {settings}.")


class BestTokenizer(Callback):
    """Exports the tokenizer whenever its score on validation windows is the best so far.

    Step 0, the closed form, takes part. With an alignment term the score weighs error against
    surprise (`Evaluation.score`), so that what is exported may leave over more than its start.

    Args:
        settings: How often and on how much.
        samples: Validation windows by dataset.
        target: Where the best artefact goes.
    """

    def __init__(
        self, settings: ValidationSettings, samples: Mapping[str, Sample], target: Path
    ) -> None:
        self.settings, self.samples, self.target = settings, samples, target
        self.score, self.step = float("inf"), -1
        self.latest: Evaluation | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.step < 0:
            self._look(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        step = trainer.global_step
        if step % self.settings.every_n_steps == 0 or step == trainer.max_steps:
            self._look(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.score, self.step = state_dict["score"], state_dict["step"]

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, TokenizerModule)
        tokenizer = pl_module.tokenizer
        samples = {name: sample.to(pl_module.device) for name, sample in self.samples.items()}
        chunks = {name: sample.chunk for name, sample in samples.items()}
        result = evaluate(tokenizer, chunks, self.settings.prefixes)
        if pl_module.weights.alignment:
            surprise = {name: pl_module.surprise(s) for name, s in samples.items() if s.sighted}
            result = replace(result, surprise=surprise)
        self.latest = result
        if trainer.logger is not None:
            trainer.logger.log_metrics(result.scalars(), step=trainer.global_step)
        if result.score < self.score:
            self.score, self.step = result.score, trainer.global_step
            best = described(tokenizer, self.step, result)
            pl_module.calibration.calibrate(best).save_pretrained(self.target)


def described(tokenizer: ActionTokenizer, step: int, result: Evaluation) -> ActionTokenizer:
    """The tokenizer with the step it is from and its figures."""
    figures = {name: float(f"{value:.4g}") for name, value in result.scalars().items()}
    return replace(tokenizer, metadata={**tokenizer.metadata, "steps": step, "figures": figures})


class SemanticCodebooks(Callback):
    """Lets the semantic codes follow the network that they are codes of.

    A moving average would lag behind a network that learns; k-means on what the averaged network
    says of a fixed set of windows goes on from the codes as they are, so that they keep their
    meaning.

    Args:
        chunks: Windows of the fitted episodes, one batch per embodiment.
        settings: How often and how thoroughly.
    """

    def __init__(self, chunks: Sequence[ActionChunk], settings: SemanticSettings) -> None:
        self.chunks, self.settings = chunks, settings

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        step = trainer.global_step
        if step % self.settings.every_n_steps and step != trainer.max_steps:
            return
        assert isinstance(pl_module, TokenizerModule)
        tokenizer, generator = pl_module.tokenizer, torch.Generator().manual_seed(step)
        inputs = [tokenizer.prepare(chunk.to(pl_module.device)) for chunk in self.chunks]
        passes = self.settings.iterations
        fitted = fit_semantic_codebooks(tokenizer.model, inputs, passes, generator)
        fitted = trainer.strategy.broadcast(fitted)
        for model in (pl_module.model, tokenizer.model):
            model.quantizer.set_semantic(*fitted)


class ResumePoint(Callback):
    """Writes the checkpoint that a killed run goes on from, whole or not at all.

    Args:
        path: The checkpoint.
        every_n_steps: Steps between two.

    Attributes:
        step: Of the checkpoint; 0 where there is none.
    """

    def __init__(self, path: Path, every_n_steps: int) -> None:
        self.path, self.every_n_steps, self.step = path, every_n_steps, 0
        self._restored: list[dict[str, Any]] = []

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        step = trainer.global_step
        if step % self.every_n_steps == 0 or step == trainer.max_steps:
            partial = self.path.with_suffix(".partial")
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero:
                os.replace(partial, self.path)
            self.step = step

    def state_dict(self) -> dict[str, Any]:
        return {"processes": in_all_processes(random_states())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict["processes"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the random states as late as possible, so that nothing draws in between."""
        assert isinstance(pl_module, TokenizerModule)
        self.step = trainer.global_step
        if trainer.global_rank < len(self._restored):
            restore_random_states(self._restored[trainer.global_rank])
        else:
            seed_everything(pl_module.seed + trainer.global_rank, verbose=False)


def in_all_processes(value: Any) -> list[Any]:
    """The value that each process has, in every process."""
    if not torch.distributed.is_initialized():
        return [value]
    values = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def random_states() -> dict[str, Any]:
    """The states of all random generators, as tensors and plain numbers."""
    _, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": [torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Inverse of `random_states`."""
    keys, *rest = states["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
