"""`rvq-train features`: its options, and the teacher they describe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from tokenizer_training.features.teacher import Teacher

OPTIONS: dict[str, tuple[Any, str]] = {
    "model": (str, "vision, qwen2_5_vl: folder of the network, or its id on the hub"),
    "pooling": (str, "vision: what is kept of a picture, pooled, class or mean (pooled)"),
    "layer": (int, "qwen2_5_vl: whose hidden states are taken (-3)"),
    "precision": (str, "networks: float32, bfloat16 or auto (auto: bfloat16 on a GPU)"),
    "device": (str, "networks: cpu, cuda, cuda:1 ... or auto (auto)"),
    "side": (int, "pixels: side of the small picture (32)"),
    "components": (int, "pixels: principal components kept per camera (64)"),
    "fit_frames": (int, "pixels: most moments of a dataset to fit on (2048)"),
}
"""Options of teachers: type, and help with the default."""


def features_parser() -> ArgumentParser:
    """The options of the command."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        description="Look at the cameras of datasets with a frozen teacher, and keep what it sees. "
        "Until a dataset is done the teacher pixels needs 12 x side^2 bytes per frame and camera "
        "(12 KB with --side 32) in --out, beside the features."
    )
    add = parser.add_argument
    add("--teacher", choices=list(TEACHERS), default="pixels", help="who looks at the pictures")
    for name, (kind, text) in OPTIONS.items():
        add(f"--{name}", type=kind | None, default=None, help=text)
    add("--data.datasets", nargs="+", type=str, required=True, help="folders of LeRobot datasets")
    add("--cameras", nargs="+", type=str, default=None, help="cameras to look through (all)")
    add("--out", type=str, required=True, help="folder of the cache")
    add("--stride", type=int, default=1, help="frames from one extracted frame to the next (1)")
    add("--held_out", type=float, default=0.2, help="share of episodes the teacher must not see")
    add("--split_seed", type=int, default=0, help="seed of the split into episodes")
    add("--batch_size", type=int, default=16, help="moments looked at together (16)")
    return parser


def features(config: Namespace) -> None:
    """Run the command.

    Raises:
        FileNotFoundError: A dataset or the weights are missing.
        ValueError: An option, a dataset or the cache's folder is not usable, or the disk lacks
            room; says why.
    """
    from tokenizer_training.features.extract import Extraction, extract
    from tokenizer_training.features.pictures import Pictures

    how = Extraction(config.stride, config.held_out, config.split_seed, config.batch_size)
    given = {name: config[name] for name in OPTIONS if config[name] is not None}
    datasets = [Pictures.open(path, config.cameras) for path in config.data.datasets]
    extract(TEACHERS[config.teacher](given), datasets, how, Path(config.out))


def _pixels(given: dict[str, Any]) -> Teacher:
    from tokenizer_training.features.pixels import PixelSettings, PixelTeacher

    return PixelTeacher(_settings(PixelSettings, "pixels", given))


def _vision(given: dict[str, Any]) -> Teacher:
    from tokenizer_training.features.vision import VisionSettings, VisionTeacher

    return VisionTeacher(_settings(VisionSettings, "vision", given))


def _qwen(given: dict[str, Any]) -> Teacher:
    from tokenizer_training.features.qwen import QwenSettings, QwenTeacher

    return QwenTeacher(_settings(QwenSettings, "qwen2_5_vl", given))


def _settings(kind: type, teacher: str, given: dict[str, Any]) -> Any:
    """The settings of a teacher from the options given.

    Raises:
        ValueError: One of them belongs to another teacher, or the network is not named.
    """
    known = [field.name for field in fields(kind)]
    foreign = [name for name in given if name not in known]
    if foreign:
        raise ValueError(
            f"--{foreign[0]} is no option of the teacher {teacher}; it takes "
            f"{' '.join(f'--{name}' for name in known)}."
        )
    if "model" in known and "model" not in given:
        raise ValueError(f"The teacher {teacher} is a network: name it with --model.")
    return kind(**given)


TEACHERS: dict[str, Callable[[dict[str, Any]], Teacher]] = {
    "pixels": _pixels,
    "vision": _vision,
    "qwen2_5_vl": _qwen,
}
