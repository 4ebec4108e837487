"""The split into training and held-out episodes, the same for everything that is scored.

Some of the training episodes validate: they choose the best tokenizer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import count

import numpy as np

HELD_OUT = 0.2
"""Share of the episodes, where nothing is said."""
VALIDATION = 0.1
"""Share of the training episodes, where nothing is said."""
MIN_EPISODES = 3
"""One to fit on, one to validate on, one held out."""
MIN_VALIDATION = 3
"""With fewer validation episodes nobody can tell learning from memorising."""


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


def split_episodes(num_episodes: int, seed: int = 0, held_out: float = HELD_OUT) -> Split:
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


def validation_size(training: int, share: float = VALIDATION) -> int:
    """How many of so many training episodes validate; at least one."""
    return max(1, round(share * training))


def usual_validation(num_episodes: int) -> int:
    """How many episodes validate by the usual shares; `num_episodes` is at least 2."""
    return validation_size(len(split_episodes(num_episodes).train))


def episodes_to_train() -> int:
    """The fewest episodes of which, by the usual shares, enough validate for training."""
    return next(n for n in count(MIN_EPISODES) if usual_validation(n) >= MIN_VALIDATION)
