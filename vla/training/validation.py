"""How far the flow's actions are from demonstrated ones, on episodes that are held out.

An error of the chunk as a whole, in physical units per channel group: it says that something is
learnt, and which channels are not. Whether it suffices to do the task, only the closed loop says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lightning import Trainer
from torch import Tensor

from rvq_action.chunk import ActionChunk
from rvq_action.metrics import masked_mean, physical_errors
from vla.data.changes import known_proprio
from vla.data.robot_source import RobotSource
from vla.policy import VLAPolicy
from vla.samples import Observation
from vla.sequence import Batch
from vla.training.callbacks import StepCallback, log_all
from vla.training.module import VLAModule


@dataclass(frozen=True)
class ValidationSettings:
    """When held-out windows are looked at, and how many.

    Attributes:
        every_n_steps: Steps between two looks; 0 looks at the end only.
        windows: Of each dataset, evenly spread over its held-out episodes; 0 never looks.
        batch_size: Windows at once.
    """

    every_n_steps: int = 500
    windows: int = 64
    batch_size: int = 32

    def __post_init__(self) -> None:
        if min(self.every_n_steps, self.windows) < 0 or self.batch_size < 1:
            raise ValueError(f"every_n_steps and windows start at 0, batch_size at 1: {self}.")


@dataclass(frozen=True)
class HeldOut:
    """Windows of one dataset, side by side.

    Attributes:
        name: Of the dataset.
        batches: What the policy is shown.
        noise: Where the flow starts in each of them, [B, T, D_model].
        chunks: What was demonstrated.
    """

    name: str
    batches: list[Batch]
    noise: list[Tensor]
    chunks: list[ActionChunk]


def held_out_windows(
    policy: VLAPolicy, source: RobotSource, settings: ValidationSettings
) -> HeldOut:
    """Prepare windows, the same every time.

    Args:
        policy: Whose sequences they become.
        source: Of held-out episodes.
        settings: How many.
    """
    count = min(settings.windows, len(source.windows))
    chosen = np.linspace(0, len(source.windows) - 1, count).round().astype(int)
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    batches, noise, chunks = [], [], []
    for rows in np.array_split(chosen, -(-count // settings.batch_size)):
        chunk = source.chunk(rows.tolist())
        proprio = known_proprio(chunk)
        samples = []
        for row, window in enumerate(rows.tolist()):
            told = source.instruction(window, 0.0, rng)
            images = source.images(window)
            now = Observation(images, proprio[row], told, source.embodiment, chunk.fps)
            samples.append(policy.samples.to_act(now, chunk.horizon))
        batch = policy.batch(samples)
        batches.append(batch.to("cpu"))
        noise.append(torch.randn(batch.actions.shape, generator=generator))
        chunks.append(chunk)
    return HeldOut(source.name, batches, noise, chunks)


class ActionError(StepCallback):
    """Logs the error of what would be exported.

    Args:
        held_out: Of each dataset.
        every_n_steps: Steps between two looks; 0 looks at the end only.
    """

    def __init__(self, held_out: Sequence[HeldOut], every_n_steps: int) -> None:
        super().__init__(every_n_steps)
        self.held_out = held_out

    def act(self, trainer: Trainer, module: VLAModule) -> None:
        shown = {}
        with module.exported_weights(), trainer.precision_plugin.forward_context():
            for part in self.held_out:
                errors = measure(module.policy, part)
                shown |= {f"held_out/{part.name}/{name}": e for name, e in errors.items()}
        if trainer.is_global_zero:
            log_all(trainer, shown)
        trainer.progress_bar_metrics.update(
            {name: value for name, value in shown.items() if name.endswith("/model_space")}
        )


def measure(policy: VLAPolicy, part: HeldOut) -> dict[str, float]:
    """Mean absolute error per channel group in the group's unit, and `model_space` of all channels.

    Frames behind an episode's end do not count.
    """
    found: dict[str, list[float]] = {}
    sizes = [len(chunk) for chunk in part.chunks]
    for batch, noise, chunk in zip(part.batches, part.noise, part.chunks, strict=True):
        model, given = policy.model, policy.tokenizer.prepare(chunk)
        device = model.device
        moved = model.sample_actions(batch.to(device), noise.to(device)).float().cpu()
        known = policy.tokenizer.embodiments[str(chunk.embodiment)]
        physical = known.from_model(moved, chunk.anchor, relative=False, fps=chunk.fps)
        mask = chunk.mask & known.valid
        errors = physical_errors(physical, chunk.actions, mask, known.layout)
        width = given.x.shape[-1]
        errors["model_space"] = masked_mean((moved[..., :width] - given.x).abs(), given.mask)
        for name, error in errors.items():
            found.setdefault(name, []).append(float(error))
    return {name: float(np.average(e, weights=sizes)) for name, e in found.items()}
