"""Fresh starts: where an evaluation begins, the same for every policy that is compared."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np

FIRST_SEED = 2**32
"""Demonstrations begin from 32-bit seeds (`DemoSettings.seeds`); evaluations from later ones."""


class Start(NamedTuple):
    """One start of a task.

    Attributes:
        task: The task.
        number: Among the starts of the task.
        seed: Of the simulator: decides where object and goal are.
    """

    task: str
    number: int
    seed: int


def fresh_starts(task: str, count: int, seed: int = 0) -> list[Start]:
    """Starts that no demonstration ever began from.

    The first ones of more are the same as those of fewer, whatever else is evaluated.

    Args:
        task: The task.
        count: How many.
        seed: Other numbers give other starts.
    """
    keys = ([seed, zlib.crc32(task.encode()), number] for number in range(count))
    drawn = (int(np.random.SeedSequence(key).generate_state(1)[0]) for key in keys)
    return [Start(task, number, FIRST_SEED + word) for number, word in enumerate(drawn)]
