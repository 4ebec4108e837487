"""What moves the weights: AdamW, or Muon on the experts' matrices with AdamW on the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from vla.model import is_vl

MATRICES = ("mot.layers.", ".visual.blocks.")
"""Where the matrices are that Muon is made for: maps from hidden states to hidden states."""
TABLES = ("embed_tokens", "lm_head")


@dataclass(frozen=True)
class OptimizerSettings:
    """How weights are moved.

    Attributes:
        name: `adamw`, or `muon` for the matrices of both experts and the vision tower's blocks,
            with `adamw` for everything else.
        learning_rate: Peak; Muon's steps are scaled to the size of AdamW's, so that it serves both.
        vl_rate: The VL Expert's learning rate as a share of that; 0 leaves it as it is.
        weight_decay: Of matrices; norms, biases and tables of tokens do not decay.
        beta1: AdamW's, and Muon's momentum.
        beta2: AdamW's.
        warmup_steps: Steps of a linear rise, before half a cosine.
        last_rate: Where the cosine ends, as a share of the peak.
    """

    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-4
    vl_rate: float = 1.0
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.95
    warmup_steps: int = 100
    last_rate: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.vl_rate, self.weight_decay, self.last_rate)
        betas = (self.beta1, self.beta2)
        if not 0 < self.learning_rate < math.inf or min(shares) < 0 or self.warmup_steps < 0:
            raise ValueError(f"learning_rate must be positive, the rest no less than 0: {self}.")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"beta1 and beta2 lie in [0, 1), got {betas}.")

    def rate(self, step: int, total: int) -> float:
        """Share of the peak learning rate at a step of a run of `total` steps."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, total - self.warmup_steps)
        wave = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return self.last_rate + (1 - self.last_rate) * wave


def build_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]], settings: OptimizerSettings
) -> torch.optim.Optimizer:
    """An optimizer of the parameters that are to be trained.

    Args:
        parameters: Name -> parameter, as VLAModel names them.
        settings: Which, and how.

    Raises:
        ValueError: Nothing is to be trained.
    """
    groups: dict[tuple[str, float, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        rate = settings.vl_rate if is_vl(name) else 1.0
        if not parameter.requires_grad or not rate:
            continue
        decays = parameter.ndim > 1 and not any(table in name for table in TABLES)
        muon = settings.name == "muon" and parameter.ndim == 2 and decays
        muon = muon and any(place in name for place in MATRICES) and ".lora_" not in name
        groups.setdefault(("muon" if muon else "adamw", rate, decays), []).append(parameter)
    if not groups:
        raise ValueError("No parameter is left to train: raise vl_rate, or change the LoRA.")
    described = [
        {
            "params": found,
            "algorithm": algorithm,
            "lr": settings.learning_rate * rate,
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (algorithm, rate, decays), found in groups.items()
    ]
    betas = settings.beta1, settings.beta2
    if settings.name == "adamw":
        return adamw(described, betas)
    return MuonWithAdamW(described, betas)


def adamw(groups: list[dict[str, Any]], betas: tuple[float, float]) -> torch.optim.AdamW:
    """torch's AdamW, on a GPU in one kernel: the others take room for a copy of all weights."""
    optimizer = torch.optim.AdamW(groups, betas=betas, fused=True if _on_gpu(groups) else None)
    # It offers to undo a scaler's factor itself; then nobody may clip. Let the scaler do that.
    optimizer._step_supports_amp_scaling = False
    optimizer.register_load_state_dict_post_hook(_stay_fused)
    return optimizer


def _on_gpu(groups: list[dict[str, Any]]) -> bool:
    return all(weight.is_cuda for group in groups for weight in group["params"])


def _stay_fused(optimizer: torch.optim.Optimizer) -> None:
    """A checkpoint of another device would bring its own way."""
    fused = True if _on_gpu(optimizer.param_groups) else None
    for group in optimizer.param_groups:
        if group["algorithm"] == "adamw":
            group["fused"] = fused


class MuonWithAdamW(torch.optim.Optimizer):
    """torch's Muon and AdamW as one optimizer, which is what a trainer, schedules and checkpoints
    know how to handle.

    Args:
        groups: Parameter groups whose `algorithm` is `muon` or `adamw`.
        betas: AdamW's; the first is Muon's momentum.
    """

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float]) -> None:
        super().__init__(groups, {})
        self.register_load_state_dict_post_hook(_stay_fused)
        self._parts: dict[str, torch.optim.Optimizer] = {}
        for name in ("muon", "adamw"):
            own = [group for group in self.param_groups if group["algorithm"] == name]
            if own and name == "muon":
                muon = torch.optim.Muon(own, momentum=betas[0], adjust_lr_fn="match_rms_adamw")
                self._parts[name] = muon
            elif own:
                self._parts[name] = adamw(own, betas)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every group by its own algorithm."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for name, part in self._parts.items():
            part.state = self.state  # a checkpoint replaces both of ours
            part.param_groups = [g for g in self.param_groups if g["algorithm"] == name]
            part.step()
        return loss
