"""VQA: right answers are counted, and held against the usual one."""

from __future__ import annotations

import json
import math

import pytest

from tests.vla.conftest import policy, start, tokenizer
from tests.vla.data.conftest import talk, write_picture
from vla.evaluation.vqa import measure_vqa, normalize_answer

__all__ = ["policy", "start", "tokenizer"]
ANSWERS = {"colour": ["red", "red", "blue"], "size": ["big", "small", "small", "small"]}


class Parrot:
    """Says one thing, whatever is asked."""

    def __init__(self, words: str) -> None:
        self.words = words

    def generate_text(self, images, question, max_tokens=128):
        assert len(images) == 1 and images[0].shape == (40, 60, 3) and question == "What is it?"
        return self.words


@pytest.fixture
def files(tmp_path):
    write_picture(tmp_path / "a.png")
    rows = [
        talk("a.png", answer, kind=kind, dataset="d", episode=number)
        for kind, answers in ANSWERS.items()
        for number, answer in enumerate(answers)
    ]
    paths = []
    for name in ("held_out.jsonl", "train.jsonl"):
        paths.append(tmp_path / name)
        paths[-1].write_text("\n".join(map(json.dumps, rows)))
    return paths


def test_right_answers_are_counted_by_kind(files):
    found = measure_vqa(Parrot(" Red."), *files)
    assert {kind: (a.count, a.accuracy) for kind, a in found.items()} == {
        "all": (7, 2 / 7),
        "colour": (3, 2 / 3),
        "size": (4, 0.0),
    }
    assert found["colour"].majority == 2 / 3 and found["size"].majority == 3 / 4
    assert found["all"].majority == 5 / 7
    assert found["colour"].low <= 2 / 3 <= found["colour"].high
    assert (found["size"].low, found["size"].high) == (0.0, 0.0)


def test_what_is_retained_is_a_share_of_before(files):
    before = measure_vqa(Parrot("red"), *files)
    after = measure_vqa(Parrot("blue"), *files, before=before)
    assert after["colour"].retained == 0.5 and math.isnan(after["size"].retained)
    assert math.isnan(before["colour"].retained)


def test_answers_about_one_recording_give_no_interval(files):
    rows = [json.loads(line) | {"episode": 0} for line in files[0].read_text().splitlines()]
    files[0].write_text("\n".join(map(json.dumps, rows)))
    assert math.isnan(measure_vqa(Parrot("red"), *files)["all"].low)


def test_a_limit_asks_as_much_of_every_kind(files):
    found = measure_vqa(Parrot("red"), *files, limit=2)
    assert {kind: a.count for kind, a in found.items()} == {"all": 4, "colour": 2, "size": 2}
    with pytest.raises(ValueError, match="at least 1"):
        measure_vqa(Parrot("red"), *files, limit=0)


def test_a_policy_can_be_measured(policy, files):
    assert measure_vqa(policy, *files, limit=1)["all"].count == 2


def test_letter_case_and_punctuation_do_not_matter():
    assert normalize_answer(" The  Gripper; closed. ") == normalize_answer("the gripper closed")
    assert normalize_answer("25 %") == "25" != normalize_answer("2")
