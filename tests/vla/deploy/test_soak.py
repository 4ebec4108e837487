"""Twenty seconds of the long run in simulated time; the ten minutes are `make soak`."""

from __future__ import annotations

import gc
import threading

import pytest

from rvq_action.data.dataset import RobotDataset
from tests.vla.deploy.soak import DESCRIPTORS, RATE, Usage, Waver, soak
from vla.deploy.clock import SimulatedClock
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.policies.remote_policy import RemotePolicy
from vla.deploy.server.access import Address
from vla.deploy.server.hosting import ServerThread
from vla.deploy.server.server import PolicyServer

pytestmark = pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="counts open files in /proc")
SECONDS = 20


def test_its_policy_can_be_served():
    """Which it is for ten minutes, in another process than the loop's."""
    with ServerThread(PolicyServer(Waver(thinks_s=0.0), Address(port=0))) as port:
        policy = RemotePolicy("127.0.0.1", port)
        try:
            assert policy.description.embodiment == "arm"
        finally:
            policy.close()


def test_twenty_seconds_leave_nothing_behind(tmp_path):
    gc.collect()
    before, after = Usage(), Usage()
    before.look()
    clock, policy = SimulatedClock(), Waver(thinks_s=0.0)
    inference = SimulatedInference(policy, clock, seconds=0.06)
    report = soak(SECONDS, tmp_path / "run", policy, clock, inference, side=32)
    gc.collect()
    after.look()
    assert report.periods == SECONDS * RATE and report.chunks > SECONDS
    assert report.held == {"waiting for the first chunk": 3} and not report.problems
    assert (after.threads, after.files) == (before.threads, before.files)
    assert len(RobotDataset.open(report.dataset).episodes[0]) == SECONDS * RATE
    assert not [thread for thread in threading.enumerate() if thread.name == "recorder"]
