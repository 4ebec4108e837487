"""FAST behaves as published, and bins round-trip within half a bin."""

import math

import numpy as np
import pytest

from rvq_action.baselines import BinTokenizer, FastTokenizer

HORIZON, DIM = 16, 3


def smooth_chunks(count: int, seed: int = 0, amplitude: float = 1.0) -> np.ndarray:
    """Sums of slow cosines with random phases, within ±amplitude: [count, T, D]."""
    rng = np.random.default_rng(seed)
    time = np.arange(HORIZON)[None, :, None] / HORIZON
    phase = rng.uniform(0, 2 * np.pi, (count, 1, DIM))
    speed = rng.uniform(0.2, 1.5, (count, 1, DIM))
    return amplitude * np.cos(2 * np.pi * speed * time + phase)


@pytest.fixture(scope="module")
def fast() -> FastTokenizer:
    return FastTokenizer.fit(smooth_chunks(600), scale=10, vocab_size=1024)


@pytest.mark.parametrize("byte_level", [True, False])
def test_fast_round_trip_is_as_exact_as_its_rounding(byte_level):
    chunks = smooth_chunks(300)
    for scale in (5, 20):
        tokenizer = FastTokenizer.fit(chunks, scale, vocab_size=2048, byte_level=byte_level)
        decoded = tokenizer.decode(tokenizer.encode(chunks), HORIZON, DIM, strict=True)
        # An orthonormal transform keeps the error of rounding, uniform within half an integer.
        assert np.mean((decoded - chunks) ** 2) < 1 / (12 * scale**2)
        assert np.abs(decoded - chunks).max() > 0


def test_a_finer_scale_costs_tokens_and_buys_accuracy():
    chunks = smooth_chunks(400)
    results = {}
    for scale in (2.5, 10):
        tokenizer = FastTokenizer.fit(chunks, scale)
        tokens = tokenizer.encode(chunks)
        error = np.mean((tokenizer.decode(tokens, HORIZON, DIM) - chunks) ** 2)
        results[scale] = np.mean([len(t) for t in tokens]), error
    assert results[10][0] > results[2.5][0]
    assert results[10][1] < results[2.5][1]


def test_the_vocabulary_is_filled_up_to_its_size_and_holds_the_whole_integer_range():
    chunks = smooth_chunks(600)
    tokenizer = FastTokenizer.fit(chunks, 10, vocab_size=512, byte_level=False)
    vocabulary = tokenizer.bpe.get_vocab()
    assert tokenizer.bpe.get_vocab_size() == 512
    assert tokenizer.bits_per_token == math.log2(512)
    longest = max(map(len, vocabulary))
    assert {chr(i) for i in range(10)} <= set(vocabulary) and longest > 4


def test_idle_chunks_need_fewer_tokens_than_moving_ones():
    idle, moving = smooth_chunks(300) * 0.02, smooth_chunks(300)
    tokenizer = FastTokenizer.fit(np.concatenate([idle, moving]), scale=10)
    idle_lengths = [len(t) for t in tokenizer.encode(idle)]
    moving_lengths = [len(t) for t in tokenizer.encode(moving)]
    assert np.mean(idle_lengths) < 0.3 * np.mean(moving_lengths)
    assert len(set(moving_lengths)) > 3


def test_low_frequencies_of_all_channels_come_first():
    constant = np.broadcast_to([1.0, -0.5, 0.25], (1, HORIZON, DIM))
    plain = FastTokenizer.fit(smooth_chunks(50), byte_level=False, bound=1.5)
    text = plain.bpe.decode(plain.encode(constant)[0])
    integers = [ord(c) + plain.min_token for c in text]
    assert integers[:DIM] == [40, -20, 10]
    assert not any(integers[DIM:])


def test_one_flipped_token_makes_most_chunks_undecodable(fast):
    rng = np.random.default_rng(1)
    flipped = fast.encode(smooth_chunks(300, seed=1))
    for tokens in flipped:
        position = rng.integers(len(tokens))
        tokens[position] = (tokens[position] + rng.integers(1, 1024)) % 1024
    decoded = fast.decode_flagged(flipped, HORIZON, DIM)
    assert 0.6 < decoded.failed.mean() < 1
    assert not decoded.chunks[decoded.failed].any()
    with pytest.raises(ValueError, match="token sequences are no chunk"):
        fast.decode(flipped, HORIZON, DIM, strict=True)


def test_amplitudes_beyond_the_fitted_ones_fail_unless_the_alphabet_is_bounded_by_the_space():
    training, louder = smooth_chunks(300, amplitude=0.7), smooth_chunks(200, 1, amplitude=1.0)
    published = FastTokenizer.fit(training, 10)
    total = FastTokenizer.fit(training, 10, byte_level=False, bound=1.5)
    assert published.decode_flagged(published.encode(louder), HORIZON, DIM).failed.mean() > 0.02
    assert not total.decode_flagged(total.encode(louder), HORIZON, DIM).failed.any()


def test_an_empty_sequence_is_malformed(fast):
    assert fast.decode_flagged([[]], HORIZON, DIM).failed.all()


def test_fast_refuses_an_alphabet_larger_than_the_vocabulary_and_no_data():
    with pytest.raises(ValueError, match="Raise vocab_size or lower the scale"):
        FastTokenizer.fit(smooth_chunks(20), scale=1000, vocab_size=1024)
    with pytest.raises(ValueError, match="at least one chunk"):
        FastTokenizer.fit([], scale=10)


def test_bins_round_trip_within_half_a_bin_and_clip_beyond_the_range():
    bins = BinTokenizer()
    chunks = smooth_chunks(20)
    tokens = bins.encode(chunks)
    assert tokens.shape == (20, HORIZON * DIM) and tokens.dtype == np.int64
    assert np.abs(bins.decode(tokens, HORIZON, DIM) - chunks).max() <= 1.5 / 256 + 1e-9
    wild = bins.decode(bins.encode(np.full((1, HORIZON, DIM), 9.0)), HORIZON, DIM)
    assert wild.max() < 1.5
    assert bins.bits_per_token == 8


def test_bins_refuse_nan_and_foreign_tokens():
    bins = BinTokenizer()
    with pytest.raises(ValueError, match="NaN"):
        bins.encode(np.full((1, 2, 1), np.nan))
    with pytest.raises(ValueError, match="0..255"):
        bins.decode(np.array([[256, 0]]), 2, 1)
    with pytest.raises(ValueError, match="takes 2 tokens"):
        bins.decode(np.array([[3]]), 2, 1)
