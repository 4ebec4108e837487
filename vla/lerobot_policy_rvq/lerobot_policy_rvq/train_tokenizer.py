"""`lerobot-train-rvq-tokenizer`: LeRobot's `lerobot-train-tokenizer` with our tokenizer for FAST.

Its flags, its reading of the dataset, its relative actions and its normalisation are LeRobot's own;
only the tokenizer that is fitted is another. What it leaves goes wherever LeRobot takes FAST's:
`--policy.type=pi0_fast --policy.action_tokenizer_name=DIR`. Two flags mean something else here:
`vocab_size` is the most token ids that there may be, and `scale`, FAST's rounding, means nothing.

`metadata.json` holds what LeRobot writes there beside what our artefact keeps in it.

LeRobot's parser reads types, not their names: this file cannot postpone its annotations.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.configs import parser
from lerobot.scripts import lerobot_train_tokenizer as host
from lerobot.utils.utils import init_logging

from rvq_action.artifact.directory import METADATA
from rvq_action.chunk import check_horizon
from rvq_action.housekeeping.json_file import read_json
from rvq_action.processing import RvqActionProcessor

Fit = Callable[..., RvqActionProcessor]
RELATIVE = {
    "use_relative_transform": "relative_dims",
    "use_delta_transform": "delta_dims",  # before LeRobot 0.5.1
}
"""Which channels are relative -> the flag that names them."""


@parser.wrap()
def train_tokenizer(config: host.TokenizerTrainingConfig) -> Path:
    """Fit a tokenizer on a LeRobot dataset.

    Args:
        config: As of `lerobot-train-tokenizer`.

    Returns:
        The tokenizer's folder.

    Raises:
        ValueError: A flag's value cannot be used; nothing was written.
    """
    check(config)
    name = f"rvq_tokenizer_{config.repo_id.replace('/', '_')}"
    out = Path(config.output_dir or name)
    fitted: list[RvqActionProcessor] = []
    local = replace(config, output_dir=str(out), push_to_hub=False)

    def remembered(chunks: np.ndarray, vocab_size: int, scale: float) -> RvqActionProcessor:
        fitted.append(fit(chunks, vocab_size, scale))
        return fitted[0]

    with _fitting(remembered):
        host.train_tokenizer(local)
    processor = _with_metadata(fitted[0], read_json(out / METADATA))
    processor.save_pretrained(out)
    if config.push_to_hub:
        processor.push_to_hub(config.hub_repo_id or out.name, private=config.hub_private)
    return out


def check(config: host.TokenizerTrainingConfig) -> None:
    """Refuse what would fail, or be lost, after the dataset has been read.

    Raises:
        ValueError: Names the flag.
    """
    check_horizon(config.action_horizon)
    out = Path(config.output_dir) if config.output_dir else None
    if out is not None and out.exists() and any(out.iterdir()):
        raise ValueError(f"--output_dir {out} is not empty. Choose a new folder.")
    for flag, dims in RELATIVE.items():
        if getattr(config, flag, False) and not (getattr(config, dims) or "").strip():
            raise ValueError(
                f"--{flag}=true without --{dims} makes no action relative. Name the channels: "
                f'--{dims}="0,1,2,3,4,5".'
            )


def fit(chunks: np.ndarray, vocab_size: int, scale: float) -> RvqActionProcessor:
    """Stands where LeRobot fits FAST.

    Args:
        chunks: [N, T, D], normalised.
        vocab_size: The most token ids.
        scale: Of FAST; not used.
    """
    width = chunks.shape[2]
    print(f"Fitting an RVQ tokenizer on {len(chunks)} action chunks of shape {chunks.shape[1:]}")
    return RvqActionProcessor.fit(
        chunks, vocab_size=vocab_size, time_horizon=chunks.shape[1], action_dim=width
    )


@contextmanager
def _fitting(ours: Fit) -> Iterator[None]:
    """LeRobot's command looks its own fitting up by name: for a while that name is ours."""
    theirs = host.train_fast_tokenizer
    host.train_fast_tokenizer = ours
    try:
        yield
    finally:
        host.train_fast_tokenizer = theirs


def _with_metadata(processor: RvqActionProcessor, told: dict[str, Any]) -> RvqActionProcessor:
    """The processor with LeRobot's account of its fitting, but for what has no meaning here."""
    kept = {key: value for key, value in told.items() if key != "scale"}
    rvq = replace(processor.rvq, metadata={**processor.rvq.metadata, **kept})
    settings = json.loads(json.dumps(processor.settings.to_dict()))
    known = {name: settings[name] for name in ("fps", "time_horizon", "action_dim")}
    return RvqActionProcessor(rvq, **known)


def main() -> None:
    """The console script."""
    init_logging()
    train_tokenizer()


if __name__ == "__main__":
    main()
