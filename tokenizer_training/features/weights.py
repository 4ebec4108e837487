"""The files of a network: where they lie, and whether they are the same as before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from rvq_action.artifact.hub import download

DECISIVE = (
    *("config.json", "preprocessor_config.json", "processor_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"),
)
"""Files beside the weights that decide what a network says of a picture."""
LOADED = ("*.safetensors", "*.json", "*.txt")
BLOCK = 1 << 16
"""Bytes that are read of a tensor at most."""


def locate(model: str) -> Path:
    """The folder of a model given as one, or by its id on the hub (downloaded where need be).

    Raises:
        FileNotFoundError: There is neither.
        ValueError: The folder holds no safetensors; nothing else is loaded.
    """
    folder = Path(model) if Path(model).is_dir() else _download(model)
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ValueError(
            f"{model} must hold config.json and *.safetensors, as save_pretrained writes them."
        )
    return folder


def identity(folder: Path) -> str:
    """A fingerprint of a model: its configuration, and a sample of every tensor of its weights.

    Raises:
        ValueError: A file of weights is damaged; names it.
    """
    digest = hashlib.sha256()
    for file in [folder / name for name in DECISIVE] + sorted(folder.glob("*.safetensors")):
        if file.is_file():
            digest.update(f"{file.name} {file.stat().st_size}\n".encode())
            whole = file.name in DECISIVE
            for part in [file.read_bytes()] if whole else _samples(file):
                digest.update(part)
    return digest.hexdigest()[:16]


def load_image_processor(folder: Path) -> Any:
    """The image processor of a model, in the variant that needs no torchvision.

    Raises:
        ValueError: It has no such variant.
    """
    import transformers

    modern = int(transformers.__version__.split(".")[0]) >= 5
    variant: dict[str, Any] = {"backend": "pil"} if modern else {"use_fast": False}
    try:
        return transformers.AutoImageProcessor.from_pretrained(folder, **variant)
    except ImportError as error:
        raise ValueError(
            f"The pictures of {folder} cannot be prepared here: {error} Choose another model."
        ) from error


def load_network(folder: Path, dtype: torch.dtype) -> tuple[Any, list[str]]:
    """A model without its head, and the names of weights that its folder does not have."""
    from transformers import AutoModel
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # else it reports the head's weights as unexpected
    try:
        network, report = AutoModel.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    finally:
        logging.set_verbosity(verbosity)
    return network, sorted(report["missing_keys"])


def _download(model: str) -> Path:
    try:
        return download(model, LOADED)
    except ValueError as error:
        raise FileNotFoundError(
            f"There is no folder {model}, and {error} Give the folder that holds its config.json, "
            "or the id of a model that can be downloaded."
        ) from error


def _samples(weights: Path) -> Iterator[bytes]:
    """The header of a safetensors file (its length in 8 bytes, then JSON), and the middle of every
    tensor: all of a small one."""
    try:
        with safe_open(weights, framework="pt"):
            pass  # says whether header and size are sound
    except SafetensorError as error:
        raise ValueError(f"{weights} is damaged or no safetensors file: {error}.") from error
    with weights.open("rb") as stream:
        header = stream.read(int.from_bytes(stream.read(8), "little"))
        yield header
        data, tensors = stream.tell(), json.loads(header)
        tensors.pop("__metadata__", None)
        for tensor in tensors.values():
            begin, end = tensor["data_offsets"]
            stream.seek(data + begin + max(0, end - begin - BLOCK) // 2)
            yield stream.read(min(BLOCK, end - begin))
