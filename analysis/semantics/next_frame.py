"""Next-frame skill: what codes tell about the picture after the chunk, beyond its first picture.

The probe reads the feature of the first frame and codes, and predicts how the feature will have
changed at the frame right after the chunk. skill = 1 - |predicted - seen|^2 / |first - seen|^2,
summed over windows: 0 is a picture that stands still, 1 a perfect prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.bootstrap import EpisodeBootstrap, Estimate
from analysis.rows import Row
from analysis.semantics import probe
from analysis.semantics.probe import Inputs, linear
from analysis.semantics.seen import SemanticSet
from analysis.style import GRID, MUTED

START_WEIGHTS = (1.0, 4.0)
"""How much the start feature counts against codes; chosen with the strength, on validation."""


@dataclass(frozen=True)
class NextFrame:
    """Squared errors of the windows that a frame follows; Q in all.

    Attributes:
        error: [Q] squared error of the prediction.
        change: [Q] squared distance between the first frame's feature and the frame's after.
        episode: [Q].
    """

    error: np.ndarray
    change: np.ndarray
    episode: np.ndarray

    def skill(self) -> Estimate:
        """With its interval."""
        bootstrap = EpisodeBootstrap(self.episode)
        left = bootstrap.ratio(self.error, self.change)
        return Estimate(1 - left.value, 1 - left.high, 1 - left.low)

    def over(self, other: NextFrame) -> Estimate:
        """How much more skill than another prediction for the same windows."""
        return EpisodeBootstrap(self.episode).ratio(other.error - self.error, self.change)


def start_inputs(data: SemanticSet) -> Inputs:
    """The feature of the first frame, as a probe reads it."""
    return linear(data.training.first, data.held_out.first)


def compute(start: Inputs, codes: Inputs | None, data: SemanticSet) -> NextFrame:
    """Predict the change from the start feature, and from codes where they are given."""
    training, held_out = data.training, data.held_out
    rows, asked = np.flatnonzero(training.followed), np.flatnonzero(held_out.followed)
    change = training.following[rows] - training.first[rows]
    checked = data.validation[rows]

    def loss(predicted: np.ndarray) -> float:
        return float(np.square(predicted - change[checked]).sum())

    weights = START_WEIGHTS if codes is not None else (1.0,)
    tried = [
        probe.predict(both.take(rows, asked), change, checked, loss)
        for both in (start * w if codes is None else start * w + codes for w in weights)
    ]
    best = min(tried, key=lambda prediction: prediction.loss)
    seen = held_out.following[asked] - held_out.first[asked]
    return NextFrame(
        np.square(best.values - seen).sum(1), np.square(seen).sum(1), held_out.episode[asked]
    )


def report(
    row: Row, result: NextFrame, start: NextFrame, shuffled: NextFrame, plain: NextFrame | None
) -> None:
    """The skill, and how much of it the start frame, shuffled codes and plain codes do not have."""
    row.add("next_frame_skill", result.skill())
    row.add("next_frame_skill_shuffled", shuffled.skill())
    row.add("next_frame_skill_over_start", result.over(start))
    row.add("next_frame_skill_over_shuffled", result.over(shuffled))
    if plain is not None:
        row.add("next_frame_skill_over_plain", result.over(plain))


@dataclass(frozen=True)
class SkillBars:
    """One bar each.

    Attributes:
        labels: [n] what was read.
        skill: [n].
        low: [n] lower end of the interval.
        high: [n] upper end.
    """

    labels: list[str]
    skill: np.ndarray
    low: np.ndarray
    high: np.ndarray


def plot(result: SkillBars, colours: list[str], ax) -> None:
    """Horizontal bars, the first on top."""
    places = np.arange(len(result.labels))
    spread = np.maximum([result.skill - result.low, result.high - result.skill], 0)
    ax.barh(places, result.skill, color=colours, height=0.62, alpha=0.85)
    ax.errorbar(result.skill, places, xerr=spread, fmt="none", ecolor=MUTED, capsize=2)
    ax.axvline(0, color=MUTED, linewidth=1.0)
    ax.set_yticks(places, result.labels)
    ax.set(ylim=(len(places) - 0.4, -0.6), xlabel="next-frame skill")
    ax.grid(axis="x", color=GRID)
