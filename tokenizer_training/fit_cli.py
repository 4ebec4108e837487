"""`rvq-train fit` on LightningCLI: one namespace of options for data, model, trainer and run."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from lightning import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.data.yaml_file import read_yaml
from rvq_action.housekeeping.run_words import given_configs
from rvq_action.tokenizer import ActionTokenizer
from tokenizer_training.arguments import FIT_WORDS
from tokenizer_training.callbacks import SemanticSettings, ValidationSettings
from tokenizer_training.datamodule import ActionDataModule
from tokenizer_training.fit import RunSettings
from tokenizer_training.module import TokenizerModule
from tokenizer_training.progress import Progress

BASE = "base"
USAGE = (
    "rvq-train fit [--config NAME] --data.datasets DATASET [DATASET ...] --run_dir DIR [options]"
)
NO_DECISION = ("config", "run_dir", "resume", "checkpoint_every_n_steps")
"""Options that do not change what a run results in."""
NO_DECISION_OF_TRAINER = (
    *("default_root_dir", "enable_progress_bar", "enable_model_summary", "logger", "callbacks"),
    *("log_every_n_steps", "profiler", "enable_checkpointing"),
)


class FitCLI(LightningCLI):
    """Every option of a run; what a configuration leaves out is as in `configs/base.yaml`."""

    def __init__(self, args: Sequence[str]) -> None:
        words = FIT_WORDS.prepare(args)
        configs = given_configs(words)
        self.config_name = Path(configs[-1]).stem if configs else BASE
        for config in configs:
            read_yaml(config)
        with warnings.catch_warnings():
            # Lightning calls jsonargparse by names that are on their way out.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._build(words)

    def _build(self, words: list[str]) -> None:
        super().__init__(
            TokenizerModule,
            ActionDataModule,
            run=False,
            args=words,
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_kwargs={
                "prog": "rvq-train fit",
                "usage": USAGE,
                "description": "Train a tokenizer on LeRobot datasets, or go on with a run.",
                "default_config_files": [str(FIT_WORDS.packaged[BASE])],
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        for action in parser._actions:
            if action.dest == "config":
                action.help = f"one of {', '.join(FIT_WORDS.packaged)}, or a YAML file"
        parser.add_argument("--run_dir", type=str | None, default=None, help="folder of the run")
        parser.add_argument(
            "--resume",
            type=Literal["auto", "never"],
            default="auto",
            help="go on with the run in the folder, or start it afresh",
        )
        parser.add_argument(
            "--mapping",
            type=str | None,
            default=None,
            help="mapping of the datasets: a YAML file or a packaged name",
        )
        parser.add_argument(
            "--tokenizer",
            type=str | None,
            default=None,
            help="go on from this tokenizer, a folder or hub id, instead of a closed form",
        )
        parser.add_argument(
            "--checkpoint_every_n_steps", type=int, default=100, help="steps between checkpoints"
        )
        parser.add_class_arguments(ClosedFormRecipe, "closed_form")
        parser.add_class_arguments(ValidationSettings, "validation")
        parser.add_class_arguments(SemanticSettings, "semantic")
        parser.link_arguments("run_dir", "trainer.default_root_dir")
        parser.link_arguments("mapping", "data.mapping")
        for target in ("data.seed", "model.seed", "closed_form.seed"):
            parser.link_arguments("seed_everything", target)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the given words alone, whatever this process was called with."""
        self.config = parser.parse_args(args)
        if self.config.run_dir is None:
            parser.error("Where to? Give the folder of the run: --run_dir DIR")
        steps = self.config.trainer.max_steps
        if steps < 0:
            raise ValueError(
                f"A run needs an end: --trainer.max_steps must be 0 or more, got {steps}."
            )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with our progress bar unless it is to be silent."""
        if self.config_init.trainer.enable_progress_bar is not False:
            self.trainer_defaults["callbacks"] = [Progress()]
        return super().instantiate_trainer(**kwargs)

    def run_settings(self) -> RunSettings:
        """What `fit` needs to know beside module, data and trainer."""
        config, given = self.config, self.config.tokenizer
        return RunSettings(
            run_dir=Path(config.run_dir),
            config_name=self.config_name,
            recipe=self.config_init.closed_form,
            tokenizer=None if given is None else ActionTokenizer.from_pretrained(given),
            validation=self.config_init.validation,
            semantic=self.config_init.semantic,
            checkpoint_every_n_steps=config.checkpoint_every_n_steps,
            resume=config.resume,
            settings=decisive(json.loads(self.parser.dump(config, format="json"))),
        )


def decisive(config: dict[str, Any]) -> dict[str, Any]:
    """The options that decide what a run results in."""
    kept = {key: value for key, value in config.items() if key not in NO_DECISION}
    if kept.get("tokenizer") is None:
        kept.pop("tokenizer", None)
    trainer = {k: v for k, v in config["trainer"].items() if k not in NO_DECISION_OF_TRAINER}
    return {**kept, "trainer": trainer}
