"""Tiny networks with random weights, on disk as models of the hub are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    SiglipConfig,
    SiglipModel,
)

WIDTH = 16
SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
]
SIZE = {"height": 28, "width": 28}
SMALL = {"hidden_size": WIDTH, "num_attention_heads": 2, "intermediate_size": 32}


def save_dinov2(folder: Path) -> Path:
    """DINOv2 of two layers for pictures of 28 x 28."""
    torch.manual_seed(0)
    small = {"hidden_size": WIDTH, "num_attention_heads": 2, "mlp_ratio": 2}
    model = Dinov2Model(Dinov2Config(**small, num_hidden_layers=2, image_size=28, patch_size=7))
    model.save_pretrained(folder)
    write_processor(folder, "BitImageProcessor", size=SIZE, crop_size=SIZE)
    return folder


def save_siglip(folder: Path) -> Path:
    """SigLIP, pictures and text."""
    torch.manual_seed(1)
    half = {**SMALL, "num_hidden_layers": 2}
    vision = {**half, "image_size": 28, "patch_size": 7}
    text = {**half, "vocab_size": 30, "max_position_embeddings": 8}
    text |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    model.save_pretrained(folder)
    write_processor(folder, "SiglipImageProcessor", size=SIZE)
    return folder


def save_qwen(folder: Path) -> Path:
    """Qwen2.5-VL of five layers, with a byte-level vocabulary."""
    torch.manual_seed(2)
    tokenizer = byte_tokenizer()
    number = tokenizer.convert_tokens_to_ids
    text = {**SMALL, "num_hidden_layers": 5, "num_key_value_heads": 1}
    text |= {"vocab_size": len(tokenizer), "tie_word_embeddings": False}
    text |= {"rope_scaling": {"type": "mrope", "rope_type": "default", "mrope_section": [1, 1, 2]}}
    vision = {"depth": 2, "hidden_size": WIDTH, "num_heads": 2, "intermediate_size": 32}
    vision |= {"out_hidden_size": WIDTH, "fullatt_block_indexes": [1], "window_size": 56}
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    write_processor(folder, "Qwen2VLImageProcessor", min_pixels=56 * 56, max_pixels=84 * 84)
    tokenizer.save_pretrained(folder)
    return folder


def write_processor(folder: Path, kind: str, **settings: object) -> None:
    """The settings of an image processor, as the hub has them."""
    text = json.dumps({"image_processor_type": kind, **settings})
    (folder / "preprocessor_config.json").write_text(text)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token per byte, and the special ones of Qwen."""
    letters = {letter: i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
    core = Tokenizer(BPE(vocab=letters, merges=[]))
    core.pre_tokenizer = ByteLevel(add_prefix_space=False)
    core.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=SPECIAL[0])


SAVE: dict[str, Callable[[Path], Path]] = {
    "dinov2": save_dinov2,
    "siglip": save_siglip,
    "qwen": save_qwen,
}
