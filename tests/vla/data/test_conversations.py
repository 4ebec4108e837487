"""Files of conversations, as other people write them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.vla.data.conftest import talk, write_picture
from vla.data.conversation_source import ConversationSource
from vla.data.conversations import read_conversations
from vla.sequence import UNLABELLED


def write(path, *rows):
    lines = path.suffix == ".jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows))
    return path


def messages(content, answer="a cube", **more):
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": content},
        {"role": "assistant", "content": answer},
    ]
    return {"messages": said, **more}


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_all_forms_say_the_same(tmp_path, suffix):
    write_picture(tmp_path / "a.png")
    parts = [{"type": "image", "image": "a.png"}, {"type": "text", "text": "What is it?"}]
    rows = [
        talk("a.png"),
        talk(None) | {"image": ["a.png"]},
        messages("<image>What is it?", images=["a.png"]),
        messages(parts),
        messages([{"type": "image"}, parts[1]], images=["a.png"]),
    ]
    found = read_conversations(write(tmp_path / f"talks{suffix}", *rows))
    assert [entry.images for entry in found] == [(tmp_path / "a.png",)] * 5
    assert {entry.turns for entry in found} == {(("What is it?", "a cube"),)}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (talk("lost.png"), "there is no picture .*lost.png"),
        (talk("a.png") | {"image": ["a.png", "a.png"]}, "1 <image> for 2 pictures"),
        (talk("a.png") | {"image": 3}, "must be a path or a list"),
        (talk("a.png", " "), "empty question or answer"),
        (talk("a.png") | {"images": ["a.png"]}, "both `image` and `images`"),
        ({"image": "a.png"}, "must have `conversations` or `messages`"),
        ({"conversations": talk(None)["conversations"][:1]}, "end with an answer"),
        ({"conversations": talk(None)["conversations"][::-1]}, "by turns"),
        ({"conversations": [{"from": "cat", "value": "meow"}]}, "'cat' says something"),
        ({"conversations": "hello"}, "must be a list of objects"),
        (messages([{"type": "video", "video": "a.mp4"}]), "neither text nor an image"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, row, message):
    write_picture(tmp_path / "a.png")
    with pytest.raises(ValueError, match=f"talks.jsonl, line 2.*{message}"):
        read_conversations(write(tmp_path / "talks.jsonl", talk("a.png"), row))


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        read_conversations(tmp_path / "talks.json")
    (tmp_path / "bad.jsonl").write_text('{"image"\n')
    with pytest.raises(ValueError, match=r"bad.jsonl, line 1 is no valid JSON"):
        read_conversations(tmp_path / "bad.jsonl")
    (tmp_path / "one.json").write_text("{}")
    with pytest.raises(ValueError, match="must hold a list"):
        read_conversations(tmp_path / "one.json")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="holds no conversation"):
        read_conversations(tmp_path / "empty.jsonl")


def test_any_turn_is_learnt_after_what_was_said_before(tmp_path, policy):
    more = [{"from": "human", "value": "And its colour?"}, {"from": "gpt", "value": "red"}]
    write_picture(tmp_path / "a.png")
    row = talk("a.png")
    row["conversations"] += more
    source = ConversationSource.open(write(tmp_path / "talks.json", row))
    read = policy.samples.prompter.read
    learnt, shown = set(), {}
    for seed in range(8):
        sample = source.sample(0, policy.samples, np.random.default_rng(seed))
        answer = read(sample.labels[sample.labels != UNLABELLED].tolist())
        learnt.add(answer)
        shown[answer] = read(sample.ids[sample.labels == UNLABELLED].tolist())
    assert learnt == {"a cube", "red"}
    assert "a cube" not in shown["a cube"]
    assert "What is it?" in shown["red"] and "a cube" in shown["red"]


def test_a_damaged_picture_is_named_with_its_line(tmp_path, policy):
    (tmp_path / "a.png").write_text("no picture")
    source = ConversationSource.open(write(tmp_path / "talks.jsonl", talk("a.png")))
    with pytest.raises(ValueError, match=r"talks.jsonl, line 1: .*a.png is no readable picture"):
        source.sample(0, policy.samples, np.random.default_rng(0))
