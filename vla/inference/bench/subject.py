"""What is timed: a network, and observations made of random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from vla.backbone import backbone_shape
from vla.config import VLAConfig
from vla.device import read_device
from vla.inference.bench.settings import DTYPES, BenchSettings
from vla.model import VLAModel
from vla.policy import VLAPolicy
from vla.sequence import UNLABELLED, Batch, Sample, collate
from vla.tokens import TokenType
from vla.vocabulary import VLAVocabulary


def load_subject(settings: BenchSettings) -> VLAModel:
    """The network that settings name, where and as they want it.

    Raises:
        ValueError: There is no such configuration, policy or device.
    """
    device = read_device(settings.device)
    if settings.policy is not None:
        dtype = None if settings.dtype is None else DTYPES[settings.dtype]
        return VLAPolicy.from_pretrained(settings.policy, device, dtype).model
    usual = "bfloat16" if device.type == "cuda" else "float32"
    assert settings.config is not None
    torch.manual_seed(settings.seed)
    config = VLAConfig.named(settings.config)
    return random_model(config, device, DTYPES[settings.dtype or usual])


def random_model(config: VLAConfig, device: torch.device, dtype: torch.dtype) -> VLAModel:
    """A network of a configuration's shape, its weights drawn on the device itself."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    shape = backbone_shape(config.backbone)
    shape.text_config.vocab_size = VLAVocabulary.behind(shape.text_config.vocab_size, config).rows
    with torch.device(device):
        with _default(dtype):
            vl_expert = Qwen2_5_VLForConditionalGeneration(shape)
        return VLAModel(config, vl_expert).cast(dtype).eval()


def random_batch(model: VLAModel, settings: BenchSettings, views: int, size: int) -> Batch:
    """One observation, on the model's device.

    Raises:
        ValueError: The network does not see pictures of that size.
    """
    draw = torch.Generator().manual_seed(settings.seed)
    sample = random_sample(model, views, size, settings.words, settings.horizon, 0, draw)
    merge = model.vl_expert.config.vision_config.spatial_merge_size
    return collate([sample], merge).to(model.device)


def random_sample(
    model: VLAModel,
    views: int,
    size: int,
    words: int,
    horizon: int,
    answer: int,
    draw: torch.Generator,
) -> Sample:
    """A prompt with pictures in the middle, action tokens to predict, and flow slots.

    Args:
        model: Who is to read it.
        views: Pictures.
        size: Pixels per side.
        words: Tokens of text.
        horizon: T, flow slots.
        answer: Action tokens; none where it is to act.
        draw: Source of the numbers.

    Raises:
        ValueError: The network does not see pictures of that size.
    """
    vision = model.vl_expert.config.vision_config
    side, unit = vision.patch_size, vision.patch_size * vision.spatial_merge_size
    if size % unit:
        raise ValueError(f"{size} is no multiple of {unit}")
    rows, channels = size // side, vision.in_channels * vision.temporal_patch_size
    pixels = torch.randn(views * rows**2, channels * side**2, generator=draw)
    grids = torch.tensor([[1, rows, rows]] * views, dtype=torch.int64).reshape(views, 3)
    seen = views * (size // unit) ** 2
    before, width = words // 2, model.config.action_width
    kinds = {TokenType.TEXT: before, TokenType.IMAGE: seen}
    types = [kind for kind, count in kinds.items() for _ in range(count)]
    types += [TokenType.PROPRIO] * model.config.proprio_token
    types += [TokenType.TEXT] * (words - before) + [TokenType.ACTION] * answer
    ids = torch.randint(0, 256, (len(types),), generator=draw)
    labels = torch.full_like(ids, UNLABELLED)
    labels[len(ids) - answer :] = ids[len(ids) - answer :]
    state, known = torch.randn(width, generator=draw), torch.ones(width, dtype=torch.bool)
    frames = torch.randn(horizon, width, generator=draw) if answer else torch.zeros(horizon, width)
    real = torch.ones_like(frames, dtype=torch.bool)
    return Sample(ids, torch.tensor(types), labels, pixels, grids, state, known, frames, real)


def sized(config: VLAConfig, size: int, steps: int) -> VLAConfig:
    """A configuration with pictures of another size, and another number of steps."""
    return replace(config, image_size=size, denoise_steps=steps)


@contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
