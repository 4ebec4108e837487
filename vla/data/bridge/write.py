"""Bridge samples on disk: what `rvq-vla bridge` makes of recordings.

OUT/train.jsonl      conversations to train on (`vla.data.conversations` reads them)
OUT/held_out.jsonl   of held-out episodes, to measure on
OUT/images/          the frames they show
OUT/bridge.json      how it was made, and how often each answer is there
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from rvq_action import ActionTokenizer
from rvq_action.data.dataset import RobotDataset
from rvq_action.json_file import read_json, write_json
from vla.data.bridge.balance import answers_of, balance
from vla.data.bridge.question import Question
from vla.data.bridge.rules import RULES
from vla.data.bridge.track import read_tracks
from vla.data.cameras import find_cameras
from vla.data.splits import choose_split
from vla.images import Image

DESCRIPTION = "bridge.json"
PARTS = ("train", "held_out")
QUALITY = 92
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BridgeSettings:
    """What is asked about which recordings.

    Attributes:
        data: Folders of LeRobotDatasets.
        tokenizer: Folder of an action tokenizer, whose split is kept to; seed 0's where None.
        mapping: Of the datasets; each one's own where None.
        cameras: Those looked through; all where None.
        kinds: Kinds of questions, see `vla.data.bridge.rules`.
        per_answer: Most questions with one answer, per dataset, kind and part.
        seed: Of the choice.
    """

    data: tuple[str, ...]
    tokenizer: str | None = None
    mapping: str | None = None
    cameras: tuple[str, ...] | None = None
    kinds: tuple[str, ...] = tuple(RULES)
    per_answer: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in RULES]
        if unknown or not self.kinds:
            raise ValueError(f"kinds must be some of {list(RULES)}, got {list(self.kinds)}.")
        if not self.data or self.per_answer < 1 or self.seed < 0:
            raise ValueError("Name a dataset; per_answer starts at 1, seed at 0.")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as json gives it back."""
        return json.loads(json.dumps(asdict(self)))


@dataclass(frozen=True)
class BridgeReport:
    """What `write_bridge` did.

    Attributes:
        path: The folder.
        reused: It was there already, made with these settings.
        answers: Part -> kind -> answer -> how often.
    """

    path: Path
    reused: bool
    answers: dict[str, dict[str, dict[str, int]]]


def write_bridge(settings: BridgeSettings, out: str | Path, progress: bool = True) -> BridgeReport:
    """Write bridge samples, whole or not at all; what is there already is not made again.

    Args:
        settings: What to ask.
        out: A new folder.
        progress: Show a progress bar.

    Raises:
        FileExistsError: `out` exists and was not made with these settings.
        FileNotFoundError: A dataset is missing.
        ValueError: A dataset is damaged or has no camera, or nothing can be asked.
    """
    out = Path(out)
    if out.exists():
        return _reuse(out, settings)
    staging = out.with_name(out.name + ".writing")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        answers = _write(settings, staging, progress)
        description = {"settings": settings.to_dict(), "answers": answers}
        write_json(description, staging / DESCRIPTION)
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return BridgeReport(out, False, answers)


def _reuse(out: Path, settings: BridgeSettings) -> BridgeReport:
    file = out / DESCRIPTION
    if not file.is_file():
        raise FileExistsError(f"{out} exists and holds no bridge samples. Give another --out.")
    found, wanted = read_json(file), settings.to_dict()
    differs = [k for k, v in wanted.items() if found["settings"].get(k) != v]
    if differs:
        raise FileExistsError(
            f"{out} was made with other settings: {', '.join(differs)}. Give another --out, or "
            "delete it."
        )
    return BridgeReport(out, True, found["answers"])


def _write(
    settings: BridgeSettings, folder: Path, progress: bool
) -> dict[str, dict[str, dict[str, int]]]:
    """Everything but the description; returns the counts of answers."""
    known = settings.tokenizer
    metadata = {} if known is None else ActionTokenizer.from_pretrained(known).metadata
    rows: dict[str, list[dict]] = {part: [] for part in PARTS}
    asked: dict[str, list[Question]] = {part: [] for part in PARTS}
    for path in settings.data:
        dataset = RobotDataset.open(path, settings.mapping)
        cameras = _cameras(dataset, settings.cameras)
        rng = np.random.default_rng(settings.seed)
        chosen = choose_questions(dataset, metadata, settings, rng)
        shown = [(part, q, str(rng.choice(cameras))) for part in PARTS for q in chosen[part]]
        rows_of = {part: [_row(dataset, q, c) for p, q, c in shown if p == part] for part in PARTS}
        for part in PARTS:
            rows[part] += rows_of[part]
            asked[part] += chosen[part]
        _write_frames(dataset, [(q, camera) for _, q, camera in shown], folder, progress)
    if not rows["train"]:
        raise ValueError(
            f"Nothing can be asked of {list(settings.data)}: too few frames in which something "
            "moves. Record more, or other kinds of questions."
        )
    if not rows["held_out"]:
        logger.warning("Held-out episodes are too few or too short to ask about: nothing measures.")
    for part in PARTS:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[part])
        (folder / f"{part}.jsonl").write_text(lines, encoding="utf-8")
    return {part: answers_of(asked[part]) for part in PARTS}


def choose_questions(
    dataset: RobotDataset,
    metadata: dict[str, Any],
    settings: BridgeSettings,
    rng: np.random.Generator,
) -> dict[str, list[Question]]:
    """Part -> questions about its episodes; held-out ones have answers known from training.

    Args:
        dataset: The recordings.
        metadata: Of the tokenizer whose split is kept to; empty without one.
        settings: What to ask.
        rng: Where chance comes from.
    """
    split = choose_split(dataset, metadata)
    tracks = read_tracks(dataset.episodes)
    tasks = sorted({tracks[i].task for i in split.train} - {""})

    def possible(episodes: Sequence[int]) -> list[Question]:
        rules = [RULES[kind] for kind in settings.kinds]
        return [q for i in episodes for rule in rules for q in rule(tracks[i], tasks)]

    train = balance(possible(split.train), settings.per_answer, rng)
    known = frozenset((q.kind, q.answer) for q in train)
    held_out = balance(possible(split.held_out), settings.per_answer, rng, known)
    return {"train": train, "held_out": held_out}


def _cameras(dataset: RobotDataset, wanted: Sequence[str] | None) -> list[str]:
    cameras = list(find_cameras(dataset.reader, wanted))
    if not cameras:
        raise ValueError(f"{dataset.path} has no camera, so there is nothing to ask about.")
    return cameras


def _file(dataset: RobotDataset, question: Question, camera: str, frame: int) -> str:
    return f"images/{dataset.name}/{question.episode:06d}-{camera}-{frame:06d}.jpg"


def _row(dataset: RobotDataset, question: Question, camera: str) -> dict[str, Any]:
    """A conversation as LLaVA writes it, and where it is from."""
    said = "<image>" * len(question.frames) + "\n" + question.text
    return {
        "image": [_file(dataset, question, camera, frame) for frame in question.frames],
        "conversations": [
            {"from": "human", "value": said},
            {"from": "gpt", "value": question.answer},
        ],
        "kind": question.kind,
        "dataset": dataset.name,
        "episode": question.episode,
    }


def _write_frames(
    dataset: RobotDataset, shown: Sequence[tuple[Question, str]], folder: Path, progress: bool
) -> None:
    """Every frame that is shown, in one pass over the video of each episode and camera."""
    wanted: dict[tuple[int, str], set[int]] = defaultdict(set)
    files: dict[tuple[int, str, int], Path] = {}
    for question, camera in shown:
        wanted[question.episode, camera] |= set(question.frames)
        for frame in question.frames:
            name = _file(dataset, question, camera, frame)
            files[question.episode, camera, frame] = folder / name
    (folder / "images" / dataset.name).mkdir(parents=True, exist_ok=True)
    keys = find_cameras(dataset.reader)
    bar = tqdm(sorted(wanted.items()), f"{dataset.name} frames", unit="video", disable=not progress)
    for (episode, camera), numbers in bar:
        frames = sorted(numbers)
        times = dataset.reader.episode(episode)["timestamp"][frames]
        images = dataset.reader.stream_frames(episode, keys[camera], times)
        for frame, image in zip(frames, images, strict=True):
            _save(image, files[episode, camera, frame])


def _save(image: Image, file: Path) -> None:
    from PIL import Image as Pillow

    Pillow.fromarray(image).save(file, quality=QUALITY)
