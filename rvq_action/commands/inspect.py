"""`rvq-action inspect`: what a tokenizer is and knows."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rvq_action.embodiment import Embodiment
    from rvq_action.tokenizer import ActionTokenizer


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "inspect",
        help="say what a tokenizer is and knows",
        description="Print a tokenizer's code, embodiments, split and measured figures.",
    )
    parser.add_argument("tokenizer", help="folder of the tokenizer, or its id on the hub")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Print the summary."""
    from rvq_action.tokenizer import ActionTokenizer

    summary = summarise(ActionTokenizer.from_pretrained(parsed.tokenizer))
    print(json.dumps(summary, indent=2) if parsed.json else as_text(summary))
    return 0


def summarise(tokenizer: ActionTokenizer) -> dict[str, Any]:
    """The summary as plain data."""
    from rvq_action.artifact.codes_file import fingerprint

    config = tokenizer.config
    return {
        "fingerprint": fingerprint(tokenizer),
        "code": {
            "tokens_per_chunk": tokenizer.tokens_per_chunk,
            "bits_per_token": tokenizer.bits_per_token,
            "bits_per_chunk": tokenizer.tokens_per_chunk * tokenizer.bits_per_token,
            "slots": config.num_slots,
            "levels": config.num_quantizers,
            "codebook_size": config.codebook_size,
            "order": config.token_order,
            "vocabulary": tokenizer.vocabulary.size,
            "seconds": tokenizer.seconds,
        },
        "model": {
            "width": config.width,
            "frequencies": config.num_frequencies,
            "hidden": config.hidden,
            "depth": config.depth,
            "parameters": sum(p.numel() for p in tokenizer.model.parameters()),
        },
        "embodiments": {
            name: {
                "tokens_per_chunk": tokenizer.vocabulary_of(name).tokens_per_chunk,
                **_describe(e),
            }
            for name, e in tokenizer.embodiments.items()
        },
        "metadata": tokenizer.metadata,
    }


def _describe(known: Embodiment) -> dict[str, Any]:
    return {
        "layout": known.layout.name,
        "fps": known.fps,
        "trained": int(known.valid.sum()),
        "groups": {g: len(ix) for g, ix in known.layout.groups.items()},
        "needs_proprio": known.layout.needs_anchor,
        "mapping": known.mapping is not None,
        "channels": [
            {
                "name": channel.name,
                "unit": channel.unit,
                "delta": channel.delta.value,
                "range": [low, high] if seen else None,
            }
            for channel, low, high, seen in zip(
                known.layout.channels,
                known.statistics.actions.min,
                known.statistics.actions.max,
                known.valid.tolist(),
                strict=True,
            )
        ],
    }


def as_text(summary: dict[str, Any]) -> str:
    """The summary for people."""
    code, model = summary["code"], summary["model"]
    lines = [
        f"tokenizer {summary['fingerprint']}",
        f"  code       {code['tokens_per_chunk']} tokens of {code['bits_per_token']:g} bits each, "
        f"{code['bits_per_chunk']:g} bits in all: {code['slots']} slots x {code['levels']} "
        f"levels, {code['codebook_size']} codes each, {code['order'].replace('_', '-')}",
        f"  vocabulary {code['vocabulary']} token ids",
        f"  chunk      {_duration(code['seconds'])}",
        f"  model      up to {model['width']} channels, {model['frequencies']} frequencies; "
        f"networks {model['hidden']} wide, {model['depth']} deep, {model['parameters']:,} "
        "parameters",
        "embodiments",
    ]
    for name, known in summary["embodiments"].items():
        lines += [_embodiment(name, known), *_channels(known["channels"])]
    metadata = {k: v for k, v in summary["metadata"].items() if k != "seconds"}
    splits, figures = metadata.pop("split", {}), metadata.pop("figures", {})
    calibration = metadata.pop("calibration", {})
    if splits:
        lines += ["split (episodes)", *(_split(name, split) for name, split in splits.items())]
    if figures:
        lines += ["figures", *(f"  {name}: {_short(value)}" for name, value in figures.items())]
    if calibration:
        lines += ["usual error, and of the worst percent (model space)"]
        lines += [_usual(name, parts) for name, parts in calibration.items()]
    if metadata:
        lines += ["metadata", *(f"  {name}: {_short(v)}" for name, v in metadata.items())]
    return "\n".join(lines)


def _embodiment(name: str, known: dict[str, Any]) -> str:
    groups = ", ".join(f"{group} {size}" for group, size in known["groups"].items())
    anchor = "relative to proprio" if known["needs_proprio"] else "absolute"
    return (
        f"  {name}: {known['fps']:g} Hz, {known['trained']} of the {len(known['channels'])} "
        f"channels of layout {known['layout']} ({groups}), {anchor}, "
        f"{known['tokens_per_chunk']} tokens a chunk"
    )


def _channels(channels: list[dict[str, Any]]) -> list[str]:
    """A line per trained channel."""
    rows = [("channel", "unit", "delta", "range in training, after delta")]
    for channel in (c for c in channels if c["range"]):
        low, high = channel["range"]
        span = f"{low:.4g} .. {high:.4g}"
        rows.append((channel["name"], channel["unit"], channel["delta"], span))
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return ["    " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _duration(seconds: float | None) -> str:
    return "of about a second" if seconds is None else f"of {seconds:g} s"


def _split(name: str, split: dict[str, Any]) -> str:
    parts = [f"{len(v)} {use.replace('_', '-')}" for use, v in split.items() if isinstance(v, list)]
    return f"  {name}: {', '.join(parts)}, seed {split.get('seed')}"


def _usual(name: str, parts: dict[str, Any]) -> str:
    told = [
        f"{median:.2e}, {worst:.2e} on {part['windows']} {use} windows"
        for use, part in parts.items()
        if part
        for median, worst in (part["residual"],)
    ]
    return f"  {name}: {'; '.join(told)}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
