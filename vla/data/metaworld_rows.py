"""The mapping of Meta-World's demonstrations, at the rate that their frames are said to have."""

from __future__ import annotations

from importlib import resources
from string import Template

import yaml

from rvq_action.data.mapping import Mapping
from rvq_action.data.rows import RowMapping
from vla.deploy.robots.metaworld import ACTION_NAMES, STATE_NAMES, STEP_M

FEATURES = {"observation.state": STATE_NAMES, "action": ACTION_NAMES}


def metaworld_mapping(fps: float) -> str:
    """As YAML; actions become m/s at this rate."""
    text = resources.files("vla.data").joinpath("metaworld_mapping.yaml").read_text()
    return Template(text).substitute(fps=f"{fps:g}", speed=f"{STEP_M * fps:.10g}")


def metaworld_rows(fps: float) -> RowMapping:
    """For the simulator's rows at hand, where no tokenizer brings the mapping along."""
    mapping = Mapping.from_dict(yaml.safe_load(metaworld_mapping(fps)), "Meta-World's mapping")
    return RowMapping(mapping.with_columns(FEATURES.__getitem__))
