"""Layer 2: does the policy say what was done? On held-out episodes; nothing moves.

Its chunks are held against recorded ones, frame by frame, beside two that look at nothing: a robot
that holds its state, and one that always does the mean of all training chunks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from rvq_action.chunk import ActionChunk
from rvq_action.embodiment import Embodiment
from rvq_action.layout import ROTATION_UNIT
from rvq_action.metrics import masked_mean, physical_errors
from vla.evaluation.layers.gates import Check, Gates
from vla.evaluation.layers.sanity import relative, unusual
from vla.evaluation.layers.subject import Subject

BATCH = 16
EDGE = 1e-3
"""Of a channel's training range, on both sides."""
POLICY, HOLDING, MEAN = "policy", "holding", "mean_action"


def measure(subject: Subject) -> dict[str, Any]:
    """Predict held-out windows; plain data, errors in the units of the layout.

    Raises:
        ValueError: The dataset does not fit the policy; layer 1 says so first.
        FloatingPointError: The policy gives numbers that are none.
    """
    rows = subject.spread(subject.settings.windows)
    known = subject.policy.tokenizer.embodiments[subject.embodiment]
    parts = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    predicted, edges = [], []
    for number, part in enumerate(tqdm(parts, "open loop", unit="batch", disable=None)):
        seen, chunk = subject.shown(part)
        found = subject.act(seen, subject.settings.seed + number)
        actions = torch.stack([torch.as_tensor(a) for a in found]).float()
        predicted.append(actions)
        edges.append(at_edge(relative(actions, seen, known), known))
    whole = subject.source.chunk(rows)
    rivals = {POLICY: torch.cat(predicted), **baselines(subject, whole, known)}
    given = subject.policy.tokenizer.prepare(whole)
    recorded = at_edge(known.actions.denormalize(_narrow(given.x, known)), known)
    return {
        "dataset": subject.source.name,
        "embodiment": subject.embodiment,
        "episodes": sorted({subject.source.windows.episode_of(row) for row in rows}),
        "windows": len(rows),
        "fps": whole.fps,
        "horizon": whole.horizon,
        "groups": _groups(rivals, whole, known),
        "model_space": _in_model_space(subject, rivals, whole),
        "saturation": _by_group(torch.cat(edges), whole, known),
        "recorded_saturation": _by_group(recorded, whole, known),
        "unusual_actions": unusual(given.x, given.mask),
    }


def judge(figures: dict[str, Any], gates: Gates) -> list[Check]:
    """Hold the figures against the gates."""
    error = figures["model_space"]
    ratio = error[POLICY] / max(error[HOLDING], 1e-12)
    better = ratio < gates.against_holding
    told = f"{ratio:.3g} of that of a robot that holds, less than {gates.against_holding:g}"
    excess = {
        group: share - figures["recorded_saturation"][group]
        for group, share in figures["saturation"].items()
    }
    worst = max(excess, key=lambda group: excess[group])
    return [
        Check.at_most(
            "recorded actions unlike training", figures["unusual_actions"], gates.unusual
        ),
        Check("error in model space", better, told),
        Check.at_most(f"saturation beyond the data's, {worst}", excess[worst], gates.saturation),
    ]


def baselines(subject: Subject, chunk: ActionChunk, known: Embodiment) -> dict[str, Tensor]:
    """What those who look at nothing do, float32 [N, T, D] physical."""
    given = subject.policy.tokenizer.prepare(chunk)
    resting = known.rest.like(given.x, chunk.anchor, chunk.anchor_mask)
    usual = mean_chunk(subject).expand_as(given.x)
    return {
        HOLDING: known.from_model(resting, chunk.anchor, relative=False, fps=chunk.fps),
        MEAN: known.from_model(usual, chunk.anchor, relative=False, fps=chunk.fps),
    }


def mean_chunk(subject: Subject) -> Tensor:
    """The mean of all training chunks in model space, [T, D_model], frame by frame."""
    windows, total, count = subject.training_windows(), 0.0, 0
    for first in range(0, len(windows), 1024):
        given = subject.policy.tokenizer.prepare(windows.chunk(slice(first, first + 1024)))
        total, count = total + given.x.sum(0), count + given.mask.sum(0)
    assert isinstance(total, Tensor) and isinstance(count, Tensor)
    return total / count.clamp(min=1)


def at_edge(values: Tensor, known: Embodiment) -> Tensor:
    """bool [..., D]: which relative values lie at the edge of the training range."""
    low, high = known.range.low, known.range.high
    slack = EDGE * (high - low)
    return ((values <= low + slack) | (values >= high - slack)) & (high > low)


def _narrow(x: Tensor, known: Embodiment) -> Tensor:
    return x[..., : known.layout.width]


def _groups(
    rivals: dict[str, Tensor], chunk: ActionChunk, known: Embodiment
) -> dict[str, dict[str, Any]]:
    """Group -> its unit, and for every rival its mean absolute error by frame."""
    layout, mask = known.layout, chunk.mask & known.valid
    found: dict[str, dict[str, Any]] = {}
    for group, indices in layout.groups.items():
        if mask[..., indices].any():
            unit = layout.channels[indices[0]].unit
            found[group] = {"unit": "rad" if unit == ROTATION_UNIT else unit}
    for name, actions in rivals.items():
        for frame in range(chunk.horizon):
            now = slice(frame, frame + 1)
            parts = actions[:, now], chunk.actions[:, now], mask[:, now]
            for group, error in physical_errors(*parts, layout).items():
                found[group].setdefault(name, []).append(float(error))
    return found


def _in_model_space(
    subject: Subject, rivals: dict[str, Tensor], chunk: ActionChunk
) -> dict[str, float]:
    """Mean absolute error over all channels alike, for every rival."""
    wanted = subject.policy.tokenizer.prepare(chunk)
    found = {}
    for name, actions in rivals.items():
        told = ActionChunk(
            torch.where(chunk.mask, actions, 0.0),
            chunk.mask,
            chunk.anchor,
            chunk.anchor_mask,
            chunk.fps,
            chunk.embodiment,
        )
        x = subject.policy.tokenizer.prepare(told).x
        found[name] = float(masked_mean((x - wanted.x).abs(), wanted.mask))
    return found


def _by_group(edges: Tensor, chunk: ActionChunk, known: Embodiment) -> dict[str, float]:
    """Group -> share of its real values that are marked."""
    mask = chunk.mask & known.valid
    return {
        group: float(masked_mean(edges[..., indices].float(), mask[..., indices]))
        for group, indices in known.layout.groups.items()
        if mask[..., indices].any()
    }
