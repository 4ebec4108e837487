"""A tokenizer as files that run without this package: torch.export or ONNX."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import torch

from rvq_action.artifact.codes_file import fingerprint
from rvq_action.export.int8 import quantize_networks
from rvq_action.export.modules import ChunkDecoder, ChunkEncoder
from rvq_action.housekeeping.console import writable_folder
from rvq_action.housekeeping.json_file import write_json
from rvq_action.tokenizer import ActionTokenizer

SUFFIXES = {"torch": ".pt2", "onnx": ".onnx"}
EXAMPLES = 5
"""Chunks that the modules are traced with; any number of chunks runs afterwards."""


def export(
    tokenizer: ActionTokenizer,
    folder: str | Path,
    format: str,
    horizon: int,
    embodiment: str | None = None,
    fps: float | None = None,
    int8: bool = False,
) -> list[Path]:
    """Write `encode` and `decode` for one embodiment and horizon, for batches of any size.

    encode: actions float32 [B, T, D], proprio float32 [B, D] (NaN where unknown) -> codes int64
    [B, S, K]. decode: codes (absent = -1), proprio -> actions, which are absolute and in the
    layout's units.

    Args:
        tokenizer: The tokenizer.
        folder: Where `encode`, `decode` and `export.json`, which says what they take, are written.
        format: `torch` (.pt2, for `torch.export.load`) or `onnx`.
        horizon: T, frames of every chunk.
        embodiment: May be left out where the tokenizer knows only one.
        fps: Frames per second; the training data's where omitted.
        int8: The decoder's networks in 8 bits, ONNX only. The encoder's stay as they are: rounding
            decides codes.

    Returns:
        The files written.

    Raises:
        ValueError: Another format, `int8` with `torch`, a horizon outside 2..128, a rate that is no
            positive number.
        KeyError: An unknown embodiment.
        ModuleNotFoundError: `onnx` without `rvq-action[export]`.
    """
    if format not in SUFFIXES:
        raise ValueError(f"format must be one of {sorted(SUFFIXES)}, got {format!r}.")
    if int8 and format != "onnx":
        raise ValueError(f"Networks in 8 bits are for the format `onnx`, not for {format!r}.")
    if format == "onnx":
        _check_onnx()
    encoder = ChunkEncoder(tokenizer, horizon, embodiment, fps)
    decoder = ChunkDecoder(tokenizer, horizon, embodiment, fps)
    folder = writable_folder(folder)
    files = [(folder / name).with_suffix(SUFFIXES[format]) for name in ("encode", "decode")]
    _write(encoder, "codes", files[0])
    _write(decoder, "actions", files[1])
    if int8:
        quantize_networks(files[1])
    write_json({**describe(tokenizer, encoder), "int8": int8}, folder / "export.json")
    return [*files, folder / "export.json"]


def describe(tokenizer: ActionTokenizer, encoder: ChunkEncoder) -> dict[str, Any]:
    """What a program that runs the files has to know, as plain data."""
    config = tokenizer.config
    return {
        "tokenizer": fingerprint(tokenizer),
        "embodiment": encoder.name,
        "horizon": encoder.horizon,
        "fps": encoder.fps,
        "channels": [
            {"name": channel.name, "unit": channel.unit, "delta": channel.delta.value}
            for channel in encoder.known.layout.channels
        ],
        "slots": config.path_slots[encoder.path_number],
        "levels": config.num_quantizers,
        "codebook_size": config.codebook_size,
        "token_order": config.token_order,
    }


def _write(module: ChunkEncoder | ChunkDecoder, output: str, file: Path) -> None:
    """Trace a module and write it.

    Both exporters warn of what they themselves do (deprecated calls, tied weights); what is wrong
    with the module they raise.
    """
    module, inputs = module.cpu(), module.example(EXAMPLES)
    batch = torch.export.Dim("batch")
    shapes = {name: {0: batch} for name in inputs}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, (), inputs, dynamic_shapes=shapes)
        if file.suffix == SUFFIXES["torch"]:
            torch.export.save(program, file)
            return
        exported = torch.onnx.export(
            program, dynamo=True, output_names=[output], external_data=False, verbose=False
        )
        assert exported is not None
        exported.save(file)


def _check_onnx() -> None:
    for name in ("onnx", "onnxscript"):
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"Exporting to ONNX needs {name}", name=name)
