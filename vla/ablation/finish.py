"""A trained run -> what its policy solves and answers -> its row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vla.ablation.plan import Planned
from vla.ablation.row import TokenRow
from vla.ablation.run import TokenRun
from vla.action_tokens import load_tokens
from vla.evaluation.closed_loop.run import roll_out
from vla.evaluation.closed_loop.stage import Staging
from vla.evaluation.vqa import ALL, measure_vqa
from vla.policy import VLAPolicy


def finish(planned: Planned, seconds: float | None, out: Path, workers: int) -> str:
    """Write the row of a run whose policy is trained; returns a line that says so.

    Args:
        planned: The run.
        seconds: How long it was trained; None where that is not known.
        out: Folder of the rows.
        workers: Processes that simulate.
    """
    run = planned.run
    words = load_tokens(run.arm.tokenizer).vocabulary
    row = TokenRow(
        arm=run.arm.name,
        seed=run.seed,
        dataset=run.budget.name,
        settings=planned.settings,
        tokens=words.tokens_per_chunk if planned.settings["data"]["action_tokens"] else 0,
        levels=words.num_levels,
        codebook_size=words.codebook_size,
        steps=planned.settings["trainer"]["max_steps"],
        seconds=seconds,
        solved=solved(run, workers),
        vqa=answered(run),
    )
    row.save(run.row(out))
    letters = "".join(row.solved.values())
    told = f", {row.vqa[ALL]['accuracy']:.0%} of questions right" if row.vqa else ""
    return f"{run.name}: {letters.count('1')} of {len(letters)} solved{told}"


def solved(run: TokenRun, workers: int) -> dict[str, str]:
    """Task -> a letter per start."""
    staging = Staging(run.policy, run.budget.rollouts, run.rollouts)
    letters = dict.fromkeys(run.budget.rollouts.tasks, "")
    for outcome in roll_out(staging, workers, progress=False).outcomes:
        letters[outcome.start.task] += str(int(outcome.success))
    return letters


def answered(run: TokenRun) -> dict[str, dict[str, float]]:
    """Kind of question -> how many are answered rightly; kept, for a row that is made later."""
    bridge, kept = run.budget.bridge, run.rollouts / "vqa.json"
    if bridge is None:
        return {}
    if kept.is_file():
        return json.loads(kept.read_text())
    policy = VLAPolicy.from_pretrained(run.policy)
    measured = measure_vqa(policy, bridge / "held_out.jsonl", bridge / "train.jsonl")
    found: dict[str, dict[str, Any]] = {
        kind: {"count": a.count, "accuracy": a.accuracy, "majority": a.majority}
        for kind, a in measured.items()
    }
    kept.write_text(json.dumps(found))
    return found
