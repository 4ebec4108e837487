"""Runs side by side, with a stand-in for `rvq-train fit` that takes no time."""

from __future__ import annotations

import fcntl
import sys
import time

import pytest

from rvq_action.housekeeping import side_by_side
from rvq_action.housekeeping.side_by_side import BUSY, Places
from tokenizer_training.ablation import jobs
from tokenizer_training.ablation.jobs import Ended, train_all
from tokenizer_training.ablation.plan import Planned

FIT = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("--run_dir") + 1])
folder.mkdir(parents=True, exist_ok=True)
(folder / "began").write_text(" ".join([os.environ["OMP_NUM_THREADS"], *sys.argv]))
if "no_dct" in folder.name:
    print("Working.")
    sys.exit("rvq-train fit: it went wrong")
if "levels_1" in folder.name:
    os.kill(os.getpid(), signal.SIGKILL)
if "levels_8" in folder.name:
    time.sleep(60)
(folder / "COMPLETE").write_text("8 steps")
"""


@pytest.fixture(autouse=True)
def stand_in(tmp_path, monkeypatch):
    script = tmp_path / "fit.py"
    script.write_text(FIT)
    monkeypatch.setattr(jobs, "PROGRAM", (sys.executable, str(script)))
    monkeypatch.setattr(side_by_side, "POLL_SECONDS", 0.01)


def train(runs, count: int = 2) -> dict[str, Ended]:
    ended: dict[str, Ended] = {}
    planned = [Planned(run, {}, None) for run in runs]
    train_all(planned, Places(count, 1), lambda e: ended.update({e.planned.run.recipe.name: e}))
    return ended


def test_a_run_that_fails_does_not_stop_the_others(run_of):
    names = ["no_dct", "full", "levels_1", "plain_rvq", "levels_2"]
    ended = train([run_of(name) for name in names])
    problems = {name: end.problem for name, end in ended.items() if end.problem}
    assert problems == {
        "no_dct": "rvq-train fit: it went wrong",
        "levels_1": "killed by signal 9",
    }
    assert len(ended) == 5 and ended["full"].seconds is not None


def test_a_run_is_told_its_threads_and_to_draw_no_bar(run_of):
    run = run_of("full")
    train([run])
    said = (run.folder.path / "began").read_text()
    assert said.startswith("1 ") and "--trainer.enable_progress_bar false" in said
    assert "--resume never" not in said


def test_a_run_that_another_process_trains_is_left_alone(run_of):
    run = run_of("full")
    run.log.parent.mkdir(parents=True)
    with run.log.open("ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        ended = train([run, run_of("plain_rvq")])
    assert ended["full"].problem == BUSY and ended["plain_rvq"].problem is None
    assert not run.folder.path.exists()


def test_what_is_still_running_is_stopped_when_the_command_is(run_of):
    slow, quick = run_of("levels_8"), run_of("full")
    began = time.monotonic()

    def interrupted(ended):
        while not (slow.folder.path / "began").is_file():
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_all([Planned(r, {}, None) for r in (slow, quick)], Places(2, 1), interrupted)
    assert time.monotonic() - began < 30 and not slow.folder.is_complete
    with slow.log.open("ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_run_that_goes_on_has_no_wall_time(run_of):
    run = run_of("full")
    run.folder.path.mkdir(parents=True)
    run.folder.record.write_text("{}")
    assert train([run])["full"].seconds is None


def test_places_share_the_cores_and_take_devices_in_turn(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    places = Places.on_this_machine(None, runs=39)
    assert (places.jobs, places.threads, places.devices) == (8, 1, ("4", "6"))
    told = [places.environment(place)["CUDA_VISIBLE_DEVICES"] for place in range(3)]
    assert told == ["4", "6", "4"]
    assert Places.on_this_machine(3, runs=39).threads == 2
    assert Places.on_this_machine(None, runs=1).threads == 8
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert Places.on_this_machine(None, runs=39).jobs == 2


def test_without_a_gpu_nothing_is_said_of_devices(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    places = Places.on_this_machine(1, runs=1)
    assert places.devices == () and "CUDA_VISIBLE_DEVICES" not in places.environment(0)
