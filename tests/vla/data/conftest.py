"""A policy for tiny recordings on disk, and talk about pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rvq_action import ActionTokenizer
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.split import split_episodes
from rvq_action.data.windows import Windows
from tests.rvq_action.robots import fit
from tests.synthetic import write_v3
from vla.config import VLAConfig
from vla.data.augment import ImageAugmentation, ProprioNoise
from vla.policy import VLAPolicy

STILL = {
    "augmentation": ImageAugmentation(1.0, 0.0, 0.0, 0.0),
    "proprio": ProprioNoise(0.0, 0.0),
}
"""Settings that change nothing."""


def write_picture(path: Path, brightness: int = 100) -> Path:
    from PIL import Image

    Image.fromarray(np.full((40, 60, 3), brightness, np.uint8)).save(path)
    return path


def talk(image: str | None, answer: str = "a cube", **more) -> dict:
    """A conversation as LLaVA writes it."""
    shown = {} if image is None else {"image": image}
    mark = "" if image is None else "<image>\n"
    said = [{"from": "human", "value": f"{mark}What is it?"}, {"from": "gpt", "value": answer}]
    return {**shown, "conversations": said, **more}


def write_talks(path: Path, count: int = 7) -> Path:
    write_picture(path.with_name("one.png"))
    rows = [talk("one.png" if n % 2 else None, f"answer {n}") for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def add_steps(path: Path, boundary: int = 10) -> None:
    """Give every frame of a v3.0 dataset a step: `reach` before a frame, then `pull`."""
    names = pa.table({"subtask_index": [0, 1], "subtask": ["reach", "pull"]})
    pq.write_table(names, path / "meta/subtasks.parquet")
    info = json.loads((path / "meta/info.json").read_text())
    info["features"]["subtask_index"] = {"dtype": "int64", "shape": [1], "names": None}
    (path / "meta/info.json").write_text(json.dumps(info))
    for file in (path / "data").rglob("*.parquet"):
        table = pq.read_table(file)
        late = np.asarray(table["frame_index"]) >= boundary
        pq.write_table(table.append_column("subtask_index", pa.array(late.astype(np.int64))), file)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory) -> Path:
    """Six short episodes of two tasks, one camera."""
    lengths = (30, 24, 35, 28, 26, 31)
    path = write_v3(tmp_path_factory.mktemp("vla_data") / "go_stop", lengths)
    add_steps(path)
    return path


@pytest.fixture(scope="session")
def talks(tmp_path_factory) -> Path:
    return write_talks(tmp_path_factory.mktemp("talks") / "talks.jsonl")


@pytest.fixture(scope="session")
def tokenizer(recordings) -> ActionTokenizer:
    """One that held out other episodes than the default split would."""
    dataset = RobotDataset.open(recordings)
    windows = Windows(dataset.episodes, 10)
    chunk = windows.chunk(slice(None))
    fitted = fit({dataset.embodiment: (dataset.layout, chunk)})
    split = {**split_episodes(6, seed=5).to_dict(), "validation": []}
    return ActionTokenizer(fitted.model, fitted.embodiments, {"split": {"go_stop": split}})


@pytest.fixture(scope="session")
def policy(tokenizer) -> VLAPolicy:
    torch.manual_seed(0)
    cameras = dict.fromkeys(tokenizer.embodiments, ("front",))
    return VLAPolicy.start(VLAConfig.tiny().for_tokenizer(tokenizer, cameras), tokenizer)
