"""`rvq-vla serve`: its options, what it prints, and how it ends."""

from __future__ import annotations

import signal

import pytest

from tests.rvq_action.robots import ARM
from tests.vla.deploy.server.conftest import SIDE, get, visit
from tests.vla.deploy.server.server_process import ServerProcess
from vla.cli import main
from vla.deploy.policies.policy import PolicyDescription
from vla.deploy.server.access import Address
from vla.deploy.server.command import read_key, read_pairs, told
from vla.deploy.server.declaration import Declaration
from vla.deploy.server.served import first_request


def test_the_key_is_in_a_file_or_in_a_variable(tmp_path):
    file, environment = tmp_path / "key", {"RVQ_ACTION_API_KEY": "from-outside"}
    file.write_text("from-file\n")
    assert read_key(str(file), environment) == "from-file"
    assert read_key(None, environment) == "from-outside" and read_key(None, {}) is None
    file.write_text(" \n")
    with pytest.raises(ValueError, match="is empty. Write the key"):
        read_key(str(file), environment)


def test_cameras_are_pairs():
    assert read_pairs(["front=observation/image", "wrist=hand"]) == {
        "front": "observation/image",
        "wrist": "hand",
    }
    for wrong in (["front"], ["front="], ["=hand"], ["front=a", "front=b"]):
        with pytest.raises(ValueError, match="takes POLICY=WIRE, once for each camera"):
            read_pairs(wrong)


def test_it_says_where_it_is_what_it_wants_and_how_to_connect():
    about = PolicyDescription("arm", ARM, 20.0, 10, {"front": "observation/image"})
    declared = Declaration(about, SIDE, (), "one")
    lines = "\n".join(told(declared, Address("::", key="k3y"), 8123))
    for part in (
        "ws://[::]:8123, with a key",
        "arm, 10 frames at 20 Hz",
        "observation/state: joint_0 [rad], joint_1 [rad], joint_2 [rad], gripper [gripper]",
        "pictures  observation/image\n",
        "WebsocketClientPolicy('[::]', 8123, api_key=KEY)",
        "RemotePolicy('[::]', 8123, key=KEY)",
    ):
        assert part in lines, lines
    assert "k3y" not in lines and "without a key" in told(declared, Address(), 1)[0]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--host", "0.0.0.0"], "Whoever reaches 0.0.0.0 could speak here"),
        (["--api_key_file", "nowhere/key"], "nowhere/key: No such file"),
        (["--cameras", "front"], "--cameras takes POLICY=WIRE"),
        (["--max_batch", "0"], "max_batch starts at 1, got 0"),
        (["--max_wait_ms", "5000"], "max_wait_s is 0 to 1 second"),
        (["--max_bytes", "1"], "max_bytes starts at 1024"),
        ([], "nothing"),
    ],
)
def test_what_cannot_be_served_is_one_line(words, line, capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("RVQ_ACTION_API_KEY", raising=False)
    assert main(["serve", "--policy", str(tmp_path / "nothing"), *words]) == 1
    said = capsys.readouterr().err
    assert line in said and said.count("\n") == 1 and said.startswith("rvq-vla serve: ")


@pytest.mark.parametrize("more", [[], ["--fast"]])
def test_what_is_served_takes_the_fast_path_where_it_is_told_to(
    policy, tmp_path, monkeypatch, fast_calls, more
):
    policy.save_pretrained(tmp_path / "policy")

    def answer_once(server, listening):
        server.policy.act_many([first_request(server.policy)])

    monkeypatch.setattr("vla.deploy.server.hosting.run_until_signal", answer_once)
    words = ["--policy", str(tmp_path / "policy"), "--embodiment", "arm", "--steps", "1"]
    assert main(["serve", *words, *more]) == 0
    assert bool(fast_calls) == bool(more)


def test_it_serves_and_ends_in_peace(policy, tmp_path):
    """SIGTERM: what is connected is told 1001, the exit status is 0."""
    from websockets.exceptions import ConnectionClosed

    policy.save_pretrained(tmp_path / "policy")
    words = "--policy", str(tmp_path / "policy"), "--embodiment", "arm", "--steps", "1"
    cameras = "--cameras", "front=left"
    with ServerProcess(*words, *cameras, RVQ_ACTION_API_KEY="k3y") as process:
        assert get(process.port, "/healthz") == (200, "OK\n")
        assert get(process.port, "/metrics")[0] == 401
        with visit(process.port, Authorization="Api-Key k3y") as client:
            assert process.end(signal.SIGTERM) == 0
            with pytest.raises(ConnectionClosed) as error:
                client.recv(5)
            assert error.value.rcvd.code == 1001
        assert "observation/images/left, observation/images/wrist" in process.said
        assert "Closed." in process.said and "k3y" not in process.said
        assert "Traceback" not in process.said
