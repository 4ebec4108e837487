"""`rvq-vla bridge`: from recordings to questions on disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from rvq_action.data.split import split_episodes
from tests.synthetic import frame_of, write_v3
from vla import cli
from vla.data.bridge import frames
from vla.data.bridge.settings import BridgeSettings
from vla.data.bridge.write import PARTS, write_bridge
from vla.data.conversations import read_conversations

LENGTHS = (35, 34, 38, 36, 33, 37)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return write_v3(tmp_path_factory.mktemp("bridge") / "go_stop", LENGTHS)


@pytest.fixture(scope="module")
def bridge(recordings):
    out = recordings.with_name("out")
    assert cli.main(["bridge", "--data", str(recordings), "--out", str(out)]) == 0
    return out


def rows(bridge, part):
    return [json.loads(line) for line in (bridge / f"{part}.jsonl").read_text().splitlines()]


def test_training_reads_what_is_written(bridge):
    found = read_conversations(bridge / "train.jsonl")
    assert {entry.kind for entry in found} >= {"task", "progress"}
    counts = json.loads((bridge / "bridge.json").read_text())["answers"]
    for kind, answers in counts["train"].items():
        assert len(set(answers.values())) == 1 and len(answers) > 1
        assert sum(entry.kind == kind for entry in found) == sum(answers.values())


def test_held_out_episodes_are_held_out(bridge):
    split = split_episodes(len(LENGTHS))
    assert {row["episode"] for row in rows(bridge, "train")} == set(split.train)
    held_out = rows(bridge, "held_out")
    assert {row["episode"] for row in held_out} == set(split.held_out)
    shown = {part: {i for r in rows(bridge, part) for i in r["image"]} for part in PARTS}
    assert not shown["train"] & shown["held_out"]


def test_pictures_are_of_the_moment_that_is_asked_about(bridge):
    for row in rows(bridge, "train"):
        numbers = [int(name[:-4].split("-")[-1]) for name in row["image"]]
        for name, number in zip(row["image"], numbers, strict=True):
            assert frame_of(np.asarray(Image.open(bridge / name))) == number
        answer = row["conversations"][1]["value"]
        if row["kind"] == "progress":
            share = numbers[0] / (LENGTHS[row["episode"]] - 1)
            assert abs(share - int(answer.split()[0]) / 100) <= 0.0401
        if row["kind"] == "task":
            assert answer == ("go", "stop")[row["episode"] % 2]


def test_the_same_command_again_changes_nothing(bridge, recordings, capsys):
    before = {file: file.stat().st_mtime_ns for file in bridge.rglob("*")}
    words = ["bridge", "--data", str(recordings), "--out", str(bridge)]
    assert cli.main(words) == 0 and "Reusing" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in bridge.rglob("*")} == before
    assert cli.main([*words, "--seed", "1"]) == 1
    assert "made with other settings: seed" in capsys.readouterr().err


def test_questions_depend_on_the_seed_alone(recordings, bridge, tmp_path):
    settings = BridgeSettings((str(recordings),))
    write_bridge(settings, tmp_path / "again", progress=False)
    for part in PARTS:
        assert rows(tmp_path / "again", part) == rows(bridge, part)


def test_nothing_is_left_of_what_failed(recordings, tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(frames, "save_picture", fail)
    with pytest.raises(KeyboardInterrupt):
        write_bridge(BridgeSettings((str(recordings),)), tmp_path / "out", progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--data {recordings} --out {file}", "exists and holds no bridge samples"),
        ("--data {recordings} --out {free} --kinds taste", "kinds must be some of"),
        ("--data {recordings} --out {free} --cameras top", "no camera"),
        ("--data {nowhere} --out {free}", "There is no folder"),
        ("--data {recordings} --out {free} --per_answer 0", "per_answer starts at 1"),
        ("--data {recordings} --out {free} --kinds phase", "Nothing can be asked"),
        ("--data {recordings} {recordings} --out {free}", "share the folder names"),
    ],
)
def test_what_is_wrong_is_one_clear_line(recordings, words, message, tmp_path, capsys):
    (tmp_path / "file").mkdir()
    places = {name: tmp_path / name for name in ("nowhere", "file", "free")}
    words = words.format(recordings=recordings, **places)
    assert cli.main(["bridge", *words.split()]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "free").exists() and not (tmp_path / "free.writing").exists()
