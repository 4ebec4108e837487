"""VLAModule: steps and logs; the maths is in `vla.losses`, the network in `vla.model`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor

from vla.data.plan import BatchPlan
from vla.losses import Losses, LossWeights, SampleLosses
from vla.model import VLAModel, is_vl
from vla.policy import VLAPolicy
from vla.sequence import Batch
from vla.training.average import Average
from vla.training.lora import LoraSettings, adapt
from vla.training.noise import number_of
from vla.training.optimizers import OptimizerSettings, build_optimizer
from vla.training.sharding import complete, shard
from vla.training.step import step_losses


class VLAModule(LightningModule):
    """Trains a policy.

    Args:
        weights: Of the three terms.
        optimizer: What moves the weights, and how fast.
        lora: Adapters that are trained in place of the weights.
        average: Decay of the moving average of the weights, which is what is exported; 0 exports
            the weights themselves.
        flow_draws: Draws of noise and flow time for every demonstration in a step, whose prompt is
            read once for all of them.
        gradient_checkpointing: Compute activations again in the backward pass, to save memory.
        seed: Of noise, flow times and dropout.

    Attributes:
        policy: What is trained; set by `take`.
        plan: How its batches are put together; set by `take`.
        shipped_dtype: Of the experts' weights in what is exported; set by `take`.
        terms: What the micro-batches of the step so far add to the terms, in this process.
    """

    policy: VLAPolicy
    plan: BatchPlan
    model: VLAModel
    shipped_dtype: torch.dtype

    def __init__(
        self,
        weights: LossWeights,
        optimizer: OptimizerSettings,
        lora: LoraSettings,
        average: float = 0.999,
        flow_draws: int = 1,
        gradient_checkpointing: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if flow_draws < 1:
            raise ValueError(f"flow_draws must be at least 1, got {flow_draws}.")
        if not 0 <= average < 1:
            raise ValueError(f"The average's decay must lie in [0, 1), got {average}.")
        self.flow_draws = flow_draws
        self.weights, self.optimizer, self.lora, self.seed = weights, optimizer, lora, seed
        self.decay, self.gradient_checkpointing = average, gradient_checkpointing
        self.average: Average | None = None
        self.terms: dict[str, Tensor] = {}

    def take(self, policy: VLAPolicy, plan: BatchPlan) -> VLAModule:
        """Train this policy on batches that are put together so."""
        self.policy, self.plan, self.model = policy, plan, policy.model.train()
        self.shipped_dtype = policy.model.dtype
        self.model.checkpoint_gradients(self.gradient_checkpointing)
        if not self.optimizer.vl_rate:
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(not is_vl(name))
        adapt(self.model, self.lora, policy.vocabulary.language_size)
        self._ready = False
        return self

    def check_strategy(self, trainer: Trainer) -> None:
        """Refuse what a strategy would do silently wrong.

        Raises:
            ValueError: Rows of a table that is spread over processes cannot be left as they are.
        """
        sharded = isinstance(trainer.strategy, ModelParallelStrategy)
        if sharded and self.lora.rank and self.lora.vocabulary:
            raise ValueError(
                "With --trainer.strategy fsdp2 LoRA cannot train the rows of action tokens alone: "
                "give --model.lora.vocabulary false, or --trainer.strategy ddp."
            )

    def configure_model(self) -> None:
        """Spread the weights over the processes, if they are to be, and start their average."""
        if self._ready:
            return
        if isinstance(self.trainer.strategy, ModelParallelStrategy):
            shard(self.model, self.device.type, "mixed" in self.trainer.precision)
        if self.decay:
            self.average = Average(self.model, self.decay)
        self._ready = True

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        step, micro = self.global_step, batch_idx % self.plan.accumulation
        losses = self.part(self.losses(batch, step, micro), step)
        self._remember(losses, micro)
        # Lightning divides by the number of micro-batches, and processes average their gradients.
        return losses.total(self.weights) * self.plan.cells

    def losses(self, batch: Batch, step: int, micro: int) -> SampleLosses:
        """The terms of a micro-batch's samples."""
        keys = [(self.seed, step, place.number) for place in self.plan.places(step, micro)]
        torch.manual_seed(number_of((*keys[0], 1)))  # of dropout
        if self.plan.world_size > 1:
            visual = self.model.vl_expert.config.vision_config
            patch = visual.in_channels * visual.temporal_patch_size * visual.patch_size**2
            batch = complete(batch, patch, visual.spatial_merge_size)
        return step_losses(self.model, batch, keys, self.flow_draws)

    def part(self, each: SampleLosses, step: int) -> Losses:
        """What these samples add to the terms of the global batch."""
        robots = self.plan.count_robots(step)
        return each.mean(robots, self.plan.global_size - robots)

    def _remember(self, losses: Losses, micro: int) -> None:
        """Log the terms of the whole step with its last micro-batch."""
        if not micro:
            self.terms = {}
        for name in asdict(self.weights):
            term = getattr(losses, name).detach()
            self.terms[name] = self.terms.get(name, 0) + term
        if micro == self.plan.accumulation - 1:
            self._log({f"train/{name}": term for name, term in self.terms.items()})

    def _log(self, values: dict[str, Any]) -> None:
        together = self.plan.world_size > 1
        options: dict[str, Any] = {"sync_dist": together, "reduce_fx": "sum"} if together else {}
        self.log_dict(values, batch_size=1, prog_bar=True, **options)

    @contextmanager
    def exported_weights(self) -> Iterator[None]:
        """Let the network be, for a while, what would be exported now; it learns nothing."""
        average = self.average
        self.model.eval()
        if average is not None:
            average.swap()
        try:
            yield
        finally:
            if average is not None:
                average.swap()
            self.model.train()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update(self.global_step + 1)

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.model.named_parameters(), self.optimizer)
        total = self.trainer.max_steps
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.optimizer.rate(step, total)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
