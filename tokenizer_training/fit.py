"""One run from datasets to the best tokenizer: closed form first, then training."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from rvq_action.artifact.codes_file import fingerprint
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.housekeeping.training_folder import CONTENTS
from rvq_action.tokenizer import ActionTokenizer
from tokenizer_training.callbacks import (
    BestTokenizer,
    ResumePoint,
    SemanticCodebooks,
    SemanticSettings,
    ValidationSettings,
)
from tokenizer_training.datamodule import ActionDataModule
from tokenizer_training.divergence import Divergence
from tokenizer_training.features.cache import DatasetFeatures
from tokenizer_training.module import TokenizerModule
from tokenizer_training.pretrained import going_on
from tokenizer_training.run_folder import RunFolder
from tokenizer_training.shown import narrowings, shown_features
from tokenizer_training.sources import Source
from tokenizer_training.start import (
    CalibrationWindows,
    fit_embodiments,
    fitted_targets,
    full_closed_form,
    quick_closed_form,
    sample_windows,
    usual_errors,
    validation_sample,
)

logger = logging.getLogger(__name__)

TOO_FEW = (
    "Fewer than %d validation episodes: too few to tell learning from memorising, so the closed "
    "form is fitted on all training episodes and nothing is trained. Record more, or raise "
    "--data.validation."
)
NOT_FURTHER = (
    "Fewer than %d validation episodes: too few to tell learning from memorising, so training does "
    "not go on from the tokenizer. Record more, or raise --data.validation."
)
NOTHING_SEEN = (
    "Fewer than %d validation episodes: too few to tell learning from memorising, so that nothing "
    "would be trained, and the terms %s are what nothing but training teaches. Record more, raise "
    "--data.validation, or fit without pictures: --config base."
)
LIBRARIES = ("rvq-action", "torch", "lightning", "vector-quantize-pytorch", "numpy")


@dataclass(frozen=True)
class RunSettings:
    """A run, beside what it trains and on what.

    Attributes:
        run_dir: Folder of the run.
        config_name: Name of the configuration, for the artefact.
        recipe: Of the closed form.
        tokenizer: What training goes on from instead; None for a closed form.
        validation: How the best tokenizer is chosen.
        semantic: How the semantic codes follow the semantic network.
        checkpoint_every_n_steps: Steps between two checkpoints.
        resume: `auto` goes on from what is in the folder, `never` starts afresh.
        settings: Everything that decides the result; a folder is never reused with others.
    """

    run_dir: Path
    config_name: str
    recipe: ClosedFormRecipe
    validation: ValidationSettings
    tokenizer: ActionTokenizer | None = None
    semantic: SemanticSettings = SemanticSettings()
    checkpoint_every_n_steps: int = 100
    resume: Literal["auto", "never"] = "auto"
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def semantic_slots(self) -> int:
        """Slots whose first token says what is to be seen."""
        start = self.recipe if self.tokenizer is None else self.tokenizer.config
        return start.semantic_slots


def fit(
    run: RunSettings, module: TokenizerModule, data: ActionDataModule, trainer: Trainer
) -> Path:
    """Train a tokenizer, or go on with it.

    Returns:
        The folder of the best artefact.

    Raises:
        FileNotFoundError: A dataset is missing.
        ValueError: A dataset or the run's folder is not usable; says why.
    """
    began = time.monotonic()
    folder = RunFolder(run.run_dir)
    if trainer.max_steps < 0:
        raise ValueError("A run needs an end: give --trainer.max_steps.")
    sources, steps = data.sources, trainer.max_steps
    if steps and sum(len(source.validation) for source in sources) < run.validation.least_episodes:
        if run.tokenizer is not None:
            raise ValueError(NOT_FURTHER % run.validation.least_episodes)
        if module.weights.visual:
            raise ValueError(NOTHING_SEEN % (run.validation.least_episodes, module.weights.visual))
        logger.warning(TOO_FEW, run.validation.least_episodes)
        sources, steps = [replace(source, validation=()) for source in sources], 0
    check_visual(run, module, data)
    if trainer.is_global_zero:
        settings = decided(run.settings, data.sources, data.features, run.tokenizer)
        folder.claim(settings, fresh=run.resume == "never")
    if folder.is_complete:
        logger.info("%s is complete: nothing to train.", folder.path)
        return folder.tokenizer
    if not trainer.is_global_zero:
        folder.wait_for_closed_form()
    elif not folder.closed_form.is_dir():
        try:
            fit_start(run, folder, sources, began, data)
        except Exception:
            folder.release()
            raise
    if steps > 0:
        train(run, folder, module, data, trainer)
    done = trainer.global_step
    if done < steps:
        logger.warning("Stopped at step %d; the same command goes on from there.", done)
    elif trainer.is_global_zero:
        folder.finish(f"{done} steps")
    logger.info("The best tokenizer is in %s.", folder.tokenizer)
    return folder.tokenizer


def decided(
    options: dict[str, Any],
    sources: Sequence[Source],
    features: Mapping[str, DatasetFeatures],
    tokenizer: ActionTokenizer | None = None,
) -> dict[str, Any]:
    """Everything that decides what a run results in.

    Args:
        options: Of the run.
        sources: The recordings, and the mappings that they are read by.
        features: What was seen.
        tokenizer: What training goes on from, if anything.
    """
    contents: dict[str, Any] = {"mappings": {s.name: s.dataset.mapping.decisive() for s in sources}}
    if tokenizer is not None:
        contents["tokenizer"] = fingerprint(tokenizer)
    found = {source.name: _describe(source) for source in sources}
    return {**options, "found": found, "features": fingerprints(features), CONTENTS: contents}


def fingerprints(features: Mapping[str, DatasetFeatures]) -> dict[str, str]:
    """What was seen of each dataset, as artefacts and folders of runs remember it."""
    return {name: seen.fingerprint for name, seen in features.items()}


def _describe(source: Source) -> dict[str, Any]:
    """What a dataset was when a run began."""
    reader = source.dataset.reader
    frames = sum(reader.episode_length(i) for i in range(reader.num_episodes))
    return {"episodes": reader.num_episodes, "frames": frames}


def check_visual(run: RunSettings, module: TokenizerModule, data: ActionDataModule) -> None:
    """Refuse visual terms that nothing can be learnt from, before anything is written.

    Raises:
        ValueError: Names what is missing.
    """
    visual = module.weights.visual
    if visual and data.cache is None:
        raise ValueError(
            f"The terms {visual} need to know what a visual teacher saw: give --data.features "
            "CACHE (`rvq-train features` makes one), or train without pictures: --config base."
        )
    if visual and not run.semantic_slots:
        raise ValueError(
            f"The terms {visual} need semantic slots: give --closed_form.semantic_slots, 2 say, or "
            "a --tokenizer that has some."
        )
    blind = [source.name for source in data.sources if source.name not in data.features]
    if visual and blind:
        logger.info("No features of %s: trained with the other terms.", ", ".join(blind))


def fit_start(
    run: RunSettings,
    folder: RunFolder,
    sources: Sequence[Source],
    began: float,
    data: ActionDataModule,
) -> None:
    """Write the artefact that training starts from, which is the best so far."""
    metadata = {
        "config": run.config_name,
        "steps": 0,
        "split": {source.name: source.to_metadata() for source in sources},
        "seconds": data.seconds,
        "features": fingerprints(data.features),
        "versions": {name: version(name) for name in LIBRARIES},
    }
    if run.tokenizer is None:
        kind, start = "closed form", fit_closed_forms(run, folder, sources, began, metadata)
    else:
        kind, start = "start", going_on(run.tokenizer, sources, metadata)
    start = CalibrationWindows.of(sources).calibrate(start)
    start.save_pretrained(folder.tokenizer)
    start.save_pretrained(folder.closed_form)
    logger.info("The %s is in %s after %.0f s.", kind, folder.closed_form, time.monotonic() - began)


def fit_closed_forms(
    run: RunSettings,
    folder: RunFolder,
    sources: Sequence[Source],
    began: float,
    metadata: dict[str, Any],
) -> ActionTokenizer:
    """The closed form; a first artefact is written within seconds."""
    embodiments = fit_embodiments(sources)
    first = quick_closed_form(sources, embodiments, run.recipe, metadata)
    first.save_pretrained(folder.tokenizer)
    logger.info(
        "A first tokenizer (%d tokens of %d codes) is in %s after %.0f s.",
        *(first.tokens_per_chunk, first.config.codebook_size, folder.tokenizer),
        time.monotonic() - began,
    )
    return full_closed_form(sources, embodiments, run.recipe, metadata)


def train(
    run: RunSettings,
    folder: RunFolder,
    module: TokenizerModule,
    data: ActionDataModule,
    trainer: Trainer,
) -> None:
    """Train from the closed form, or go on from the last checkpoint."""
    module.start = folder.closed_form
    module.usual_errors = usual_errors(folder.closed_form, data.sources)
    module.calibration = CalibrationWindows.of(data.sources)
    checkpoint = folder.checkpoint if folder.checkpoint.is_file() else None
    sources = data.sources
    shown = shown_features(sources, data.features, checkpoint) if module.weights.visual else {}
    data.shown, module.narrowings = shown, narrowings(shown)
    module.fitted_targets = {
        s.name: fitted_targets(s, shown[s.name]) for s in sources if s.name in shown
    }
    samples = {
        s.name: validation_sample(s, run.validation.windows, shown.get(s.name), data.shuffle_images)
        for s in sources
    }
    best = BestTokenizer(run.validation, samples, folder.tokenizer)
    last = ResumePoint(folder.checkpoint, run.checkpoint_every_n_steps)
    trainer.callbacks += [Divergence(last)]  # type: ignore[attr-defined]
    if run.semantic_slots:
        chunks = sample_windows(sources, run.semantic.windows)
        trainer.callbacks += [SemanticCodebooks(chunks, run.semantic)]  # type: ignore[attr-defined]
    trainer.callbacks += [best, last]  # type: ignore[attr-defined]
    trainer.logger = TensorBoardLogger(folder.path, name="", version="logs")
    if checkpoint is not None:
        logger.info("Going on from %s.", checkpoint)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec.*is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "Found .* in eval mode at the start of training")
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    logger.info("Best: step %d, validation score %.3g (lower is better).", best.step, best.score)
