"""From datasets to batches: splits, sampling, augmentation, dropout."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rvq_action.blocks import Condition
from rvq_action.chunk import ActionChunk
from rvq_action.data.split import episodes_to_train, split_episodes
from rvq_action.layout import joint_space
from tests.synthetic import write_v3
from tests.tokenizer_training.conftest import write_mapping
from tokenizer_training.ablation.plan import ParsedOptions
from tokenizer_training.augment import Augmentation, scale_motion
from tokenizer_training.dropout import (
    DropoutRates,
    drop_condition,
    prefix_mask,
    token_positions,
)
from tokenizer_training.sources import open_sources
from tokenizer_training.start import fit_embodiments
from tokenizer_training.stream import BatchStream, StepLoader

PLAIN = Augmentation(rate=0)


def equal(a: ActionChunk, b: ActionChunk) -> bool:
    fields = ("actions", "mask", "anchor", "anchor_mask")
    return a.fps == b.fps and all(torch.equal(getattr(a, f), getattr(b, f)) for f in fields)


class TestSources:
    def test_the_held_out_episodes_are_the_protocols(self, dataset):
        (source,) = open_sources([dataset])
        assert source.split == split_episodes(6)
        assert len(source.validation) == 1
        assert set(source.fitted) | set(source.validation) == set(source.split.train)
        assert not set(source.fitted) & set(source.validation)

    def test_validation_windows_are_of_validation_episodes(self, dataset):
        (source,) = open_sources([dataset])
        assert set(source.validation_windows().episode_ids) == set(source.validation)
        assert set(source.fit_windows().episode_ids) == set(source.fitted)
        assert set(source.moving_windows(10).episode_ids) <= set(source.fitted)

    def test_where_chunks_set_off_is_measured_at_the_end_of_episodes_too(self, dataset):
        (source,) = open_sources([dataset])
        known = fit_embodiments([source])["test_arm"].statistics
        episodes = [source.dataset.episodes[i] for i in source.fitted]
        first = np.concatenate([e.actions - e.proprio for e in episodes])
        assert known.start.count == [len(first)] * 3
        np.testing.assert_allclose(known.start.min, first.min(0))
        np.testing.assert_allclose(known.start.max, first.max(0))
        full = sum(len(e) - source.horizon + 1 for e in episodes)
        assert known.actions.count == [full * source.horizon] * 3

    def test_too_few_episodes(self, tmp_path):
        path = write_v3(tmp_path / "short", (30, 30))
        with pytest.raises(ValueError, match="has 2 episodes; training needs at least 3"):
            open_sources([path])

    @pytest.mark.parametrize("enough", [False, True])
    def test_as_many_episodes_as_the_check_asks_for_are_trained_on(self, tmp_path, enough):
        """By what a run's options are where nothing is said."""
        parsed = ParsedOptions(["--run_dir", ".", "--data.datasets", "."]).config
        count = episodes_to_train() - (not enough)
        path, shares = write_v3(tmp_path / "few", (9,) * count), parsed.data
        (source,) = open_sources([path], None, 0, shares.held_out, shares.validation, 0.5)
        assert (len(source.validation) >= parsed.validation.least_episodes) is enough

    def test_no_dataset(self):
        with pytest.raises(ValueError, match="--data.datasets"):
            open_sources([])

    def test_one_name_twice(self, dataset, tmp_path):
        shutil.copytree(dataset, tmp_path / "other" / dataset.name)
        with pytest.raises(ValueError, match=r"share the folder names \['waves'\]"):
            open_sources([dataset, tmp_path / "other" / dataset.name])

    def test_one_embodiment_in_two_ways(self, dataset, tmp_path):
        other = Path(shutil.copytree(dataset, tmp_path / "other"))
        info = other / "meta" / "info.json"
        info.write_text(info.read_text().replace('"gripper"', '"jaw"'))
        with pytest.raises(ValueError, match="both embodiment 'test_arm'.*another `embodiment`"):
            open_sources([dataset, other])

    def test_one_embodiment_whose_mappings_read_other_numbers(self, mapped, tmp_path):
        other = write_mapping(Path(shutil.copytree(mapped, tmp_path / "other")), scale=1000.0)
        said = "mapped and other are both embodiment 'waver'.*scale: None -> .1000.*`embodiment`"
        with pytest.raises(ValueError, match=said):
            open_sources([mapped, other])

    @pytest.mark.parametrize("names", ["x y jaw", "left right jaw", "y x gripper"])
    def test_columns_may_be_called_otherwise(self, mapped, tmp_path, names):
        """By the same names, or in the same places: the numbers are read alike."""
        other, called = Path(shutil.copytree(mapped, tmp_path / "other")), names.split()
        info, own = other / "meta" / "info.json", other / "meta" / "rvq_mapping.yaml"
        described = json.loads(info.read_text())
        for feature in ("action", "observation.state"):
            described["features"][feature]["names"] = called
        info.write_text(json.dumps(described))
        if "x" not in called:
            own.write_text(own.read_text().replace("[x, y]", "[left, right]"))
        assert [source.name for source in open_sources([mapped, other])] == ["mapped", "other"]


class TestStream:
    def test_a_batch_depends_on_its_number_alone(self, dataset):
        streams = [BatchStream(open_sources([dataset]), 8, 3, Augmentation(rate=1)) for _ in "ab"]
        forward = [streams[0].batch(step) for step in range(40)]
        for step in (39, 0, 17):
            (again,) = streams[1].batch(step)
            assert equal(again.chunk, forward[step][0].chunk)

    def test_every_window_comes_once_before_any_comes_twice(self, tmp_path):
        path = write_v3(tmp_path / "one", (30, 30, 30, 30), tasks=("go",))
        stream = BatchStream(open_sources([path]), 7, 0, PLAIN)
        count = len(stream.windows[0])
        places = range(0, count - 6, 7)
        drawn = np.concatenate([stream.sampler.draws(first, 7) for first in places])
        assert len(np.unique(drawn, axis=0)) == len(drawn)

    def test_processes_get_different_samples(self, dataset):
        sources = open_sources([dataset])
        both = [BatchStream(sources, 8, 0, PLAIN, rank, 2).batch(0)[0].chunk for rank in (0, 1)]
        alone = BatchStream(sources, 16, 0, PLAIN).batch(0)[0].chunk
        assert torch.equal(torch.cat([c.actions for c in both]), alone.actions)

    def test_several_datasets_share_a_batch(self, dataset, tmp_path):
        other = write_v3(tmp_path / "more", (90, 30, 30, 30, 30), tasks=("other",))
        stream = BatchStream(open_sources([dataset, other]), 64, 0, PLAIN)
        chunks = stream.batch(0)
        assert len(chunks) == 2
        assert sum(map(len, chunks)) == 64

    def test_a_long_task_does_not_drown_a_short_one(self, dataset, tmp_path):
        """Every task of every dataset gets a share as the root of how many windows it has."""
        other = write_v3(tmp_path / "uneven", (150, 12) * 4, tasks=("long", "short"))
        stream = BatchStream(open_sources([dataset, other]), 16, 0, PLAIN)
        size = len(stream.sampler)
        tasks = [(n, t) for n, windows in enumerate(stream.windows) for t in windows.tasks]
        drawn = [(n, stream.windows[n].tasks[i]) for n, i in stream.sampler.draws(0, size)]
        roots = {group: count**0.5 for group, count in Counter(tasks).items()}
        shares = {group: root / sum(roots.values()) for group, root in roots.items()}
        assert max(roots.values()) > 3 * min(roots.values())
        found = {group: count / size for group, count in Counter(drawn).items()}
        assert found == pytest.approx(shares, abs=0.01)
        samples = [sample for step in range(size // 16) for sample in stream.batch(step)]
        shown = sum(len(sample) for sample in samples if sample.dataset == other.name)
        share = sum(share for (number, _), share in shares.items() if number == 1)
        assert shown / sum(map(len, samples)) == pytest.approx(share, abs=0.03)

    def test_a_loader_starts_where_it_is_told(self, dataset):
        stream = BatchStream(open_sources([dataset]), 8, 0, PLAIN)
        batches = list(StepLoader(stream, 5, 8))
        assert len(batches) == 3
        assert equal(batches[0][0].chunk, stream.batch(5)[0].chunk)


class TestAugmentation:
    @pytest.fixture
    def chunk(self, dataset) -> ActionChunk:
        (source,) = open_sources([dataset])
        return source.moving_windows(12).chunk(slice(None, None, 5))

    def test_without_it_a_chunk_is_only_cut(self, chunk):
        cut = PLAIN.apply(chunk, 10, joint_space(3), np.random.default_rng(0))
        assert torch.equal(cut.actions, chunk.actions[:, :10])
        assert cut.fps == chunk.fps

    def test_horizon_and_duration_stay_near_one_second(self, chunk):
        augmentation = Augmentation(rate=1, speed=1.2)
        layout, horizons, durations = joint_space(3), set(), set()
        for seed in range(200):
            new = augmentation.apply(chunk, 10, layout, np.random.default_rng(seed))
            horizons.add(new.horizon)
            durations.add(round(new.horizon / new.fps, 2))
        assert horizons == {8, 9, 10, 11, 12}
        assert durations == {0.8, 0.9, 1.0, 1.1, 1.2}

    def test_amplitude_scales_about_the_anchor(self, chunk):
        factors = torch.full((len(chunk),), 2.0)
        grown = scale_motion(chunk, factors, joint_space(3))
        before = (chunk.actions - chunk.anchor[:, None])[chunk.mask]
        after = (grown.actions - chunk.anchor[:, None])[chunk.mask]
        assert torch.allclose(after, 2 * before, atol=1e-5)
        assert (grown.actions[~chunk.mask] == 0).all()

    def test_grippers_and_raw_positions_keep_their_size(self, chunk):
        factors = torch.full((len(chunk),), 2.0)
        for layout in (joint_space(3, unit="gripper"), joint_space(3, unit="m", delta="raw")):
            assert equal(scale_motion(chunk, factors, layout), chunk)

    def test_velocities_scale_about_zero(self, chunk):
        layout = joint_space(3, unit="rad/s", delta="raw")
        grown = scale_motion(chunk, torch.full((len(chunk),), 2.0), layout)
        assert torch.equal(grown.actions, 2 * chunk.actions)

    def test_nonsense_is_refused(self):
        with pytest.raises(ValueError, match="speed >= 1"):
            Augmentation(speed=0.5)


class TestDropout:
    def test_rates_are_kept(self):
        rates, generator = (
            DropoutRates(anchor=0.2, embodiment=0.4),
            torch.Generator().manual_seed(0),
        )
        known = torch.ones(4000, 3, dtype=torch.bool)
        whole = Condition(
            torch.ones(4000, 3), known, torch.ones(4000, dtype=torch.int64), known[:, 0]
        )
        dropped = drop_condition(whole, rates, generator)
        no_anchor, no_name = ~dropped.anchor_mask.any(1), dropped.embodiment == 0
        assert no_anchor.float().mean() == pytest.approx(0.2, abs=0.03)
        assert no_name.float().mean() == pytest.approx(0.4, abs=0.03)
        assert (no_anchor & no_name).float().mean() == pytest.approx(0.08, abs=0.03)
        assert known.all()

    def test_without_an_anchor_there_is_none_to_drop(self):
        nothing = Condition(None, None, torch.ones(5, dtype=torch.int64), torch.ones(5))
        generator = torch.Generator().manual_seed(0)
        assert drop_condition(nothing, DropoutRates(), generator).anchor_mask is None

    def test_what_is_kept_is_a_prefix_in_token_order(self):
        order = [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
        positions = token_positions(order)
        generator = torch.Generator().manual_seed(0)
        keep = prefix_mask(3000, positions, 0.5, generator)
        in_order = torch.stack([keep[:, slot, level] for slot, level in order], dim=1)
        lengths = in_order.sum(1)
        assert torch.equal(in_order, torch.arange(6) < lengths[:, None])
        assert lengths.min() == 1
        assert (lengths == 6).float().mean() == pytest.approx(0.5 + 0.5 / 6, abs=0.03)

    def test_rates_are_shares(self):
        with pytest.raises(ValueError, match="prefix"):
            replace(DropoutRates(), prefix=1.5)
