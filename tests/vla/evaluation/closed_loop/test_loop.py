"""The receding horizon, with robots that count."""

from __future__ import annotations

import numpy as np
import pytest

from tests.vla.evaluation.closed_loop.conftest import FakeRobot
from vla.data.demo_settings import DemoSettings
from vla.evaluation.closed_loop.crew import Crew
from vla.evaluation.closed_loop.loop import Outcome, Rules, play
from vla.evaluation.closed_loop.starts import FIRST_SEED, Start, fresh_starts
from vla.evaluation.closed_loop.workers import deal


class Numbers:
    """Plans chunks of five frames that say which plan and frame they are."""

    def __init__(self) -> None:
        self.calls: list[list[tuple]] = []

    def plan(self, moments):
        self.calls.append([(m.start, m.plans, m.robot.steps) for m in moments])
        return [np.array([[m.plans, frame] for frame in range(5)]) for m in moments]


def attempt(starts, robots=1, execute_frames=3, max_steps=10, **more):
    planner, made = Numbers(), []

    def build(task):
        made.append(FakeRobot(task))
        return made[-1]

    rules = Rules(lambda task: f"do {task}", execute_frames, max_steps)
    crew = Crew(build, robots)
    outcomes = {o.start: o for o in play(starts, crew, planner, rules, **more)}
    return outcomes, planner.calls, made, crew


def test_the_first_frames_of_every_chunk_are_executed():
    start = Start("a", 0, 8)
    outcomes, calls, (robot,), _ = attempt([start])
    wanted = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]
    assert list(map(tuple, robot.actions)) == wanted
    assert calls == [[(start, 0, 0)], [(start, 1, 3)], [(start, 2, 6)]]
    assert outcomes[start] == Outcome(start, "do a", True, 8)


def test_an_attempt_fails_when_its_steps_are_over():
    start = Start("a", 0, 11)
    outcomes, _, (robot,), _ = attempt([start])
    assert outcomes[start].success is False and outcomes[start].steps == robot.steps == 10


def test_robots_are_planned_for_together_and_take_the_next_start():
    starts = [Start("a", n, seed) for n, seed in enumerate((2, 9, 4, 50))]
    outcomes, calls, made, _ = attempt(starts, robots=2)
    assert [[start.number for start, *_ in call] for call in calls] == [
        [0, 1], [1, 2], [1, 2], [3], [3], [3], [3],
    ]  # fmt: skip
    assert len(made) == 2 and [outcomes[s].steps for s in starts] == [2, 9, 4, 10]


def test_a_robot_stays_in_front_of_its_task():
    """The second robot goes on with its own task, though another start has waited for longer."""
    starts = [Start("a", 0, 9), Start("b", 0, 2), Start("a", 1, 2), Start("b", 1, 2)]
    outcomes, calls, made, crew = attempt(starts, robots=2)
    assert [robot.task for robot in made] == ["a", "b", "a"] and made[1].closed
    assert [(s.task, s.number) for s, *_ in calls[1]] == [("a", 0), ("b", 1)]
    assert all(o.success and o.instruction == f"do {o.start.task}" for o in outcomes.values())
    crew.close()
    assert all(robot.closed for robot in made)


def test_whoever_looks_on_sees_every_step():
    seen: dict[Start, list[int]] = {}
    start = Start("a", 0, 4)
    attempt([start], watch=lambda s: lambda robot: seen.setdefault(s, []).append(robot.steps))
    assert seen == {start: [0, 1, 2, 3, 4]}


def test_starts_are_the_same_for_everybody():
    few, many = fresh_starts("reach-v3", 3), fresh_starts("reach-v3", 5)
    assert many[:3] == few and len({s.seed for s in many}) == 5
    others = fresh_starts("push-v3", 3), fresh_starts("reach-v3", 3, seed=1)
    assert not {s.seed for s in few} & {s.seed for starts in others for s in starts}


def test_no_demonstration_ever_began_there():
    demos = DemoSettings(("reach-v3",), 50, seed=0)
    used = {seed for episode in range(50) for seed in demos.seeds("reach-v3", episode)}
    assert max(used) < FIRST_SEED <= min(s.seed for s in fresh_starts("reach-v3", 50))


@pytest.mark.parametrize("workers", [1, 2, 3, 9])
def test_every_start_is_dealt_once(workers):
    starts = [Start(task, n, n) for task in "ab" for n in range(4)]
    shares = deal(starts, workers)
    assert sorted(s for share in shares for s in share) == sorted(starts)
    assert len(shares) == min(workers, 4) and [s.task for s in shares[0][:2]] == ["a", "b"]
