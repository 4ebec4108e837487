"""FastSampler: `VLAModel.sample_actions`, faster; see docs/inference.md."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vla.flow import Given, Guide, sampler_steps
from vla.inference.expert import FusedExpert
from vla.inference.plan import Plan, Shape
from vla.model import VLAModel
from vla.sequence import Batch
from vla.tokens import TokenType

PLANS = 8
"""Shapes that are kept; the one that was used longest ago makes way."""


class FastSampler:
    """Acts as a model does, from plans that are laid out once for every shape of batch.

    Weights that change, or move, are noticed, and everything is laid out anew. A change that
    PyTorch does not count (in place, through `parameter.data`) and a module put in the place of
    another have to be told: `forget`. What a plan cannot do the model does itself: guidance
    (which takes gradients), prompts padded on the left, several draws at once.
    Threads take turns.

    Args:
        model: Its weights are used where they are, but for copies of some of the Action Expert's.
        plans: Shapes that are kept.
        compiled: Let torch.compile fuse the kernels of a denoising step, once per shape. That takes
            half a minute and a compiler.

    Raises:
        ValueError: The Action Expert has adapters, or `plans` is below 1.
    """

    def __init__(self, model: VLAModel, plans: int = PLANS, compiled: bool = False) -> None:
        if plans < 1:
            raise ValueError(f"plans must be at least 1, got {plans}.")
        self.model, self.capacity, self.compiled = model, plans, compiled
        self._lock = threading.Lock()
        self._plans: OrderedDict[Shape, Plan] = OrderedDict()
        self._experts: dict[int, FusedExpert] = {}
        self._weights: list[tuple[int, int]] = []
        self._modules: list[nn.Module] = []
        self._clear()
        self._expert(model.config.denoise_steps)

    @torch.no_grad()
    def sample_actions(
        self,
        batch: Batch,
        noise: Tensor | None = None,
        steps: int | None = None,
        guide: Guide | None = None,
        given: Given | None = None,
    ) -> Tensor:
        """Act: arguments and result as `VLAModel.sample_actions`."""
        if guide is not None or not plannable(batch):
            return self.model.sample_actions(batch, noise, steps, guide=guide, given=given)
        if noise is None:
            noise = torch.randn_like(batch.actions)
        in_buckets = self.compiled or batch.ids.is_cuda
        count = sampler_steps(steps, self.model.config.denoise_steps)
        shape = Shape.of(batch, count, in_buckets)
        with self._lock:
            return self._plan(shape, batch).act(batch, noise, given)

    def forget(self) -> None:
        """Lay everything out anew with the next batch."""
        with self._lock:
            self._clear()

    @property
    def shapes(self) -> list[Shape]:
        """What plans there are for, the latest last."""
        return list(self._plans)

    def _clear(self) -> None:
        self._plans.clear()
        self._experts.clear()
        self._modules = [m for m in self.model.modules() if m._parameters]

    def _plan(self, shape: Shape, batch: Batch) -> Plan:
        weights = versions(self._modules)
        if weights != self._weights:
            self._clear()
            self._weights = weights
        if shape not in self._plans:
            while len(self._plans) >= self.capacity:
                self._plans.popitem(last=False)
            expert = self._expert(shape.steps)
            self._plans[shape] = Plan.of(self.model, expert, shape, batch, self.compiled)
        self._plans.move_to_end(shape)
        return self._plans[shape]

    def _expert(self, steps: int) -> FusedExpert:
        if steps not in self._experts:
            self._experts = {steps: FusedExpert.of(self.model, steps)}
        return self._experts[steps]


def plannable(batch: Batch) -> bool:
    """Whether there are flow slots, once, behind prompts that are padded on the right if at all."""
    if not batch.horizon or batch.draws != 1:
        return False
    return not bool((batch.types[:, 0] == TokenType.PADDING).any())


def versions(modules: Sequence[nn.Module]) -> list[tuple[int, int]]:
    """Where every weight is, and how often it was changed there."""
    weights = (w for module in modules for w in module._parameters.values() if w is not None)
    return [(w.data_ptr(), 0 if w.is_inference() else w._version) for w in weights]
