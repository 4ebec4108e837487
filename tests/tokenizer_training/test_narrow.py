"""Wide features are narrowed once, before training, and teach what they taught batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rvq_action.config import TokenizerConfig
from tests.tokenizer_training.conftest import SLOTS, TERMS
from tokenizer_training.export import load_checkpoint
from tokenizer_training.features import narrow
from tokenizer_training.features.cache import DatasetFeatures, FeatureCache
from tokenizer_training.features.components import MOST_COMPONENTS, leading_components
from tokenizer_training.features.narrow import NarrowFeatures, Narrowing
from tokenizer_training.heads import VisualHeads
from tokenizer_training.module import TokenizerModule
from tokenizer_training.shown import fit_narrowing, narrowings, shown_features
from tokenizer_training.sources import open_sources
from tokenizer_training.start import fitted_targets
from tokenizer_training.visual import VisualSource, VisualTargets

WIDE = ("--side", "16", "--components", "300", "--fit_frames", "64")
"""Of two cameras 600 numbers a frame."""
PARTS = ("first", "last", "following")


@pytest.fixture(scope="module")
def cache(seen, tmp_path_factory) -> Path:
    from tokenizer_training.cli import main

    folder = tmp_path_factory.mktemp("wide") / "cache"
    words = ["features", "--data.datasets", str(seen[0]), "--out", str(folder), *WIDE]
    assert main(words) == 0
    return folder


@pytest.fixture
def wide(cache) -> DatasetFeatures:
    return FeatureCache.open(cache).dataset("stripes")


@pytest.fixture
def fit_wide(seen, cache, fit_tiny) -> Callable[..., Path]:
    def run(*options: str, name: str = "run") -> Path:
        terms = [w for n, v in TERMS.items() for w in (f"--model.weights.{n}", str(v))]
        features = ("--data.features", str(cache))
        return fit_tiny(*SLOTS, *features, *terms, *options, name=name, data=seen[0])

    return run


@pytest.fixture
def batches(monkeypatch) -> list[VisualTargets]:
    """What the steps and the validation of a run are given, as it happens."""
    given = []
    step, surprise = TokenizerModule.training_step, TokenizerModule.surprise

    def training_step(self, batch, number):
        given.extend(sample.targets for sample in batch)
        return step(self, batch, number)

    def look(self, sample):
        given.append(sample.targets)
        return surprise(self, sample)

    monkeypatch.setattr(TokenizerModule, "training_step", training_step)
    monkeypatch.setattr(TokenizerModule, "surprise", look)
    return given


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]


def stop_in_the_seventh_step(module: TokenizerModule, outputs, batch, number: int) -> None:
    if number == 6:
        raise InterruptedError


def step_by_step(targets: VisualTargets, narrowing: Narrowing) -> VisualTargets:
    """Targets as they were narrowed when every batch was."""
    return replace(targets, **{name: narrowing(getattr(targets, name)) for name in PARTS})


def test_what_reaches_the_module_is_narrow(fit_wide, batches):
    folder = fit_wide()
    assert len(batches) > 8
    assert {getattr(b, part).shape[1] for b in batches for part in PARTS} == {MOST_COMPONENTS}
    kept = {n: t for n, t in weights(folder).items() if "narrowing" in n}
    assert {name: tuple(tensor.shape) for name, tensor in kept.items()} == {
        "heads.of stripes.narrowing.mean": (600,),
        "heads.of stripes.narrowing.directions": (600, MOST_COMPONENTS),
    }


def test_losses_are_those_of_batches_narrowed_step_by_step(seen, wide):
    (source,) = open_sources([seen[0]])
    shown = shown_features([source], {"stripes": wide}, None)["stripes"]
    old = fitted_targets(source, wide)
    frames = torch.cat([old.first[old.seen], old.last[old.seen]])
    narrowing = Narrowing(*leading_components(frames))
    assert torch.equal(shown.narrowing.directions, narrowing.directions)

    windows = source.moving_windows(source.horizon)
    numbers = np.arange(len(windows))
    before, after = (
        VisualSource(features, windows).targets(numbers, source.horizon)
        for features in (wide, shown)
    )
    before = step_by_step(before, narrowing)
    assert not after.followed.all() and torch.equal(before.followed, after.followed)
    assert after.following[~after.followed].eq(0).all()
    config = TokenizerConfig.tiny(semantic_slots=2, semantic_width=4)
    points, latents = torch.randn(len(numbers), 2, 4), torch.randn(len(numbers), 2, 6)
    terms = []
    for fitted, targets in ((step_by_step(old, narrowing), before), (None, after)):
        torch.manual_seed(0)
        heads = VisualHeads(config, fitted or fitted_targets(source, shown)).eval()
        surprise = heads.surprise(points, targets)
        terms.append({**heads(points, latents, targets), "surprise": surprise})
    torch.testing.assert_close(*terms, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_rows_are_projected_in_blocks_of_whatever_size(seen, wide, monkeypatch, block):
    (source,) = open_sources([seen[0]])
    narrowing, sizes = fit_narrowing(source, wide), []
    narrowing.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    monkeypatch.setattr(narrow, "BLOCK", block)
    shown = NarrowFeatures(wide, narrowing)
    assert max(sizes) <= block and sum(sizes) == sum(wide.index.lengths)
    episodes = np.repeat(np.arange(len(wide.index.lengths)), wide.index.lengths)
    frames = np.concatenate([np.arange(length) for length in wide.index.lengths])
    (features, _), (components, known) = (f.lookup(episodes, frames) for f in (wide, shown))
    assert known.all()
    torch.testing.assert_close(components, narrowing(features), rtol=1e-5, atol=1e-5)


def test_beyond_an_episode_nothing_is_known_of_components_either(seen, wide):
    (source,) = open_sources([seen[0]])
    shown = NarrowFeatures(wide, fit_narrowing(source, wide))
    episodes, frames = np.array([0, 0, 0, -1, 6, 5]), np.array([-1, 11, 40, 0, 0, 7])
    (_, expected), (components, known) = (f.lookup(episodes, frames) for f in (wide, shown))
    assert torch.equal(known, expected) and known.tolist() == [False, True, False, False, False, 1]
    assert components[~known].eq(0).all() and components[known].ne(0).any(1).all()


def test_narrow_features_are_read_as_they_are(seen):
    features = {"stripes": FeatureCache.open(seen[1]).dataset("stripes")}
    shown = shown_features(open_sources([seen[0]]), features, None)
    assert shown["stripes"] is features["stripes"] and narrowings(shown) == {}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_run_goes_on_by_the_components_of_its_checkpoint(
    fit_wide, batches, monkeypatch, tmp_path, sign
):
    """On another processor others may lead: in the checkpoint they point another way."""
    whole = weights(fit_wide(name="whole"))
    last = batches[-2]
    with monkeypatch.context() as context, pytest.raises(InterruptedError):
        context.setattr(TokenizerModule, "on_train_batch_end", stop_in_the_seventh_step)
        fit_wide()
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    data = load_checkpoint(file)
    assert data["global_step"] == 4
    data["state_dict"]["heads.of stripes.narrowing.directions"] *= sign
    torch.save(data, file)
    again = weights(fit_wide())
    assert torch.equal(batches[-2].first, sign * last.first) and last.first.ne(0).any()
    differing = [name for name in whole if not torch.equal(whole[name], again[name])]
    assert differing == [] if sign == 1 else differing


def test_a_checkpoint_without_components_is_refused(fit_wide):
    folder = fit_wide()
    (folder / "COMPLETE").unlink()
    file = folder / "checkpoints" / "last.ckpt"
    data = load_checkpoint(file)
    del data["state_dict"]["heads.of stripes.narrowing.mean"]
    torch.save(data, file)
    with pytest.raises(ValueError, match=r"lacks .*narrowing\.mean.*--resume never"):
        fit_wide()
