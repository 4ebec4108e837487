"""The semantic measurements as text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.bootstrap import remark
from analysis.semantics.columns import COLUMNS, WITH_INTERVAL
from analysis.semantics.fits import SEEDS
from analysis.semantics.result import Study
from analysis.table import aligned, cell, with_interval


def render(studies: Sequence[Study]) -> str:
    """All datasets, one table each."""
    return "\n\n".join(map(_study, studies))


def _study(study: Study) -> str:
    columns = [c for c in COLUMNS if any(c.metric in row.metrics for row in study.rows)]
    lines = [["row", *(column.heading for column in columns)]]
    for row in study.rows:
        cells = [(with_interval if c in WITH_INTERVAL else cell)(row, c) for c in columns]
        lines.append([row.name, *cells])
    return "\n".join([f"{study.name}: {facts(study)}", aligned(lines), *notes(study)])


def facts(study: Study) -> str:
    """What was measured, in one line."""
    held_out = len(study.data.data.split.held_out)
    return (
        f"{len(study.data.galleries)} galleries of about {study.candidates:.0f} "
        f"windows of {held_out} held-out episodes (chance {study.chance:.3f}); probes fitted on "
        f"{len(study.data.training)} windows of training episodes; teacher {study.teacher}, "
        f"cameras {', '.join(study.data.cameras)}; ± is the standard deviation over {SEEDS} "
        "fits: trainings of a ceiling's networks, shuffles of a floor's images"
    )


def notes(study: Study) -> list[str]:
    """What a reader must know about figures that are absent or interpolated, and intervals."""
    missing = [f"{name} ({why})" for name, why in study.missing.items()]
    found = [f"Not measured: {', '.join(missing)}"] if missing else []
    few = remark(len(study.data.data.split.held_out))
    found += [few] if few else []
    rows = [row.name for row in study.rows if row.metrics.get("fast_noise_wer_interpolated")]
    if rows:
        found.append(
            f"FAST's word error rate beside {', '.join(rows)} is interpolated in bits: none of its "
            "scales lies within 15 %"
        )
    return found
