"""What training starts from: statistics of the fitted episodes, and the closed form on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rvq_action.analytic import fit_closed_form
from rvq_action.chunk import ActionChunk
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.data.windows import Windows
from rvq_action.embodiment import Embodiment
from rvq_action.novelty.calibration import calibrated
from rvq_action.statistics import StatisticsBuilder
from rvq_action.tokenizer import ActionTokenizer
from tokenizer_training.evaluation import SMALLEST, evaluate
from tokenizer_training.features.narrow import Features
from tokenizer_training.sources import Source
from tokenizer_training.visual import Sample, VisualSource, VisualTargets

PASS = 2048
"""Windows read at a time."""
QUICK_WINDOWS, QUICK_ITERATIONS = 2000, 2
USUAL_WINDOWS = 512
CALIBRATION_WINDOWS = 1024
FEATURE_WINDOWS = 4096


def fit_embodiments(sources: Sequence[Source]) -> dict[str, Embodiment]:
    """Statistics of every embodiment, streamed over the full windows of its fitted episodes.

    Where chunks set off is also measured on the windows that overrun the end of an episode: they
    are trained on, and some moments, an opening gripper say, are the first frame of no other.
    """
    builders: dict[str, StatisticsBuilder] = {}
    datasets = {source.dataset.embodiment: source.dataset for source in reversed(sources)}
    for source in sources:
        layout = source.dataset.layout
        builder = builders.setdefault(source.dataset.embodiment, StatisticsBuilder(layout))
        windows = source.fit_windows()
        for first in range(0, len(windows), PASS):
            builder.update(windows.chunk(slice(first, first + PASS)))
        for late in source.late_chunks(PASS):
            builder.update_start(late)
    return {
        name: Embodiment(
            datasets[name].layout,
            builder.build(),
            datasets[name].fps,
            datasets[name].mapping.to_dict(),
        )
        for name, builder in builders.items()
    }


def quick_closed_form(
    sources: Sequence[Source],
    embodiments: dict[str, Embodiment],
    recipe: ClosedFormRecipe,
    metadata: dict,
) -> ActionTokenizer:
    """The closed form on a small sample: a first artefact within seconds."""
    quick = replace(recipe, iterations=min(QUICK_ITERATIONS, recipe.iterations))
    samples = sample_windows(sources, QUICK_WINDOWS // len(embodiments))
    return fit_closed_form(samples, embodiments, quick, metadata)


def full_closed_form(
    sources: Sequence[Source],
    embodiments: dict[str, Embodiment],
    recipe: ClosedFormRecipe,
    metadata: dict,
) -> ActionTokenizer:
    """The closed form on up to `recipe.max_windows` windows of every embodiment."""
    samples = sample_windows(sources, recipe.max_windows)
    return fit_closed_form(samples, embodiments, recipe, metadata)


@dataclass(frozen=True)
class CalibrationWindows:
    """What a tokenizer is calibrated on: one batch per embodiment, validation where there is any.

    Attributes:
        fitted: Of the fitted episodes.
        validation: Of the validation episodes.
    """

    fitted: list[ActionChunk]
    validation: list[ActionChunk]

    @classmethod
    def of(cls, sources: Sequence[Source]) -> CalibrationWindows:
        """Evenly spread over the sources."""
        seen = [source for source in sources if source.validation]
        return cls(
            sample_windows(sources, CALIBRATION_WINDOWS),
            sample_windows(seen, CALIBRATION_WINDOWS, validation=True),
        )

    def calibrate(self, tokenizer: ActionTokenizer) -> ActionTokenizer:
        """The tokenizer with what is usual for it."""
        device = tokenizer.device
        parts = ([c.to(device) for c in chunks] for chunks in (self.fitted, self.validation))
        return calibrated(tokenizer, *parts)


def usual_errors(start: Path, sources: Sequence[Source]) -> dict[str, Tensor]:
    """What every prefix of the start leaves over on fitted windows.

    Args:
        start: The artefact.
        sources: The datasets.

    Returns:
        [tokens] mean squared error in model space by number of tokens, per embodiment.
    """
    tokenizer = ActionTokenizer.from_pretrained(start)
    chunks = {chunk.embodiment: chunk for chunk in sample_windows(sources, USUAL_WINDOWS)}
    mse = evaluate(tokenizer, chunks).mse
    return {
        name: torch.tensor([max(error, SMALLEST) for (of, _), error in mse.items() if of == name])
        for name in chunks
    }


def sample_windows(
    sources: Sequence[Source], most: int, validation: bool = False
) -> list[ActionChunk]:
    """Full windows of the fitted episodes, or of those for validation, thinned evenly to `most`
    per embodiment."""
    windows = Source.validation_windows if validation else Source.fit_windows
    groups: dict[str, list[Source]] = {}
    for source in sources:
        groups.setdefault(source.dataset.embodiment, []).append(source)
    return [
        join([thin(windows(source), most // len(group)) for source in group])
        for group in groups.values()
    ]


def thin(windows: Windows, most: int) -> ActionChunk:
    """At most so many windows, evenly spread."""
    return windows.chunk(thinned(windows, most))


def thinned(windows: Windows, most: int) -> np.ndarray:
    """The numbers of at most so many windows, evenly spread."""
    count = min(len(windows), max(most, 1))
    return np.linspace(0, len(windows) - 1, count).round().astype(np.int64)


def validation_sample(
    source: Source, most: int, features: Features | None, shuffled: bool = False
) -> Sample:
    """Windows of the validation episodes, with what was seen around them, or around others."""
    windows = source.validation_windows()
    chosen = thinned(windows, most)
    targets = None
    if features is not None:
        targets = VisualSource(features, windows, shuffled).targets(chosen, windows.horizon)
    return Sample(source.name, windows.chunk(chosen), targets)


def fitted_targets(source: Source, features: Features) -> VisualTargets:
    """What was seen around windows of the fitted episodes, evenly spread."""
    windows = source.fit_windows()
    chosen = thinned(windows, FEATURE_WINDOWS)
    return VisualSource(features, windows).targets(chosen, windows.horizon)


def join(chunks: Sequence[ActionChunk]) -> ActionChunk:
    """Chunks of one embodiment and horizon, end to end; an unknown anchor counts as 0."""
    if len(chunks) == 1:
        return chunks[0]
    anchors = None
    if any(c.anchor is not None for c in chunks):
        empty = [torch.zeros_like(c.actions[:, 0]) for c in chunks]
        pairs = [
            (e, e.bool()) if c.anchor is None else (c.anchor, c.anchor_mask)
            for c, e in zip(chunks, empty, strict=True)
        ]
        anchors = [torch.cat(parts) for parts in zip(*pairs, strict=True)]
    return replace(
        chunks[0],
        actions=torch.cat([c.actions for c in chunks]),
        mask=torch.cat([c.mask for c in chunks]),
        anchor=anchors[0] if anchors else None,
        anchor_mask=anchors[1] if anchors else None,
    )
