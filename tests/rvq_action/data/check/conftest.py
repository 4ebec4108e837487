"""A small robot whose faults can be chosen."""

from pathlib import Path

import numpy as np
import pytest

from rvq_action.data.writer import LeRobotWriter

FPS, SIZE, CAMERA = 20, (32, 32), "observation.images.front"
NAMES = ["shoulder", "elbow", "wrist", "gripper"]


def smooth(rng, frames, channels):
    """[frames, channels] smooth motion of size about 1."""
    time = np.arange(frames)[:, None] / FPS
    waves = [
        rng.uniform(0.4, 1, channels) * np.sin(rng.uniform(1, 4, channels) * time + phase)
        for phase in rng.uniform(0, 6, (3, channels))
    ]
    return sum(waves)


def grasp(frames):
    """A gripper's target and position: closes to 0, but an object stops it at 0.3."""
    third = frames // 3
    target = np.concatenate([np.ones(third), np.zeros(third), np.ones(frames - 2 * third)])
    position = np.maximum(target, 0.3)
    return target, position


def robot_episode(seed, frames=80, lag=3):
    """Columns of one episode; the state follows the action by `lag` frames."""
    motion = smooth(np.random.default_rng(seed), frames + lag, 3)
    target, position = grasp(frames)
    return {
        "action": np.column_stack([motion[lag:], target]),
        "observation.state": np.column_stack([motion[:frames], position]),
    }


def pictures(frames, every=1):
    """A bright bar that moves on at every `every`-th frame."""
    for t in range(frames):
        picture = np.full((*SIZE, 3), 60, dtype=np.uint8)
        picture[:, np.arange(6) + 5 * (t // every) % (SIZE[1] - 6)] = 220
        yield picture


@pytest.fixture
def make_dataset(tmp_path):
    """Write a dataset; `change(columns, index)` may spoil an episode's columns."""

    def make(
        episodes=20,
        frames=80,
        lag=3,
        every=1,
        tasks=("stack the cups", "open the drawer"),
        change=None,
        camera=True,
        names=NAMES,
    ) -> Path:
        path = tmp_path / "dataset"
        features = {"action": names, "observation.state": names}
        cameras = {CAMERA: SIZE} if camera else {}
        with LeRobotWriter(path, FPS, features, "test_arm", cameras, data_file_mb=1) as writer:
            for index in range(episodes):
                columns = robot_episode(index, frames, lag)
                if change is not None:
                    change(columns, index)
                videos = {CAMERA: pictures(frames, every)} if camera else {}
                writer.add_episode(columns, videos, task=tasks[index % len(tasks)])
        return path

    return make
