"""The split into training and held-out episodes, the same for everything that is scored."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Split:
    """Episode numbers by use.

    Attributes:
        train: Episodes that anything may be fitted on, ascending.
        held_out: Episodes that only figures are computed on, ascending.
        seed: The seed that drew them.
    """

    train: tuple[int, ...]
    held_out: tuple[int, ...]
    seed: int

    def to_dict(self) -> dict:
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: dict) -> Split:
        return cls(tuple(data["train"]), tuple(data["held_out"]), data["seed"])


def split_episodes(num_episodes: int, seed: int = 0, held_out: float = 0.2) -> Split:
    """Hold out the first fifth of `default_rng(seed).permutation(num_episodes)`.

    Args:
        num_episodes: At least 2.
        seed: Of the permutation.
        held_out: Share to hold out; at least one episode is, and one is left to train on.

    Raises:
        ValueError: Fewer than 2 episodes, or a share outside (0, 1).
    """
    if num_episodes < 2:
        raise ValueError(
            f"{num_episodes} episodes cannot be split into training and held-out ones. Record at "
            "least 2."
        )
    if not 0 < held_out < 1:
        raise ValueError(f"The held-out share must lie between 0 and 1, got {held_out}.")
    order = np.random.default_rng(seed).permutation(num_episodes).tolist()
    count = min(max(round(held_out * num_episodes), 1), num_episodes - 1)
    return Split(tuple(sorted(order[count:])), tuple(sorted(order[:count])), seed)
