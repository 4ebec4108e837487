"""Strangers at the door of a program that drives a robot, and what is left of it for its owner."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket as sockets
import threading
import time

import pytest

from tests.vla.deploy.server.conftest import PATIENCE_S, get, wait_until
from vla.deploy.safety.estop import EmergencyStop
from vla.deploy.server import listener, stop_call
from vla.deploy.server.access import Address
from vla.deploy.server.lobby import Lobby
from vla.deploy.server.stop_call import by_call

KEY = "correct-horse"
SHOWN = {"Authorization": f"Api-Key {KEY}"}
GUARDED = Address(port=0, key=KEY)
CALL = f"GET /stop HTTP/1.1\r\nHost: x\r\nAuthorization: Api-Key {KEY}\r\n\r\n".encode()


@contextlib.contextmanager
def crowd(port: int, many: int):
    """Connections that say nothing."""
    with contextlib.ExitStack() as stack:
        place = "127.0.0.1", port
        yield [
            stack.enter_context(contextlib.closing(sockets.create_connection(place, PATIENCE_S)))
            for _ in range(many)
        ]


def has_gone(connection: sockets.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_a_crowd_without_a_key_costs_no_threads_and_keeps_nobody_from_stopping(monkeypatch, caplog):
    monkeypatch.setattr(listener, "OPEN_S", 60.0)
    stop = EmergencyStop()
    with by_call(stop, GUARDED) as port:
        before = threading.active_count()
        with crowd(port, 40) as silent:
            silent[0].close()
            wait_until(lambda: sum(map(has_gone, silent[1:])) == 39 - listener.MOST)
            assert threading.active_count() == before
            assert get(port, "/stop")[0] == 401 and not stop.pressed.is_set()
            assert get(port, "/stop", **SHOWN) == (200, "Stopped: a call of the server.\n")
            silent[-1].setblocking(True)
            silent[-1].sendall(b"nonsense\r\n\r\n")
            wait_until(lambda: has_gone(silent[-1]))
    assert stop.pressed.is_set() and "Traceback" not in caplog.text


def test_who_says_nothing_is_let_go_of(monkeypatch):
    monkeypatch.setattr(listener, "OPEN_S", 0.1)
    with by_call(EmergencyStop(), GUARDED) as port, crowd(port, 3) as silent:
        wait_until(lambda: all(map(has_gone, silent)))


def test_it_is_the_largest_crowd_that_makes_room():
    class Transport:
        def __init__(self, address: str) -> None:
            self.address, self.has_gone = address, False

        def get_extra_info(self, name: str) -> tuple[str, int]:
            return self.address, 1

        def abort(self) -> None:
            self.has_gone = True

    lobby = Lobby(3)
    coming = [Transport(address) for address in ("friend", "foe", "foe", "foe", "foe", "other")]
    for one in coming:
        lobby.enter(one)
    assert [one.has_gone for one in coming] == [False, True, True, True, False, False]
    lobby.leave(coming[0])
    lobby.enter(late := Transport("foe"))
    assert not late.has_gone and not coming[4].has_gone


def test_a_call_is_heard_when_the_process_has_files_again(caplog):
    """It had none when somebody came."""
    stop, soft_and_hard = EmergencyStop(), resource.getrlimit(resource.RLIMIT_NOFILE)
    with by_call(stop, GUARDED) as port, contextlib.closing(sockets.socket()) as caller:
        caller.settimeout(PATIENCE_S)
        taken = []
        few = max(map(int, os.listdir("/proc/self/fd"))) + 4
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (few, soft_and_hard[1]))
            with pytest.raises(OSError) as full:
                while True:
                    taken.append(os.dup(0))
            assert full.value.errno == errno.EMFILE
            caller.connect(("127.0.0.1", port))
            wait_until(lambda: "until files are closed" in caplog.text)
        finally:
            for number in taken:
                os.close(number)
            resource.setrlimit(resource.RLIMIT_NOFILE, soft_and_hard)
        caller.sendall(CALL)
        assert caller.recv(100).startswith(b"HTTP/1.1 200")
    assert stop.pressed.is_set()


def test_a_listener_that_is_lost_presses_the_stop(monkeypatch):
    class Dying:
        def __init__(self, *told: object) -> None:
            pass

        async def run(self, ending, listening):
            listening(1)
            raise OSError("no such device")

    monkeypatch.setattr(stop_call, "Listener", Dying)
    stop = EmergencyStop()
    with by_call(stop, GUARDED):
        assert stop.pressed.wait(PATIENCE_S)
    assert stop.reason == "nobody listens for /stop any more: OSError: no such device"


def test_a_robot_that_hangs_does_not_keep_the_call_waiting(monkeypatch):
    monkeypatch.setattr(stop_call, "PRESS_S", 0.1)
    stop, end = EmergencyStop(), threading.Event()
    stop.on_press(lambda: end.wait(PATIENCE_S))
    with by_call(stop, GUARDED) as port:
        begin = time.monotonic()
        status, text = get(port, "/stop", **SHOWN)
        assert status == 202 and "cut its power" in text and stop.pressed.is_set()
        assert get(port, "/healthz")[0] == 200 and time.monotonic() - begin < PATIENCE_S
        end.set()
