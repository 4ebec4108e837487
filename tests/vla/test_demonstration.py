"""Recording an expert: failures are thrown away, and files are whole."""

import numpy as np
import pytest

from vla.data.demo_settings import DemoSettings
from vla.data.demonstration import SETTLE_STEPS, Demonstration, demonstrate


class FakeRobot:
    """Solves its task after `solves_after[seed]` steps; its state says seed and step."""

    def __init__(self, solves_after: dict[int, int]) -> None:
        self.solves_after = solves_after

    def reset(self, seed: int) -> None:
        self.seed, self.steps = seed, 0

    def state(self) -> np.ndarray:
        return np.array([self.seed, self.steps], dtype=np.float32)

    def images(self) -> dict[str, np.ndarray]:
        return {"front": np.full((4, 4, 3), self.steps, dtype=np.uint8)}

    def expert_action(self) -> np.ndarray:
        return np.array([-self.steps], dtype=np.float32)

    def step(self, action: np.ndarray) -> bool:
        self.steps += 1
        return self.steps == self.solves_after[self.seed]


def test_failed_attempts_leave_no_frame():
    robot = FakeRobot({3: 100, 4: 100, 5: 7})
    demo = demonstrate(robot, [3, 4, 5, 6], max_steps=20)
    assert demo is not None and demo.failed_attempts == 2
    assert set(demo.state[:, 0]) == {5.0}


def test_each_row_is_what_was_seen_before_its_action():
    demo = demonstrate(FakeRobot({0: 7}), [0], max_steps=20)
    assert demo is not None
    steps = np.arange(7 + SETTLE_STEPS)
    np.testing.assert_array_equal(demo.state[:, 1], steps)
    np.testing.assert_array_equal(demo.action[:, 0], -steps)
    np.testing.assert_array_equal(demo.images["front"][:, 0, 0, 0], steps)


def test_no_success_gives_no_demonstration():
    assert demonstrate(FakeRobot({0: 21, 1: 22}), [0, 1], max_steps=20) is None


def test_a_saved_demonstration_loads_equal(tmp_path):
    demo = demonstrate(FakeRobot({0: 1, 1: 9}), [1], max_steps=20)
    assert demo is not None
    demo.save(tmp_path / "a.npz")
    loaded = Demonstration.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(loaded.state, demo.state)
    np.testing.assert_array_equal(loaded.action, demo.action)
    np.testing.assert_array_equal(loaded.images["front"], demo.images["front"])
    assert loaded.failed_attempts == 0
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_starts_depend_on_task_episode_and_seed_alone():
    few = DemoSettings(("reach-v3",), episodes=1)
    many = DemoSettings(("push-v3", "reach-v3"), episodes=9)
    assert few.seeds("reach-v3", 0) == many.seeds("reach-v3", 0)
    others = [many.seeds("reach-v3", 1), many.seeds("push-v3", 0)]
    others.append(DemoSettings(("reach-v3",), episodes=1, seed=1).seeds("reach-v3", 0))
    assert all(not set(few.seeds("reach-v3", 0)) & set(other) for other in others)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ("drawer-clos-v3",)}, "drawer-close-v3"),
        ({"tasks": ()}, "at least one task"),
        ({"tasks": ("reach-v3", "reach-v3")}, "each once"),
        ({"episodes": 0}, "episodes"),
        ({"image_size": 225}, "even"),
        ({"max_steps": 500}, "max_steps"),
        ({"cameras": ()}, "camera"),
    ],
)
def test_settings_name_what_is_wrong(change, message):
    with pytest.raises(ValueError, match=message):
        DemoSettings(**({"tasks": ("reach-v3",), "episodes": 1} | change))
