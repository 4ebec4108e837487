"""Suites as data, and what checkpoints come to by them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.vla.evaluation.closed_loop.conftest import policy, recorded
from vla import cli
from vla.evaluation.suites.run import REPORT, name_checkpoints
from vla.evaluation.suites.suite import Suite, load_suite

__all__ = ["policy", "recorded"]

ROOT = Path(__file__).parents[4]
GOOD = "name: own\nseen: [reach-v3]\nunseen: {push-v3: another}\n"


def test_the_packaged_suite_follows_the_protocol():
    suite = load_suite("metaworld17")
    assert len(suite.seen) == 12 and len(suite.unseen) == 5 and suite.trajectories == 10
    assert suite.groups["all"] == suite.tasks and len(set(suite.tasks)) == 17


def test_its_demonstrations_are_of_what_is_seen():
    makefile = (ROOT / "Makefile").read_text()
    (names,) = re.findall(r"^SUITE_TASKS := ((?:.*\\\n)*.*)$", makefile, flags=re.MULTILINE)
    assert names.replace("\\\n", " ").split() == list(load_suite("metaworld17").seen)


def test_a_part_of_a_suite_keeps_what_is_seen_and_what_not():
    part = load_suite("metaworld17").only(["window-close-v3", "reach-v3"])
    assert part.groups == {
        "seen": ("reach-v3",),
        "unseen": ("window-close-v3",),
        "all": ("reach-v3", "window-close-v3"),
    }
    with pytest.raises(ValueError, match=r"has no \['push-v3'\]"):
        load_suite("metaworld17").only(["push-v3"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("seen: [", "seen: [reach-v4, "), "no task 'reach-v4'. Perhaps: reach-v3"),
        (GOOD.replace("push-v3", "reach-v3"), "each once"),
        (GOOD.replace("push-v3", "hammer-v3"), r"no rubric for the progress of \['hammer-v3'\]"),
        (GOOD + "trajectories: 0\n", "trajectories start at 1"),
        (GOOD + "max_steps: 500\n", "max_steps is 1 to 499"),
        (GOOD + "cameras: [a]\n", r"others of .*: \['cameras', 'name', 'seen', 'unseen'\]"),
        (GOOD.replace("[reach-v3]", "reach-v3"), "seen is a list of tasks"),
        ("name: own\n", "must give name, seen"),
    ],
)
def test_a_wrong_suite_is_refused(tmp_path, text, says):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ValueError, match=says):
        load_suite(tmp_path / "own.yaml")
    with pytest.raises(ValueError, match="no suite 'metaworld18': give one of"):
        load_suite("metaworld18")


def test_a_suite_of_its_own_is_read(tmp_path):
    (tmp_path / "own.yaml").write_text(GOOD)
    assert load_suite(tmp_path / "own.yaml") == Suite("own", ("reach-v3",), {"push-v3": "another"})


def test_checkpoints_are_called_by_their_folders():
    names = [c.name for c in name_checkpoints(["runs/a/step-000100", "runs/a/step-000200"])]
    assert names == ["step-000100", "step-000200"]
    assert [c.steps for c in name_checkpoints(["a/step-000100", "b/policy"])] == [100, None]
    assert [c.name for c in name_checkpoints(["a/policy", "b/policy"])] == ["a-policy", "b-policy"]
    with pytest.raises(ValueError, match="names of their own"):
        name_checkpoints(["a/policy", "a/policy"])


def test_every_checkpoint_goes_through_the_same_starts_and_goes_on(policy, tmp_path, capsys):
    first = tmp_path / "step-000010"
    policy.save_pretrained(first)
    shutil.copytree(first, tmp_path / "step-000020")
    out = tmp_path / "out"
    words = ["suite", "--policies", first, tmp_path / "step-000020", "--out", out]
    words += ["--tasks", "reach-v3", "window-close-v3", "--max_steps", "12", "--workers", "1"]
    words += ["--steps", "2", "--execute_frames", "6", "--trajectories"]
    assert cli.main([*map(str, words), "1"]) == 0
    lines = (out / "step-000020" / "outcomes.jsonl").read_text()
    assert cli.main([*map(str, words), "2"]) == 0
    assert (out / "step-000020" / "outcomes.jsonl").read_text().startswith(lines)
    shown = capsys.readouterr().out
    assert "window-close (unseen)" in shown and "step-000020" in shown
    report = json.loads((out / REPORT).read_text())
    one, other = report["checkpoints"]
    assert [one["steps"], other["steps"]] == [10, 20]
    assert {key: row["count"] for key, row in one["averages"].items()} == {
        "seen": 2, "unseen": 2, "all": 4,
    }  # fmt: skip
    assert one["tasks"] == other["tasks"], "the same policy from the same starts"
    assert sum(one["tasks"]["reach-v3"]["stages"].values()) == 2
    assert 0 <= one["averages"]["all"]["progress"]["mean"] < 100
