"""The Qwen2.5-VL that a VL Expert starts from: model, text tokenizer, image processor.

A *packaged shape* (configs/backbones) is started at random with a token per byte, and per word of a
list beside it. It needs no download, and serves tests and small policies trained from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from rvq_action.data.yaml_file import read_yaml

SHAPES = Path(__file__).with_name("configs") / "backbones"
HUB_SHAPES = {"Qwen/Qwen2.5-VL-3B-Instruct": "qwen2.5-vl-3b"}
"""Models of the hub whose shape is packaged, so that it is known without a download."""
KIND = "qwen2_5_vl"
SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
)
SPACE = "\u0120"
"""How byte-level tokenizers write a space."""
MIN_PIXELS, MAX_PIXELS = 28 * 28, 1024 * 1024
"""Between which the image processor of a packaged shape leaves pictures their size."""


@dataclass(frozen=True)
class Backbone:
    """Attributes:
    model: `Qwen2_5_VLForConditionalGeneration`.
    text: Its text tokenizer.
    images: Its image processor, in the variant that needs no torchvision.
    """

    model: Any
    text: Any
    images: Any

    @property
    def language_size(self) -> int:
        """Rows of its vocabulary."""
        return self.model.config.text_config.vocab_size

    def save(
        self, folder: Path, shard_size: str, weights: dict[str, torch.Tensor] | None = None
    ) -> None:
        """Write all three as transformers reads them; other weights than the model's if given."""
        self.model.save_pretrained(folder, max_shard_size=shard_size, state_dict=weights)
        self.text.save_pretrained(folder)
        self.images.save_pretrained(folder)


def load_backbone(name: str, dtype: torch.dtype | str = torch.float32) -> Backbone:
    """A packaged shape, a folder, or a model of the hub.

    Args:
        name: Which.
        dtype: Of its weights; `auto` as they are stored.

    Raises:
        ValueError: It is none of them, another kind of model, or its weights are incomplete.
    """
    if (SHAPES / f"{name}.yaml").is_file():
        return start_at_random(name, dtype)
    from transformers import AutoTokenizer

    backbone_shape(name)
    return Backbone(
        load_model(name, dtype),
        AutoTokenizer.from_pretrained(name),
        _image_processor_class().from_pretrained(name),
    )


def load_model(name: str | Path, dtype: torch.dtype | str) -> Any:
    """The weights of a folder or of the hub, all of them.

    Raises:
        ValueError: Some are missing, left over, or of another shape.
    """
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    shape = _as_written(name, Qwen2_5_VLConfig.from_pretrained(name))
    load: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained
    told = {"config": shape, "dtype": dtype, "use_safetensors": True}
    model, report = load(name, **told, output_loading_info=True)
    wrong = {kind: sorted(map(str, names)) for kind, names in report.items() if names}
    if wrong:
        text = "; ".join(f"{kind}: {names[:3]} ({len(names)})" for kind, names in wrong.items())
        raise ValueError(f"The weights in {str(name)!r} do not fit its config.json: {text}.")
    return model


def recompute(module: Any, enabled: bool) -> None:
    """Recompute a part's activations in the backward pass; the method's name moved in version 5."""
    newer = hasattr(module, "activation_checkpointing_enable")
    name = "activation_checkpointing" if newer else "gradient_checkpointing"
    if enabled:
        getattr(module, f"{name}_enable")({"use_reentrant": False})
    else:
        getattr(module, f"{name}_disable")()


def start_at_random(name: str, dtype: torch.dtype | str) -> Backbone:
    """A packaged shape with random weights and a token per byte."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    text = byte_tokenizer(packaged_words(name))
    model = Qwen2_5_VLForConditionalGeneration(packaged_shape(name, text))
    processor = _image_processor_class()(min_pixels=MIN_PIXELS, max_pixels=MAX_PIXELS)
    if isinstance(dtype, torch.dtype):
        for parameter in model.parameters():
            parameter.data = parameter.data.to(dtype)
    return Backbone(model, text, processor)


def backbone_shape(name: str) -> Any:
    """transformers' configuration of a backbone, packaged or read from its folder or the hub.

    Raises:
        ValueError: There is no such backbone, or it is another kind of model.
    """
    if (SHAPES / f"{HUB_SHAPES.get(name, name)}.yaml").is_file():
        return packaged_shape(name)
    from transformers import AutoConfig

    try:
        shape = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"There is no backbone {name!r}: give a folder with a Qwen2.5-VL, its id on the hub, "
            f"or one of the packaged shapes {_packaged()}. ({str(error).splitlines()[0]})"
        ) from error
    if shape.model_type != KIND:
        raise ValueError(
            f"{name!r} is a {shape.model_type}, but the VL Expert is a Qwen2.5-VL ({KIND})."
        )
    return _as_written(name, shape)


def _as_written(name: str | Path, shape: Any) -> Any:
    """The configuration as the transformers meant it that wrote it.

    Version 4 says of the text's part alone whether its embeddings are tied, where 5 does not look;
    it takes rotary settings and tokenizers of 5 for something else.

    Raises:
        ValueError: A later major version wrote the folder than is installed.
    """
    written = shape.get_config_dict(name)[0]
    writer, reader = written.get("transformers_version") or "0", version("transformers")
    major = int(writer.split(".")[0])
    if major > int(reader.split(".")[0]):
        raise ValueError(
            f"{str(name)!r} was saved by transformers {writer}, which {reader} cannot read. "
            f"Install transformers>={major}, or save it where transformers is as old as here."
        )
    tied = written.get("text_config", {}).get("tie_word_embeddings")
    if tied is not None and "tie_word_embeddings" not in written:
        shape.tie_word_embeddings = tied
    return shape


def packaged_shape(name: str, text: Any = None) -> Any:
    """transformers' configuration of a packaged shape.

    Args:
        name: Of the shape, or of the model of the hub that has it.
        text: A text tokenizer whose special tokens it is to use; Qwen's where not given.
    """
    from transformers import Qwen2_5_VLConfig

    file = SHAPES / f"{HUB_SHAPES.get(name, name)}.yaml"
    special: dict[str, Any] = {}
    if text is not None:
        number = text.convert_tokens_to_ids
        special = {"image_token_id": number("<|image_pad|>")}
        special |= {"video_token_id": number("<|video_pad|>")}
        special |= {"vision_start_token_id": number("<|vision_start|>")}
        special |= {"vision_end_token_id": number("<|vision_end|>")}
    return Qwen2_5_VLConfig(**read_yaml(file), **special)


def byte_tokenizer(words: Sequence[str] = ()) -> Any:
    """A token per byte, and the special ones of Qwen.

    Args:
        words: Get a token each, alone and behind a space, so that sequences are shorter.
    """
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel as Decoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import PreTrainedTokenizerFast

    whole = [form for word in words for form in (word, SPACE + word) if len(form) > 1]
    names = dict.fromkeys([*sorted(ByteLevel.alphabet()), *whole])
    vocabulary = {name: number for number, name in enumerate(names)}
    core = Tokenizer(BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    core.pre_tokenizer = ByteLevel(add_prefix_space=False)
    core.decoder = Decoder()
    core.add_special_tokens(list(SPECIAL))
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=SPECIAL[0])


def packaged_words(name: str) -> list[str]:
    """The words that have a token of their own in a packaged shape."""
    file = SHAPES / f"{name}.txt"
    return list(dict.fromkeys(file.read_text().split())) if file.is_file() else []


def _image_processor_class() -> Any:
    """The image processor without torchvision, whose name moved in transformers 5."""
    import transformers

    newer = getattr(transformers, "Qwen2VLImageProcessorPil", None)
    return newer or transformers.Qwen2VLImageProcessor


def _packaged() -> list[str]:
    return sorted(file.stem for file in SHAPES.glob("*.yaml"))
