"""The commands of docs/lerobot.md, run one after the other as they stand there, but smaller."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from vla.lerobot_policy_rvq.tests.versions import LATER

PAGE = Path(__file__).parents[3] / "docs/lerobot.md"
SMALLER = {
    "--episodes 40": "--episodes 12",
    "112": "56",
    "tokens16": "tokens8",
    "--policy.shape=tiny": "--policy.shape=mini",
    "--policy.optimizer_lr=1e-3": "--policy.optimizer_lr=2e-3 --policy.scheduler_warmup_steps=30",
    "--num_workers=2": "--num_workers=1",
    "--steps=3000": "--steps=720",
    "--steps=3100": "--steps=724",
    "--steps=500": "--steps=4",
    "--save_freq=500": "--save_freq=4",
    "--eval.n_episodes=20": "--eval.n_episodes=10",
    "--dataset.episode_time_s=4": "--dataset.episode_time_s=2",
}
"""What the page says, and what a test can wait for."""
RECORD, OTHER_RECORD = ("lerobot-record", "lerobot-rollout")[:: -1 if LATER else 1]
"""What lets a policy act in this version of LeRobot, and in the others."""
ELSEWHERE = ("pip", "lerobot-rvq-server", "python", OTHER_RECORD)
"""The environment's own making, and programs that do not end: test_async_inference.py runs them."""


def commands() -> list[str]:
    """Every command of the page, in order."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines]


def smaller(command: str) -> list[str]:
    """Its words, with fewer of everything."""
    for said, done in SMALLER.items():
        command = command.replace(said, done)
    return shlex.split(command)


class Afternoon:
    """Runs the page's commands in a folder, each once.

    Args:
        run: Runs a program of the environment.
        folder: Where the page's paths begin.
    """

    def __init__(self, run: Callable[..., subprocess.CompletedProcess], folder: Path) -> None:
        self.folder, self._run = folder, run
        self.waiting = [c for c in commands() if not c.startswith(ELSEWHERE)]
        self.done: dict[str, subprocess.CompletedProcess] = {}

    def until(self, start: str) -> subprocess.CompletedProcess:
        """What came of the first command that starts so; whatever stands before it runs first."""
        found = [command for command in (*self.done, *self.waiting) if command.startswith(start)]
        while found[0] not in self.done:
            command = self.waiting.pop(0)
            name, *words = smaller(command)
            self.done[command] = self._run(name, *words, cwd=self.folder)
        return self.done[found[0]]
