"""Low-rank adapters (arXiv 2106.09685) by peft, on named maps of the experts.

what                  with LoRA                       and otherwise
VL Expert             adapters on its maps (q k v o,  frozen
                      gate up down of every layer)
vision tower          frozen, or adapters
Action Expert         trained in full, or adapters
action head, state    trained in full
rows of action tokens trained in full, if asked; the rows of text are not touched

What is frozen may be bfloat16; what is trained is float32, in which small steps are not lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vla.model import VLAModel

ADAPTER = "default"
MAPS = r"(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
VISION_MAPS = r"(attn\.(qkv|proj)|mlp\.(gate|up|down)_proj)"


@dataclass(frozen=True)
class LoraSettings:
    """Which maps get adapters, and how large they are.

    Attributes:
        rank: Of the adapters; 0 trains all weights without any.
        alpha: The adapters' sum is scaled by alpha / rank; null is twice the rank.
        dropout: Of the adapters' input.
        vl_expert: Adapters on the VL Expert's layers.
        vision: Adapters on the vision tower.
        action_expert: Adapters on the Action Expert's layers, which are trained in full otherwise.
        vocabulary: Train the rows of the action tokens. A backbone that has never seen them needs
            it; a policy that is to do the same with another robot does not.
    """

    rank: int = 0
    alpha: float | None = None
    dropout: float = 0.0
    vl_expert: bool = True
    vision: bool = False
    action_expert: bool = False
    vocabulary: bool = True

    def __post_init__(self) -> None:
        if self.rank < 0 or not 0 <= self.dropout < 1:
            raise ValueError(f"rank starts at 0 and dropout lies in [0, 1): {self}.")
        if self.rank and not (self.vl_expert or self.vision or self.action_expert):
            raise ValueError("LoRA on nothing: choose vl_expert, vision or action_expert.")

    def matches(self, name: str) -> bool:
        """Whether a map of that name gets an adapter."""
        places = {
            rf"mot\.layers\.\d+\.vl\.{MAPS}": self.vl_expert,
            rf"mot\.layers\.\d+\.action\.{MAPS}": self.action_expert,
            rf"vl_expert\.model\.visual\.blocks\.\d+\.{VISION_MAPS}": self.vision,
        }
        return any(on and re.fullmatch(place, name) for place, on in places.items())


def adapt(model: VLAModel, settings: LoraSettings, language_size: int) -> None:
    """Put adapters into a network, and freeze what they stand for.

    Args:
        model: Changed in place; a rank of 0 leaves it as it is.
        settings: Where they go.
        language_size: Rows of text in the vocabulary; those behind are the action tokens'.

    Raises:
        ModuleNotFoundError: peft is not installed.
    """
    if not settings.rank:
        return
    from peft import LoraConfig, inject_adapter_in_model

    targets = [name for name, _ in model.named_modules() if settings.matches(name)]
    alpha = 2 * settings.rank if settings.alpha is None else settings.alpha
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=settings.dropout,
        target_modules=targets,
    )
    inject_adapter_in_model(config, model, ADAPTER)
    for name, parameter in model.named_parameters():
        head = name.startswith(("action_head.", "proprio_token."))
        if head or (".action." in name and not settings.action_expert):
            parameter.requires_grad_()
    if settings.vocabulary:
        train_new_rows(model, language_size)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def train_new_rows(model: VLAModel, language_size: int) -> None:
    """Train the rows of the vocabulary behind those of text, and leave these as they are."""

    def keep_text(gradient: Tensor) -> Tensor:
        new = torch.arange(len(gradient), device=gradient.device) >= language_size
        return torch.where(new[:, None], gradient, 0.0)

    tables = {
        model.vl_expert.get_input_embeddings().weight,
        model.vl_expert.get_output_embeddings().weight,
    }
    for table in tables:
        table.requires_grad_()
        table.register_hook(keep_text)


def merged(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights with adapters -> weights without, which do the same.

    Args:
        model: Says how adapters are scaled.
        weights: By the names of its `state_dict`; adapters may be averaged ones.

    Returns:
        By the names that the network had without adapters.
    """
    plain = {}
    for name, weight in weights.items():
        if ".lora_" in name:
            continue
        place, inside, last = name.partition(".base_layer.")
        if inside and last == "weight":
            first, second = (weights[f"{place}.lora_{x}.{ADAPTER}.weight"] for x in "AB")
            scale = model.get_submodule(place).scaling[ADAPTER]  # type: ignore[index]
            delta = scale * (second.float() @ first.float())
            weight = (weight.float() + delta).to(weight.dtype)
        plain[f"{place}.{last}" if inside else name] = weight
    return plain
