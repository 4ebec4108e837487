"""Any token sequence decodes: finite, inside the training range, setting off from the anchor.

`make stress` runs the same on 100,000 random and 100,000 corrupted sequences a robot, on the real
recordings too where they are there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rvq_action import ActionTokenizer
from rvq_action.analytic import fit_closed_form
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.fast_interface.chunk_space import ChunkSpace
from tests.rvq_action.robots import arm_chunk, normalized, wall_chunk

pytest.importorskip("transformers")

from rvq_action.processing import RvqActionProcessor  # noqa: E402

FEW, MANY, BATCH = 400, 100_000, 2000
RECORDINGS = ("so101_pick_tape", "cr5_banana", "g1_bottle", "droid_franka")
HUGE = 10**12
stress = pytest.mark.stress


def random_sequences(vocab_size: int, total: int, count: int, rng: np.random.Generator) -> list:
    """Any length up to a few tokens too many; any ids, some outside the vocabulary."""
    lengths = rng.integers(0, total + 4, count)
    low, high = (-vocab_size, 2 * vocab_size) if rng.random() < 0.5 else (0, vocab_size)
    return [rng.integers(low, high, length).tolist() for length in lengths]


def corrupted(tokens: list[int], vocab_size: int, rng: np.random.Generator) -> list[int]:
    """An encoding with one to four accidents."""
    row = list(tokens)
    for kind in rng.integers(0, 7, rng.integers(1, 5)):
        at = int(rng.integers(0, len(row) + 1))
        fresh = int(rng.integers(0, vocab_size))
        if kind == 0:
            row[at : at + 1] = [fresh]
        elif kind == 1:
            row[at : at + 1] = []
        elif kind == 2:
            row[at:at] = [fresh]
        elif kind == 3:
            row[at : at + 1] = [int(rng.choice([-1, -HUGE, vocab_size, HUGE, 257_152]))]
        elif kind == 4:
            row = row[:at]
        elif kind == 5:
            row = row[at:] + row[:at]
        else:
            row += row[at:]
    return row


class Check:
    """Decodes sequences and counts what must not be."""

    def __init__(self, tokenizer: ActionTokenizer, name: str) -> None:
        self.known = tokenizer.embodiments[name]
        self.space = ChunkSpace(self.known)
        self.horizon = round(self.known.fps)
        self.processor = RvqActionProcessor(tokenizer, name, time_horizon=self.horizon)
        self.total = tokenizer.tokens_per_chunk
        self.decoded = self.failures = self.outside = self.jumps = self.flagged = 0

    def look(self, sequences: list[list[int]]) -> None:
        chunks = self.processor.decode(sequences)
        assert chunks.shape == (len(sequences), self.horizon, self.known.layout.width)
        motion = self.space.to_motion(torch.from_numpy(chunks))
        valid = self.known.valid
        self.decoded += len(chunks)
        self.failures += int((~np.isfinite(chunks)).any(axis=(1, 2)).sum())
        self.outside += int((~self.known.range.contains(motion) & valid).sum())
        self.jumps += int((~self.known.start.first.contains(motion[:, 0]) & valid).sum())
        self.flagged += int(self.processor.flags.repaired.sum())

    def counts(self) -> tuple[int, int, int]:
        return self.failures, self.outside, self.jumps


def run(tokenizer: ActionTokenizer, name: str, chunks: np.ndarray, count: int) -> None:
    """Decode so many random and so many corrupted sequences."""
    rng = np.random.default_rng(0)
    rand, bad = Check(tokenizer, name), Check(tokenizer, name)
    own, size = rand.processor(chunks), rand.processor.vocab_size
    for start in range(0, count, BATCH):
        part = min(BATCH, count - start)
        rand.look(random_sequences(size, rand.total, part, rng))
        rows = rng.integers(0, len(own), part)
        bad.look([corrupted(own[row], size, rng) for row in rows])
    for check in (rand, bad):
        print(f"{name}: {check.decoded} decoded, {check.flagged} flagged, {check.counts()} wrong")
        assert check.counts() == (0, 0, 0)
        assert check.decoded == count and 0.3 * count < check.flagged < count


ROBOTS = {"arm": arm_chunk, "wall": wall_chunk}


@pytest.mark.parametrize("kind", ["closed_form", "networked"])
@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=stress)])
def test_any_sequence_decodes(request, kind, name, count):
    tokenizer = request.getfixturevalue(kind)
    run(tokenizer, name, normalized(tokenizer, ROBOTS[name](256, seed=5)).numpy(), count)


@stress
@pytest.mark.parametrize("recording", RECORDINGS)
def test_any_sequence_decodes_on_real_robots(shared_data: Path, recording):
    from rvq_action.data.dataset import RobotDataset
    from rvq_action.data.windows import Windows, horizon_frames
    from rvq_action.embodiment import Embodiment
    from rvq_action.statistics import StatisticsBuilder

    data = RobotDataset.open(shared_data / recording)
    windows = Windows(data.episodes, horizon_frames(data.fps))
    builder = StatisticsBuilder(data.layout)
    for first in range(0, len(windows), BATCH):
        builder.update(windows.chunk(slice(first, first + BATCH)))
    known = {data.embodiment: Embodiment(data.layout, builder.build(), data.fps)}
    some = windows.chunk(np.linspace(0, len(windows) - 1, 4000).astype(int))
    tokenizer = fit_closed_form([some], known, ClosedFormRecipe(iterations=3, depth=0))
    run(tokenizer, data.embodiment, normalized(tokenizer, some)[::8].numpy(), MANY)
