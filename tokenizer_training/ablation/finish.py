"""A finished run -> its row."""

from __future__ import annotations

from pathlib import Path

from rvq_action.tokenizer import ActionTokenizer
from tokenizer_training.ablation.jobs import Ended
from tokenizer_training.ablation.row import AblationRow


def finish(ended: Ended, out: Path) -> str:
    """Write the row of a run that is complete; returns a line that says so."""
    planned, run = ended.planned, ended.planned.run
    tokenizer = ActionTokenizer.from_pretrained(run.folder.tokenizer)
    figures = tokenizer.metadata.get("figures", {})
    row = AblationRow(
        recipe=run.recipe.name,
        seed=run.seed,
        dataset=run.dataset_name,
        parent=run.recipe.parent,
        differs=run.recipe.differs(),
        settings=planned.settings,
        teacher=planned.teacher,
        tokens=tokenizer.tokens_per_chunk,
        levels=tokenizer.config.num_quantizers,
        codebook_size=tokenizer.config.codebook_size,
        steps=run.folder.steps,
        best_step=tokenizer.metadata["steps"],
        seconds=ended.seconds,
        figures=figures,
    )
    row.save(run.row(out))
    lasted = "" if ended.seconds is None else f" after {ended.seconds:.0f} s"
    error = f", validation error {figures['validation/mse']:.3g}" if figures else ""
    return f"{run.name}: done{lasted}{error}"
