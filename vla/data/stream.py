"""SampleStream: micro-batch number n is always the same, whichever process asks for it.

Every draw is a function of (seed, step, number in the global batch). Workers keep no state that a
batch depends on, so a run that was killed goes on with the very batches that it would have seen.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from rvq_action.chunk import ActionChunk
from rvq_action.data.samplers import GroupSampler
from rvq_action.vocabulary import ABSENT
from vla.data.changes import Changes, Moment, known_proprio
from vla.data.conversation_source import ConversationSource
from vla.data.frames import hold_frames
from vla.data.plan import BatchPlan, Place
from vla.data.robot_source import RobotSource
from vla.data.settings import DataSettings
from vla.data.splits import check_names
from vla.samples import SampleBuilder
from vla.sequence import Batch, Sample, collate

logger = logging.getLogger(__name__)


class SampleStream:
    """The samples of every micro-batch of a process.

    Args:
        builder: The policy's.
        robots: Its datasets.
        conversations: Files of conversations; may be none where the plan has none.
        settings: How they are mixed and changed.
        plan: Which items this process reads.
    """

    def __init__(
        self,
        builder: SampleBuilder,
        robots: Sequence[RobotSource],
        conversations: Sequence[ConversationSource],
        settings: DataSettings,
        plan: BatchPlan,
    ) -> None:
        self.builder, self.settings, self.plan = builder, settings, plan
        self.robots, self.conversations = list(robots), list(conversations)
        self.robot_sampler = _sampler([source.windows.tasks for source in robots], settings)
        kinds = [source.kinds for source in conversations]
        self.conversation_sampler = _sampler(kinds, settings) if kinds else None

    @classmethod
    def open(
        cls, builder: SampleBuilder, settings: DataSettings, rank: int = 0, world_size: int = 1
    ) -> SampleStream:
        """Open everything that the settings name.

        Raises:
            FileNotFoundError: A dataset or file is missing.
            ValueError: One is damaged or does not fit the policy.
        """
        told = builder.config, builder.tokenizer, settings.mapping, settings.seconds
        robots = [RobotSource.open(path, *told) for path in settings.datasets]
        check_names([source.dataset for source in robots])
        hold_frames([source.frames for source in robots], settings.frame_memory)
        if not settings.conversations:
            logger.info("No conversations: every batch is robots' alone.")
        talks = [ConversationSource.open(path) for path in settings.conversations]
        return cls(builder, robots, talks, settings, settings.plan(rank, world_size))

    def batch(self, number: int) -> Batch:
        """A micro-batch, counted over all steps."""
        samples = self.samples(*divmod(number, self.plan.accumulation))
        return collate(samples, self.builder.processor.merge_size)

    def samples(self, step: int, micro: int = 0) -> list[Sample]:
        """The samples of a micro-batch of a step, robots' first."""
        places = self.plan.places(step, micro)
        of_robots = [place for place in places if place.robot]
        others = [place for place in places if not place.robot]
        return [*self._robots(step, of_robots), *(self._conversation(step, p) for p in others)]

    def _robots(self, step: int, places: Sequence[Place]) -> list[Sample]:
        """Coded a dataset at a time."""
        by_source: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for row, place in enumerate(places):
            source, window = self.robot_sampler.draws(place.draw, 1)[0].tolist()
            by_source[source].append((row, window))
        samples: dict[int, Sample] = {}
        for number, found in by_source.items():
            source, rows = self.robots[number], [row for row, _ in found]
            windows = [window for _, window in found]
            chances = [self._chance(step, places[row]) for row in rows]
            samples |= zip(rows, self._learn(source, windows, chances), strict=True)
        return [samples[row] for row in range(len(places))]

    def _learn(
        self, source: RobotSource, windows: Sequence[int], chances: Sequence[np.random.Generator]
    ) -> list[Sample]:
        chunk, share = source.chunk(windows), self.settings.step_share
        moments = [
            Moment(source.instruction(window, share, rng), source.images(window))
            for window, rng in zip(windows, chances, strict=True)
        ]
        changes = Changes(self.settings.augmentation, self.settings.proprio)
        codes = self._codes(chunk, known_proprio(chunk))
        return changes.samples(self.builder, chunk, codes, moments, chances)

    def _codes(self, chunk: ActionChunk, proprio: Tensor) -> Tensor:
        """int64 [B, S, K]; all absent where the policy is not to speak of actions."""
        tokens = self.builder.tokenizer
        if self.settings.action_tokens:
            told = proprio, chunk.embodiment, chunk.fps
            return tokens.encode(chunk.actions, *told, mask=chunk.mask)
        words = tokens.vocabulary
        return torch.full((len(chunk.actions), words.num_slots, words.num_levels), ABSENT)

    def _conversation(self, step: int, place: Place) -> Sample:
        assert self.conversation_sampler is not None
        source, entry = self.conversation_sampler.draws(place.draw, 1)[0].tolist()
        return self.conversations[source].sample(entry, self.builder, self._chance(step, place))

    def _chance(self, step: int, place: Place) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, step, place.number])


def _sampler(tasks: Sequence[Sequence[str]], settings: DataSettings) -> GroupSampler:
    return GroupSampler(tasks, None, settings.seed, settings.power, settings.cap)


class MicroBatches(IterableDataset):
    """Micro-batches from one number to another; worker w of W reads every W-th of them.

    A DataLoader takes its workers by turns, so that batches come in order.

    Args:
        stream: Where they are from.
        start: First number.
        stop: Number after the last one.
    """

    def __init__(self, stream: SampleStream, start: int, stop: int) -> None:
        self.stream, self.start, self.stop = stream, start, stop

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        if worker is not None:
            torch.set_num_threads(1)
        first, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return map(self.stream.batch, range(self.start + first, self.stop, stride))
