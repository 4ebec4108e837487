"""A robot behind openpi's protocol; its program is a websocket client as openpi's is."""

from __future__ import annotations

import contextlib
import socket as sockets
import threading
import time
import urllib.request

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from rvq_action.data.mapping import Mapping
from rvq_action.data.resolve import packaged_mappings
from rvq_action.data.rows import RowMapping
from tests.vla.deploy.conftest import SIZE
from tests.vla.deploy.server.conftest import get, wait_until
from vla.deploy.policies.policy import PolicyDescription
from vla.deploy.policies.wire import pack, unpack
from vla.deploy.report import Ending
from vla.deploy.robots.protocol import RobotError
from vla.deploy.robots.remote import RemoteRobot
from vla.deploy.robots.remote_guest import RemoteKeys
from vla.deploy.run import run
from vla.deploy.safety.estop import EmergencyStop
from vla.deploy.server.access import Address
from vla.deploy.settings import DeploymentSettings, SafetySettings

PATIENCE_S = 30.0
NAMES = tuple(f"joint_{i}" for i in range(6))
KEYS = RemoteKeys("observation/state", {"front": "observation/image"})
CALM = SafetySettings(stale_observation_s=5.0, stop_after_s=0.2, watchdog_s=5.0)


def rows() -> RowMapping:
    known = Mapping.from_yaml(packaged_mappings()["so101"]).to_dict()
    for terms in (known["action"], known["proprio"]):
        terms["arm/position"]["take"] = list(NAMES[:5])
        terms["arm/gripper"]["take"] = [NAMES[5]]
    return RowMapping(Mapping.from_dict(known).with_columns(lambda feature: NAMES))


@pytest.fixture
def robot():
    """Listening on a port that is free."""
    made = RemoteRobot(rows(), 20.0, KEYS, {"front": SIZE}, Address(port=0), patience=PATIENCE_S)
    made._server.start()
    yield made
    made.disconnect()


def visit(robot: RemoteRobot, **headers):
    """As `openpi_client.WebsocketClientPolicy` connects."""
    place = f"ws://127.0.0.1:{robot.port}"
    more = {"compression": None, "max_size": None, "additional_headers": headers or None}
    return connect(place, **more)


def sight(number: int, state=(1.0, 2, 3, 4, 5, 60)) -> bytes:
    image = np.full((*SIZE, 3), number % 256, dtype=np.uint8)
    told = {"observation/state": np.array(state), "observation/image": image, "prompt": "wave"}
    return pack(told)


class Counting:
    """Asks for the shoulder to go on by one every chunk."""

    def __init__(self, layout) -> None:
        self.description = PolicyDescription("so101", layout, 20.0, 8, {"front": "front"})

    def reset(self):
        pass

    def act(self, request):
        chunk = np.tile(np.asarray(request.observation.proprio, dtype=np.float64), (8, 1))
        chunk[:, 0] += 1.0
        return chunk


def ask(robot: RemoteRobot, socket, message: bytes) -> None:
    """Have it kept, by a robot that is waited for as if a control loop drove it."""
    robot._guest.is_driven = True
    socket.send(message)
    wait_until(lambda: robot._guest.is_there)


def be_a_robot(robot: RemoteRobot, questions: int, answers: list) -> None:
    """Ask so often, do what is answered, and go once that has led to 2 or further."""
    with visit(robot) as socket:
        answers.append(unpack(socket.recv()))
        state = [1.0, 2, 3, 4, 5, 60]
        while len(answers) <= questions or state[0] < 2.0:
            socket.send(sight(len(answers), state))
            answer = socket.recv()
            answers.append(answer if isinstance(answer, str) else unpack(answer))
            if isinstance(answer, bytes):
                state = answers[-1]["actions"][0]


def test_a_run_drives_it_and_stops_when_it_has_gone(robot):
    answers: list = []
    program = threading.Thread(target=be_a_robot, args=(robot, 12, answers), daemon=True)
    program.start()
    settings = DeploymentSettings("wave", safety=CALM, keys=False)
    slow = {"ready": lambda: time.sleep(1.0)}
    report = run(robot, Counting(robot.description.layout), settings, **slow)
    program.join(PATIENCE_S)
    metadata, *told = answers
    assert metadata == {"embodiment": "so101", "rate": 20.0, "action_horizon": 1}
    assert len(told) >= 12 and all(t["actions"].shape == (1, 6) for t in told)
    assert all(t["actions"].dtype == np.float32 for t in told)
    shoulder = [t["actions"][0, 0] for t in told]
    assert shoulder[-1] >= 2.0 and (np.diff(shoulder) >= 0).all()
    np.testing.assert_allclose([t["actions"][0, 5] for t in told], 60.0, rtol=1e-5)
    assert report.ending is Ending.HELD_TOO_LONG and "The robot has gone" in report.detail


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("hello", "a text is no observation"),
        (b"\xc1", "not a message"),
        (pack([1]), "an observation is a map"),
        (pack({"prompt": "x"}), r"lacks \['observation/state', 'observation/image'\]"),
        (sight(0, (1.0, 2)), "have 6 numbers"),
        (sight(0, (np.nan, 2, 3, 4, 5, 60)), "nan"),
        (sight(0, ("a", "b", "c", "d", "e", "f")), "Refused"),
    ],
)
def test_what_is_no_observation_is_refused_in_words_and_nothing_breaks(robot, message, words):
    with visit(robot) as socket:
        socket.recv()
        socket.send(message)
        refusal = socket.recv()
        assert isinstance(refusal, str) and "Traceback" not in refusal
        import re

        assert re.search(words, refusal), refusal
        ask(robot, socket, sight(1))
        robot.send(np.array([1, 2, 3, 4, 5, 0.5]))
        np.testing.assert_allclose(unpack(socket.recv())["actions"], [[1, 2, 3, 4, 5, 50]])


def test_too_large_a_message_ends_that_connection_alone(robot):
    with visit(robot) as socket:
        socket.recv()
        socket.send(bytes((16 << 20) + 1))
        with pytest.raises(ConnectionClosed):
            socket.recv()
    with visit(robot) as socket:
        assert unpack(socket.recv())["action_horizon"] == 1


def test_one_robot_at_a_time(robot):
    with visit(robot) as first:
        first.recv()
        with visit(robot) as second, pytest.raises(ConnectionClosed, match="Another robot"):
            second.recv()


def test_a_crowd_that_says_nothing_costs_no_threads_and_keeps_no_robot_away(robot):
    with visit(robot) as socket:
        socket.recv()
        usual = threading.active_count()
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            silent = sockets.create_connection(("127.0.0.1", robot.port), PATIENCE_S)
            stack.enter_context(contextlib.closing(silent))
        with visit(robot) as socket:
            assert unpack(socket.recv(PATIENCE_S))["action_horizon"] == 1
            assert threading.active_count() <= usual


def test_a_stopped_robot_is_held_and_then_refused(robot):
    with visit(robot) as socket:
        socket.recv()
        ask(robot, socket, sight(0))
        robot.stop()
        np.testing.assert_allclose(unpack(socket.recv())["actions"], [[1, 2, 3, 4, 5, 60]])
        socket.send(sight(1))
        assert socket.recv() == "The run is over."


def driven(robot: RemoteRobot, socket) -> None:
    """Asks once and is told to go on; nothing is asked after that."""
    socket.recv()
    ask(robot, socket, sight(0))
    robot.send(np.array([9.0, 2, 3, 4, 5, 0.6]))
    assert unpack(socket.recv())["actions"][0, 0] == 9.0


def test_a_stop_reaches_a_robot_that_asks_later(robot):
    """Once; a command not fetched before the stop never does, nor one that comes after it."""
    with visit(robot) as socket:
        driven(robot, socket)
        robot.send(np.array([10.0, 2, 3, 4, 5, 0.6]))
        robot.stop()
        robot.send(np.array([11.0, 2, 3, 4, 5, 0.6]))
        socket.send(sight(1))
        np.testing.assert_allclose(unpack(socket.recv())["actions"], [[9, 2, 3, 4, 5, 60]])
        socket.send(sight(2))
        assert socket.recv() == "The run is over."


def test_a_robot_that_does_not_say_where_it_stands_gets_no_older_command(robot):
    with visit(robot) as socket:
        driven(robot, socket)
        robot.send(np.array([10.0, 2, 3, 4, 5, 0.6]))
        robot._guest.gone()
        robot.stop()
        socket.send(sight(1))
        assert socket.recv() == "The run is over."


@pytest.mark.parametrize("asks_before", [True, False])
def test_a_hold_is_fetched_before_the_connection_closes(asks_before):
    """Whether the robot asks between the hold and the end, or after the end has begun."""
    slow = RemoteRobot(rows(), 0.2, KEYS, {"front": SIZE}, Address(port=0))
    slow._server.start()
    with visit(slow) as socket:
        driven(slow, socket)
        slow.hold(np.array([7.0, 2, 3, 4, 5, 0.6]))
        end = threading.Thread(target=slow.disconnect)
        if asks_before:
            slow._guest.gone()
            ask(slow, socket, sight(1))
            end.start()
        else:
            end.start()
            wait_until(lambda: slow._server._refusal)
            socket.send(sight(1))
        assert unpack(socket.recv())["actions"][0, 0] == 7.0
        with pytest.raises(ConnectionClosed):
            socket.recv()
    end.join(PATIENCE_S)
    assert not end.is_alive()


def test_a_robot_that_does_not_ask_is_let_go_of(robot):
    with visit(robot) as socket:
        driven(robot, socket)
        robot.stop()
        robot.disconnect()
        with pytest.raises(ConnectionClosed):
            socket.recv()


def test_it_asks_for_a_key_where_it_has_one():
    guarded = Address("0.0.0.0", 0, "secret")
    robot = RemoteRobot(rows(), 20.0, KEYS, {"front": SIZE}, guarded)
    robot._server.start()
    try:
        for shown in ({}, {"Authorization": "Api-Key wrong"}):
            with pytest.raises(InvalidStatus, match="401"):
                visit(robot, **shown)
        with visit(robot, Authorization="Api-Key secret") as socket:
            assert unpack(socket.recv())["embodiment"] == "so101"
        with urllib.request.urlopen(f"http://127.0.0.1:{robot.port}/healthz") as answer:
            assert answer.status == 200
    finally:
        robot.disconnect()


def test_a_call_of_its_server_stops_the_run():
    stop = EmergencyStop()
    told = rows(), 20.0, KEYS, {"front": SIZE}, Address(port=0, key="secret")
    robot = RemoteRobot(*told, stop=stop)
    robot._server.start()
    try:
        assert get(robot.port, "/stop")[0] == 401 and not stop.pressed.is_set()
        shown = {"Authorization": "Api-Key secret"}
        assert get(robot.port, "/stop", **shown) == (200, "Stopped: a call of the server.\n")
        assert stop.pressed.is_set()
    finally:
        robot.disconnect()


def test_a_robot_that_does_not_come(caplog):
    """It is said where it is waited for, and in the end that nobody came."""
    robot = RemoteRobot(rows(), 20.0, KEYS, {"front": SIZE}, Address(port=0), patience=0.05)
    robot._server.start()
    place = f"ws://127.0.0.1:{robot.port}"
    with (
        caplog.at_level("INFO", "vla.deploy.robots.remote"),
        pytest.raises(RobotError, match=f"No robot has come by at {place} for 0.05 s"),
    ):
        robot.connect()
    (said,) = [r.message for r in caplog.records if r.name == "vla.deploy.robots.remote"]
    assert f"Waiting at {place}" in said and "'observation/state', 'observation/image'" in said
    assert "for 0.05 s at most, Ctrl-C ends it" in said


def test_a_robot_that_comes_with_nothing_that_can_be_taken_is_named():
    robot = RemoteRobot(rows(), 20.0, KEYS, {"front": SIZE}, Address(port=0), patience=0.5)
    robot._server.start()
    with visit(robot) as socket:
        socket.recv()
        socket.send(pack({"prompt": "x"}))
        socket.recv()
        with pytest.raises(RobotError, match=r"has come by at .* the observation lacks"):
            robot.connect()


def test_a_robot_that_has_come_is_announced(robot, caplog):
    with visit(robot) as socket, caplog.at_level("INFO", "vla.deploy.robots.remote"):
        socket.recv()
        socket.send(sight(0))
        robot.connect()
    assert caplog.records[-1].message == "The robot's program is there."
