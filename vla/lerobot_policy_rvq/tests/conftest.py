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

pytest.importorskip("lerobot")

OFFLINE = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "TOKENIZERS_PARALLELISM": "false"}
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
        told = {**os.environ, **OFFLINE, "HF_HOME": str(home), "HF_LEROBOT_HOME": str(home / "le")}
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
def demos(run: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demonstrations of one task, 56 pixels a side."""
    out = tmp_path_factory.mktemp("demos") / "demos"
    task = "--tasks drawer-close-v3 --episodes 12 --image_size 56 --workers 2".split()
    run("rvq-vla", "demos", *task, "--out", str(out))
    return out


@pytest.fixture(scope="session")
def tokens(run: Program, demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of these demonstrations: the closed form."""
    out = tmp_path_factory.mktemp("tokens")
    told = "fit --config tokens8 --trainer.max_steps 0 --trainer.enable_progress_bar false".split()
    run("rvq-train", *told, "--data.datasets", str(demos), "--run_dir", str(out / "run"))
    return out / "run/tokenizer"
