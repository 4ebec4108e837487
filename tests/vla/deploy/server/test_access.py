"""Addresses, keys, browsers, and the call that stops a robot."""

from __future__ import annotations

import pytest

from tests.vla.deploy.conftest import FakePolicy, FakeRobot
from tests.vla.deploy.server.conftest import FakeServed, get, serving, visit
from vla.deploy.report import Ending
from vla.deploy.run import run
from vla.deploy.safety.estop import EmergencyStop
from vla.deploy.server.access import Address
from vla.deploy.server.stop_call import by_call
from vla.deploy.settings import DeploymentSettings

KEY = "correct-horse"
SHOWN = {"Authorization": f"Api-Key {KEY}"}


def test_addresses_that_others_reach_take_a_key():
    for host in ("0.0.0.0", "::", "192.168.1.4", "robot.lan"):
        with pytest.raises(ValueError, match=f"Whoever reaches {host}.* Give a key"):
            Address(host)
        assert Address(host, key=KEY).host == host
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        assert Address(host).key is None


def test_unusable_keys_and_ports_are_refused_without_telling_the_key():
    for key in ("", "two words", "schlüssel", "line\nbreak"):
        with pytest.raises(ValueError, match="The key is empty, or holds") as caught:
            Address(key=key)
        assert not key or key not in str(caught.value)
    with pytest.raises(ValueError, match="port must be 0 to 65535, got 70000"):
        Address(port=70000)
    assert KEY not in repr(Address(key=KEY))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Api-Key wrong"},
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": "Api-Key schl\xfcssel"},
    ],
)
def test_everything_but_health_asks_for_the_key(headers):
    from websockets.exceptions import InvalidStatus

    with serving(FakeServed(), Address(port=0, key=KEY)) as port:
        assert get(port, "/metrics", **headers)[0] == 401
        with pytest.raises(InvalidStatus, match="401"), visit(port, **headers):
            pass
        assert get(port, "/healthz", **headers) == (200, "OK\n")
        status, text = get(port, "/metrics", **SHOWN)
        assert status == 200 and 'rvq_errors_total{kind="key"} 2.0' in text
        with visit(port, **SHOWN):
            pass


def test_web_pages_cannot_reach_it_through_a_browser():
    with serving(FakeServed()) as port:
        foreign = {"Origin": "http://example.org"}
        assert get(port, "/metrics", **foreign)[0] == 403
        assert get(port, "/metrics", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
        assert get(port, "/metrics", **{"Sec-Fetch-Site": "none"})[0] == 200


def test_a_call_stops_any_robot():
    """While it runs; whoever has no key cannot."""
    robot, stop = FakeRobot(), EmergencyStop()
    told: list[tuple[int, str]] = []
    with by_call(stop, Address(port=0, key=KEY)) as port:

        def is_done() -> bool:
            if robot.looks == 5:
                told.append(get(port, "/stop"))
                assert not stop.pressed.is_set()
                told.append(get(port, "/stop", **SHOWN))
            return False

        settings = DeploymentSettings("wave", seconds=5.0, keys=False)
        report = run(robot, FakePolicy(), settings, stop=stop, is_done=is_done)
        told.append(get(port, "/other", **SHOWN))
    assert [status for status, _ in told] == [401, 200, 404]
    assert "/stop" in told[2][1]
    assert (report.ending, report.detail) == (Ending.EMERGENCY_STOP, "a call of the server")
    assert robot.names()[-2:] == ["stop", "disconnect"]
    assert all(looks == 5 for looks, name, _ in robot.calls if name == "stop")


def test_a_call_never_says_that_a_robot_is_stopped_that_is_not():
    stop, tries = EmergencyStop(), []

    def fails_once() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("the bus is busy")

    stop.on_press(fails_once)
    with by_call(stop, Address(port=0, key=KEY)) as port:
        status, words = get(port, "/stop", **SHOWN)[:2]
        assert status == 202 and "cut its power" in words
        assert get(port, "/stop", **SHOWN)[0] == 200 and len(tries) == 2
