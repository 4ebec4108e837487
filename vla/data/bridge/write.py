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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rvq_action import ActionTokenizer
from rvq_action.data.dataset import RobotDataset
from rvq_action.housekeeping.json_file import read_json, write_json
from vla.data.bridge.balance import answers_of, balance
from vla.data.bridge.frames import frame_file, write_frames
from vla.data.bridge.question import Question
from vla.data.bridge.rules import RULES
from vla.data.bridge.settings import BridgeSettings
from vla.data.bridge.track import read_tracks
from vla.data.cameras import find_cameras
from vla.data.splits import check_names, choose_split

DESCRIPTION = "bridge.json"
PARTS = ("train", "held_out")
logger = logging.getLogger(__name__)


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
    datasets = [RobotDataset.open(path, settings.mapping) for path in settings.data]
    check_names(datasets)
    for dataset in datasets:
        cameras = _cameras(dataset, settings.cameras)
        rng = np.random.default_rng(settings.seed)
        chosen = choose_questions(dataset, metadata, settings, rng)
        shown = [(part, q, str(rng.choice(cameras))) for part in PARTS for q in chosen[part]]
        rows_of = {part: [_row(dataset, q, c) for p, q, c in shown if p == part] for part in PARTS}
        for part in PARTS:
            rows[part] += rows_of[part]
            asked[part] += chosen[part]
        write_frames(dataset, [(q, camera) for _, q, camera in shown], folder, progress)
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
    tracks = read_tracks(dataset.episodes, split.train)
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


def _row(dataset: RobotDataset, question: Question, camera: str) -> dict[str, Any]:
    """A conversation as LLaVA writes it, and where it is from."""
    said = "<image>" * len(question.frames) + "\n" + question.text
    return {
        "image": [frame_file(dataset, question, camera, frame) for frame in question.frames],
        "conversations": [
            {"from": "human", "value": said},
            {"from": "gpt", "value": question.answer},
        ],
        "kind": question.kind,
        "dataset": dataset.name,
        "episode": question.episode,
    }
