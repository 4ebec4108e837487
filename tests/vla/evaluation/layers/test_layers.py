"""Layer after layer: gates, what is kept, trials with a simulated robot, and the command."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rvq_action import ActionTokenizer
from vla import cli
from vla.deploy.policies.vla_policy import DeployedVLA
from vla.deploy.report import Reason
from vla.evaluation.layers import attempts, evaluate, sanity
from vla.evaluation.layers.gates import Check, Gates
from vla.evaluation.layers.settings import EvalSettings
from vla.evaluation.layers.subject import Subject

TRIAL = {
    "name": "arm-000", "ending": "time is up", "detail": "", "success": True, "periods": 100,
    "missed_deadlines": 1, "sent": 100, "chunks": 10, "refused_chunks": 0, "clipped": 5,
    "held": {}, "watchdog_trips": 0, "problems": [],
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
        ({"sent": 0, "clipped": 0}, ["every trial was moved by chunks"]),
        ({"chunks": 0}, ["every trial was moved by chunks"]),
        ({"held": {Reason.LATE: 60}}, ["periods held after the start"]),
        ({"held": {Reason.ROBOT: 6}}, ["periods held by a fault"]),
        ({"held": {Reason.LATE: 45, Reason.OBSERVATION: 5}}, []),
        ({"held": {Reason.STARTING: 90}, "missed_deadlines": 0}, []),
        ({"held": {Reason.STARTING: 90, Reason.LATE: 6}}, ["periods held after the start"]),
        ({"watchdog_trips": 1}, ["watchdog trips"]),
        ({"problems": ["The inference hangs."]}, ["nothing else went wrong"]),
    ],
)
def test_what_goes_wrong_on_a_robot_closes_the_gate(changed, wrong):
    checks = attempts.judge({"trials": [TRIAL | changed]}, Gates(), 0.5)
    assert [check.name for check in checks if not check.passed] == wrong
    assert all(changed.get("detail", "") in check.detail for check in checks if not check.passed)


def test_a_trial_does_not_hide_among_others():
    """What holds for each of them holds for the worst."""
    still = {"name": "arm-001", "sent": 0, "clipped": 0, "held": {Reason.LATE: 100}}
    checks = attempts.judge({"trials": [TRIAL] * 5 + [TRIAL | still]}, Gates(), 0.5)
    wrong = [check.name for check in checks if not check.passed]
    assert wrong == ["every trial was moved by chunks", "periods held after the start"]
    assert "arm-001" in next(check.detail for check in checks if not check.passed)


def test_the_time_of_a_trial_counts_from_its_first_command(sawyer_policy, tmp_path):
    """A policy whose chunk takes nearly as long as the trial moves the robot as long as any."""
    settings = EvalSettings(
        "p", robots=("metaworld:reach-v3",), trials=1, seconds=0.5, latency_s=0.4, steps=2
    )
    (trial,) = attempts.measure(Subject(sawyer_policy, settings), tmp_path / "f", 1.0)["trials"]
    assert trial["ending"] == "time is up" and trial["held"][Reason.STARTING] == 8
    assert trial["periods"] == 18


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
        ({"windows": 0}, "windows, trials and steps start at 1"),
        ({"steps": 0}, "windows, trials and steps start at 1"),
        ({"low_speed": 0.0}, "low_speed above 0 and at most 0.5"),
        ({"low_speed": 0.999}, "low_speed above 0 and at most 0.5"),
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


def test_chunks_are_played_as_drive_plays_them(sawyer_policy):
    """What is judged is what the robot will do: drive takes real_time wherever a policy can."""
    deployed = DeployedVLA(sawyer_policy, "metaworld_sawyer")
    assert deployed.description.real_time
    assert EvalSettings("p", "d").scheduling().mode == "real_time"


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


def test_a_robot_of_another_rate_is_looked_at_at_the_policys_own(subject, recordings):
    """As it would be driven."""
    settings = replace(
        subject.settings, data=None, robots=(f"replay:{recordings}#1",), instruction="go"
    )
    tokenizer = subject.policy.tokenizer
    known = replace(tokenizer.embodiments["test_arm"], fps=15.0)
    slower = ActionTokenizer(tokenizer.model, {"test_arm": known}, tokenizer.metadata)
    policy = replace(
        subject.policy,
        tokenizer=slower,
        samples=replace(subject.policy.samples, tokenizer=slower),
    )
    assert Subject(policy, settings).look().fps == 15.0


def test_trials_with_other_settings_are_neither_mixed_nor_lost(subject, recordings, tmp_path):
    robots = (f"replay:{recordings}#1",)
    told = replace(subject.settings, robots=robots, trials=1)
    first = attempts.measure(replace(subject, settings=told), tmp_path / "low_speed", 0.5)
    more = replace(subject, settings=replace(told, trials=2))
    assert attempts.measure(more, tmp_path / "low_speed", 0.5)["trials"][:1] == first["trials"]
    other = replace(subject, settings=replace(told, latency_s=0.1))
    with pytest.raises(ValueError, match=r"other settings \(latency_s: 0.0 -> 0.1\)"):
        attempts.measure(other, tmp_path / "low_speed", 0.5)


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


def test_a_trial_that_another_version_wrote_does_not_pass_for_one_of_this(
    subject, recordings, tmp_path
):
    robots = (f"replay:{recordings}#1",)
    told = replace(subject, settings=replace(subject.settings, robots=robots, trials=1))
    attempts.measure(told, tmp_path / "low_speed", 0.5)
    (file,) = (tmp_path / "low_speed").glob("*.json")
    row = json.loads(file.read_text())
    del row["format_version"]
    file.write_text(json.dumps(row))
    with pytest.raises(ValueError, match="is of another version"):
        attempts.measure(told, tmp_path / "low_speed", 0.5)


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
