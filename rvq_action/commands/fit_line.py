"""One line on whether a tokenizer fits a dataset, for the commands that know both."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rvq_action.data.windows import Windows
    from rvq_action.tokenizer import ActionTokenizer

MOST, BATCH = 4096, 512
"""Windows looked at, evenly spread, and at a time."""


def fit_line(tokenizer: ActionTokenizer, windows: Windows) -> tuple[bool | None, str]:
    """Whether it fits (None where nobody can tell), and the line that says so."""
    import numpy as np

    from rvq_action.novelty.calibration import Calibration
    from rvq_action.novelty.dataset_fit import fit_of

    embodiment = windows.episodes[0].embodiment
    try:
        Calibration.of(tokenizer, embodiment)
    except ValueError as error:
        return None, f"Whether the tokenizer fits is not known. {error}"
    count = min(len(windows), MOST)
    chosen = np.linspace(0, len(windows) - 1, count).round().astype(np.int64)
    fit = fit_of(tokenizer, (windows.chunk(chosen[i : i + BATCH]) for i in range(0, count, BATCH)))
    return fit.fits, str(fit)
