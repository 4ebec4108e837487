"""evaluate: layer after layer, until one does not pass; what was measured before is kept.

OUT/eval.json     figures and checks of every layer that was reached
OUT/low_speed/    recordings of the trials of layer 3
OUT/full_speed/   those of layer 4
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvq_action.housekeeping.console import writable_folder
from rvq_action.housekeeping.json_file import read_json, write_json
from vla.deploy.robots.config import read_robot, robot_digest
from vla.evaluation.closed_loop.run import fingerprint
from vla.evaluation.layers import attempts, open_loop, sanity
from vla.evaluation.layers.gates import Check, Gates
from vla.evaluation.layers.settings import LAYERS, MOVING, EvalSettings
from vla.evaluation.layers.subject import Subject

logger = logging.getLogger(__name__)
REPORT, FORMAT_VERSION = "eval.json", 2
LEAST = {"windows": 32, "seconds": 2}
"""Options of what a real robot moves after: with less, a layer has hardly looked."""


@dataclass(frozen=True)
class LayerResult:
    """What a layer came to.

    Attributes:
        name: Of the layer.
        checks: Its figures against their gates.
    """

    name: str
    checks: list[Check]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def evaluate(
    settings: EvalSettings, out: Path, gates: Gates | None = None, through: str = LAYERS[-1]
) -> list[LayerResult]:
    """Take a policy through the layers.

    Figures that are there are not measured again, unless what decides them has changed or a robot
    did not come to its end in peace; gates are held against them anew.

    Args:
        settings: What is measured.
        out: Folder of the results.
        gates: What must be shown; the usual ones where None.
        through: The last layer to try.

    Returns:
        The layers that were reached; only the last one may have failed.

    Raises:
        FileNotFoundError: There is no such policy or dataset.
        ValueError: Something is not usable, a robot is to move by what was not looked at, or the
            folder holds results of another policy.
        RobotError: A robot cannot be reached.
    """
    if through not in LAYERS:
        raise ValueError(f"There is no layer {through!r}; there are {list(LAYERS)}.")
    wanted = LAYERS[: LAYERS.index(through) + 1]
    if left_out := [name for name in wanted if name not in settings.layers]:
        logger.warning(
            "Left out: %s. Open loop takes a dataset (--data), low and full speed take robots "
            "(--robots).",
            ", ".join(left_out),
        )
    _check_data(settings, wanted)
    _check_robots(settings, wanted)
    claim = fingerprint(settings.policy)
    file = writable_folder(out) / REPORT
    kept = _read(file, claim)
    subject: Subject | None = None
    results: list[LayerResult] = []
    for layer in (name for name in settings.layers if name in wanted):
        decides = _decides(settings, layer)
        row = kept.get(layer)
        if row is None or row["decides"] != decides or row["figures"].get("cut_short"):
            subject = subject or Subject.load(settings, claim)
            row = {"decides": decides, "figures": _measure(subject, layer, out)}
        else:
            logger.info("%s: measured before.", layer)
        result = LayerResult(layer, _judge(layer, row["figures"], gates or Gates()))
        kept[layer] = {
            **row,
            "passed": result.passed,
            "checks": [c.to_dict() for c in result.checks],
        }
        write_json({"format_version": FORMAT_VERSION, "policy": claim, "layers": kept}, file)
        results.append(result)
        if not result.passed:
            break
    return results


def _check_robots(settings: EvalSettings, wanted: Sequence[str]) -> None:
    """What is wrong with a robot's words is said before the policy is loaded.

    Raises:
        ValueError: There is no such robot, or nothing says what it is to do.
        FileNotFoundError: There is no such file.
    """
    for word in settings.robots:
        read_robot(word)
        if set(MOVING) & set(wanted):
            settings.said_to(word)


def _check_data(settings: EvalSettings, wanted: Sequence[str]) -> None:
    """Nothing moves by a head that was not held against data, and nothing real by a mere glance.

    Raises:
        ValueError: It would.
    """
    if not set(MOVING) & set(wanted) or not settings.robots:
        return
    if settings.pathway == "ar":
        raise ValueError(
            "Robots are driven by the flow head, and --pathway ar looks at tokens: leave it out, "
            "or stop before anything moves (--through open_loop)."
        )
    real = ", ".join(word for word in settings.robots if read_robot(word).is_real)
    if real and settings.data is None:
        raise ValueError(
            f"{real} moves for real, and without a dataset open loop is left out: give --data, or "
            "look only (--through sanity)."
        )
    for name, least in LEAST.items():
        if real and (given := getattr(settings, name)) < least:
            raise ValueError(f"{real} moves for real: --{name} is at least {least}, got {given}.")


def _decides(settings: EvalSettings, layer: str) -> dict[str, Any]:
    """What decides a layer's figures, beside the policy: settings, and what robots' files say."""
    told = settings.decisive(layer)
    return {"settings": told, "robots": [robot_digest(word) for word in told.get("robots", ())]}


def _measure(subject: Subject, layer: str, out: Path) -> dict[str, Any]:
    if layer == "sanity":
        return sanity.measure(subject)
    if layer == "open_loop":
        return open_loop.measure(subject)
    speed = subject.settings.low_speed if layer == "low_speed" else 1.0
    return attempts.measure(subject, out / layer, speed)


def _judge(layer: str, figures: dict[str, Any], gates: Gates) -> list[Check]:
    if layer == "sanity":
        return sanity.judge(figures, gates)
    if layer == "open_loop":
        return open_loop.judge(figures, gates)
    least = gates.low_speed_success if layer == "low_speed" else gates.success
    return attempts.judge(figures, gates, least)


def _read(file: Path, claim: str) -> dict[str, Any]:
    """Layer -> what is kept of it.

    Raises:
        ValueError: The file is damaged, of another version or of another policy.
    """
    if not file.is_file():
        return {}
    found = read_json(file)
    if found.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{file} is of another version of this command. Give another --out.")
    if found.get("policy") != claim:
        raise ValueError(
            f"{file} is of another policy ({found.get('policy')!r}, this one is {claim!r}). Give "
            "another --out, or delete it."
        )
    return dict(found["layers"])
