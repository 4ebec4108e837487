"""Joints that a mapping takes for percent of their range: do the numbers say otherwise?"""

from __future__ import annotations

import numpy as np

from rvq_action.data.check.finding import Finding, passed, warned
from rvq_action.data.check.recording import Recording
from rvq_action.data.joint_unit import PERCENT, beyond, extremes_of, joint_ends, told_unit
from rvq_action.data.mapping import Mapping

NAME = "mapping: joints"


def check_joints(recording: Recording, mapping: Mapping) -> list[Finding]:
    """One row where a mapping reads joints in percent; none where it does not."""
    layout, names = mapping.layout, recording.names.__getitem__
    if all(channel.unit != PERCENT for channel in layout.channels):
        return []

    def extremes(feature: str) -> np.ndarray:
        return extremes_of(recording.episodes_of(feature))

    told = told_unit(mapping, names, extremes)
    if told is not None and told.in_degrees:
        fix = (
            "They were recorded in degrees: give `--mapping so101_degrees` for an SO-101, or a "
            "mapping that reads them with `unit: deg`."
        )
        return [warned(NAME, f"taken for percent of their range, but {told.why}", fix)]
    if far := beyond(joint_ends(mapping.action, layout, names, extremes)):
        fix = (
            "If they were recorded in degrees, give `--mapping so101_degrees` for an SO-101, or a "
            "mapping that reads them with `unit: deg`. If a policy told them, it told too much."
        )
        return [warned(NAME, f"{far} in the action, and percent ends at ±100", fix)]
    return [passed(NAME, "within the ±100 percent of their range")]
