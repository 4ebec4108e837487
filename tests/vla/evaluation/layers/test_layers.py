"""Layer after layer: gates, what is kept, trials with a simulated robot, and the command."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.vla.deploy.conftest import FakePolicy, FakeRobot
from vla import cli
from vla.deploy.limits import ChannelLimits, Limits
from vla.evaluation.layers import attempts, evaluate, sanity
from vla.evaluation.layers.gates import Check, Gates
from vla.evaluation.layers.settings import EvalSettings
from vla.evaluation.layers.subject import Subject

TRIAL = {
    "name": "arm-000", "ending": "time is up", "detail": "", "success": True, "periods": 100,
    "missed_deadlines": 1, "sent": 100, "chunks": 10, "refused_chunks": 0, "clipped": 5,
}  # fmt: skip


@pytest.fixture
def saved(arm_policy, tmp_path):
    arm_policy.save_pretrained(tmp_path / "policy")
    return tmp_path / "policy"


def told(saved, recordings, *more: str) -> list[str]:
    words = ["eval", "--policy", saved, "--data", recordings, "--windows", "6", "--steps", "2"]
    return [str(word) for word in [*words, "--out", saved.parent / "out", *more]]


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({}, []),
        ({"ending": "robot lost", "detail": "the cable is out"}, ["every trial ended in peace"]),
        ({"missed_deadlines": 9}, ["missed deadlines"]),
        ({"refused_chunks": 3}, ["refused chunks"]),
        ({"clipped": 80}, ["commands changed by limits"]),
        ({"success": False}, ["solved"]),
        ({"success": None}, ["solved"]),
    ],
)
def test_what_goes_wrong_on_a_robot_closes_the_gate(changed, wrong):
    checks = attempts.judge({"trials": [TRIAL | changed]}, Gates(), 0.5)
    assert [check.name for check in checks if not check.passed] == wrong
    assert all(changed.get("detail", "") in check.detail for check in checks if not check.passed)


def test_at_low_speed_nothing_has_to_be_solved():
    checks = attempts.judge({"trials": [TRIAL | {"success": None}]}, Gates(), 0.0)
    assert all(check.passed for check in checks)


def test_a_figure_that_is_none_passes_no_gate():
    assert not Check.at_most("a", float("nan"), 1.0).passed
    assert not Check.at_least("a", float("nan"), 0.0).passed


def test_a_gate_that_is_not_passed_says_why_and_stops(saved, recordings, capsys):
    """An untrained policy answers, but not with what was done."""
    assert cli.main(told(saved, recordings)) == 1
    shown = capsys.readouterr().out
    assert "sanity: passed" in shown and "open_loop: NOT PASSED" in shown
    assert "of that of a robot that holds, less than 1" in shown
    assert "Stopped after open_loop: error in model space" in shown
    kept = json.loads((saved.parent / "out" / evaluate.REPORT).read_text())["layers"]
    assert kept["sanity"]["passed"] and not kept["open_loop"]["passed"]
    (saved.parent / "strict.yaml").write_text("unusual: 0\nsaturation: 0\n")
    strict = ("--gates", str(saved.parent / "strict.yaml"))
    assert cli.main(told(saved, recordings, *strict, "--gates.against_holding", "0")) == 1
    assert "less than 0" in capsys.readouterr().out
    assert cli.main(told(saved, recordings, "--through", "sanity")) == 0


def test_what_was_measured_is_kept_and_gates_are_held_anew(saved, recordings, capsys, monkeypatch):
    assert cli.main(told(saved, recordings, "--gates.unusual", "0", "--through", "open_loop")) == 1
    before = capsys.readouterr().out
    measured: list[str] = []
    measure = evaluate._measure

    def spy(subject, layer, out):
        measured.append(layer)
        return measure(subject, layer, out)

    monkeypatch.setattr(evaluate, "_measure", spy)
    assert cli.main(told(saved, recordings, "--through", "sanity")) == 0
    assert measured == [] and "sanity" in before
    assert cli.main(told(saved, recordings, "--seed", "1", "--through", "sanity")) == 0
    assert measured == ["sanity"]


def test_results_of_another_policy_are_not_gone_on_with(saved, recordings, capsys):
    assert cli.main(told(saved, recordings, "--through", "sanity")) == 0
    (saved / "README.md").write_text("another")
    assert cli.main(told(saved, recordings, "--through", "sanity")) == 1
    assert "is of another policy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"data": None}, "give a dataset"),
        ({"windows": 0}, "windows and trials start at 1"),
        ({"low_speed": 1.0}, "low_speed between 0 and 1"),
        ({"pathway": "words"}, "pathway is one of"),
        ({"schedule": "never"}, "mode is one of"),
    ],
)
def test_settings_that_cannot_be_are_refused(changed, says):
    with pytest.raises(ValueError, match=says):
        EvalSettings(**{"policy": "p", "data": "d", **changed})
    with pytest.raises(ValueError, match=r"gates.success is a share from 0 to 1, got 80"):
        Gates(success=80)
    with pytest.raises(ValueError, match="no layer 'third'"):
        evaluate.evaluate(EvalSettings("p", "d"), "out", through="third")


def test_a_simulated_robot_is_driven_slowly_and_recorded(sawyer_policy, tmp_path):
    """An attempt takes so much longer, its trials begin elsewhere, and none is repeated."""
    settings = EvalSettings(
        "p", robots=("metaworld:reach-v3",), trials=2, seconds=0.5, low_speed=0.5, steps=2
    )
    subject = Subject(sawyer_policy, settings)
    figures = attempts.measure(subject, tmp_path / "low_speed", 0.5)
    first, second = figures["trials"]
    assert first["periods"] == 20 and first["ending"] == "time is up" and not first["success"]
    assert 0 <= first["progress"] < 100 and first["stage"] == "move"
    assert first["progress"] != second["progress"], "from another start"
    folder = tmp_path / "low_speed" / first["name"]
    assert (folder / "videos" / first["videos"][0]).stat().st_size > 0
    assert (folder / "dataset" / "meta" / "info.json").is_file()
    (tmp_path / "low_speed" / f"{second['name']}.json").unlink()
    again = attempts.measure(replace(subject), tmp_path / "low_speed", 0.5)
    assert again == figures, "the same start again gives the same"


def test_a_recording_is_driven_to_its_end_but_solves_nothing(subject, recordings, tmp_path):
    robots = (f"replay:{recordings}#1",)
    settings = replace(subject.settings, robots=robots, trials=1)
    figures = attempts.measure(replace(subject, settings=settings), tmp_path / "low_speed", 0.5)
    (trial,) = figures["trials"]
    assert trial["ending"] == "done" and trial["periods"] == 24 and trial["success"] is None
    checks = attempts.judge(figures, Gates(), 0.5)
    assert [check.name for check in checks if not check.passed] == ["solved"]
    assert all(check.passed for check in attempts.judge(figures, Gates(), 0.0))


def test_a_robot_that_shows_itself_is_looked_at_without_a_dataset(sawyer_policy):
    subject = Subject(sawyer_policy, EvalSettings("p", robots=("metaworld:reach-v3",), steps=2))
    figures = sanity.measure(subject)
    assert figures["looks"] == 1 and figures["unusual_actions"] is None
    assert all(check.passed for check in sanity.judge(figures, Gates()))
    blind = replace(sawyer_policy.config, cameras={"metaworld_sawyer": ("nose",)})
    subject = replace(subject, policy=replace(sawyer_policy, config=blind))
    (check,) = sanity.judge(sanity.measure(subject), Gates())
    assert not check.passed and "nose" in check.detail


def test_trials_with_other_settings_are_neither_mixed_nor_lost(subject, recordings, tmp_path):
    robots = (f"replay:{recordings}#1",)
    told = replace(subject.settings, robots=robots, trials=1)
    first = attempts.measure(replace(subject, settings=told), tmp_path / "low_speed", 0.5)
    more = replace(subject, settings=replace(told, trials=2))
    assert attempts.measure(more, tmp_path / "low_speed", 0.5)["trials"][:1] == first["trials"]
    other = replace(subject, settings=replace(told, latency_s=0.1))
    with pytest.raises(ValueError, match=r"other settings \(latency_s: 0.0 -> 0.1\)"):
        attempts.measure(other, tmp_path / "low_speed", 0.5)


class RealConfig:
    """A stand-in for an arm that can break."""

    is_real, instruction = True, "wave"

    def __init__(self, robot: FakeRobot) -> None:
        self.robot = robot

    def build(self, defaults):
        return self.robot


@pytest.fixture
def real(subject, monkeypatch):
    """A subject in front of a robot of metal, and that robot."""
    robot = FakeRobot()
    monkeypatch.setattr(attempts, "read_robot", lambda word: RealConfig(robot))
    monkeypatch.setattr(attempts, "robot_digest", lambda word: word)
    monkeypatch.setattr(attempts, "DeployedVLA", lambda *args, **more: FakePolicy())
    seen = np.array([[-1.0] * 4, [1.0] * 4])
    monkeypatch.setattr(attempts, "seen_states", lambda tokenizer, embodiment: seen)
    settings = replace(subject.settings, robots=("arm",), trials=2, seconds=0.2, instruction="go")
    return replace(subject, settings=settings), robot


def test_nobody_beside_a_real_robot_means_that_it_does_not_move(real, tmp_path):
    subject, robot = real
    with pytest.raises(ValueError, match="arm moves for real: run this in a terminal"):
        attempts.measure(subject, tmp_path / "low_speed", 0.5)
    assert robot.calls == []


def test_a_real_robot_is_looked_over_before_every_trial(real, tmp_path, monkeypatch, capsys):
    """As `rvq-vla drive` does: one that stands where it may not, or without a yes, stays there."""
    subject, robot = real
    said = iter(["", "no", ""])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda words: next(said))
    with pytest.raises(ValueError, match="Not confirmed; nothing has moved"):
        attempts.measure(subject, tmp_path / "low_speed", 0.5)
    told = capsys.readouterr().out
    assert "seen in training" in told and "speed          0.5 of full speed" in told
    tight = Limits({"joint_0": ChannelLimits(-1, 1, 2.0, 8.0)})
    robot.description, robot.state[0] = replace(robot.description, limits=tight), 3.0
    with pytest.raises(ValueError, match="It must not move"):
        attempts.measure(subject, tmp_path / "low_speed", 0.5)
    assert set(robot.names()) == {"connect", "disconnect"}


def test_nobody_beside_a_real_robot_means_that_it_is_not_connected(real, monkeypatch, tmp_path):
    """Not even to be looked at; and that is no figure of the policy's."""
    subject, robot = real
    for module in ("sanity", "subject"):
        monkeypatch.setattr(
            f"vla.evaluation.layers.{module}.read_robot", lambda w: RealConfig(robot)
        )
    alone = replace(subject, settings=replace(subject.settings, data=None))
    with pytest.raises(ValueError, match="run this in a terminal"):
        sanity.measure(alone)
    assert robot.calls == []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda words: asked.append(words) or "")
    sanity.measure(alone)
    assert robot.names() == ["connect", "disconnect"] and "connected and looked at" in asked[0]


def test_without_a_dataset_nothing_real_moves(monkeypatch, tmp_path):
    monkeypatch.setattr(evaluate, "read_robot", lambda word: RealConfig(FakeRobot()))
    told = EvalSettings(tmp_path / "policy", robots=("arm",))
    with pytest.raises(ValueError, match="arm moves for real, and without a dataset"):
        evaluate.evaluate(told, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="There is no policy"):
        evaluate.evaluate(told, tmp_path / "out", through="sanity")


@pytest.mark.parametrize(
    ("robot", "words"),
    [
        ("metaworld:raech-v3", "Perhaps: reach-v3"),
        ("replay:{recordings}#9999", "has episodes 0.."),
        ("nowhere.yaml", "There is no robot file nowhere.yaml"),
    ],
)
def test_what_is_no_robot_is_refused_before_the_policy_is_looked_for(
    recordings, tmp_path, robot, words
):
    told = EvalSettings(tmp_path / "none", robots=(robot.format(recordings=recordings),))
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        evaluate.evaluate(told, tmp_path / "out")


def test_somebody_says_when_it_begins_and_whether_it_was_solved(real, tmp_path, monkeypatch):
    subject, robot = real
    said, asked = iter(["", "yes", "y", "", "yes", "perhaps", "n"]), []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda words: asked.append(words) or next(said))
    figures = attempts.measure(subject, tmp_path / "low_speed", 0.5)
    assert [row["success"] for row in figures["trials"]] == [True, False]
    assert "at 0.5 of full speed. Scene in order?" in asked[0] and len(asked) == 7
    assert "send" in robot.names() and not figures["cut_short"]


def test_after_a_trial_that_did_not_end_in_peace_somebody_has_to_look(real, tmp_path, monkeypatch):
    """It is the last one; given again the command repeats it, and keeps what went wrong."""
    subject, robot = real
    robot.lost_from, asked = 2, []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda words: asked.append(words) or "yes")
    told = replace(subject, settings=replace(subject.settings, seconds=1.3))
    figures = attempts.measure(told, tmp_path / "low_speed", 0.5)
    assert figures["cut_short"] and len(figures["trials"]) == 1 and len(asked) == 2
    assert not attempts.judge(figures, Gates(), 0.0)[0].passed
    (aborted,) = figures["trials"]
    folder = tmp_path / "low_speed" / aborted["name"]
    assert folder.name == "arm-000-aborted-1" and (folder / "steps.jsonl").stat().st_size
    robot.lost_from = None
    answers = iter(["", "yes", "y"])
    monkeypatch.setattr("builtins.input", lambda words: next(answers))
    once = replace(told, settings=replace(told.settings, trials=1))
    again = attempts.measure(once, tmp_path / "low_speed", 0.5)
    names = [row["name"] for row in again["trials"]]
    assert names == [folder.name, "arm-000"] and not again["cut_short"]
    assert (folder / "steps.jsonl").stat().st_size, "the evidence is still there"
    check, *_ = attempts.judge(again, Gates(), 0.0)
    assert not check.passed and "arm-000-aborted-1: held too long" in check.detail


def test_a_recording_that_nobody_wrote_a_result_of_is_kept_and_counted(real, tmp_path, monkeypatch):
    """That of a command that was killed; nothing at all is kept of one that did not move."""
    subject, _ = real
    left = [tmp_path / "low_speed" / f"arm-00{number}" for number in range(2)]
    for folder, lines in zip(left, ("{}\n", ""), strict=True):
        folder.mkdir(parents=True)
        (folder / "steps.jsonl").write_text(lines)
    answers = iter(["", "yes", "y"] * 2)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda words: next(answers))
    figures = attempts.measure(subject, tmp_path / "low_speed", 0.5)
    names = [row["name"] for row in figures["trials"]]
    assert names == ["arm-000-aborted-1", "arm-000", "arm-001"]
    assert (tmp_path / "low_speed" / names[0] / "steps.jsonl").read_text() == "{}\n"
    assert "interrupted" in attempts.judge(figures, Gates(), 0.0)[0].detail


def test_trials_of_another_policy_or_another_robot_do_not_pass_for_those_of_this_one(
    subject, recordings, tmp_path
):
    arm, out = tmp_path / "arm.yaml", tmp_path / "low_speed"
    (tmp_path / "limits.yaml").write_text("channels: {}\n")
    data = f"kind: replay\nreplay: {{dataset: {recordings}, episode: 1}}\nlimits: limits.yaml\n"
    arm.write_text(data)
    settings = replace(subject.settings, robots=(str(arm),), trials=1)
    first = replace(subject, settings=settings, claim="one")
    figures = attempts.measure(first, out, 0.5)
    assert attempts.measure(first, out, 0.5) == figures
    with pytest.raises(ValueError, match=r"other settings \(policy: 'one' -> 'two'\)"):
        attempts.measure(replace(first, claim="two"), out, 0.5)
    before = evaluate._decides(settings, "low_speed")
    (tmp_path / "limits.yaml").write_text("channels: {left_gripper: {low: 0}}\n")
    with pytest.raises(ValueError, match=r"other settings \(robot: "):
        attempts.measure(first, out, 0.5)
    assert evaluate._decides(settings, "low_speed") != before
