"""Training with pictures: that controls count, and what is refused."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rvq_action import ActionTokenizer
from rvq_action.config import TokenizerConfig
from rvq_action.data.windows import Windows
from tests.synthetic import FPS, write_v3
from tests.tokenizer_training.conftest import LENGTHS, SMALL, TERMS, made_up
from tests.tokenizer_training.features.conftest import write
from tokenizer_training.cli import main
from tokenizer_training.export import read_checkpoint
from tokenizer_training.features.cache import FeatureCache
from tokenizer_training.heads import (
    LEAST_SPREAD,
    FeatureScale,
    VisualHeads,
    Whitening,
    build_heads,
    key,
)
from tokenizer_training.module import TokenizerModule, add
from tokenizer_training.sources import open_sources
from tokenizer_training.visual import VisualSource, VisualTargets

NAMES = ("stripes", "spots")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "checkpoints" / "last.ckpt").model.state_dict()


def test_pictures_are_needed_in_training_only(fit_seen):
    folder = fit_seen()
    tokenizer = ActionTokenizer.from_pretrained(folder / "tokenizer")
    assert not any("heads" in name for name in tokenizer.model.state_dict())
    assert tokenizer.metadata["features"].keys() == {"stripes"}
    proprio, actions = torch.zeros(2, 3), torch.zeros(2, 10, 3)
    codes = tokenizer.encode(actions, proprio=proprio)
    assert tokenizer.decode(codes, 10, proprio=proprio).shape == actions.shape


@pytest.mark.parametrize("term", TERMS)
def test_a_weight_of_zero_is_a_control(fit_seen, term):
    faint = {**TERMS, term: 1e-30}
    full, without = fit_seen(name="full"), fit_seen(name="other", weights=faint)
    one, other = weights(full), weights(without)
    assert any(not torch.equal(one[n], other[n]) for n in one if n.startswith("semantic"))
    absent = weights(fit_seen(name="absent", weights={**TERMS, term: 0.0}))
    assert any(not torch.equal(one[n], absent[n]) for n in one if n.startswith("semantic"))


def test_shuffled_pictures_are_a_control(fit_seen):
    full, shuffled = fit_seen(name="full"), fit_seen("--data.shuffle_images", "true", name="other")
    one, other = weights(full), weights(shuffled)
    assert any(not torch.equal(one[n], other[n]) for n in one if n.startswith("semantic"))


def test_robots_without_a_camera_join_the_batch(fit_seen, tmp_path, monkeypatch):
    """They count in the terms of motion, and leave those of pictures exactly as they were."""
    steps, original = [], TokenizerModule.training_step

    def spy(self, batch, number):
        randomness, terms = torch.get_rng_state(), []
        sighted = [sample for sample in batch if sample.sighted]
        blind = [sample for sample in batch if sample.targets is None]
        for part in (blind, sighted, batch):
            torch.set_rng_state(randomness)
            total = original(self, part, number) if part else None
            terms.append(self.terms if part else None)
        assert total is not None and total.isfinite()
        steps.append(terms)
        return total

    monkeypatch.setattr(TokenizerModule, "training_step", spy)
    blind = write_v3(tmp_path / "waves", LENGTHS)
    still = ("--model.codebook_every_n_steps", "0")
    assert (fit_seen("--data.datasets+", str(blind), *still) / "COMPLETE").is_file()
    mixed = [step for step in steps if step[0] and step[1]]
    assert mixed
    for without, sighted, both in mixed:
        assert without["alignment"] == without["next_frame"] == 0
        assert both["alignment"] == sighted["alignment"] > 0
        assert both["next_frame"] == sighted["next_frame"] > 0
        for motion in ("reconstruction", "dct", "smoothness"):
            assert both[motion] != sighted[motion] and without[motion] > 0


@pytest.fixture
def both_seen(seen, tmp_path) -> tuple[Path, Path]:
    """A second dataset, in which other things are to be seen, and the cache of both."""
    other, cache = write(tmp_path / "spots", LENGTHS, change=tuple(range(6))), tmp_path / "both"
    words = ["features", "--data.datasets", str(seen[0]), str(other), "--out", str(cache), *SMALL]
    assert main(words) == 0
    return other, cache


def test_two_datasets_with_cameras_see_their_own(fit_seen, both_seen, monkeypatch):
    """In one batch both heads learn, each from what was seen in as many chunks as it has there."""
    step, term, told, learning = TokenizerModule.training_step, VisualHeads.forward, {}, []
    cache = FeatureCache.open(both_seen[1])

    def forward(self, points, latents, targets):
        told[self] = term(self, points, latents, targets), targets
        return told[self][0]

    def training_step(self, batch, number):
        total, expected = step(self, batch, number), {"alignment": 0.0, "next_frame": 0.0}
        for sample in batch:
            terms, targets = told[self.heads[key(sample.dataset)]]
            frames = (targets.time * FPS).round().long()
            seen_in = {n: cache.dataset(n).lookup(targets.episode, frames)[0] for n in NAMES}
            equal = {n for n, features in seen_in.items() if torch.equal(targets.first, features)}
            assert equal == {sample.dataset}
            share = sample.sighted / sum(sample.sighted for sample in batch)
            add(expected, terms, share)
        for name, value in expected.items():
            torch.testing.assert_close(self.terms[name], value.detach())
        return total

    def gradients(self, optimizer):
        taught = (
            name
            for name, head in self.heads.items()
            if all(p.grad is not None and p.grad.any() for p in head.parameters())
        )
        learning.append(set(taught))

    monkeypatch.setattr(VisualHeads, "forward", forward)
    monkeypatch.setattr(TokenizerModule, "training_step", training_step)
    monkeypatch.setattr(TokenizerModule, "on_before_optimizer_step", gradients)
    fit_seen("--data.datasets+", str(both_seen[0]), "--data.features", str(both_seen[1]))
    assert learning == [{key(name) for name in NAMES}] * 8


@pytest.mark.parametrize("name", ["train", "type", "values", "v1.5"])
def test_a_dataset_may_be_called_anything(fit_seen, name):
    targets = VisualTargets(
        *torch.randn(3, 40, 6), *torch.ones(2, 40, dtype=torch.bool), *[None] * 2
    )
    config = ActionTokenizer.from_pretrained(fit_seen() / "tokenizer").config
    assert isinstance(build_heads(config, {name: targets}, {})[key(name)], VisualHeads)


def test_pictures_that_never_change_are_no_nan():
    same = torch.ones(40, 6)
    assert torch.equal(FeatureScale(same)(same), torch.zeros(40, 6))
    assert torch.isfinite(Whitening(same)(same)).all()


def test_chunks_that_nobody_saw_tell_a_teacher_nothing():
    config = TokenizerConfig.tiny(semantic_slots=2, semantic_width=4)
    targets = made_up(48, 300)
    targets.seen[40:] = targets.followed[36:] = False
    heads = VisualHeads(config, targets).eval()
    points, latents = torch.randn(48, 2, 4), torch.randn(48, 2, 6)
    terms = heads(points, latents, targets)
    for features, known in ((targets.first, targets.seen), (targets.following, targets.followed)):
        features[~known] = 0
    other = heads(points, latents, targets)
    assert all(torch.equal(terms[name], other[name]) for name in terms)


def test_pairs_are_whitened_in_all_their_components():
    """Of two frames there may be more than would be narrowed of one."""
    config = TokenizerConfig.tiny(semantic_slots=2, semantic_width=4)
    targets = made_up(40, 300)
    heads = VisualHeads(config, targets)
    pair = torch.cat([targets.first, targets.last], dim=1)
    centred = (pair - pair.mean(0)).double()
    energies, vectors = torch.linalg.eigh(centred.T @ centred / len(pair))
    spread = energies.clamp(min=0).sqrt()
    expected = (vectors / spread.clamp(min=LEAST_SPREAD * spread.max().item())).float()
    assert torch.equal(heads.alignment.pair_teacher.components, expected)
    assert heads.scale.mean.shape == (300,)


def test_a_run_killed_before_its_first_checkpoint_goes_on_to_the_same_bits(fit_seen):
    folder = fit_seen()
    before = weights(folder)
    for leftover in ("COMPLETE", "checkpoints/last.ckpt"):
        (folder / leftover).unlink()
    torch.rand(3)
    after = weights(fit_seen())
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_windows_at_the_end_have_no_next_frame(seen):
    (source,) = open_sources([seen[0]])
    windows = source.moving_windows(10)
    visual = VisualSource(FeatureCache.open(seen[1]).dataset("stripes"), windows)
    targets = visual.targets(range(len(windows)), 10)
    lengths = torch.tensor(LENGTHS)[torch.from_numpy(windows.episode_ids)]
    starts = torch.from_numpy(windows.starts)
    assert torch.equal(targets.followed, starts + 10 < lengths)
    assert torch.equal(targets.seen, starts + 9 < lengths)


def test_chunks_of_one_episode_are_near_until_a_second_has_passed():
    targets = replace(
        made_up(5, 6),
        episode=torch.tensor([0, 0, 0, 0, 1]),
        time=torch.tensor([20.0, 20.0, 20.95, 21.0, 20.0]),
    )
    pairs = {(a, b) for a, b in targets.near().nonzero().tolist() if a < b}
    assert pairs == {(0, 1), (0, 2), (1, 2), (2, 3)}
    assert targets.near().diagonal().all() and torch.equal(targets.near(), targets.near().T)


@pytest.mark.parametrize("fps", [5.0, 10.0, 30.0])
def test_a_second_has_as_many_frames_as_the_recording_says(seen, fps):
    (source,) = open_sources([seen[0]])
    windows = Windows([replace(episode, fps=fps) for episode in source.dataset.episodes], 2)
    visual = VisualSource(FeatureCache.open(seen[1]).dataset("stripes"), windows)
    near = visual.targets(np.arange(len(windows)), 2).near()
    starts, episodes = torch.from_numpy(windows.starts), torch.from_numpy(windows.episode_ids)
    together = episodes[:, None] == episodes
    assert torch.equal(near, together & ((starts[:, None] - starts).abs() < fps))


def test_a_neighbour_is_no_negative_in_alignment():
    """Where nothing is told apart, the term is the logarithm of how many are told from."""
    config = TokenizerConfig.tiny(semantic_slots=2, semantic_width=4)
    torch.manual_seed(0)
    targets, points, latents = made_up(24, 6), torch.randn(48, 2, 4), torch.zeros(48, 2, 6)
    heads = VisualHeads(config, targets).eval()
    torch.nn.init.constant_(heads.alignment.log_temperature, math.log(1e6))
    beside, again = targets.rows(torch.arange(24).repeat(2)), torch.arange(48) >= 24
    later = replace(beside, time=beside.time + 100 * again)
    elsewhere = replace(beside, episode=beside.episode + again)
    for twice, candidates in ((beside, 47), (later, 48), (elsewhere, 48)):
        terms = heads(points, latents, twice)
        for nats in (terms["alignment"], heads.surprise(points, twice)):
            assert nats.item() == pytest.approx(math.log(candidates), abs=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--data.features=null",), "give --data.features"),
        (("--closed_form.semantic_slots", "0"), "need semantic slots"),
        (("--data.features", "nowhere"), "nowhere is no cache"),
        (("--data.split_seed", "5"), "held out now"),
    ],
)
def test_what_cannot_be_learnt_is_refused(fit_seen, tmp_path, change, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        fit_seen(*change)
    assert not (tmp_path / "run").exists()


def test_pictures_are_refused_where_so_few_episodes_validate_that_nothing_is_trained(
    fit_seen, tmp_path
):
    few = ("--validation.least_episodes", "2")
    with pytest.raises(ValueError, match=r"terms \['alignment', 'next_frame'\].*--config base"):
        fit_seen(*few)
    assert not (tmp_path / "run").exists()
    assert (fit_seen(*few, "--trainer.max_steps", "0") / "COMPLETE").is_file()


def test_a_cache_of_other_robots_is_refused(fit_tiny, seen, tmp_path):
    other = shutil.copytree(seen[0], tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="of none of"):
        fit_tiny("--data.features", str(seen[1]), data=other)
