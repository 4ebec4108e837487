"""`rvq-action decode`: chunks from codes."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from rvq_action.artifact.codes_file import Header
    from rvq_action.tokenizer import ActionTokenizer

BATCH = 512


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "decode",
        help="turn codes back into action chunks",
        description="Decode what `rvq-action encode` wrote: absolute actions in physical units.",
    )
    add = parser.add_argument
    add("tokenizer", help="folder of the tokenizer, or its id on the hub")
    add("codes", help="file that `rvq-action encode` wrote")
    add("--out", required=True, help="file to write (.safetensors)")
    add("--tokens", type=int, help="decode from the first so many tokens only (all)")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Decode, write and say what was written."""
    from rvq_action.artifact.codes_file import CHUNKS, TensorFile
    from rvq_action.tokenizer import ActionTokenizer

    tokenizer = ActionTokenizer.from_pretrained(parsed.tokenizer)
    source = TensorFile.load(parsed.codes)
    if "codes" not in source.tensors:
        held = ", ".join(sorted(source.tensors))
        raise ValueError(f"{parsed.codes} holds no codes; it is a file of {held}.")
    check_tokenizer(tokenizer, source.header, Path(parsed.tokenizer).name)
    codes = source.tensors["codes"]
    if parsed.tokens is not None:
        codes = tokenizer.prefix(codes, parsed.tokens)
    kept = {name: tensor for name, tensor in source.tensors.items() if name != "codes"}
    actions = decode_codes(tokenizer, codes, kept.get("proprio"), source.header)
    header = replace(source.header, format=CHUNKS, tokens=parsed.tokens)
    TensorFile(header, {"actions": actions, **kept}).save(parsed.out)
    print(
        f"Wrote {parsed.out}: {len(actions)} chunks of {source.header.horizon} frames, "
        f"{len(source.header.channels)} channels."
    )
    return 0


def check_tokenizer(tokenizer: ActionTokenizer, header: Header, name: str) -> None:
    """Refuse codes of another tokenizer.

    Raises:
        ValueError: Names both.
    """
    from rvq_action.artifact.codes_file import fingerprint

    ours = fingerprint(tokenizer)
    if header.fingerprint != ours:
        raise ValueError(
            f"These codes are of tokenizer {header.tokenizer!r} ({header.fingerprint}), not of "
            f"{name!r} ({ours}). Decode them with the tokenizer that encoded them."
        )


def decode_codes(
    tokenizer: ActionTokenizer, codes: Tensor, proprio: Tensor | None, header: Header
) -> Tensor:
    """Codes [N, S, K] and proprio [N, D] -> actions [N, T, D]."""
    import torch

    parts = [
        tokenizer.decode(
            codes[first : first + BATCH],
            header.horizon,
            None if proprio is None else proprio[first : first + BATCH],
            header.embodiment,
            header.fps,
        )
        for first in range(0, len(codes), BATCH)
    ]
    return torch.cat(parts)
