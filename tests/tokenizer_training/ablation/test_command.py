"""`rvq-train ablate` with real runs: killed, failed, gone on with, and never twice."""

from __future__ import annotations

import pytest

from tokenizer_training.ablation import jobs
from tokenizer_training.ablation.row import AblationRow
from tokenizer_training.callbacks import ResumePoint
from tokenizer_training.cli import main
from tokenizer_training.fit import fit
from tokenizer_training.fit_cli import FitCLI


class Killed(Exception):
    """Stands for the kill of a run."""


@pytest.fixture
def killed(run_of, monkeypatch):
    """A run that was killed when it had written its first checkpoint."""
    run, write = run_of("full"), ResumePoint.on_train_batch_end

    def killed_after_writing(self, *args, **kwargs):
        write(self, *args, **kwargs)
        if self.path.is_file():
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(ResumePoint, "on_train_batch_end", killed_after_writing)
        cli = FitCLI([*run.words(), "--trainer.enable_progress_bar", "false"])
        with pytest.raises(Killed):
            fit(cli.run_settings(), cli.model, cli.datamodule, cli.trainer)
    return run


def test_a_killed_run_goes_on_beside_one_that_fails(
    killed, words, tmp_path, monkeypatch, capsys, caplog
):
    """In one test, because every process takes seconds to import what it needs."""
    greedy = tmp_path / "greedy.yaml"
    greedy.write_text("validation: {least_episodes: 9}")
    words = [*words, "--seeds", "0", "--recipes", "full"]
    assert main([*words, str(greedy)]) == 1
    error = capsys.readouterr().err
    assert "1 of 2 runs failed" in error
    assert "greedy-seed0: rvq-train fit: " in error and "Fewer than 9 validation episodes" in error
    assert "Going on from" in killed.log.read_text()

    (file,) = (tmp_path / "rows" / "stripes").glob("*.json")
    row = AblationRow.load(file)
    assert (row.recipe, row.seed, row.dataset, row.teacher) == ("full", 0, "stripes", "pixels")
    assert (row.steps, row.levels, row.codebook_size, row.seconds) == (8, 2, 16, None)
    assert row.figures["validation/mse"] > 0 and row.measured is None

    monkeypatch.setattr(jobs, "PROGRAM", ("nothing is to be started",))
    with caplog.at_level("INFO"):
        assert main(words) == 0
    assert "1 of 1 rows are there already: not trained again." in caplog.text


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--recipes", "no_such"], "No recipe is called"),
        (["--jobs", "0"], "--jobs must be at least 1"),
        (["--budget", "bugdet"], "No packaged configuration is called 'bugdet'"),
        (["--features", "nowhere"], "is no cache of visual features"),
        (["--data.datasets", "nowhere"], "nowhere"),
        (["--data.datasets", "a/arm", "b/arm"], "share a folder name"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_trained(words, extra, message, capsys, tmp_path):
    assert main([*words, "--seeds", "0", "--recipes", "full", *extra]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("rvq-train ablate: ") and message in error
    assert not list((tmp_path / "runs").rglob("run.json"))
