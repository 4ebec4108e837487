"""reach-v3 and push-v3, told apart by nothing but the instruction."""

from __future__ import annotations

import numpy as np
import pytest

from vla.data.demo_settings import DemoSettings
from vla.deploy.robots.look_alike import LOOK_ALIKE
from vla.deploy.robots.metaworld import MetaWorldRobot

CAMERAS = ("corner3", "gripperPOV")


@pytest.fixture(scope="module")
def robots(simulator):
    made = [MetaWorldRobot(task, 84, CAMERAS, look_alike=True) for task in LOOK_ALIKE]
    yield made
    for robot in made:
        robot.close()


def views(robot: MetaWorldRobot, seed: int) -> np.ndarray:
    robot.reset(seed)
    return np.stack([image.astype(int) for image in robot.images().values()])


@pytest.mark.parametrize("seed", [1, 2**32 + 7])
def test_one_seed_gives_one_picture_and_one_state(robots, seed):
    reach, push = (views(robot, seed) for robot in robots)
    assert np.abs(reach - push).max() <= 2, "but for rounding"
    assert np.abs(reach - views(robots[1], seed + 1)).max() > 50, "others differ"
    for robot in robots:
        robot.reset(seed)
    np.testing.assert_allclose(robots[0].state(), robots[1].state(), atol=1e-6)
    assert robots[0].instruction != robots[1].instruction


def test_as_they_come_they_differ(robots):
    for task, alike in zip(LOOK_ALIKE, robots, strict=True):
        with MetaWorldRobot(task, 84, CAMERAS) as usual:
            same = np.abs(views(usual, 3) - views(alike, 3)).max() <= 2
        assert same == (task == "push-v3"), "pushing looks as it always did"


@pytest.mark.parametrize("number", range(len(LOOK_ALIKE)))
def test_the_experts_still_succeed(robots, number):
    robot = robots[number]
    for seed in range(3):
        robot.reset(seed)
        assert any(robot.step(robot.expert_action()) for _ in range(100))


def test_other_tasks_are_refused():
    with pytest.raises(ValueError, match="door-open-v3 cannot look like another task"):
        DemoSettings(("push-v3", "door-open-v3"), 1, look_alike=True)
    with pytest.raises(ValueError, match="only reach-v3 and push-v3 can"):
        MetaWorldRobot("door-open-v3", 84, CAMERAS, look_alike=True)
