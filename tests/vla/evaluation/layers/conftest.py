"""A policy in front of recordings of its robot, and one in front of a simulated task."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vla.data.conftest import policy as arm_policy
from tests.vla.data.conftest import recordings, tokenizer
from tests.vla.evaluation.closed_loop.conftest import policy as sawyer_policy
from tests.vla.evaluation.closed_loop.conftest import recorded
from vla.evaluation.layers.settings import EvalSettings
from vla.evaluation.layers.subject import Subject

__all__ = ["arm_policy", "recorded", "recordings", "sawyer_policy", "tokenizer"]


@pytest.fixture
def subject(arm_policy, recordings) -> Subject:
    """Untrained, in front of six short episodes."""
    settings = EvalSettings(Path("policy"), data=str(recordings), windows=12, steps=2)
    return Subject(arm_policy, settings)
