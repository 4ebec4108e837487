"""rvq-analysis rollouts: what a suite and an evaluation left, drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.cli import main
from analysis.rollouts.films import evenly, strip
from analysis.rollouts.runs import EvalRun, SuiteRun, read_run
from analysis.rollouts.ways import WaysRun
from vla.deploy.recording.live_video import LiveVideo
from vla.evaluation.closed_loop.loop import Outcome
from vla.evaluation.closed_loop.results import by_task, summary, write_report
from vla.evaluation.closed_loop.starts import Start
from vla.evaluation.schedules.summary import summarize

CHECKS = [{"name": "finite values", "passed": True, "detail": "1, at least 1"}]


def film(path: Path, frames: int = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    video = LiveVideo(path, (16, 16), 10.0)
    for number in range(frames):
        video.add(np.full((16, 16, 3), 20 * number, np.uint8))
    video.close()
    return path


def outcomes(solved: int) -> list[Outcome]:
    """Four attempts each of two tasks."""
    return [
        Outcome(Start(task, n, n), "go", n < solved, 9, 100.0 if n < solved else 40.0, stage)
        for task, stages in (("reach-v3", ("solved", "move")), ("window-close-v3", ("approach",)))
        for n in range(4)
        for stage in [stages[0] if n < solved else stages[-1]]
    ]


@pytest.fixture
def suite(tmp_path) -> Path:
    """Two checkpoints, with a film of the last one."""
    rows = []
    for steps, solved in ((100, 0), (200, 3)):
        tasks = by_task(outcomes(solved))
        groups = {"seen": ["reach-v3"], "unseen": ["window-close-v3"], "all": list(tasks)}
        averages = {name: summary([tasks[t] for t in own]) for name, own in groups.items()}
        each = {task: summary([own]) for task, own in tasks.items()}
        rows.append({"name": f"step-{steps}", "steps": steps, "averages": averages, "tasks": each})
    told = {"name": "two", "trajectories": 4, "unseen": {"window-close-v3": "the <opposite>"}}
    folder = tmp_path / "outcomes"
    film(folder / "step-200" / "videos" / "reach-v3-000.mp4")
    (folder / "suite.json").write_text(json.dumps({"suite": told, "checkpoints": rows}))
    return folder


@pytest.fixture
def evaluation(tmp_path) -> Path:
    """All four layers."""
    group = {"unit": "rad", "policy": [0.1, 0.2], "holding": [0.3, 0.4], "mean_action": [0.2, 0.2]}
    trial = {
        "name": "arm-000", "ending": "time is up", "success": None, "progress": None, "stage": None,
        "seconds": 3.0, "missed_deadlines": 2, "clipped": 1, "videos": ["front.mp4"],
    }  # fmt: skip
    open_loop = {
        "dataset": "arms", "fps": 10.0, "horizon": 2, "windows": 5, "episodes": [1, 4],
        "groups": {"arm/joints": group}, "saturation": {"arm/joints": 0.1},
        "recorded_saturation": {"arm/joints": 0.2},
        "model_space": {"policy": 0.1, "holding": 0.4, "mean_action": 0.3},
    }  # fmt: skip
    figures = {
        "sanity": {"problem": "", "heeds": {"pictures": 0.25, "instruction": 0.0}},
        "open_loop": open_loop,
        "low_speed": {"speed": 0.25, "trials": [trial]},
    }
    layers = {n: {"figures": f, "checks": CHECKS, "passed": True} for n, f in figures.items()}
    layers["low_speed"] |= {"passed": False, "checks": [CHECKS[0] | {"passed": False}]}
    folder = tmp_path / "evaluated"
    film(folder / "low_speed" / "arm-000" / "videos" / "front.mp4")
    (folder / "eval.json").write_text(json.dumps({"layers": layers}))
    return folder


def way(mode: str, solved: int, jump: list[float]) -> list[dict]:
    """Four attempts, as `rvq-vla schedules` keeps them."""
    told = {"mode": mode, "task": "reach-v3", "periods": 50, "missed": 5, "overrun": 0}
    told |= {"jump": jump, "jump_by_group": {"hand": jump}, "inside": [0.05], "seconds": 2.5}
    told |= {"inference_ms": {"median": 90.0}, "delay_periods": {"median": 2.0}}
    return [told | {"number": n, "success": n < solved} for n in range(4)]


@pytest.fixture
def ways(tmp_path) -> Path:
    """Three ways to play chunks, of which one never has a seam."""
    modes = ("receding", 1, [0.4]), ("asynchronous", 3, [0.2]), ("real_time", 4, [])
    rows = [row for mode in modes for row in way(*mode)]
    report = {"trials": {}, "used_latency_s": [0.1, 0.15], "modes": summarize(rows)}
    folder = tmp_path / "ways"
    folder.mkdir()
    (folder / "schedules.json").write_text(json.dumps(report | {"attempts": rows}))
    return folder


def test_ways_to_play_chunks_are_read(ways):
    run = read_run(ways)
    assert isinstance(run, WaysRun) and run.tasks == ("reach-v3",)
    receding, plain, guided = run.ways
    assert (receding.solved, receding.starts, receding.missed.value) == (1, 4, 0.1)
    assert receding.jump is not None and receding.jump.value == pytest.approx(0.4)
    assert receding.ratio is not None and receding.ratio.value == pytest.approx(2.0)
    assert plain.ratio is not None and plain.ratio.value == 1.0
    assert guided.jump is None and guided.success.value == 1.0


def test_ways_to_play_chunks_are_drawn_with_their_table(ways, tmp_path):
    assert main(["rollouts", "--runs", str(ways), "--out", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "index.html").read_text()
    assert page.count("<svg") == 1 and "deadlines missed [%]" in page
    assert "a chunk takes 100 ms, a guided one 150 ms" in page
    line = next(row for row in page.split("<tr>") if row.startswith("<td>receding"))
    cells = [text.split("<")[0] for text in line.split("<td>")[1:]]
    assert cells == ["receding", "10.00", "0.400", "2.00", "0.050", "25", "2.50"]
    assert "1 of 4 solved" in line and "5 to 70" in line
    line = next(row for row in page.split("<tr>") if row.startswith("<td>real time"))
    assert "nan" not in line and line.count("<td></td>") == 2


def test_ways_in_real_time_have_no_latency_of_their_own(ways, tmp_path):
    data = json.loads((ways / "schedules.json").read_text()) | {"used_latency_s": None}
    (ways / "schedules.json").write_text(json.dumps(data))
    assert main(["rollouts", "--runs", str(ways), "--out", str(tmp_path / "page")]) == 0
    assert "In real time." in (tmp_path / "page" / "index.html").read_text()
    del data["modes"]["receding"]["missed"]
    (ways / "schedules.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="schedules.json is damaged"):
        read_run(ways)


def test_a_suite_is_read(suite):
    run = read_run(suite)
    assert isinstance(run, SuiteRun) and [c.steps for c in run.checkpoints] == [100, 200]
    last = run.checkpoints[-1]
    assert last.averages["all"].success.value == 0.75 and last.averages["all"].solved == 6
    assert last.tasks["reach-v3"].stages == {"solved": 3, "move": 1}
    assert last.tasks["reach-v3"].progress.value == 85.0
    assert [path.name for path in last.films["reach-v3"]] == ["reach-v3-000.mp4"]


def test_the_page_shows_suites_and_layers(suite, evaluation, tmp_path, capsys):
    out = tmp_path / "page"
    words = ["rollouts", "--runs", str(suite), str(evaluation), "--out", str(out)]
    assert main(words) == 0
    page = (out / "index.html").read_text()
    assert str(out / "index.html") in capsys.readouterr().out
    assert page.count("<svg") == 3 and "over checkpoints" in page and "stages" in page
    assert "unseen: the &lt;opposite&gt;" in page and "<opposite>" not in page
    assert "../outcomes/step-200/videos/reach-v3-000.mp4" in page
    assert "../evaluated/low_speed/arm-000/videos/front.mp4" in page
    assert "not reached" in page and "not judged" in page and ">not passed<" in page
    assert "Driven at low speed, 0.25 of full." in page
    assert "degrees" in page, "radians are shown as people read them"


def test_rollouts_of_one_policy_are_a_suite_without_a_curve(tmp_path):
    folder = tmp_path / "flow"
    folder.mkdir()
    write_report(folder, {}, outcomes(2))
    run = read_run(folder)
    assert isinstance(run, SuiteRun) and run.checkpoints[0].averages["all"].count == 8
    assert main(["rollouts", "--runs", str(folder), "--out", str(tmp_path / "page")]) == 0
    assert "over checkpoints" not in (tmp_path / "page" / "index.html").read_text()


def test_an_evaluation_that_stopped_early_is_drawn(evaluation, tmp_path):
    data = json.loads((evaluation / "eval.json").read_text())
    problem = {"figures": {"problem": "no such robot"}, "checks": CHECKS, "passed": False}
    (evaluation / "eval.json").write_text(json.dumps(data | {"layers": {"sanity": problem}}))
    assert isinstance(read_run(evaluation), EvalRun)
    assert main(["rollouts", "--runs", str(evaluation), "--out", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "index.html").read_text().count("not reached") == 3


def test_what_is_no_run_is_refused(suite, tmp_path, capsys):
    out = tmp_path / "page"
    assert main(["rollouts", "--runs", str(tmp_path / "gone"), "--out", str(out)]) == 1
    assert "holds none of" in capsys.readouterr().err and not out.exists()
    (suite / "suite.json").write_text('{"suite": {}, "checkpoints": [{}]}')
    assert main(["rollouts", "--runs", str(suite), "--out", str(out)]) == 1
    assert "suite.json is damaged" in capsys.readouterr().err


def test_a_strip_goes_from_the_first_picture_to_the_last(tmp_path):
    assert evenly(100) == [0, 20, 40, 59, 79, 99] and evenly(2) == [0, 1]
    found = strip(film(tmp_path / "a b.mp4"), tmp_path / "page", "arm <1>")
    assert found.count("<img") == 6 and "arm &lt;1&gt;" in found and "../a b.mp4" in found
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    assert strip(tmp_path / "broken.mp4", tmp_path, "") == ""
