"""Fixtures: the programs of the environment, and small datasets in both hands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.conftest import shared_data  # noqa: F401
from tests.synthetic import write_v3
from vla.lerobot_policy_rvq.tests.afternoon import Afternoon

pytest.importorskip("lerobot")

OFFLINE = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "TOKENIZERS_PARALLELISM": "false"}
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Models as small as these gain nothing by more, and wait for one another."""
Program = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Runs a console script of this environment: `run("lerobot-train", "--steps=2", ...)`.

    Caches and calibrations go to a folder of the session; a failure shows what the program said.
    """
    home = tmp_path_factory.mktemp("home")

    def program(
        name: str,
        *words: str,
        fails: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess:
        told = {
            **os.environ,
            **OFFLINE,
            **ONE_THREAD,
            "HF_HOME": str(home),
            "HF_LEROBOT_HOME": str(home / "le"),
        }
        script = str(Path(sys.executable).parent / name)
        done = subprocess.run(
            [script, *words],
            env={**told, **(env or {})},
            capture_output=True,
            text=True,
            cwd=cwd or home,
        )
        assert (done.returncode != 0) == fails, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return done

    return program


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes that our writer wrote: 10 Hz, 3 numbers, one camera, two tasks."""
    return write_v3(tmp_path_factory.mktemp("sets") / "small")


@pytest.fixture(scope="session")
def afternoon(run: Program, tmp_path_factory: pytest.TempPathFactory) -> Afternoon:
    """The commands of docs/lerobot.md, for all tests that look at what comes of them."""
    return Afternoon(run, tmp_path_factory.mktemp("afternoon"))


@pytest.fixture(scope="session")
def demos(afternoon: Afternoon) -> Path:
    """Demonstrations of one task, 56 pixels a side."""
    afternoon.until("rvq-vla demos")
    return afternoon.folder / "my/dataset"


@pytest.fixture(scope="session")
def tokens(afternoon: Afternoon) -> Path:
    """A tokenizer of these demonstrations: the closed form."""
    afternoon.until("rvq-train fit")
    return afternoon.folder / "runs/tokens/tokenizer"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that the policy of these tests speaks."""
    from vla.lerobot_policy_rvq.tests.robots import save_tokenizer

    return save_tokenizer(tmp_path_factory.mktemp("tokens") / "tokenizer")


@pytest.fixture(scope="module")
def policy(tokenizer: Path):
    """A small RvqVlaPolicy, from random weights."""
    import torch
    from lerobot_policy_rvq.modeling_rvq_vla import RvqVlaPolicy

    from vla.lerobot_policy_rvq.tests.robots import config

    torch.manual_seed(0)
    return RvqVlaPolicy(config(tokenizer, n_action_steps=4))


@pytest.fixture(scope="module")
def pipelines(tokenizer: Path):
    """Its pre- and its postprocessor."""
    from lerobot_policy_rvq.processor_rvq_vla import make_rvq_vla_pre_post_processors

    from vla.lerobot_policy_rvq.tests.robots import config

    return make_rvq_vla_pre_post_processors(config(tokenizer))
