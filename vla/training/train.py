"""One run: from datasets and a tokenizer to a policy."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from lightning import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from rvq_action.housekeeping.training_folder import CONTENTS, TrainingFolder, write_text
from vla.action_tokens import ActionTokens, digest
from vla.data.robot_source import RobotSource
from vla.data.settings import DataSettings
from vla.data.stream import SampleStream
from vla.policy import VLAPolicy
from vla.training.bridge import GradientBridge
from vla.training.callbacks import KeptPolicies, PolicyExport, ResumePoint, Speed
from vla.training.datamodule import VLADataModule
from vla.training.divergence import Divergence
from vla.training.module import VLAModule
from vla.training.start import ShapeSettings, start_policy
from vla.training.validation import ActionError, HeldOut, ValidationSettings, held_out_windows

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PolicyFolder(TrainingFolder):
    """The folder of a policy's run.

    policy/           the policy, as it was exported last
    policies/         the policy as it was on the way, where it is kept
    config.yaml       every option of the run
    gradients.jsonl   how the terms' gradients met, see `vla.training.bridge`
    logs/             TensorBoard
    """

    PARTS: ClassVar[tuple[str, ...]] = (
        *("policy", "policies", "config.yaml", "gradients.jsonl"),
        *TrainingFolder.PARTS,
    )

    @property
    def policy(self) -> Path:
        return self.path / "policy"

    @property
    def kept(self) -> Path:
        return self.path / "policies"

    @property
    def gradients(self) -> Path:
        return self.path / "gradients.jsonl"


@dataclass(frozen=True)
class RunSettings:
    """A run, beside how it is trained.

    Attributes:
        run_dir: Folder of the run.
        shape: Of the policy.
        data: What it is trained on.
        tokenizer: Folder or hub id; None with a policy's own.
        policy: To go on from; None starts anew.
        seed: Of random weights.
        checkpoint_every_n_steps: Steps between two checkpoints.
        policy_every_n_steps: Steps between two exports of the policy.
        keep_policy_every_n_steps: Steps between two policies that are kept; 0 keeps none.
        gradients_every_n_steps: Steps between two looks at the terms' gradients; 0 never looks.
        validation: How held-out windows are looked at.
        wandb: Project of Weights & Biases that also gets the logs.
        resume: `auto` goes on from what is in the folder, `never` starts afresh, `must` refuses to
            start.
        settings: Everything that decides the result; a folder is never reused with others.
        config_yaml: Every option, to be kept beside the result.
    """

    run_dir: Path
    shape: ShapeSettings
    data: DataSettings
    tokenizer: str | None
    policy: str | None = None
    seed: int = 0
    checkpoint_every_n_steps: int = 200
    policy_every_n_steps: int = 500
    keep_policy_every_n_steps: int = 0
    gradients_every_n_steps: int = 500
    validation: ValidationSettings = ValidationSettings()
    wandb: str | None = None
    resume: Literal["auto", "never", "must"] = "auto"
    settings: dict[str, Any] = field(default_factory=dict)
    config_yaml: str = ""


def train(run: RunSettings, module: VLAModule, trainer: Trainer) -> Path:
    """Train a policy, or go on with it.

    Returns:
        The policy's folder.

    Raises:
        FileNotFoundError: A dataset, file or policy is missing.
        ValueError: Something does not fit together, or the run's folder is not usable; says why.
    """
    folder, afresh = PolicyFolder(run.run_dir), run.resume == "never"
    module.check_strategy(trainer)
    if module.lora.rank and run.shape.dtype != "float32" and "mixed" not in trainer.precision:
        raise ValueError(
            "With LoRA on bfloat16 weights, what is trained stays float32: give "
            "--trainer.precision bf16-mixed as well."
        )
    if run.resume == "must" and not (folder.is_complete or folder.checkpoint.is_file()):
        raise ValueError(
            f"There is no run to go on with in {folder.path}. Leave out --resume must."
        )
    check_wandb(run.wandb)
    policy = start_policy(
        *(run.shape, run.tokenizer, run.policy),
        *(run.data.datasets, run.data.mapping, run.seed),
    )
    data = VLADataModule(policy.samples, run.data)
    data.trainer = trainer
    stream = data.stream
    if trainer.is_global_zero:
        mappings = {s.name: s.dataset.mapping.decisive() for s in stream.robots}
        found = {"found": describe(stream, policy.tokenizer), CONTENTS: {"mappings": mappings}}
        folder.claim({**run.settings, **found}, fresh=afresh)
        write_text(folder.path / "config.yaml", run.config_yaml)
    if folder.is_complete and not afresh:
        logger.info("%s is complete: nothing to train.", folder.path)
        return folder.policy
    fit(run, folder, module.take(policy, stream.plan), data, trainer)
    if trainer.global_step < trainer.max_steps:
        logger.warning("Stopped at step %d; the same command goes on.", trainer.global_step)
    elif trainer.is_global_zero:
        folder.finish(f"{trainer.global_step} steps")
    logger.info("The policy is in %s.", folder.policy)
    return folder.policy


def fit(
    run: RunSettings,
    folder: PolicyFolder,
    module: VLAModule,
    data: VLADataModule,
    trainer: Trainer,
) -> None:
    """Take the steps that are missing."""
    last = ResumePoint(folder.checkpoint, run.checkpoint_every_n_steps)
    trainer.callbacks += [  # type: ignore[attr-defined]
        Divergence(last),
        GradientBridge(folder.gradients, run.gradients_every_n_steps),
        ActionError(held_out(run, module.policy), run.validation.every_n_steps),
        LearningRateMonitor("step"),
        Speed(trainer.log_every_n_steps),  # type: ignore[attr-defined]
        PolicyExport(folder.policy, run.policy_every_n_steps),
        *kept_policies(run, folder),
        last,
    ]
    trainer.loggers = loggers(folder.path, run.wandb)
    found = run.resume != "never" and folder.checkpoint.is_file()
    checkpoint = folder.checkpoint if found else None
    if checkpoint is not None:
        logger.info("Going on from %s.", checkpoint)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec.*is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "Found .* in eval mode at the start of training")
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
        warnings.filterwarnings("ignore", "The 'train_dataloader' does not have many workers")
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)


def kept_policies(run: RunSettings, folder: PolicyFolder) -> list[KeptPolicies]:
    """Who keeps policies on the way; nobody where none are wanted."""
    every = run.keep_policy_every_n_steps
    return [] if every == 0 else [KeptPolicies(folder.kept, every)]


def loggers(path: Path, project: str | None) -> list[Logger]:
    """TensorBoard, and Weights & Biases where a project is named."""
    found: list[Logger] = [TensorBoardLogger(path, name="", version="logs")]
    if project is not None:
        found.append(WandbLogger(name=path.name, project=project, save_dir=path / "logs"))
    return found


def check_wandb(project: str | None) -> None:
    """Refuse a project where there is nothing to log to it with.

    Raises:
        ValueError: wandb is not installed.
    """
    if project is not None and find_spec("wandb") is None:
        raise ValueError("--wandb needs the package: pip install wandb. Or leave it out.")


def held_out(run: RunSettings, policy: VLAPolicy) -> list[HeldOut]:
    """Windows of every dataset that training never sees."""
    if not run.validation.windows:
        return []
    told = policy.config, policy.tokenizer, run.data.mapping, run.data.seconds
    sources = [RobotSource.open(path, *told, part="held_out") for path in run.data.datasets]
    return [held_out_windows(policy, source, run.validation) for source in sources]


def describe(stream: SampleStream, tokenizer: ActionTokens) -> dict[str, Any]:
    """What datasets, conversations and tokenizer were when a run began."""
    found: dict[str, Any] = {
        source.name: {"windows": len(source.windows), "cameras": source.cameras}
        for source in stream.robots
    }
    found |= {str(source.path): len(source.entries) for source in stream.conversations}
    return {**found, "tokenizer": digest(tokenizer)}
