"""The command end to end: simulated demonstrations, real features, a tokenizer in closed form."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from analysis.cli import main
from analysis.evalset import load_eval_set
from analysis.semantics import ceiling, seen, study
from rvq_action import ActionTokenizer
from rvq_action.analytic import fit_closed_form
from rvq_action.closed_form.recipe import ClosedFormRecipe
from rvq_action.data.dataset import RobotDataset
from rvq_action.data.split import split_episodes
from rvq_action.data.windows import Windows, horizon_frames
from rvq_action.embodiment import Embodiment
from rvq_action.statistics import StatisticsBuilder
from tests.synthetic import write_v3
from tokenizer_training.features.cache import FeatureCache

RECIPE = ClosedFormRecipe(num_quantizers=4, codebook_size=16, iterations=3, depth=0)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A dataset of ten episodes and two tasks, its features, and a tokenizer fitted on it."""
    from tokenizer_training.cli import main as train

    folder = tmp_path_factory.mktemp("semantics")
    path = write_v3(folder / "arm", lengths=(45, 38, 52, 40, 47, 36, 50, 41, 44, 39))
    words = f"features --teacher pixels --data.datasets {path} --out {folder / 'cache'}"
    assert train(words.split()) == 0
    dataset = RobotDataset.open(path)
    split = split_episodes(dataset.reader.num_episodes)
    windows = Windows([dataset.episodes[i] for i in split.train], horizon_frames(dataset.fps))
    chunk = windows.chunk(slice(None))
    builder = StatisticsBuilder(dataset.layout)
    builder.update(chunk)
    known = {dataset.embodiment: Embodiment(dataset.layout, builder.build(), dataset.fps)}
    metadata = {"split": {dataset.name: split.to_dict()}}
    tokenizer = fit_closed_form([chunk], known, RECIPE, metadata)
    for name in ("plain", "other"):
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module", autouse=True)
def short():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ceiling, "STEPS", 20)
        patched.setattr(ceiling, "CHECK_EVERY", 10)
        yield


def test_the_command_measures_writes_and_draws(place, tmp_path, capsys):
    words = f"semantics --tokenizers {place}/plain {place}/other --plain plain --seeds 2 "
    words += f"--features {place}/cache --data {place}/arm --out {tmp_path}/out"
    assert main(words.split()) == 0
    printed = capsys.readouterr().out
    assert "2 galleries" in printed and "other" in printed
    result = json.loads((tmp_path / "out/semantics.json").read_text())["arm"]
    rows, facts = result["rows"], result["facts"]
    assert {"start frame alone", "ceiling: chunk and anchor", "plain", "other"} <= set(rows)
    assert facts["views"]["other"] == "all codes" and facts["plain"] == "plain"
    first = next(name for name, title in facts["views"].items() if title == "first level")
    assert rows[first]["kind"] == "rvq-prefix" and rows[first]["tokens_mean"] > 0
    assert rows["ceiling: chunk"]["retrieval_r1_fit_spread"] >= 0
    assert "±" in printed and "trainings of a ceiling's networks" in printed
    whole = rows["other"]
    assert whole["retrieval_r1_floor_fit_spread"] >= 0
    for metric in ("retrieval_r1", "next_frame_skill", "task_accuracy", "noise_wer_0.006", "mse"):
        assert metric in whole and f"{metric}_ci" not in whole
    assert "No intervals: they need at least 4 held-out episodes; here: 2" in printed
    beside_fast = [row for row in rows.values() if "fast_noise_wer_0.006" in row]
    assert beside_fast == [row for row in rows.values() if "noise_wer_0.006_over_fast" in row]
    assert beside_fast and printed.count("WER − FAST") == 1
    for row in beside_fast:
        less = row["noise_wer_0.006"] - row["fast_noise_wer_0.006"]
        assert row["noise_wer_0.006_over_fast"] == pytest.approx(less)
    # Two copies of one tokenizer: nothing may differ.
    assert whole["retrieval_r1_over_plain"] == 0 and whole["mse_times_plain"] == 1
    assert whole["next_frame_skill_over_plain"] == 0
    page = (tmp_path / "out/index.html").read_text()
    assert page.count("<svg") >= 6 and page.count("data:image/jpeg") >= 20
    r1 = rows["ceiling: anchor"]["retrieval_r1"], rows["ceiling: anchor"]["retrieval_r1_fit_spread"]
    assert page.count(f"{r1[0]:.3f} ± {r1[1]:.3f}") >= 2
    assert "Retrieval: whose pictures" in page and "No intervals" in page
    assert "<b>WER − FAST</b>" in page
    assert not re.search(r"\bnan\b", page.split("<main>")[1])
    assert 'src="http' not in page and 'href="http' not in page


def test_one_artefact_is_measured_without_context(place):
    found = study.compute(
        [place / "other"], [place / "cache"], [place / "arm"], seeds=1, in_context=False, quiet=True
    )
    (measured,) = found
    assert not measured.of_kind("ceiling") and "fast" not in {row.kind for row in measured.rows}
    row = measured.row("other")
    assert "retrieval_r1" in row.metrics and "retrieval_r1_over_plain" not in row.metrics


class Spy:
    """Features that remember which episodes were asked for, one number per frame."""

    cameras = ("front",)

    def check_complete(self, dataset) -> None: ...

    def check_split(self, train) -> None: ...

    def lookup(self, episodes, frames):
        values = torch.from_numpy(np.stack([episodes, frames], axis=1)).float()
        return values, torch.from_numpy(frames < 36)


def test_probes_are_fitted_on_training_episodes_and_asked_on_the_others(place):
    dataset = RobotDataset.open(place / "arm")
    data = load_eval_set(dataset, None, {})
    with pytest.raises(ValueError, match="do not cover all frames"):
        seen.load(data, dataset, Spy(), seeds=2)
    spy = Spy()
    spy.lookup = lambda e, f: (Spy().lookup(e, f)[0], torch.ones(len(e), dtype=torch.bool))
    loaded = seen.load(data, dataset, spy, seeds=2)
    split, training = data.split, loaded.training
    assert set(training.episode) == set(split.train)
    assert set(loaded.held_out.episode) == set(split.held_out)
    inner = set(training.episode[loaded.validation])
    assert inner and not inner & set(training.episode[~loaded.validation])
    np.testing.assert_array_equal(training.first, np.stack([training.episode, training.start], 1))
    assert (training.last - training.first == [0, data.horizon - 1]).all()
    assert (training.following - training.first == [0, data.horizon]).all()


class Wide(Spy):
    """Wide features, a few numbers of which the frame decides; other ones on held-out episodes."""

    def __init__(self, dataset, held_out, factor: float) -> None:
        lengths = [dataset.reader.episode_length(i) for i in range(dataset.reader.num_episodes)]
        self.lengths, self.held_out, self.factor = np.array(lengths), held_out, factor
        self.directions = torch.randn(3, 600, generator=torch.Generator().manual_seed(0))

    def lookup(self, episodes, frames):
        told = np.stack([np.sin(episodes + frames / k) for k in (3, 7, 11)], axis=1)
        told[np.isin(episodes, self.held_out)] *= self.factor
        known = torch.from_numpy(frames < self.lengths[episodes])
        features = 4 + torch.from_numpy(told).float() @ self.directions
        return features * known[:, None], known


def test_wide_features_are_narrowed_to_what_leads_in_training_windows(place):
    dataset = RobotDataset.open(place / "arm")
    data = load_eval_set(dataset, None, {})
    wide = Wide(dataset, data.split.held_out, 1.0)
    loaded = seen.load(data, dataset, wide, seeds=1)
    changed = Wide(dataset, data.split.held_out, -3.0)
    other = seen.load(data, dataset, changed, seeds=1)
    training, held_out = loaded.training, loaded.held_out
    for part in (training, held_out):
        assert part.first.shape == part.last.shape == part.following.shape == (len(part), 512)
        assert part.first.dtype == np.float32 and part.pictures.shape == (len(part), 1024)
    for name in ("first", "last", "following"):
        np.testing.assert_array_equal(getattr(training, name), getattr(other.training, name))
    assert not np.allclose(held_out.first, other.held_out.first)
    assert not training.followed.all() and not training.following[~training.followed].any()
    change = wide.lookup(held_out.episode, held_out.start + data.horizon - 1)[0]
    change -= wide.lookup(held_out.episode, held_out.start)[0]
    distance = np.linalg.norm(held_out.last - held_out.first, axis=1)
    np.testing.assert_allclose(distance, change.norm(dim=1), rtol=1e-3, atol=1e-3)


def test_a_dataset_needs_exactly_one_cache_with_its_features(place):
    cache = FeatureCache.open(place / "cache")
    assert seen.cache_of([cache], "arm").name == "arm"
    with pytest.raises(ValueError, match="none does"):
        seen.cache_of([cache], "leg")
    with pytest.raises(ValueError, match="Exactly one"):
        seen.cache_of([cache, SimpleNamespace(path="b", datasets=("arm",))], "arm")


def test_an_unknown_plain_tokenizer_is_named(place, tmp_path, capsys):
    words = f"semantics --tokenizers {place}/other --plain nobody --features {place}/cache "
    assert main((words + f"--data {place}/arm --out {tmp_path}/out").split()) == 1
    assert "--plain nobody is neither" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_gallery_is_no_measurement(place):
    with pytest.raises(ValueError, match="--seeds 0"):
        study.compute([place / "other"], [place / "cache"], [place / "arm"], seeds=0)


def test_tokenizers_of_other_robots_are_refused_before_the_work(place, tmp_path, capsys):
    known = ActionTokenizer.from_pretrained(place / "other")
    (arm,) = known.embodiments.values()
    replace(known, embodiments={"rover": arm}).save_pretrained(tmp_path / "stranger")
    words = f"semantics --tokenizers {tmp_path}/stranger --features {place}/cache "
    assert main((words + f"--data {place}/arm --out {tmp_path}/out").split()) == 1
    assert "know the embodiments ['rover'], but the datasets" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
