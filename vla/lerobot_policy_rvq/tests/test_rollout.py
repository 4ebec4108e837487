"""`lerobot-rollout`, which lets policies act since LeRobot 0.6, with our chunks in real time."""

from __future__ import annotations

import numpy as np
import pytest

from rvq_action.data.lerobot import LeRobotReader
from vla.lerobot_policy_rvq.tests.afternoon import commands, smaller
from vla.lerobot_policy_rvq.tests.versions import LATER


@pytest.mark.skipif(not LATER, reason="LeRobot 0.4 lets policies act by lerobot-record")
def test_chunks_in_real_time_move_the_arm(afternoon, run, tmp_path):
    """Each goes on from what is left of the one before; an error in one is retried, but told."""
    afternoon.until("lerobot-train --config_path")
    said = next(c for c in commands() if c.startswith("lerobot-rollout"))
    name, *words = smaller(said.replace("my/acted", str(tmp_path / "acted")))
    done = run(name, *words, "--inference.type=rtc", cwd=afternoon.folder)
    assert "RTC inference thread started" in done.stderr
    assert "RTC inference error" not in done.stderr
    ours = LeRobotReader(tmp_path / "acted")
    for episode in map(ours.episode, range(2)):
        assert np.ptp(episode["observation.state"][:, 0]) > 0.01, "the arm did not move"
        assert np.isfinite(episode["action"]).all()
