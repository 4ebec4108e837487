"""`rvq-action export`: a tokenizer as files that run without this package."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "export",
        help="write encoder and decoder for ONNX Runtime or torch.export",
        description="Write a tokenizer's encoder and decoder for one robot and one number of "
        "frames, physical units in and out, to run without this package.",
    )
    add = parser.add_argument
    add("tokenizer", help="folder of the tokenizer, or its id on the hub")
    add("--out", required=True, help="folder to write encode, decode and export.json into")
    add("--horizon", type=int, required=True, help="frames of every chunk")
    add("--format", choices=("onnx", "torch"), default="onnx", help="kind of file (onnx)")
    add("--embodiment", help="which of the tokenizer's embodiments")
    add("--fps", type=float, help="frames per second (the training data's)")
    add("--int8", action="store_true", help="the decoder's networks in 8 bits (onnx)")
    parser.set_defaults(run=run, extra="export")


def run(parsed: argparse.Namespace) -> int:
    """Export and say what was written."""
    from rvq_action.export.files import export
    from rvq_action.tokenizer import ActionTokenizer

    tokenizer = ActionTokenizer.from_pretrained(parsed.tokenizer)
    robot = (parsed.horizon, parsed.embodiment, parsed.fps)
    for file in export(tokenizer, parsed.out, parsed.format, *robot, parsed.int8):
        print(f"Wrote {file} ({file.stat().st_size / 1e6:.1f} MB)")
    return 0
