"""Everything at once: a server process, a policy far away, the control loop, a simulated robot."""

from __future__ import annotations

import signal

import numpy as np

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
from vla.deploy.inference import SimulatedInference
from vla.deploy.remote_policy import RemotePolicy
from vla.deploy.robots.metaworld import MetaWorldRobot
from vla.deploy.run import run
from vla.deploy.schedule_settings import ScheduleSettings
from vla.deploy.settings import DeploymentSettings
from vla.evaluation.closed_loop.crew import Crew
from vla.evaluation.closed_loop.loop import Rules, play
from vla.evaluation.closed_loop.planners import PolicyPlanner
from vla.evaluation.closed_loop.starts import Start


def test_the_robot_is_sent_what_direct_evaluation_sends(policy, steps, tmp_path):  # noqa: F811
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
        with RemotePolicy(port=process.port, seed=SEED) as remote:
            inference, robot = SimulatedInference(remote, clock), arm(policy, clock)
            report = run(robot, remote, settings, clock, inference)
        assert process.end(signal.SIGINT) == 0
    assert report.sent == len(direct) == STEPS and report.chunks == 3
    np.testing.assert_allclose(np.array(steps[:STEPS]), direct, atol=1e-5)
    assert np.abs(direct).max() > 0.05
