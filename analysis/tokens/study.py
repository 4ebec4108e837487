"""The whole of `rvq-analysis tokens`: put the rows of every arm side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.bootstrap import Estimate
from analysis.tokens import paired
from rvq_action.housekeeping.json_file import write_json
from rvq_action.housekeeping.training_folder import differences
from vla.ablation.arms import ARMS, NONE
from vla.ablation.row import TokenRow, load_rows
from vla.evaluation.vqa import ALL

SWAPPED = (
    *("tokens:", "seed_everything:", "data.seed:", "model.seed:"),
    *("data.action_tokens:", "model.weights.action_ce:"),
)
"""Beginnings of the differences that arms and seeds may have."""


@dataclass(frozen=True)
class ArmResult:
    """One kind of tokens.

    Attributes:
        name: Of the arm.
        tokens: Per chunk, at most.
        codebook_size: V.
        seeds: Trained with.
        success: Share of attempts that were solved.
        by_seed: The same for every seed.
        by_task: Task -> the same for every task.
        gains: Arm -> how much more this one solves, over the seeds that both have.
        vqa: Share of questions answered rightly, for every seed; nothing where none were asked.
        majority: The same for whoever always gives the usual answer.
    """

    name: str
    tokens: int
    codebook_size: int
    seeds: list[int]
    success: Estimate
    by_seed: list[float]
    by_task: dict[str, Estimate]
    gains: dict[str, Estimate]
    vqa: list[float]
    majority: float | None

    @property
    def spread(self) -> float | None:
        """Standard deviation between seeds; None with a single one."""
        return float(np.std(self.by_seed, ddof=1)) if len(self.by_seed) > 1 else None


@dataclass(frozen=True)
class TokenStudy:
    """All arms on one set of demonstrations.

    Attributes:
        dataset: Its name.
        tasks: What was attempted.
        starts: Of each task.
        steps: Of every training.
        arms: The packaged ones first.
    """

    dataset: str
    tasks: list[str]
    starts: int
    steps: int
    arms: list[ArmResult]

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        told = [{**asdict(arm), "spread": arm.spread} for arm in self.arms]
        return {**asdict(self), "arms": told}


def compute(rows_dir: Path) -> list[TokenStudy]:
    """Hold the rows of every dataset together.

    Args:
        rows_dir: Folder of the rows of `rvq-vla ablate`.

    Raises:
        FileNotFoundError: There are none.
        ValueError: A row is damaged, or rows differ in more than their tokens.
    """
    return [compare(rows) for rows in load_rows(rows_dir).values()]


def compare(rows: Sequence[TokenRow]) -> TokenStudy:
    """Arms of one dataset.

    Raises:
        ValueError: Rows differ in more than their tokens.
    """
    first = rows[0]
    for row in rows:
        check_alike(first, row)
    names = sorted({row.arm for row in rows}, key=_place)
    by_arm = {name: {r.seed: r for r in rows if r.arm == name} for name in names}
    arms = [_arm(name, by_arm) for name in names]
    starts = len(next(iter(first.solved.values())))
    return TokenStudy(first.dataset, list(first.solved), starts, first.steps, arms)


def check_alike(one: TokenRow, other: TokenRow) -> None:
    """Refuse rows that cannot be held together.

    Raises:
        ValueError: Names what differs.
    """
    found = differences(one.settings, other.settings)
    wrong = [line for line in found if not line.startswith(SWAPPED)]
    if wrong:
        raise ValueError(
            f"{one.arm}-seed{one.seed} and {other.arm}-seed{other.seed} differ in more than their "
            f"tokens ({'; '.join(wrong[:3])}). Make one of them anew: rvq-vla ablate --again."
        )


def write(studies: Sequence[TokenStudy], folder: Path) -> Path:
    """Write tokens.json."""
    path = folder / "tokens.json"
    write_json({study.dataset: study.to_dict() for study in studies}, path)
    return path


def _place(name: str) -> tuple[int, str]:
    return (ARMS.index(name) if name in ARMS else len(ARMS), name)


def _arm(name: str, by_arm: dict[str, dict[int, TokenRow]]) -> ArmResult:
    rows = [by_arm[name][seed] for seed in sorted(by_arm[name])]
    solved, tasks = outcomes(rows), list(rows[0].solved)
    asked = [row.vqa[ALL] for row in rows if row.vqa]
    return ArmResult(
        name=name,
        tokens=rows[0].tokens,
        codebook_size=0 if name == NONE else rows[0].codebook_size,
        seeds=[row.seed for row in rows],
        success=paired.share(solved),
        by_seed=solved.mean((1, 2)).tolist(),
        by_task={task: paired.share(solved[:, [i]]) for i, task in enumerate(tasks)},
        gains={other: gain for other in by_arm if (gain := _gain(by_arm[name], by_arm[other]))},
        vqa=[answers["accuracy"] for answers in asked],
        majority=asked[0]["majority"] if asked else None,
    )


def _gain(one: dict[int, TokenRow], other: dict[int, TokenRow]) -> Estimate | None:
    """Between different arms, over common seeds; None where there is nothing to say."""
    common = sorted(one.keys() & other.keys())
    if one is other or not common:
        return None
    pair = ([rows[seed] for seed in common] for rows in (one, other))
    return paired.difference(*(outcomes(rows) for rows in pair))


def outcomes(rows: Sequence[TokenRow]) -> np.ndarray:
    """bool [seeds, tasks, starts]."""
    return np.array([[[mark == "1" for mark in s] for s in row.solved.values()] for row in rows])
