"""A policy in another process: the same chunks, and a robot that is safe while it is away."""

from __future__ import annotations

import socket as sockets
import threading
import time
from itertools import pairwise

import numpy as np
import pytest

from tests.vla.conftest import observe, picture, start
from tests.vla.deploy.conftest import RATE, SIZE, FakeRobot
from tests.vla.deploy.server.conftest import LOCAL, PATIENCE_S, FakeServed, Gate, serving
from vla.deploy.playing.schedule_settings import ScheduleSettings
from vla.deploy.policies.policy import Committed, Request
from vla.deploy.policies.remote_connection import Patience, PolicyUnavailable
from vla.deploy.policies.remote_policy import RemotePolicy
from vla.deploy.policies.vla_policy import DeployedVLA
from vla.deploy.policies.wire import pack
from vla.deploy.report import Ending
from vla.deploy.robots.protocol import RobotObservation
from vla.deploy.run import run
from vla.deploy.server.access import Address
from vla.deploy.server.hosting import ServerThread
from vla.deploy.server.server import PolicyServer
from vla.deploy.settings import DeploymentSettings, SafetySettings

QUICK = Patience(connect_s=5.0, answer_s=5.0, pause_s=0.02, longest_pause_s=0.05)
CALM = SafetySettings(5.0, frozen_camera_s=60.0, stop_after_s=20.0, watchdog_s=5.0)


def request(number: int = 0, words: str = "wave", **more) -> Request:
    image = np.full((*SIZE, 3), 7, dtype=np.uint8)
    proprio = np.array([0.0, 1, 2, np.nan], dtype=np.float32)
    return Request(RobotObservation(0.0, proprio, {"front": image}), words, number, **more)


def test_it_tells_what_the_policy_wants_and_what_it_says():
    with serving(FakeServed()) as port, RemotePolicy(port=port, seed=5) as remote:
        assert remote.description == FakeServed().description
        remote.reset()
        for number, seed, told in ((0, None, 5), (4, 9, 9)):
            chunk = remote.act(request(number, seed=seed))
            np.testing.assert_array_equal(chunk, np.tile([number, told, 1, 7], (10, 1)))


@pytest.mark.parametrize("committed_frames", [0, 4])
def test_it_is_the_policy_itself_to_the_bit(tokenizer, committed_frames):
    """Pictures that have to be scaled, seeds, and frames it is guided towards or given."""
    policy = start(tokenizer, committed_frames=committed_frames)
    deployed = DeployedVLA(policy, "arm", {"front": "left"}, steps=2, seed=3)
    images = {"left": picture(0, 70, 90), "top": picture(1)}
    seen = RobotObservation(0.0, observe("arm").proprio.numpy(), images)
    direct = DeployedVLA(policy, "arm", {"front": "left", "wrist": "top"}, steps=2, seed=3)
    frames = np.random.default_rng(0).normal(size=(12, 4))
    requests = [
        Request(seen, "wave", 2),
        Request(seen, "wave", 2, seed=8),
        Request(seen, "wave", 3, Committed(frames, 4)),
    ]
    with serving(deployed) as port, RemotePolicy(port=port, cameras={"wrist": "top"}) as remote:
        assert remote.description.layout == direct.description.layout
        assert remote.description.cameras == {"left": "left", "wrist": "top"}
        for asked in requests:
            np.testing.assert_array_equal(remote.act(asked), direct.act(asked))


def test_servers_that_are_not_there_or_want_something_else():
    with sockets.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(PolicyUnavailable, match="cannot be reached.*rvq-vla serve"):
        RemotePolicy(port=port)
    with serving(FakeServed(), Address(port=0, key="secret")) as port:
        for key in (None, "wrong"):
            with pytest.raises(ValueError, match="refuses: Wrong key, or none"):
                RemotePolicy(port=port, key=key)
        with pytest.raises(ValueError, match=r"no camera \['top'\]; it names \['front'\]"):
            RemotePolicy(port=port, key="secret", cameras={"top": "front"})
        with RemotePolicy(f"ws://127.0.0.1:{port}", None, key="secret") as remote:
            assert "secret" not in repr(vars(remote)) + repr(vars(remote._connection))


def test_a_refusal_is_said_and_the_next_request_is_answered():
    with serving(FakeServed()) as port, RemotePolicy(port=port) as remote:
        with pytest.raises(PolicyUnavailable, match="answered: Refused .*'prompt' must be a text"):
            remote.act(request(words=" "))
        assert remote.act(request()).shape == (10, 4)


def test_an_answer_to_another_request_costs_one_chunk_and_not_all():
    """The connection on which it came is left, with all that may still come on it."""
    with serving(FakeServed()) as port, RemotePolicy(port=port) as remote:
        remote._connection.open().send(pack(remote._message(request(7))))
        with pytest.raises(PolicyUnavailable, match="answered request 7 instead of 1"):
            remote.act(request(1))
        assert remote.act(request(2))[0, 0] == 2


def test_a_server_that_hangs_is_given_up_and_found_again():
    gate = Gate()
    patience = Patience(answer_s=0.1, pause_s=0.01)
    with serving(FakeServed(gate)) as port, RemotePolicy(port=port, patience=patience) as remote:
        with pytest.raises(PolicyUnavailable, match=r"has not answered for 0\.1 s"):
            remote.act(request(words="wait"))
        gate.opened.set()
        assert until_answered(remote)[0, 0] == 1


def until_answered(remote: RemotePolicy) -> np.ndarray:
    """The first chunk after an outage."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            return remote.act(request(1))
        except PolicyUnavailable:
            time.sleep(0.02)
    raise AssertionError("it never came back")


def test_attempts_to_come_back_are_made_with_growing_pauses():
    with serving(FakeServed()) as port:
        remote = RemotePolicy(port=port, patience=Patience(pause_s=10.0, longest_pause_s=10.0))
    with pytest.raises(PolicyUnavailable, match="has gone"):
        remote.act(request())
    with pytest.raises(PolicyUnavailable, match="cannot be reached"):
        remote.act(request())
    with pytest.raises(PolicyUnavailable, match=r"is away; it is tried again in (9|10)\."):
        remote.act(request())
    with pytest.raises(PolicyUnavailable, match="is away"):
        remote.reset()


def test_another_policy_in_the_old_ones_place_is_refused():
    with serving(FakeServed()) as port:
        remote = RemotePolicy(port=port, patience=QUICK)
    place = Address(port=port)
    with serving(FakeServed(fingerprint="two"), place):
        for _ in range(2):
            time.sleep(0.1)
            with pytest.raises(PolicyUnavailable):
                remote.act(request())
        time.sleep(0.1)
        with pytest.raises(PolicyUnavailable, match=r"another policy: other \['weights'\]"):
            remote.reset()
    with serving(FakeServed(), place):
        assert until_answered(remote).shape == (10, 4)
    remote.close()
    remote.close()


def test_real_time_chunking_goes_through_it():
    """The frames that the robot goes on with arrive as the schedule has told them."""
    robot, served = FakeRobot(), FakeServed()
    schedule = ScheduleSettings("real_time", 4)
    settings = DeploymentSettings("wave", 1.5, schedule, CALM, keys=False)
    with serving(served) as port, RemotePolicy(port=port) as remote:
        report = run(robot, remote, settings)
    assert report.ending is Ending.TIME and report.chunks >= 3
    asked = list(pairwise(served.requests[1:]))
    told = [(before, now.committed) for before, now in asked if now.committed is not None]
    assert served.requests[1].committed is None and told
    for before, committed in told:
        assert committed.actions[0, 0] == before.number
        assert 1 <= committed.delay <= len(committed.actions) <= 6


class Restarts:
    """A server that goes when a robot has looked so often, and comes back later."""

    def __init__(self, robot: FakeRobot, gone_at: int, back_at: int) -> None:
        self.robot, self.gone_at, self.back_at = robot, gone_at, back_at
        self.served, self.thread = FakeServed(), ServerThread(PolicyServer(FakeServed(), LOCAL))
        self.port = self.thread.start()
        self.work: threading.Thread | None = None

    def __call__(self) -> bool:
        """Called once in every period."""
        if self.robot.looks == self.gone_at:
            self.work = threading.Thread(target=self.thread.close)
            self.work.start()
        if self.robot.looks == self.back_at:
            assert self.work is not None
            self.work.join(PATIENCE_S)
            self.thread = ServerThread(PolicyServer(FakeServed(), Address(port=self.port)))
            self.thread.start()
        return False


class Noting:
    """A policy, and the periods of a robot in which it had no chunk."""

    def __init__(self, policy: RemotePolicy, robot: FakeRobot) -> None:
        self.policy, self.robot, self.failed = policy, robot, []
        self.description, self.reset = policy.description, policy.reset

    def act(self, request: Request) -> np.ndarray:
        try:
            return self.policy.act(request)
        except PolicyUnavailable:
            self.failed.append(self.robot.looks)
            raise


def test_a_server_that_restarts_in_the_middle_of_a_run():
    """The robot is held within two periods of the failed request, and goes on afterwards."""
    robot = FakeRobot()
    restarts = Restarts(robot, gone_at=12, back_at=40)
    with RemotePolicy(port=restarts.port, patience=QUICK) as remote:
        policy = Noting(remote, robot)
        settings = DeploymentSettings("wave", seconds=80 / RATE, safety=CALM, keys=False)
        report = run(robot, policy, settings, is_done=restarts)
    restarts.thread.close()
    assert report.ending is Ending.TIME and report.held["unusable chunk"] >= 1
    failed = policy.failed[0]
    held = next(looks for looks, name, _ in robot.calls if name == "hold" and looks >= failed)
    moved = [looks for looks, name, _ in robot.calls if name == "send"]
    assert failed >= 12 and held <= failed + 2
    assert not [looks for looks in moved if held < looks < 40]
    assert [looks for looks in moved if looks > 41] and "stop" not in robot.names()


def test_a_server_that_does_not_come_back_stops_the_robot():
    robot = FakeRobot()
    restarts = Restarts(robot, gone_at=12, back_at=-1)
    safety = SafetySettings(stale_observation_s=5.0, stop_after_s=0.3, watchdog_s=5.0)
    with RemotePolicy(port=restarts.port, patience=QUICK) as remote:
        settings = DeploymentSettings("wave", seconds=20.0, safety=safety, keys=False)
        report = run(robot, remote, settings, is_done=restarts)
    assert report.ending is Ending.HELD_TOO_LONG and "PolicyUnavailable" in report.detail
    assert robot.names()[-2:] == ["stop", "disconnect"]
