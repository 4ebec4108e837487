"""A run from beginning to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rvq_action import ActionTokenizer
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.windows import Windows
from rvq_action.data.writer import LeRobotWriter
from tests.synthetic import CAMERA, FEATURES, FPS, SIZE, columns, picture
from tests.tokenizer_training.conftest import write_mapping
from tokenizer_training.export import export_checkpoint


@pytest.fixture
def chunk(dataset):
    """All full windows of the dataset."""
    return Windows(RobotDataset.open(dataset).episodes, 10).chunk(slice(None))


def test_a_run_leaves_an_artefact_that_encodes_and_decodes(fit_tiny, chunk):
    folder = fit_tiny()
    assert (folder / "COMPLETE").is_file()
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert any((folder / "logs").glob("events*"))
    tok = ActionTokenizer.from_pretrained(folder / "tokenizer")
    codes = tok.encode(chunk.actions, chunk.anchor)
    decoded = tok.decode(codes, 10, chunk.anchor)
    spread = (chunk.actions - chunk.actions.mean((0, 1))).square().mean()
    assert (decoded - chunk.actions).square().mean() < 0.2 * spread


def test_metadata_say_which_episodes_were_used_and_no_path(fit_tiny, dataset):
    tok = ActionTokenizer.from_pretrained(fit_tiny() / "tokenizer")
    split = tok.metadata["split"]["waves"]
    assert sorted(split["train"] + split["held_out"]) == list(range(6))
    assert set(split["validation"]) < set(split["train"])
    assert tok.metadata["config"] == "tiny"
    assert tok.embodiments["test_arm"].mapping["action"]
    assert str(dataset.parent) not in json.dumps(tok.metadata)


def test_training_never_exports_worse_than_its_start(fit_tiny):
    """With an absurd learning rate the best tokenizer is the closed form."""
    folder = fit_tiny("--model.learning_rate", "10", "--model.warmup_steps", "0")
    best = ActionTokenizer.from_pretrained(folder / "tokenizer")
    start = ActionTokenizer.from_pretrained(folder / "closed_form")
    assert best.metadata["steps"] == 0
    for name, tensor in start.model.state_dict().items():
        assert torch.equal(best.model.state_dict()[name], tensor), name


def test_two_runs_are_alike(fit_tiny, chunk):
    codes = [
        ActionTokenizer.from_pretrained(fit_tiny(name=name) / "closed_form").encode(
            chunk.actions, chunk.anchor
        )
        for name in ("one", "two")
    ]
    assert torch.equal(*codes)


def test_a_complete_run_is_not_trained_again(fit_tiny, caplog):
    folder = fit_tiny()
    before = (folder / "tokenizer" / "model.safetensors").stat().st_mtime_ns
    with caplog.at_level("INFO"):
        fit_tiny()
    assert "is complete" in caplog.text
    assert (folder / "tokenizer" / "model.safetensors").stat().st_mtime_ns == before


def test_a_folder_is_never_reused_with_other_settings(fit_tiny):
    fit_tiny()
    with pytest.raises(ValueError, match="model.learning_rate: 0.001 -> 0.5.*--resume never"):
        fit_tiny("--model.learning_rate", "0.5")
    fit_tiny("--model.learning_rate", "0.5", "--resume", "never")


def test_a_run_is_not_continued_on_grown_data(fit_tiny, dataset, tmp_path):
    data = Path(shutil.copytree(dataset, tmp_path / "waves"))
    fit_tiny(data=data)
    with LeRobotWriter(data, FPS, FEATURES, "test_arm", {CAMERA: SIZE}, append=True) as writer:
        writer.add_episode(columns(30), {CAMERA: map(picture, range(30))}, task="go")
    with pytest.raises(ValueError, match="found.waves.episodes: 6 -> 7"):
        fit_tiny(data=data)


def test_a_run_is_not_continued_by_an_edited_mapping(fit_tiny, mapped):
    fit_tiny(data=mapped)
    write_mapping(mapped, scale=1000.0)
    with pytest.raises(ValueError, match=r"mappings.mapped.action.*1000.*--resume never"):
        fit_tiny(data=mapped)
    fit_tiny("--resume", "never", data=mapped)


def test_a_run_of_before_mappings_were_remembered_goes_on(fit_tiny, mapped, caplog):
    record = fit_tiny(data=mapped) / "run.json"
    settings = json.loads(record.read_text())
    del settings["contents"]
    record.write_text(json.dumps(settings))
    with caplog.at_level("INFO"):
        fit_tiny(data=mapped)
    assert "is complete" in caplog.text


def test_without_steps_the_closed_form_is_the_result(fit_tiny):
    folder = fit_tiny("--trainer.max_steps", "0")
    assert (folder / "COMPLETE").is_file()
    assert ActionTokenizer.from_pretrained(folder / "tokenizer").metadata["steps"] == 0
    with pytest.raises(ValueError, match="needs an end"):
        fit_tiny("--trainer.max_steps", "-1", name="endless")


def test_a_folder_with_other_files_is_refused(fit_tiny, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="thesis.tex"):
        fit_tiny("--resume", "never")
    assert (tmp_path / "run" / "thesis.tex").exists()


def test_held_out_episodes_are_never_read(fit_tiny, monkeypatch):
    """Windows are cut from training episodes alone."""
    seen = set()
    original = Windows.__init__

    def spy(self, episodes, *args, **kwargs):
        seen.update(e.index for e in episodes)
        original(self, episodes, *args, **kwargs)

    monkeypatch.setattr(Windows, "__init__", spy)
    split = ActionTokenizer.from_pretrained(fit_tiny() / "tokenizer").metadata["split"]["waves"]
    assert seen == set(split["train"])


def test_missing_data_are_named(fit_tiny, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fit_tiny(data=tmp_path / "nowhere")
    assert not (tmp_path / "run").exists()


def test_scalars_are_logged_by_their_names(fit_tiny):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = accumulator.EventAccumulator(str(fit_tiny() / "logs"))
    log.Reload()
    names = set(log.Tags()["scalars"])
    terms = ("reconstruction", "rotation", "dct", "smoothness", "commitment", "total")
    assert {f"train/{term}" for term in terms} <= names
    assert {"validation/mse", "utilisation/level_0", "perplexity/level_1"} <= names
    assert any(name.startswith("validation/waves/") and "mse@" not in name for name in names)
    assert [e.step for e in log.Scalars("validation/mse")] == [0, 4, 8]
    assert np.isfinite([e.value for name in names for e in log.Scalars(name)]).all()


def test_too_few_validation_episodes_leave_the_closed_form(fit_tiny):
    """One episode cannot choose: nothing is trained, and it is fitted on instead."""
    folder = fit_tiny("--validation.least_episodes", "2")
    best = ActionTokenizer.from_pretrained(folder / "tokenizer")
    assert (folder / "COMPLETE").is_file()
    assert not (folder / "checkpoints" / "last.ckpt").exists()
    assert best.metadata["steps"] == 0
    assert best.metadata["split"]["waves"]["validation"] == []


def test_every_artefact_of_a_run_knows_what_is_usual(fit_tiny, chunk, tmp_path):
    folder = fit_tiny()
    exported = export_checkpoint(folder, tmp_path / "exported")
    artefacts = [ActionTokenizer.from_pretrained(folder / n) for n in ("closed_form", "tokenizer")]
    for tokenizer in (*artefacts, exported):
        stored = tokenizer.metadata["calibration"]["test_arm"]
        assert stored["fitted"]["windows"] > stored["validation"]["windows"] > 0
        scores = tokenizer.score(chunk.actions, chunk.anchor).out_of_distribution
        assert (scores > 1).float().mean() < 0.3
    start, last = artefacts[0].metadata["calibration"], exported.metadata["calibration"]
    assert start != last


def test_the_order_of_tokens_is_the_users_choice(fit_tiny, chunk):
    folder = fit_tiny("--closed_form.token_order", "slot_major")
    tokenizer = ActionTokenizer.from_pretrained(folder / "tokenizer")
    levels = tokenizer.config.num_quantizers
    assert tokenizer.token_order[: levels + 1] == [*((0, k) for k in range(levels)), (1, 0)]
    codes = tokenizer.encode(chunk.actions, chunk.anchor)
    first = tokenizer.prefix(codes, levels)
    assert (first[:, 0] >= 0).all() and (first[:, 1:] == -1).all()
    assert tokenizer.decode(first, 10, chunk.anchor).isfinite().all()
