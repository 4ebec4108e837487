"""`rvq-vla drive`: a policy from a folder or a server, a robot by a word, an exit status."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

from rvq_action.data.dataset import RobotDataset
from tests.vla.conftest import start
from tests.vla.deploy.conftest import drive
from vla.cli import main
from vla.deploy.drive.sources import PolicyChoice, open_policy
from vla.deploy.policies.vla_policy import DeployedVLA
from vla.deploy.report import Ending, RunReport
from vla.deploy.server.access import Address
from vla.deploy.server.hosting import ServerThread
from vla.deploy.server.server import PolicyServer
from vla.policy import VLAPolicy


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Of the arm that the policy knows, one of whose cameras it has."""
    folder = tmp_path_factory.mktemp("drive") / "run"
    dataset = drive(periods=12, record=folder)[0].dataset
    assert dataset is not None
    return dataset


@pytest.fixture(scope="module")
def folder(policy, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "policy"
    policy.save_pretrained(path)
    return path


def words(dataset: Path, policy: Path | str, *more: str) -> list[str]:
    robot = ["--robot", f"replay:{dataset}", "--simulated_clock", "--cameras", "wrist=front"]
    return ["drive", "--policy", str(policy), *robot, *more]


def sent(run: Path) -> np.ndarray:
    return RobotDataset.open(run / "dataset").episodes[0].actions


def test_a_policy_drives_it_and_the_report_tells(folder, dataset, tmp_path, capsys):
    told = ["--embodiment", "arm", "--steps", "2", "--record", str(tmp_path / "run")]
    assert main(words(dataset, folder, *told)) == 0
    shown = capsys.readouterr().out
    assert "instruction    wave" in shown and "schedule       real_time, at most 30 s" in shown
    assert "camera         front: 24 x 16" in shown and "the policy's 'front'" in shown
    assert "joint_0" in shown and "commands       12 sent" in shown
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert report["ending"] == "done" and settings["speed"] == 0.2
    assert np.isfinite(sent(tmp_path / "run")).all()


def test_a_server_elsewhere_drives_it_alike(policy, folder, dataset, tmp_path):
    near = ["--embodiment", "arm", "--steps", "2", "--record", str(tmp_path / "near")]
    assert main(words(dataset, folder, *near, "--full_speed")) == 0
    served = DeployedVLA(policy, "arm", steps=2)
    with ServerThread(PolicyServer(served, Address(port=0))) as port:
        far = ["--record", str(tmp_path / "far"), "--full_speed"]
        assert main(words(dataset, f"ws://127.0.0.1:{port}", *far)) == 0
    np.testing.assert_allclose(sent(tmp_path / "far"), sent(tmp_path / "near"), atol=1e-5)


def test_the_fast_path_drives_it_alike(folder, dataset, tmp_path, fast_calls):
    told = ["--embodiment", "arm", "--schedule", "receding"]
    for name, more in (("slow", []), ("fast", ["--fast"])):
        fast_calls.clear()
        assert main(words(dataset, folder, *told, "--record", str(tmp_path / name), *more)) == 0
        assert bool(fast_calls) == bool(more)
    np.testing.assert_allclose(sent(tmp_path / "fast"), sent(tmp_path / "slow"), atol=1e-5)


@pytest.mark.parametrize("more", [[], ["--guided"]])
def test_guidance_can_be_asked_for_where_frames_could_be_given(tokenizer, tmp_path, more):
    """By whoever drives it, and as much by whoever serves it."""
    start(tokenizer, committed_frames=6).save_pretrained(tmp_path / "policy")
    choice = PolicyChoice(str(tmp_path / "policy"), "arm", guided=bool(more))
    with contextlib.closing(open_policy(choice)) as opened:
        driven = opened.load()
    served = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vla.deploy.server.hosting.run_until_signal", lambda s, _: served.append(s))
        told = ["--policy", str(tmp_path / "policy"), "--embodiment", "arm", *more]
        assert main(["serve", *told]) == 0
    for policy in (driven, served[0].policy):
        assert policy.committed_frames == (0 if more else 6)


def test_what_does_not_fit_is_said_before_anything_moves(folder, dataset, capsys):
    arm = ["--embodiment", "arm"]
    for given, said in (
        (words(dataset, folder), "Say which robot"),
        (words(dataset, folder, "--embodiment", "wall"), "has no camera"),
        (words(dataset, "ws://127.0.0.1:9", *arm), "ws://127.0.0.1:9"),
        (words(dataset, "ws://127.0.0.1:9", "--steps", "3"), "said where it is served"),
        (words(dataset, "ws://127.0.0.1:9", "--fast"), "said where it is served"),
        (words(dataset, "ws://127.0.0.1:9", "--guided"), "said where it is served"),
    ):
        assert main(given) == 1
        assert said in capsys.readouterr().err


@pytest.fixture
def unloaded(monkeypatch) -> None:
    """Whoever reads the weights of a policy has gone too far."""

    def load(*given):
        raise AssertionError("the policy was loaded")

    monkeypatch.setattr(VLAPolicy, "from_pretrained", load)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--speed", "0"], "above 0 and up to 1: 0"),
        (["--speed", "3"], "above 0 and up to 1: 3"),
        (["--seconds", "0"], "seconds must be positive, got 0"),
        (["--steps", "0"], "start at 1, got 0"),
        (["--seed", "-1"], "seed starts at 0, got -1"),
        (["--chunk_s", "0"], "0 seconds at 20 Hz are 0 frames"),
        (["--execute_frames", "0"], "execute_frames starts at 1, got 0"),
        (["--execute_frames", "99"], "the policy's chunks have 20 frames"),
        (["--device", "abacus"], "There is no kind of device 'abacus'"),
        (["--schedule", "sometimes"], "mode is one of"),
        (["--instruction", " "], "The instruction is empty"),
        (["--embodiment", "koch"], "Unknown robot 'koch'"),
        (["--cameras", "top=front"], "has no camera ['top']"),
        (["--cameras", "front=top"], "but the robot has the cameras ['front']"),
        (["--robot", "metaworld:raech-v3"], "Perhaps: reach-v3"),
        (["--robot", "metaworld:reach-v3"], "Meta-World has no camera ['front']"),
        (["--robot", "replay:{dataset}#9999"], "has episodes 0..0, not 9999"),
        (["--robot", "nowhere.yaml"], "There is no robot file nowhere.yaml"),
        (["--record", "{dataset}"], "{dataset}: File exists; record into another folder"),
    ],
)
def test_what_can_be_known_is_refused_before_the_policy_is_loaded(
    folder, dataset, capsys, unloaded, more, said
):
    given = [word.format(dataset=dataset) for word in ["--embodiment", "arm", *more]]
    assert main(words(dataset, folder, *given)) == 1
    assert said.replace("{dataset}", str(dataset)) in capsys.readouterr().err


def test_what_fits_is_loaded(folder, dataset, unloaded):
    with pytest.raises(AssertionError, match="the policy was loaded"):
        main(words(dataset, folder, "--embodiment", "arm"))


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (Ending.DONE, 0),
        (Ending.TIME, 0),
        (Ending.HELD_TOO_LONG, 3),
        (Ending.OUT_OF_LIMITS, 3),
        (Ending.ROBOT_LOST, 3),
        (Ending.EMERGENCY_STOP, 4),
    ],
)
def test_the_exit_status_tells(folder, dataset, monkeypatch, capsys, ending, status):
    def ended(*parts, **more):
        counts = 1.5, 30, 3, 27, {"no frame": 2}, {"joint_0": 1}, 4, 1
        return RunReport(ending, "so it was", *counts, {}, {}, 1, problems=("the disk is full",))

    monkeypatch.setattr("vla.deploy.drive.go.run", ended)
    assert main(words(dataset, folder, "--embodiment", "arm")) == status
    told = capsys.readouterr().out
    assert f"{ending} (so it was), after 1.5 s" in told and "the disk is full" in told
    assert "3 of 30 missed (10.00%)" in told and "27 sent, clipped joint_0: 1" in told
