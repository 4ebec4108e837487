"""Layer 1: does the policy answer as its robot needs it? Nothing moves.

What goes wrong here goes wrong silently on a robot: the normalisation of another one, a camera
that is not there, numbers that are none, motion outside anything seen, noise that nobody repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rvq_action.chunk import ActionChunk
from rvq_action.embodiment import Embodiment
from rvq_action.relative import to_relative
from vla.deploy.robots.config import read_robot
from vla.evaluation.layers.gates import Check, Gates
from vla.evaluation.layers.person import await_look
from vla.evaluation.layers.subject import Subject
from vla.samples import Observation

LOOKS = 8
SLACK = 1e-3
"""Of the training range's width: what float32 loses on the way to absolute actions and back."""
FAR = 2.0
"""In model space, where nearly all of what was seen in training lies within 1."""


def measure(subject: Subject) -> dict[str, Any]:
    """Look at the policy's answers; plain data.

    What keeps it from answering at all (an unknown robot, a layout or a camera that is not there)
    is a problem that is named, not an error.

    Raises:
        ValueError: A real robot is to be looked at, and nobody is beside it.
    """
    settings = subject.settings
    if settings.data is None and read_robot(settings.robots[0]).is_real:
        await_look(settings.robots[0])
    try:
        seen, recorded = _looks(subject)
        chunks = subject.act(seen, subject.settings.seed)
    except (ValueError, KeyError, FloatingPointError) as error:
        return {"problem": str(error.args[0] if error.args else error)}
    name = subject.embodiment
    known = subject.policy.tokenizer.embodiments[name]
    actions = np.stack([np.asarray(chunk, np.float64) for chunk in chunks])
    again = np.stack(subject.act(seen, subject.settings.seed))
    other = np.stack(subject.act(seen, subject.settings.seed + 1))
    spread = known.actions.scale.numpy()
    figures = {
        "problem": "",
        "embodiment": name,
        "looks": len(seen),
        "shape": list(chunks[0].shape),
        "wanted_shape": [subject.horizon, known.layout.width],
        "dtype": str(chunks[0].dtype),
        "finite": float(np.isfinite(actions).mean()),
        "outside": outside(torch.from_numpy(actions).float(), seen, known),
        "unusual_state": _unusual_state(seen, known),
        "unusual_actions": None if recorded is None else _unusual_actions(subject, recorded),
        "changed_by_repeating": float(np.abs(again - actions).max()),
        "changed_by_seed": _distance(other, actions, spread),
    }
    return figures | {"heeds": _heeds(subject, seen, actions, spread)}


def judge(figures: dict[str, Any], gates: Gates) -> list[Check]:
    """Hold the figures against the gates."""
    if figures["problem"]:
        return [Check("fits its robot", False, figures["problem"])]
    shape, wanted = figures["shape"], figures["wanted_shape"]
    told = f"{figures['embodiment']!r}: normalisation, channels and cameras are there"
    checks = [
        Check("fits its robot", True, told),
        Check("shape [T, D]", shape == wanted, f"{shape}, wanted {wanted}"),
        Check("dtype", figures["dtype"] == "float32", f"{figures['dtype']}, wanted float32"),
        Check.at_least("finite values", figures["finite"], 1.0),
        Check.at_most("values outside the training range", figures["outside"], gates.outside),
        Check.at_most("state unlike training", figures["unusual_state"], gates.unusual),
    ]
    if figures["unusual_actions"] is not None:
        share = figures["unusual_actions"]
        checks.append(Check.at_most("recorded actions unlike training", share, gates.unusual))
    repeat = figures["changed_by_repeating"]
    return [*checks, Check.at_most("same seed, largest change", repeat, 0.0)]


def outside(actions: Tensor, seen: Sequence[Observation], known: Embodiment) -> float:
    """Share of predicted values that lie outside the training range.

    Args:
        actions: [N, T, D] physical, absolute.
        seen: What they answer.
        known: The robot.
    """
    inside = known.range.contains(relative(actions, seen, known), SLACK)[..., known.valid]
    return float((~inside).float().mean())


def relative(actions: Tensor, seen: Sequence[Observation], known: Embodiment) -> Tensor:
    """Actions [N, T, D] as they are seen from the states before them."""
    anchors = torch.stack([torch.as_tensor(o.proprio, dtype=torch.float32) for o in seen])
    return to_relative(actions, anchors.nan_to_num(0.0), known.layout)


def unusual(values: Tensor, mask: Tensor) -> float:
    """Share of values in model space that are far from what was seen in training."""
    return float((values.abs() > FAR)[mask].float().mean()) if mask.any() else 0.0


def _looks(subject: Subject) -> tuple[list[Observation], ActionChunk | None]:
    """Observations, and what was recorded behind them where there is a dataset."""
    if subject.settings.data is None:
        return [subject.look()], None
    return subject.shown(subject.spread(LOOKS))


def _unusual_state(seen: Sequence[Observation], known: Embodiment) -> float:
    states = torch.stack([torch.as_tensor(o.proprio, dtype=torch.float32) for o in seen])
    there = ~states.isnan() & known.proprio.seen
    return unusual(known.proprio.normalize(states.nan_to_num(0.0)), there)


def _unusual_actions(subject: Subject, recorded: ActionChunk) -> float:
    given = subject.policy.tokenizer.prepare(recorded)
    return unusual(given.x, given.mask)


def _distance(one: np.ndarray, other: np.ndarray, spread: np.ndarray) -> float:
    """Mean change of a value, in units of the channels' training spread."""
    return float((np.abs(one - other) / spread).mean())


def _heeds(
    subject: Subject, seen: Sequence[Observation], actions: np.ndarray, spread: np.ndarray
) -> dict[str, float]:
    """How much the answers change with what is shown and told: 0 is a policy that does not look.

    Told and not judged: a policy of one task need not listen.
    """
    dark = [
        replace(o, images={name: np.zeros_like(image) for name, image in o.images.items()})
        for o in seen
    ]
    other = [replace(o, instruction="Do nothing at all.") for o in seen]
    answers = {
        "pictures": subject.act(dark, subject.settings.seed),
        "instruction": subject.act(other, subject.settings.seed),
    }
    return {name: _distance(np.stack(found), actions, spread) for name, found in answers.items()}
