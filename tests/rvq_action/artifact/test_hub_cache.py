"""A tokenizer by its hub id, through the hub's own client, from a cache as a download leaves it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rvq_action.processing import RvqActionProcessor
from tests.conftest import ROOT
from tests.hub_cache import REVISION, keep
from tests.rvq_action.robots import arm_chunk, normalized

HORIZON = 20
LOADING = """
import json, sys
import numpy as np
from transformers import AutoProcessor
from rvq_action import ActionTokenizer

def error(load, name, **options):
    try:
        load(name, **options)
    except Exception as found:
        return f"{type(found).__name__}: {found}"

given = np.array(json.load(sys.stdin), dtype=np.float32)
processor = AutoProcessor.from_pretrained("owner/name", trust_remote_code=True)
found = {
    "known": list(ActionTokenizer.from_pretrained("owner/name").embodiments),
    "tokens": processor(given),
    "horizon": processor.time_horizon,
    "unknown": error(ActionTokenizer.from_pretrained, "owner/other"),
    "revision": error(ActionTokenizer.from_pretrained, "owner/name", revision="v2"),
    "untrusted": error(AutoProcessor.from_pretrained, "owner/name"),
}
print("\\n" + json.dumps(found))
"""
"""The last line is the answer: transformers asks its question on the one before."""


@pytest.fixture(scope="module")
def given(one_arm):
    """[8, T, 4], normalised."""
    return normalized(one_arm, arm_chunk(8, seed=7)).numpy()


@pytest.fixture(scope="module")
def place(one_arm, tmp_path_factory):
    """The environment in which `owner/name` is the tokenizer."""
    folder = tmp_path_factory.mktemp("hub")
    RvqActionProcessor(one_arm, time_horizon=HORIZON).save_pretrained(folder / "tokenizer")
    return keep(folder / "tokenizer", folder / "home", "owner/name")


@pytest.fixture(scope="module")
def found(place, given):
    """What a process without a network and without anybody to ask finds there."""
    done = subprocess.run(
        [sys.executable, "-c", LOADING],
        input=json.dumps(given.tolist()),
        env={**os.environ, **place},
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_an_id_is_as_good_as_a_directory(found, one_arm, given):
    assert found["known"] == ["arm"] and found["horizon"] == HORIZON
    assert found["tokens"] == RvqActionProcessor(one_arm)(given)


def test_autoprocessor_runs_the_code_that_lies_beside_the_weights(found, place):
    copies = Path(place["HF_HOME"]) / "modules/transformers_modules/owner/name"
    code = (copies / REVISION / "processing_rvq.py").read_text()
    assert "from rvq_action.processing import RvqActionProcessor" in code


@pytest.mark.parametrize(("case", "name"), [("unknown", "other"), ("revision", "name")])
def test_what_is_not_in_the_cache_is_named(found, case, name):
    said = found[case]
    assert said.startswith(f"ValueError: 'owner/{name}' is no directory here, and the hub cannot")
    assert "nor is a copy of it in the local cache" in said and "\n" not in said


def test_without_trust_nobody_waits_for_an_answer(found):
    assert found["untrusted"].startswith("ValueError") and "trust_remote_code" in found["untrusted"]
