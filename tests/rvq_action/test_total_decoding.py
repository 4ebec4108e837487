"""Any token sequence decodes: finite, inside the training range, setting off from the anchor.

`make stress` runs the same on 100,000 sequences of each kind a robot, on the real recordings too
where they are there, and on the artefacts in `RVQ_ACTION_TOKENIZERS`, directories as a shell reads
them: `make stress TOKENIZERS="runs/a/tokenizer runs/b/tokenizer"`.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from rvq_action import ActionTokenizer
from rvq_action.analytic import fit_closed_form
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.embodiment import Embodiment
from rvq_action.fast_interface.chunk_space import ChunkSpace
from rvq_action.vocabulary import ActionVocabulary
from tests.rvq_action.robots import arm_chunk, normalized, wake_networks, wall_chunk

pytest.importorskip("transformers")

from rvq_action.processing import RvqActionProcessor  # noqa: E402

FEW, MANY, BATCH = 400, 100_000, 2000
RECORDINGS = ("so101_pick_tape", "cr5_banana", "g1_bottle", "droid_franka")
SPEAKING = (("so101_pick_tape", True), ("cr5_banana", True))
"""Recordings for a tokenizer whose networks, with random weights, have a say as well."""
TRAINED = shlex.split(os.environ.get("RVQ_ACTION_TOKENIZERS", ""))
HUGE = 10**12
stress = pytest.mark.stress


def random_sequences(vocab_size: int, total: int, count: int, rng: np.random.Generator) -> list:
    """Any length up to a few tokens too many; any ids, some outside the vocabulary."""
    lengths = rng.integers(0, total + 4, count)
    low, high = (-vocab_size, 2 * vocab_size) if rng.random() < 0.5 else (0, vocab_size)
    return [rng.integers(low, high, length).tolist() for length in lengths]


def whole_codes(vocabulary: ActionVocabulary, count: int, rng: np.random.Generator) -> list:
    """As long as a chunk, each id one of its own place: all codes are understood."""
    shape = (count, vocabulary.num_slots, vocabulary.num_levels)
    codes = torch.from_numpy(rng.integers(0, vocabulary.codebook_size, shape))
    return vocabulary.to_ids(codes).tolist()


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
    """Decodes sequences, to so many frames at some rate, and counts what must not be.

    Where a first frame may be is known at the training rate and above.
    """

    def __init__(self, tokenizer: ActionTokenizer, name: str, horizon: int, fps: float) -> None:
        self.known = tokenizer.embodiments[name]
        self.space = ChunkSpace(self.known)
        self.horizon, self.starts = horizon, fps >= self.known.fps
        self.processor = RvqActionProcessor(tokenizer, name, fps, horizon)
        self.decoded = self.failures = self.outside = self.jumps = self.flagged = 0

    def look(self, sequences: list[list[int]]) -> None:
        chunks = self.processor.decode(sequences)
        assert chunks.shape == (len(sequences), self.horizon, self.known.layout.width)
        motion = self.space.to_motion(torch.from_numpy(chunks))
        valid = self.known.valid
        self.decoded += len(chunks)
        self.failures += int((~np.isfinite(chunks)).any(axis=(1, 2)).sum())
        self.outside += int((~self.known.range.contains(motion) & valid).sum())
        if self.starts:
            self.jumps += int((~self.known.start.first.contains(motion[:, 0]) & valid).sum())
        self.flagged += int(self.processor.flags.repaired.sum())

    def counts(self) -> tuple[int, int, int]:
        return self.failures, self.outside, self.jumps


def run(
    tokenizer: ActionTokenizer, name: str, chunks: np.ndarray, count: int, fps: float | None = None
) -> None:
    """Decode so many random, so many whole and so many corrupted sequences.

    Args:
        tokenizer: Who decodes.
        name: Its robot.
        chunks: [N, T, D], whose encodings are corrupted; all chunks become as long.
        count: Sequences of each kind.
        fps: Frames per second; the robot's own where omitted.
    """
    horizon, rate = chunks.shape[1], fps or tokenizer.embodiments[name].fps
    rng, vocabulary = np.random.default_rng(0), tokenizer.vocabulary_of(name)
    kinds = ("random", "whole", "corrupted")
    checks = {kind: Check(tokenizer, name, horizon, rate) for kind in kinds}
    own, size = checks["corrupted"].processor(chunks), checks["random"].processor.vocab_size
    for start in range(0, count, BATCH):
        part = min(BATCH, count - start)
        checks["random"].look(random_sequences(size, vocabulary.tokens_per_chunk, part, rng))
        checks["whole"].look(whole_codes(vocabulary, part, rng))
        rows = rng.integers(0, len(own), part)
        checks["corrupted"].look([corrupted(own[row], size, rng) for row in rows])
    for kind, check in checks.items():
        found = f"{check.flagged} flagged, {check.counts()} wrong"
        print(f"{name}, {horizon} frames at {rate:g} Hz, {kind}: {check.decoded} decoded, {found}")
        assert check.counts() == (0, 0, 0) and check.decoded == count
        understood = kind == "whole"
        assert check.flagged == 0 if understood else 0.3 * count < check.flagged < count


def run_trained(path: str | Path, count: int) -> None:
    """The same with every robot of an artefact, at its own rate and at others.

    Nothing is recorded beside it: the encodings that are corrupted are of what random codes decode
    to.
    """
    tokenizer = ActionTokenizer.from_pretrained(path)
    print(f"\n{path}")
    for name, known in tokenizer.embodiments.items():
        whole = whole_codes(tokenizer.vocabulary_of(name), 500, np.random.default_rng(1))
        for horizon, fps in horizons_and_rates(tokenizer, known):
            chunks = RvqActionProcessor(tokenizer, name, fps, horizon).decode(whole)
            run(tokenizer, name, chunks, count, fps)


def horizons_and_rates(tokenizer: ActionTokenizer, known: Embodiment) -> list[tuple[int, float]]:
    """Frames and frames per second: as trained; longer at twice the rate; shorter at half of it."""
    seconds = tokenizer.seconds or 1.0
    pairs = ((seconds, known.fps), (1.5 * seconds, 2 * known.fps), (0.7 * seconds, known.fps / 2))
    return [(min(128, max(2, round(long * fps))), fps) for long, fps in pairs]


ROBOTS = {"arm": arm_chunk, "wall": wall_chunk}


@pytest.mark.parametrize("kind", ["closed_form", "networked"])
@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=stress)])
def test_any_sequence_decodes(request, kind, name, count):
    tokenizer = request.getfixturevalue(kind)
    run(tokenizer, name, normalized(tokenizer, ROBOTS[name](256, seed=5)).numpy(), count)


def test_any_sequence_decodes_by_an_artefact(networked, tmp_path, capsys):
    networked.save_pretrained(tmp_path / "tokenizer")
    run_trained(tmp_path / "tokenizer", FEW)
    said = capsys.readouterr().out
    for setting in ("arm, 20 frames at 20 Hz", "arm, 60 frames at 40 Hz", "arm, 7 frames at 10 Hz"):
        assert all(f"{setting}, {kind}: " in said for kind in ("random", "whole", "corrupted"))
    assert said.count("wall, ") == 9


@stress
@pytest.mark.parametrize("path", TRAINED)
def test_any_sequence_decodes_by_what_was_trained(path):
    run_trained(path, MANY)


@stress
@pytest.mark.parametrize(
    ("recording", "networks"), [*((name, False) for name in RECORDINGS), *SPEAKING]
)
def test_any_sequence_decodes_on_real_robots(shared_data: Path, recording, networks):
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
    recipe = ClosedFormRecipe(iterations=3, depth=2 if networks else 0, hidden=64)
    tokenizer = fit_closed_form([some], known, recipe)
    if networks:
        wake_networks(tokenizer)
        assert tokenizer.model.decoder.network.leave.weight.any()
    run(tokenizer, data.embodiment, normalized(tokenizer, some)[::8].numpy(), MANY)
