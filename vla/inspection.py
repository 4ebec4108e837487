"""How large a policy is, and what it costs: counted on the meta device, nothing is allocated.

Parameters are counted. The rest are estimates of what a step needs at least:

    FLOPs     2 per weight and token, 4 · width per query-key pair (causal pairs once); training is
              three forward passes, four with recomputed activations
    training  bf16 weights and gradients (2 + 2 bytes per parameter), AdamW's two float32 moments
              and float32 copy (12), and the layers' inputs where activations are recomputed
    acting    bf16 weights and the keys and values of the prompt
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from vla.backbone import backbone_shape
from vla.config import VLAConfig
from vla.model import VLAModel, is_vl
from vla.vocabulary import VLAVocabulary

BF16, TRAINED = 2, 16
"""Bytes per parameter of weights alone, and of all that AdamW training keeps."""


@dataclass(frozen=True)
class Workload:
    """What is computed at once.

    Attributes:
        views: Pictures in the prompt.
        words: Tokens of text in the prompt, the chat format's included.
        horizon: T, flow slots.
        batch_size: Sequences per training step; acting is one.
    """

    views: int = 3
    words: int = 96
    horizon: int = 32
    batch_size: int = 1

    def __post_init__(self) -> None:
        if min(self.words, self.horizon, self.batch_size) < 1 or self.views < 0:
            raise ValueError(f"A workload has views >= 0 and the rest >= 1, got {asdict(self)}.")


@dataclass(frozen=True)
class Inspection:
    """Attributes:
    parameters: By part; `total` counts tied weights once.
    tokens: Of one sequence, by what they are.
    memory_gb: GB (10^9 bytes) for `training` and for `acting`.
    tflops: 10^12 floating point operations: `training` per step, `acting` per chunk.
    """

    parameters: dict[str, int]
    tokens: dict[str, int]
    memory_gb: dict[str, float]
    tflops: dict[str, float]


def inspect_config(config: VLAConfig, workload: Workload | None = None) -> Inspection:
    """Parameters, memory and FLOPs of a configuration.

    Raises:
        ValueError: Its backbone is unknown.
    """
    load = workload or Workload()
    model = meta_model(config)
    shape = model.vl_expert.config
    parameters = count_parameters(model)
    tokens = count_tokens(config, shape, load)
    return Inspection(
        parameters,
        tokens,
        _memory(parameters, tokens, shape, load),
        _tflops(parameters, tokens, config, shape, load),
    )


def forward_flops(config: VLAConfig, workload: Workload) -> dict[str, int]:
    """What one sequence takes to train on, forwards: `vision`, `language`, `vocabulary`, `action`.

    A part that is trained takes three times that, one that gradients only pass through twice.
    """
    model = meta_model(config)
    shape = model.vl_expert.config
    tokens = count_tokens(config, shape, workload)
    return _forward(count_parameters(model), tokens, shape)


def meta_model(config: VLAConfig) -> VLAModel:
    """The network without weights."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    shape = backbone_shape(config.backbone)
    vocabulary = VLAVocabulary.behind(shape.text_config.vocab_size, config)
    shape.text_config.vocab_size = vocabulary.rows
    with torch.device("meta"):
        return VLAModel(config, Qwen2_5_VLForConditionalGeneration(shape))


def count_parameters(model: VLAModel) -> dict[str, int]:
    """By part: `vision`, `language`, `vocabulary` make the `vl_expert`; with `action_expert` and
    `heads`, the `total`."""
    counts = dict.fromkeys(("vision", "language", "vocabulary", "action_expert", "heads"), 0)
    for name, parameter in model.named_parameters():
        counts[_part(name)] += parameter.numel()
    vl_expert = counts["vision"] + counts["language"] + counts["vocabulary"]
    return counts | {"vl_expert": vl_expert, "total": sum(counts.values())}


def _part(name: str) -> str:
    if not is_vl(name):
        return "action_expert" if name.startswith("mot.") else "heads"
    if ".visual." in name:
        return "vision"
    return "vocabulary" if "embed_tokens" in name or "lm_head" in name else "language"


def count_tokens(config: VLAConfig, shape: Any, load: Workload) -> dict[str, int]:
    """Of one sequence: patches of the vision tower, tokens of prompt and answer, flow slots."""
    vision = shape.vision_config
    patches = load.views * (config.image_size // vision.patch_size) ** 2
    return {
        "patches": patches,
        "prompt": patches // vision.spatial_merge_size**2 + load.words + config.proprio_token,
        "action": config.num_slots * config.num_levels + 1,
        "flow": load.horizon,
    }


def _memory(
    parameters: dict[str, int], tokens: dict[str, int], shape: Any, load: Workload
) -> dict[str, float]:
    text = shape.text_config
    layers, heads = text.num_hidden_layers, text.num_attention_heads
    key_values = 2 * text.num_key_value_heads * (text.hidden_size // heads)
    kept = load.batch_size * (tokens["prompt"] + tokens["action"] + tokens["flow"])
    kept = kept * text.hidden_size * layers * BF16
    cache = tokens["prompt"] * key_values * layers * BF16
    total = parameters["total"]
    return {
        "training": round((total * TRAINED + kept) / 1e9, 2),
        "acting": round((total * BF16 + cache) / 1e9, 2),
    }


def _tflops(
    parameters: dict[str, int],
    tokens: dict[str, int],
    config: VLAConfig,
    shape: Any,
    load: Workload,
) -> dict[str, float]:
    forward = _forward(parameters, tokens, shape)
    whole, prompt = sum(forward.values()), tokens["prompt"]
    acting = forward["vision"] + _read(parameters, shape, prompt)
    acting += config.denoise_steps * forward["action"]
    return {
        "training": round(3 * load.batch_size * whole / 1e12, 3),
        "training_recomputed": round(4 * load.batch_size * whole / 1e12, 3),
        "acting": round(acting / 1e12, 3),
        "denoising_step": round(forward["action"] / 1e12, 3),
    }


def _forward(parameters: dict[str, int], tokens: dict[str, int], shape: Any) -> dict[str, int]:
    text = shape.text_config
    prompt, action, flow = (tokens[name] for name in ("prompt", "action", "flow"))
    expert = parameters["action_expert"] + parameters["heads"]
    return {
        "vision": 2 * parameters["vision"] * tokens["patches"],
        "language": _read(parameters, shape, prompt + action),
        "vocabulary": 2 * text.vocab_size * text.hidden_size * action,
        "action": 2 * expert * flow + _per_pair(shape) * flow * (prompt + flow),
    }


def _read(parameters: dict[str, int], shape: Any, length: int) -> int:
    """The VL Expert over so many tokens."""
    return 2 * parameters["language"] * length + _per_pair(shape) * length**2 // 2


def _per_pair(shape: Any) -> int:
    """Of a query and a key, in all layers."""
    return 4 * shape.text_config.hidden_size * shape.text_config.num_hidden_layers
