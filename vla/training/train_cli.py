"""`rvq-vla train` on LightningCLI: one namespace of options for policy, data, trainer and run."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from lightning import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies import ModelParallelStrategy

from rvq_action.data.yaml_file import read_yaml
from rvq_action.housekeeping.run_words import RunWords, given_configs
from vla.data.settings import DataSettings
from vla.training.module import VLAModule
from vla.training.progress import StepProgress
from vla.training.start import ShapeSettings
from vla.training.train import RunSettings
from vla.training.validation import ValidationSettings

BASE = "base"
WORDS = RunWords(
    Path(str(files("vla") / "training" / "configs")),
    ("--data.datasets", "--data.conversations", "--vla.cameras"),
)
USAGE = (
    "rvq-vla train [--config NAME] --data.datasets DATASET [DATASET ...] --tokenizer DIR "
    "--run_dir DIR [options]"
)
NO_DECISION = (
    *("config", "run_dir", "resume", "checkpoint_every_n_steps", "policy_every_n_steps"),
    *("keep_policy_every_n_steps", "gradients_every_n_steps", "validation", "wandb"),
)
"""Options that do not change what a run results in."""
NO_DECISION_OF_TRAINER = (
    *("default_root_dir", "enable_progress_bar", "enable_model_summary", "logger", "callbacks"),
    *("log_every_n_steps", "profiler", "enable_checkpointing"),
)


class TrainCLI(LightningCLI):
    """Every option of a run; what a configuration leaves out is as in `configs/base.yaml`."""

    def __init__(self, args: Sequence[str]) -> None:
        words = WORDS.prepare(args)
        for config in given_configs(words):
            read_yaml(config)
        with warnings.catch_warnings():
            # Lightning calls jsonargparse by names that are on their way out.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._build(words)

    def _build(self, words: list[str]) -> None:
        super().__init__(
            VLAModule,
            run=False,
            args=words,
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_kwargs={
                "prog": "rvq-vla train",
                "usage": USAGE,
                "description": "Train a policy on LeRobot datasets, or go on with a run.",
                "default_config_files": [str(WORDS.packaged[BASE])],
            },
        )

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The trainer's and the module's; the data are settings, opened once there is a policy."""
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.add_lightning_class_args(VLAModule, "model")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        for action in parser._actions:
            if action.dest == "config":
                action.help = f"one of {', '.join(WORDS.packaged)}, or a YAML file"
        add = parser.add_argument
        add("--run_dir", type=str | None, default=None, help="folder of the run")
        add("--tokenizer", type=str | None, default=None, help="action tokenizer: folder or hub id")
        add("--policy", type=str | None, default=None, help="policy to go on from: folder or id")
        add(
            "--resume",
            type=Literal["auto", "never", "must"],
            default="auto",
            help="go on with the run in the folder if there is one, start afresh, or only go on",
        )
        add("--checkpoint_every_n_steps", type=int, default=200, help="steps between checkpoints")
        add("--policy_every_n_steps", type=int, default=500, help="steps between exported policies")
        add(
            "--keep_policy_every_n_steps",
            type=int,
            default=0,
            help="steps between two policies that are kept in RUN/policies; 0 keeps none",
        )
        add(
            "--gradients_every_n_steps",
            type=int,
            default=500,
            help="steps between two looks at the terms' gradients; 0 never looks",
        )
        add("--wandb", type=str | None, default=None, help="project of Weights & Biases to log to")
        parser.add_class_arguments(ShapeSettings, "vla")
        parser.add_class_arguments(DataSettings, "data")
        parser.add_class_arguments(ValidationSettings, "validation")
        parser.link_arguments("run_dir", "trainer.default_root_dir")
        parser.link_arguments("data.accumulation", "trainer.accumulate_grad_batches")
        for target in ("data.seed", "model.seed"):
            parser.link_arguments("seed_everything", target)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the given words alone, whatever this process was called with."""
        self.config = parser.parse_args(args)
        if self.config.run_dir is None:
            parser.error("Where to? Give the folder of the run: --run_dir DIR")
        precision = str(self.config.trainer.precision)
        if precision.endswith("-true") and precision != "32-true":
            raise ValueError(
                f"--trainer.precision {precision} would cast the maps of actions too. For weights "
                "in bfloat16 give --vla.dtype bfloat16; for sums in it, --trainer.precision "
                "bf16-mixed."
            )
        steps = self.config.trainer.max_steps
        if steps < 1:
            raise ValueError(f"How long? Give --trainer.max_steps, at least 1, got {steps}.")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with our progress bar unless it is to be silent.

        `ddp` becomes the variant that lets a term be left out, and `fsdp2` Lightning's strategy for
        weights that the module spreads itself.
        """
        if self.config_init.trainer.enable_progress_bar is not False:
            self.trainer_defaults["callbacks"] = [StepProgress()]
        strategy = self.config_init.trainer.strategy
        if strategy == "ddp":
            kwargs["strategy"] = "ddp_find_unused_parameters_true"
        elif strategy == "fsdp2":
            kwargs["strategy"] = ModelParallelStrategy(save_distributed_checkpoint=False)
        return super().instantiate_trainer(**kwargs)

    def run_settings(self) -> RunSettings:
        """What `train` needs to know beside module and trainer."""
        config, ready = self.config, self.config_init
        options = json.loads(self.parser.dump(config, format="json"))
        return RunSettings(
            run_dir=Path(config.run_dir),
            shape=ready.vla,
            data=ready.data,
            tokenizer=config.tokenizer,
            policy=config.policy,
            seed=config.model.seed,
            checkpoint_every_n_steps=config.checkpoint_every_n_steps,
            policy_every_n_steps=config.policy_every_n_steps,
            keep_policy_every_n_steps=config.keep_policy_every_n_steps,
            gradients_every_n_steps=config.gradients_every_n_steps,
            validation=ready.validation,
            wandb=config.wandb,
            resume=config.resume,
            settings=decisive(options),
            config_yaml=self.parser.dump(config, skip_link_targets=False),
        )


def decisive(config: dict[str, Any]) -> dict[str, Any]:
    """The options that decide what a run results in."""
    kept = {key: value for key, value in config.items() if key not in NO_DECISION}
    trainer = {k: v for k, v in config["trainer"].items() if k not in NO_DECISION_OF_TRAINER}
    return {**kept, "trainer": trainer}
