"""One run of an ablation: a recipe, a seed and a dataset, and the words that make `fit` do it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenizer_training.ablation.recipes import Recipe
from tokenizer_training.ablation.row import row_file
from tokenizer_training.run_folder import RunFolder


@dataclass(frozen=True)
class Budget:
    """What all runs of an ablation have in common.

    Attributes:
        config: Packaged name or file of the configuration that states it.
        max_steps: Steps of every run; None for those of the configuration.
        mapping: Of the datasets; None for each one's own.
    """

    config: str
    max_steps: int | None = None
    mapping: str | None = None


@dataclass(frozen=True)
class Run:
    """A recipe on a dataset with a seed.

    The seed decides initialisation, codebooks, sampling, augmentation and dropout. Which episodes
    are held out and which validate is the same for all seeds: `data.split_seed` decides that.

    Attributes:
        recipe: The recipe.
        seed: Of everything random but the split.
        dataset: Folder of the dataset.
        budget: What all runs have in common.
        runs_dir: Where the folders of all runs lie.
    """

    recipe: Recipe
    seed: int
    dataset: Path
    budget: Budget
    runs_dir: Path

    @property
    def dataset_name(self) -> str:
        return self.dataset.resolve().name

    @property
    def name(self) -> str:
        """For people: unique within an ablation."""
        return f"{self.dataset_name}/{run_name(self.recipe.name, self.seed)}"

    @property
    def folder(self) -> RunFolder:
        """Where `fit` works."""
        return run_folder(self.runs_dir, self.dataset_name, self.recipe.name, self.seed)

    @property
    def log(self) -> Path:
        """What `fit` says; whoever trains the run holds a lock on it."""
        return self.folder.path.with_name(f"{self.folder.path.name}.log")

    def row(self, out: Path) -> Path:
        """The file of its row."""
        return row_file(out, self.dataset_name, self.recipe.name, self.seed)

    def words(self) -> list[str]:
        """The arguments of `rvq-train fit`."""
        words = ["--config", self.recipe.parent, "--config", self.budget.config]
        words += ["--config", str(self.recipe.file), "--data.datasets", str(self.dataset)]
        words += ["--seed_everything", str(self.seed), "--run_dir", str(self.folder.path)]
        options = {
            "--data.features": self.recipe.cache,
            "--trainer.max_steps": self.budget.max_steps,
            "--mapping": self.budget.mapping,
        }
        given = {name: value for name, value in options.items() if value is not None}
        return words + [str(word) for pair in given.items() for word in pair]


def run_name(recipe: str, seed: int) -> str:
    """The name of a run among those on one dataset."""
    return f"{recipe}-seed{seed}"


def run_folder(runs_dir: Path, dataset: str, recipe: str, seed: int) -> RunFolder:
    """The folder of a run."""
    return RunFolder(runs_dir / dataset / run_name(recipe, seed))
