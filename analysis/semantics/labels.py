"""Linear probes: can the task, and a gripper that opens or closes, be read off the codes?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.bootstrap import EpisodeBootstrap, Estimate, interval
from analysis.rows import Row
from analysis.semantics import probe
from analysis.semantics.probe import Inputs
from analysis.semantics.seen import Seen, SemanticSet
from analysis.style import GRID, MUTED

GRIPPER = "gripper"
EVENT_SHARE = 0.25
"""A gripper event: within the chunk a gripper channel moves by this share of its range."""


@dataclass(frozen=True)
class Label:
    """Something to be told from codes.

    Attributes:
        name: `task` or `gripper_event`.
        classes: Names of the classes.
        training: [M] class of every training window.
        held_out: [N] of every held-out window.
    """

    name: str
    classes: list[str]
    training: np.ndarray
    held_out: np.ndarray


def labels_of(data: SemanticSet) -> tuple[list[Label], dict[str, str]]:
    """The labels a dataset offers, and by name why it does not offer the others."""
    labels, missing = [], {}
    for name, made in (("task", _task(data)), ("gripper_event", _gripper(data))):
        if isinstance(made, str):
            missing[name] = made
        else:
            labels.append(made)
    return labels, missing


def _task(data: SemanticSet) -> Label | str:
    classes = sorted(set(data.training.tasks))
    if len(classes) < 2:
        return "all episodes have one task"
    if not set(data.held_out.tasks) <= set(classes):
        return "held-out episodes have tasks that no training episode has"
    numbers = [np.searchsorted(classes, part.tasks) for part in (data.training, data.held_out)]
    return Label("task", classes, *numbers)


def _gripper(data: SemanticSet) -> Label | str:
    channels = data.data.channels
    columns = [i for i, c in enumerate(channels) if data.data.layout.channels[c].unit == GRIPPER]
    if not columns:
        return "the layout has no gripper"
    span = np.ptp(data.training.batch.relative[..., columns], axis=(0, 1))
    numbers = [_events(part, columns, span) for part in (data.training, data.held_out)]
    if any(len(np.unique(part)) < 2 for part in numbers):
        return "the gripper moves in all of the chunks, or in none"
    return Label("gripper_event", ["still", "moves"], *numbers)


def _events(seen: Seen, columns: list[int], span: np.ndarray) -> np.ndarray:
    """[N] 1 where any gripper moves by a share of its span within the chunk."""
    moved = np.ptp(seen.batch.relative[..., columns], axis=1)
    return ((moved > EVENT_SHARE * span) & (span > 0)).any(1).astype(int)


@dataclass(frozen=True)
class Told:
    """What the probe said about N held-out windows.

    Attributes:
        label: What was asked.
        said: [N] classes.
        episode: [N].
    """

    label: Label
    said: np.ndarray
    episode: np.ndarray

    def balanced_accuracy(self) -> Estimate:
        """Mean over the classes of the share of their windows told right, with its interval."""
        bootstrap = EpisodeBootstrap(self.episode)
        right = (self.said == self.label.held_out).astype(float)
        present = np.unique(self.label.held_out)
        of_class = [(self.label.held_out == c).astype(float) for c in present]
        recalls = [bootstrap.replicates(right * members, members) for members in of_class]
        value = np.mean([right[members > 0].mean() for members in of_class])
        return interval(float(value), np.mean(recalls, axis=0))


def compute(inputs: Inputs, label: Label, data: SemanticSet) -> Told:
    """Regress on the classes, every class with the same weight, and take the largest."""
    targets = np.eye(len(label.classes), dtype=np.float32)[label.training]
    frequency = np.bincount(label.training, minlength=len(label.classes))
    weights = 1 / np.maximum(frequency, 1)[label.training]
    checked = label.training[data.validation]

    def loss(predicted: np.ndarray) -> float:
        return 1 - _balanced(predicted.argmax(1), checked)

    predicted = probe.predict(inputs, targets, data.validation, loss, weights / weights.mean())
    return Told(label, predicted.values.argmax(1), data.held_out.episode)


def _balanced(said: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([(said[truth == c] == c).mean() for c in np.unique(truth)]))


def majority(label: Label) -> float:
    """Balanced accuracy of always naming the most frequent class of the training windows."""
    most = np.bincount(label.training).argmax()
    return _balanced(np.full(len(label.held_out), most), label.held_out)


def report(row: Row, told: Told) -> None:
    """Balanced accuracy, and that of the majority."""
    row.add(f"{told.label.name}_accuracy", told.balanced_accuracy())
    row.add(f"{told.label.name}_accuracy_majority", majority(told.label))


@dataclass(frozen=True)
class AccuracyDots:
    """Balanced accuracies of one label.

    Attributes:
        title: The label.
        names: [n] tokenizers.
        accuracy: [n, 3] value, lower and upper end.
        majority: Of the most frequent class.
    """

    title: str
    names: list[str]
    accuracy: np.ndarray
    majority: float


def plot(result: AccuracyDots, colours: list[str], ax) -> None:
    """A dot with its interval per tokenizer; the majority as a line."""
    for place, (value, low, high) in enumerate(result.accuracy):
        spread = np.maximum([[value - low], [high - value]], 0)
        ax.errorbar(value, place, xerr=spread, fmt="o", color=colours[place], capsize=2)
    ax.axvline(result.majority, color=MUTED, linestyle=":", label="majority")
    ax.set_yticks(range(len(result.names)), result.names)
    ax.set(xlim=(0, 1.02), ylim=(len(result.names) - 0.5, -0.5), title=result.title)
    ax.set_xlabel("balanced accuracy")
    ax.grid(axis="x", color=GRID)
