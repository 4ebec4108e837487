"""One tokenizer trained on several robots, beside one trained on a single robot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis import score
from analysis.bootstrap import Estimate
from analysis.rows import by_bits
from analysis.transfer.case import Case


@dataclass(frozen=True)
class JointComparison:
    """On one dataset.

    Attributes:
        single: Name of the tokenizer trained on this robot alone.
        joint: Name of the one trained on several.
        error: MSE of the joint one over the single one's at equal bits, geometric mean over the
            prefixes of the joint one in the single one's range.
        tokens: [P] tokens at which both have a prefix.
        ratios: [P] MSE over MSE at these tokens.
        scores: Score against FAST as published of the joint and of the single one; NaN where
            there is none.
    """

    single: str
    joint: str
    error: Estimate
    tokens: np.ndarray
    ratios: np.ndarray
    scores: tuple[float, float]

    def to_dict(self) -> dict:
        """As in transfer.json."""
        at_tokens = zip(self.tokens.tolist(), self.ratios.tolist(), strict=True)
        data: dict = {
            "single": self.single,
            "joint": self.joint,
            "mse_ratio_at_tokens": {f"{tokens:g}": ratio for tokens, ratio in at_tokens},
        }
        if np.isfinite(self.error.value):
            data["mse_ratio"] = self.error.value
        if np.isfinite(self.error.low):
            data["mse_ratio_ci"] = [self.error.low, self.error.high]
        joint, single = self.scores
        if np.isfinite(joint / single):
            data |= {"score_joint": joint, "score_single": single, "score_ratio": joint / single}
        return data


def compare(case: Case, joint: str, single: str) -> JointComparison:
    """The joint tokenizer's rows of a case against the single one's."""
    theirs, ours = by_bits(case.rows, single), by_bits(case.rows, joint)
    points, reference_points = ([row.point for row in rows if row.point] for rows in (ours, theirs))
    scored = score.compute(points, reference_points, case.bootstrap)
    error = scored.estimate if scored else Estimate(np.nan, np.nan, np.nan)
    mse, reference = (
        {row.metrics["tokens_mean"]: row.metrics["mse"] for row in rows} for rows in (ours, theirs)
    )
    common = np.array(sorted(set(mse) & set(reference)))
    ratios = np.array([mse[tokens] / reference[tokens] for tokens in common])
    scores = tuple(case.row(name).metrics.get("score", np.nan) for name in (joint, single))
    return JointComparison(single, joint, error, common, ratios, (scores[0], scores[1]))
