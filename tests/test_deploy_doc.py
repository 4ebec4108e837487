"""docs/deploy.md: its commands are understood, its robot can be read, its rehearsal runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from rvq_action.data.resolve import load_mapping
from tests.vla.conftest import simulator  # noqa: F401
from tests.vla.evaluation.closed_loop.conftest import policy, recorded  # noqa: F401
from vla import cli
from vla.deploy.robots.config import parse_robot
from vla.deploy.robots.kinds import LeRobotConfig
from vla.deploy.safety.limit_table import LimitTable
from vla.deploy.settings import SafetySettings

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "deploy.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.DOTALL)


def commands() -> list[list[str]]:
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line]


def test_every_command_is_understood():
    names = set()
    for program, name, *words in commands():
        assert program == "rvq-vla"
        config = cli.COMMANDS[name][0]().parse_args(words)
        names.add(name)
        assert config is not None
    assert names == {"drive", "replay", "show", "serve"}


def test_a_misspelt_option_would_be_found(capsys):
    with pytest.raises(SystemExit):
        cli.COMMANDS["drive"][0]().parse_args(["--polcy", "x"])
    assert "--polcy" in capsys.readouterr().err


def test_its_robot_can_be_read_and_its_limits_fit():
    (text,) = blocks("yaml")
    robot = parse_robot(yaml.safe_load(text), Path("my_arm.yaml"))
    assert isinstance(robot, LeRobotConfig) and robot.is_real
    layout = load_mapping(str(robot.mapping)).layout
    assert LimitTable.build(robot.limits, layout).high.max() == 80


def test_files_and_times_that_it_names_are_right():
    for link in re.findall(r"\]\(([^)#]+)\)", GUIDE):
        assert (ROOT / "docs" / link).exists(), link
    safety = SafetySettings()
    assert (safety.stop_after_s, safety.stale_observation_s) == (2.0, 0.25)
    assert (safety.frozen_camera_s, safety.stale_chunk_s) == (0.5, 2.0)


def test_the_rehearsal_runs(policy, tmp_path, monkeypatch, capsys):  # noqa: F811
    """Its first commands as they stand, on a policy that has learned nothing."""
    monkeypatch.chdir(tmp_path)
    policy.save_pretrained(tmp_path / "runs" / "policy" / "run" / "policy")
    first, second = commands()[:2]
    short = ["--simulated_clock", "--seconds", "1", "--steps", "2"]
    assert cli.main([*first[1:], *short]) == 0
    assert "speed          0.2 of full speed" in capsys.readouterr().out
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    assert cli.main(second[1:]) == 0
    assert (tmp_path / "runs/first/run.mp4").exists() and (tmp_path / "runs/first/run.rrd").exists()


def test_a_recorded_demonstration_is_played_back(recorded, tmp_path, monkeypatch):  # noqa: F811
    """The fourth step, in simulation."""
    monkeypatch.chdir(tmp_path)
    words = ["replay", "--dataset", str(recorded), "--robot", "metaworld:reach-v3", "--full_speed"]
    assert cli.main([*words, "--simulated_clock", "--record", "runs/replayed"]) == 0
    assert (tmp_path / "runs/replayed/dataset").is_dir()
