"""Everything at once: a server process, a policy far away, the control loop, a simulated robot."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

import numpy as np
import pytest

from tests.vla.deploy.robots.test_metaworld_arm import (  # noqa: F401
    DEMOS,
    FRAMES,
    SEED,
    SIZE,
    STEPS,
    TASK,
    arm,
    policy,
    recorded,
    steps,
)
from tests.vla.deploy.server.server_process import ServerProcess
from vla.deploy.clock import SimulatedClock
from vla.deploy.playing.inference import SimulatedInference
from vla.deploy.playing.schedule_settings import ScheduleSettings
from vla.deploy.policies.policy import Policy, PolicyDescription, Request
from vla.deploy.policies.remote_policy import RemotePolicy
from vla.deploy.policies.vla_policy import DeployedVLA
from vla.deploy.robots.metaworld import MetaWorldRobot
from vla.deploy.run import run
from vla.deploy.settings import DeploymentSettings
from vla.evaluation.closed_loop.crew import Crew
from vla.evaluation.closed_loop.loop import Rules, play
from vla.evaluation.closed_loop.planners import PolicyPlanner
from vla.evaluation.closed_loop.starts import Start


class ByOpenpi:
    """A policy far away, asked by the client of openpi's users."""

    def __init__(self, port: int, description: PolicyDescription) -> None:
        from openpi_client.websocket_client_policy import WebsocketClientPolicy

        self.description = description
        self._client = WebsocketClientPolicy("127.0.0.1", port)

    def reset(self) -> None:
        self._client.reset()

    def act(self, request: Request) -> np.ndarray:
        now = request.observation
        seen = {f"observation/images/{name}": view for name, view in now.images.items()}
        told = {"prompt": request.instruction, "number": request.number, "seed": SEED}
        return self._client.infer({"observation/state": now.proprio, **seen, **told})["actions"]

    def close(self) -> None:
        self._client._ws.close()


@contextlib.contextmanager
def asked_by(client: str, port: int, description: PolicyDescription) -> Iterator[Policy]:
    if client == "ours":
        with RemotePolicy(port=port, seed=SEED) as ours:
            yield ours
        return
    pytest.importorskip("openpi_client", reason="pip install --no-deps openpi-client")
    with contextlib.closing(ByOpenpi(port, description)) as theirs:
        yield theirs


@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
@pytest.mark.parametrize("client", ["ours", "openpi"])
def test_the_robot_is_sent_what_direct_evaluation_sends(
    client,
    policy,  # noqa: F811
    steps,  # noqa: F811
    tmp_path,
):
    crew = Crew(lambda task: MetaWorldRobot(task, SIZE, ("corner3",)), 1)
    rules = Rules(lambda task: "reach it", FRAMES, STEPS)
    list(play([Start(TASK, 0, SEED)], crew, PolicyPlanner(policy, steps=2), rules))
    crew.close()
    direct = np.array(steps)
    steps.clear()
    policy.save_pretrained(tmp_path / "policy")
    schedule, clock = ScheduleSettings("receding", FRAMES), SimulatedClock()
    settings = DeploymentSettings("reach it", STEPS / DEMOS.fps, schedule, keys=False)
    words = "--policy", str(tmp_path / "policy"), "--steps", "2"
    with ServerProcess(*words) as process:
        with asked_by(client, process.port, DeployedVLA(policy).description) as remote:
            inference, robot = SimulatedInference(remote, clock), arm(policy, clock)
            report = run(robot, remote, settings, clock, inference)
        assert process.end(signal.SIGINT) == 0
    assert report.sent == len(direct) == STEPS and report.chunks == 3
    np.testing.assert_allclose(np.array(steps[:STEPS]), direct, atol=1e-5)
    assert np.abs(direct).max() > 0.05
