"""One run: an arm and a seed, and the words that make `rvq-vla train` do it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rvq_action.housekeeping.training_folder import TrainingFolder
from vla.ablation.arms import Arm
from vla.ablation.row import row_file
from vla.evaluation.closed_loop.settings import RolloutSettings

PARENT = "tiny"


@dataclass(frozen=True)
class Budget:
    """What all runs have in common.

    Attributes:
        datasets: Demonstrations, trained on together.
        config: Packaged name or file on top of `tiny`.
        max_steps: Steps of every run; None for those of the configuration.
        mapping: Of the datasets; each one's own where None.
        bridge: Folder of `rvq-vla bridge`, whose questions are trained on and asked; or None.
        rollouts: What every policy attempts.
    """

    datasets: tuple[Path, ...]
    config: str
    max_steps: int | None
    mapping: str | None
    bridge: Path | None
    rollouts: RolloutSettings

    @property
    def name(self) -> str:
        """Of the datasets together."""
        return "+".join(path.resolve().name for path in self.datasets)

    def words(self) -> list[str]:
        """Arguments of `rvq-vla train`."""
        words = ["--config", PARENT, "--config", self.config]
        words += ["--data.datasets", *map(str, self.datasets)]
        if self.bridge is not None:
            words += ["--data.conversations", str(self.bridge / "train.jsonl")]
        options = {"--trainer.max_steps": self.max_steps, "--data.mapping": self.mapping}
        for name, value in options.items():
            words += [] if value is None else [name, str(value)]
        return words


@dataclass(frozen=True)
class TokenRun:
    """An arm with a seed.

    Attributes:
        arm: The arm.
        seed: Of weights, batches and noise; starts and split are the same for all.
        budget: What all runs have in common.
        runs: Where the folders of all runs lie.
    """

    arm: Arm
    seed: int
    budget: Budget
    runs: Path

    @property
    def name(self) -> str:
        return f"{self.arm.name}-seed{self.seed}"

    @property
    def folder(self) -> TrainingFolder:
        """Where `train` works; its policy is in `policy`."""
        return TrainingFolder(self.runs / self.budget.name / self.name)

    @property
    def policy(self) -> Path:
        return self.folder.path / "policy"

    @property
    def rollouts(self) -> Path:
        """The outcomes of its attempts."""
        return self.folder.path.with_name(f"{self.name}-rollouts")

    @property
    def log(self) -> Path:
        """What `train` says."""
        return self.folder.path.with_name(f"{self.name}.log")

    def row(self, out: Path) -> Path:
        """The file of its row."""
        return row_file(out, self.budget.name, self.arm.name, self.seed)

    def words(self) -> list[str]:
        """Arguments of `rvq-vla train`."""
        words = [*self.budget.words(), *self.arm.options]
        words += ["--tokenizer", str(self.arm.tokenizer)]
        return [*words, "--seed_everything", str(self.seed), "--run_dir", str(self.folder.path)]
