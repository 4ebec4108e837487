"""FAST's words in the place of ours, and no words at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.vla.data.conftest import STILL, policy, recordings, tokenizer
from vla.action_tokens import digest, load_tokens
from vla.config import VLAConfig
from vla.data.settings import DataSettings
from vla.data.stream import SampleStream
from vla.fast_tokens import FAST, FastTokens, training_windows
from vla.policy import VLAPolicy
from vla.samples import Observation
from vla.sequence import UNLABELLED
from vla.tokens import TokenType

__all__ = ["policy", "recordings", "tokenizer"]


@pytest.fixture(scope="module")
def fast(tokenizer, recordings) -> FastTokens:
    return FastTokens.fit(tokenizer, [recordings], vocab_size=256)


@pytest.fixture(scope="module")
def speaker(fast) -> VLAPolicy:
    torch.manual_seed(0)
    cameras = dict.fromkeys(fast.embodiments, ("front",))
    return VLAPolicy.start(VLAConfig.tiny().for_tokenizer(fast, cameras), fast)


def whole(tokenizer, recordings):
    """Windows of training episodes without a masked frame."""
    windows = training_windows(recordings, tokenizer, None)
    chunk = windows.chunk(range(len(windows)))
    return chunk.rows(chunk.mask.all((1, 2)).nonzero().flatten())


def test_chunks_come_back_as_near_as_fast_rounds(fast, tokenizer, recordings):
    chunk = whole(tokenizer, recordings)
    codes = fast.encode(chunk.actions, chunk.anchor, chunk.embodiment, chunk.fps)
    lengths = (codes[..., 0] >= 0).sum(1)
    assert len(lengths.unique()) > 1 and lengths.max() <= fast.longest
    told = chunk.anchor.numpy(), chunk.embodiment, chunk.fps
    back = fast.decode(codes.numpy(), chunk.horizon, *told)
    error = np.abs(back - chunk.actions.numpy())
    span = chunk.actions.flatten(0, 1).numpy()
    assert error.mean() < 0.05 * (span.max(0) - span.min(0)).mean()


def test_frames_behind_the_end_stay_where_the_last_one_is(fast, tokenizer, recordings):
    chunk = whole(tokenizer, recordings).rows(torch.arange(2))
    real = torch.ones_like(chunk.mask)
    real[:, 6:] = False
    still = chunk.actions.clone()
    still[:, 6:] = still[:, 5:6]
    told = chunk.anchor, chunk.embodiment, chunk.fps
    cut = fast.encode(chunk.actions, *told, mask=real)
    assert torch.equal(cut, fast.encode(still, *told))
    assert not torch.equal(cut, fast.encode(chunk.actions, *told))


def test_what_is_no_chunk_stands_still_in_the_middle(fast, tokenizer):
    codes = np.full((1, fast.longest, 1), -1)
    codes[0, 0] = 7
    (name,) = fast.embodiments
    known = tokenizer.embodiments[name]
    anchor = np.zeros((1, known.layout.width), np.float32)
    back = fast.decode(codes, 10, anchor, name)
    middle = known.from_model(
        torch.zeros(1, 10, fast.config.width), torch.from_numpy(anchor), False
    )
    np.testing.assert_allclose(back, middle.numpy(), atol=1e-6)


def test_a_policy_speaks_fast_and_keeps_it(speaker, fast, recordings, tmp_path):
    (name,) = fast.embodiments
    settings = DataSettings((recordings,), batch_size=6, others=0, workers=0, **STILL)
    stream = SampleStream.open(speaker.samples, settings)
    samples = stream.samples(0)
    batch = stream.batch(0)
    said = [int((s.types == TokenType.ACTION).sum()) for s in samples]
    assert len(set(said)) > 1, "chunks differ in length, and stand in one batch"
    for sample in samples:
        words = sample.ids[sample.labels != UNLABELLED]
        assert words[-1] == speaker.samples.prompter.end_id
        assert (words[:-1] >= speaker.vocabulary.language_size).all()
    losses = speaker.model(batch).losses
    assert losses.action_ce.item() > 1 and losses.flow.isfinite()
    speaker.save_pretrained(tmp_path / "policy")
    loaded = VLAPolicy.from_pretrained(tmp_path / "policy")
    assert isinstance(loaded.tokenizer, FastTokens) and digest(loaded.tokenizer) == digest(fast)
    index = 0
    source = stream.robots[0]
    views = source.images(index)
    now = Observation(views, source.chunk([index]).anchor[0], "go", name)
    one, two = (p.act_by_codes([now], 10)[0] for p in (speaker, loaded))
    np.testing.assert_array_equal(one.codes, two.codes)
    np.testing.assert_array_equal(one.actions, two.actions)
    assert one.actions.shape == (10, fast.layout(name).width)


def test_without_action_tokens_the_flow_is_the_same(policy, recordings):
    given = {"batch_size": 4, "others": 0, "workers": 0, **STILL}
    spoken, silent = (
        SampleStream.open(
            policy.samples, DataSettings((recordings,), action_tokens=told, **given)
        ).samples(0)
        for told in (True, False)
    )
    for one, two in zip(spoken, silent, strict=True):
        prompt = len(two.ids)
        assert not (two.types == TokenType.ACTION).any() and (two.labels == UNLABELLED).all()
        assert torch.equal(one.ids[:prompt], two.ids) and (one.types[prompt:] == 4).all()
        assert torch.equal(one.actions, two.actions) and torch.equal(one.proprio, two.proprio)
    batch = policy.batch(silent)
    losses = policy.model(batch).losses
    assert losses.action_ce.item() == 0 and losses.flow.item() > 0


def test_a_damaged_folder_is_an_error(fast, tokenizer, tmp_path):
    fast.save_pretrained(tmp_path / "fast")
    assert digest(load_tokens(tmp_path / "fast")) == digest(fast) != digest(tokenizer)
    assert digest(replace(fast, longest=fast.longest + 1)) != digest(fast)
    (tmp_path / "fast" / "bpe.json").write_text("{}")
    with pytest.raises(ValueError, match="bpe.json is missing or damaged"):
        load_tokens(tmp_path / "fast")
    (tmp_path / "fast" / FAST).write_text('{"scale": 10}')
    with pytest.raises(ValueError, match="fast.json must hold"):
        load_tokens(tmp_path / "fast")
