"""`rvq-vla schedules` from end to end, in a simulator."""

from __future__ import annotations

import json
import shutil
from typing import get_args

import pytest

from rvq_action.housekeeping.json_file import read_json, write_json
from tests.vla.evaluation.closed_loop.conftest import policy, recorded  # noqa: F401
from vla.cli import main
from vla.deploy.playing.schedule_settings import Mode


@pytest.fixture(scope="module")
def folder(policy, tmp_path_factory):  # noqa: F811
    path = tmp_path_factory.mktemp("schedules") / "policy"
    policy.save_pretrained(path)
    return path


def words(folder, out, *more: str) -> list[str]:
    task = ["--tasks", "reach-v3", "--starts", "1", "--seconds", "1.2", "--steps", "2"]
    return ["schedules", "--policy", str(folder), *task, "--out", str(out), *more]


def test_every_mode_from_the_same_start_once(folder, tmp_path, capsys):
    latency = ["--latency_s", "0.1", "0.15"]
    assert main(words(folder, tmp_path, *latency)) == 0
    report = json.loads((tmp_path / "schedules.json").read_text())
    assert list(report["modes"]) == list(get_args(Mode))
    assert {row["seed"] for row in report["attempts"]} == {report["attempts"][0]["seed"]}
    missed = {mode: found["missed"] for mode, found in report["modes"].items()}
    assert missed["receding"] == pytest.approx(2 / 22, abs=0.02) and missed["real_time"] == 0.0
    delays = {mode: found["delay_periods"] for mode, found in report["modes"].items()}
    assert [delays[m] for m in ("asynchronous", "real_time")] == pytest.approx([2.0, 3.0])
    assert "A chunk takes 100 ms, a guided one 150 ms" in capsys.readouterr().out
    kept = tmp_path / "attempts" / "real_time" / "reach-v3-000.json"
    kept.write_text(kept.read_text().replace('"missed": 0', '"missed": 7'))
    assert main(words(folder, tmp_path, *latency)) == 0
    again = json.loads((tmp_path / "schedules.json").read_text())
    missed = {row["mode"]: row["missed"] for row in again["attempts"]}
    assert missed["real_time"] == 7, "an attempt was made twice"
    assert main(words(folder, tmp_path, "--latency_s", "0.1", "0.2")) == 1
    assert "holds attempts of something else (latency_s" in capsys.readouterr().err


@pytest.mark.parametrize(("committed_frames", "periods"), [(4, 2.0), (1, 2.0), (0, 3.0)])
def test_given_frames_cost_nothing_and_guidance_is_there_to_compare(
    folder, tmp_path, committed_frames, periods
):
    """Where the policy was trained for any; else its chunks are guided all the same."""
    trained = tmp_path / "policy"
    shutil.copytree(folder, trained)
    config = read_json(trained / "config.json")
    write_json(config | {"committed_frames": committed_frames}, trained / "config.json")
    told = ["--latency_s", "0.1", "0.15", "--fast", "--modes", "guided", "real_time"]
    assert main(words(trained, tmp_path / "out", *told)) == 0
    report = json.loads((tmp_path / "out" / "schedules.json").read_text())
    delays = [found["delay_periods"] for found in report["modes"].values()]
    assert list(report["modes"]) == ["guided", "real_time"]
    assert delays == pytest.approx([3.0, periods]) and report["trials"]["fast"]


def test_latency_is_measured_and_kept_where_it_is_not_given(folder, tmp_path):
    assert main(words(folder, tmp_path, "--modes", "asynchronous")) == 0
    first = json.loads((tmp_path / "schedules.json").read_text())["used_latency_s"]
    assert main(words(folder, tmp_path, "--modes", "asynchronous", "receding")) == 0
    again = json.loads((tmp_path / "schedules.json").read_text())["used_latency_s"]
    assert first == again and min(first) > 0
