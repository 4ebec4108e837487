"""Which windows an epoch shows: square-root sampling over (dataset, task), the same every time.

A group of n windows gets a share proportional to n^power, so that a long task does not drown a
short one; a cap bounds any share, and what it cuts off goes to the others in proportion.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rvq_action.data.windows import Windows


def group_shares(
    counts: Sequence[int] | np.ndarray, power: float = 0.5, cap: float = 1.0
) -> np.ndarray:
    """Share of every group, proportional to count^power, none above the cap.

    Args:
        counts: [G] windows per group.
        power: 1 = as large as it is, 0 = all alike.
        cap: Largest share of a group; raised to 1/G where it could not be kept.

    Returns:
        [G] float64 that sums to 1.

    Raises:
        ValueError: A group is empty, or the cap is no share.
    """
    weights = np.asarray(counts, dtype=np.float64)
    if not len(weights) or weights.min() <= 0 or not 0 < cap <= 1:
        raise ValueError(f"Groups need windows and a cap in (0, 1], got {list(counts)}, {cap}.")
    weights, cap = weights**power, max(cap, 1 / len(weights))
    capped = np.zeros(len(weights), dtype=bool)
    shares = weights / weights.sum()
    while (over := shares > cap + 1e-12).any():
        capped |= over
        free = np.where(capped, 0.0, weights)
        rest = 1 - cap * capped.sum()
        shares = np.where(capped, cap, free * (rest / free.sum() if free.any() else 0.0))
    return shares


class Batch(NamedTuple):
    """Windows of one dataset.

    Attributes:
        source: Position of the dataset in the sampler's list.
        indices: [B] int64 windows of it.
    """

    source: int
    indices: np.ndarray


class GroupSampler:
    """Draws items of several sources, deterministic by (seed, epoch, position).

    Args:
        tasks: The task of every item, per source.
        epoch_size: Items in an epoch; as many as there are where omitted.
        seed: Of every draw.
        power: See `group_shares`.
        cap: See `group_shares`.

    Attributes:
        groups: (position of the source, task) of every group.
        shares: [G] share of every group.
    """

    def __init__(
        self,
        tasks: Sequence[Sequence[str]],
        epoch_size: int | None = None,
        seed: int = 0,
        power: float = 0.5,
        cap: float = 1.0,
    ) -> None:
        members: dict[tuple[int, str], list[int]] = {}
        for source, names in enumerate(tasks):
            for index, task in enumerate(names):
                members.setdefault((source, task), []).append(index)
        self.groups = tuple(members)
        self._members = [np.array(indices) for indices in members.values()]
        self.shares = group_shares([len(m) for m in self._members], power, cap)
        self.seed = seed
        self.epoch_size = epoch_size or sum(map(len, tasks))
        self._epoch = (-1, np.empty((0, 2), np.int64))

    def __len__(self) -> int:
        return self.epoch_size

    def epoch(self, epoch: int) -> np.ndarray:
        """All draws of an epoch: [epoch_size, 2] int64 of (source, item), shuffled.

        Within a group no item comes a second time before every one has come once.
        """
        rng = np.random.default_rng([self.seed, epoch])
        draws = [
            np.stack((np.full(count, source), _cycled(rng, members, count)), axis=1)
            for (source, _), members, count in zip(
                self.groups, self._members, self._counts(), strict=True
            )
        ]
        return rng.permutation(np.concatenate(draws))

    def draws(self, first: int, count: int) -> np.ndarray:
        """[count, 2] (source, item) from a position of the epochs laid end to end."""
        parts = [np.empty((0, 2), np.int64)]
        while count:
            epoch, offset = divmod(first, len(self))
            if self._epoch[0] != epoch:
                self._epoch = (epoch, self.epoch(epoch))
            part = self._epoch[1][offset : offset + count]
            parts.append(part)
            first, count = first + len(part), count - len(part)
        return np.concatenate(parts)

    def _counts(self) -> np.ndarray:
        """[G] draws per group: the shares of the epoch, rounded so that they add up to it."""
        exact = self.shares * self.epoch_size
        counts = np.floor(exact).astype(np.int64)
        largest = np.argsort(counts - exact, kind="stable")[: self.epoch_size - counts.sum()]
        counts[largest] += 1
        return counts


class WindowSampler(GroupSampler):
    """Draws windows from several datasets; a group is a task of a dataset.

    Args:
        sources: One `Windows` per dataset.
        epoch_size: As everything else, see `GroupSampler`.
    """

    def __init__(
        self,
        sources: Sequence[Windows],
        epoch_size: int | None = None,
        seed: int = 0,
        power: float = 0.5,
        cap: float = 1.0,
    ) -> None:
        super().__init__([windows.tasks for windows in sources], epoch_size, seed, power, cap)

    def batches(self, epoch: int, batch_size: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, each of one dataset; a dataset's last one may be smaller.

        Args:
            epoch: The epoch.
            batch_size: B.
            start: Batches to skip, for a run that resumes inside the epoch.
        """
        draws = self.epoch(epoch)
        batches = [
            Batch(int(source), rows[i : i + batch_size])
            for source in np.unique(draws[:, 0])
            for rows in [draws[draws[:, 0] == source, 1]]
            for i in range(0, len(rows), batch_size)
        ]
        order = np.random.default_rng([self.seed, epoch, 1]).permutation(len(batches))
        return (batches[i] for i in order[start:])


def _cycled(rng: np.random.Generator, members: np.ndarray, count: int) -> np.ndarray:
    rounds = -(-count // len(members))
    return np.concatenate([members[:0], *(rng.permutation(members) for _ in range(rounds))])[:count]
