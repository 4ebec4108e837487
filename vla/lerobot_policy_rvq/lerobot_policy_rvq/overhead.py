"""`python -m lerobot_policy_rvq.overhead`: what LeRobot's wrapping adds to a training step.

Two ways from the same frames to the same gradients, by turns: *wrapped*, a batch as LeRobot's
DataLoader hands it over, through preprocessor and `RvqVlaPolicy.forward`; and *library*, the chunk
and the pictures as our own reader holds them, by the calls that `rvq-vla train` makes. Both build
the samples in the same process; reading the dataset is in neither.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.factory import make_pre_post_processors
from torch.utils.data import DataLoader

from lerobot_policy_rvq.demonstrations import read_chunk, read_pictures, read_tasks
from lerobot_policy_rvq.modeling_rvq_vla import RvqVlaPolicy
from vla.data.changes import Changes, Moment, known_proprio
from vla.training.step import step_losses


def measure(
    checkpoint: Path, dataset: Path, batch_size: int = 8, rounds: int = 15
) -> dict[str, Any]:
    """Medians of both ways, and the overhead.

    Args:
        checkpoint: A `pretrained_model` folder.
        dataset: Folder of a LeRobotDataset that it was trained on.
        batch_size: Rows.
        rounds: How often each way is taken, after two to warm up.
    """
    policy = RvqVlaPolicy.from_pretrained(checkpoint).train()
    before, _ = make_pre_post_processors(policy.config, str(checkpoint))
    batch = _batch(policy, dataset, batch_size)
    ways = {
        "library": _library(policy, before(dict(batch))),
        "wrapped": _wrapped(policy, before, batch),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 2):
        for name in sorted(ways, reverse=bool(number % 2)):  # so that neither always goes first
            policy.config.trained_steps = number
            policy.model.zero_grad()
            begin = time.perf_counter()
            ways[name]()
            if number > 1:
                taken[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    ratios = [w / own for own, w in zip(taken["library"], taken["wrapped"], strict=True)]
    return {
        "batch_size": batch_size,
        "threads": torch.get_num_threads(),
        "device": str(policy.model.device),
        "seconds": medians,
        "overhead": statistics.median(ratios) - 1,
    }


def _batch(policy: RvqVlaPolicy, dataset: Path, size: int) -> dict[str, Any]:
    indices = policy.config.action_delta_indices
    assert policy.config.fps is not None
    deltas = {"action": [i / policy.config.fps for i in indices]}
    data = LeRobotDataset("local/set", root=dataset, delta_timestamps=deltas)
    return next(iter(DataLoader(data, batch_size=size)))


def _wrapped(policy: RvqVlaPolicy, before: Any, batch: dict[str, Any]) -> Callable[[], None]:
    return lambda: policy(before(dict(batch)))[0].backward()


def _library(policy: RvqVlaPolicy, batch: dict[str, Any]) -> Callable[[], None]:
    """The calls of `SampleStream` and `VLAModule`, on what our reader would hold."""
    config, ours, tokens = policy.config, policy.policy, policy.policy.tokenizer
    chunk = read_chunk(batch, *policy.place, tokens.layout(policy.place[0]).width)
    pictures = read_pictures(batch, policy.cameras, ours.config.image_size)
    rows = len(pictures)
    moments = list(map(Moment, read_tasks(batch, rows), pictures))
    changes = Changes(config.augmentation, config.proprio)

    def step() -> None:
        keys = [(config.seed, config.trained_steps, row) for row in range(rows)]
        told = known_proprio(chunk), chunk.embodiment, chunk.fps
        codes = tokens.encode(chunk.actions, *told, mask=chunk.mask)
        chances = [np.random.default_rng(key) for key in keys]
        samples = changes.samples(ours.samples, chunk, codes, moments, chances)
        each = step_losses(ours.model, ours.batch(samples), keys, config.flow_draws)
        each.mean().total(config.weights).backward()

    return step


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="pretrained_model folder")
    parser.add_argument("--dataset", type=Path, required=True, help="LeRobotDataset")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    told = parser.parse_args()
    print(
        json.dumps(measure(told.checkpoint, told.dataset, told.batch_size, told.rounds), indent=2)
    )


if __name__ == "__main__":
    main()
