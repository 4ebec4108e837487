"""Batches take one transform; what each chunk spells is what it would spell alone."""

from __future__ import annotations

import numpy as np
import pytest

from rvq_action.baselines import FastTokenizer

scipy_fft = pytest.importorskip("scipy.fft")


def spelt(fast: FastTokenizer, chunk: np.ndarray) -> str:
    """The string of one chunk, as the paper describes it."""
    integers = np.around(scipy_fft.dct(chunk, axis=0, norm="ortho") * fast.scale).astype(int)
    return "".join(chr(max(integer - fast.min_token, 0)) for integer in integers.reshape(-1))


def random_chunks(count: int, horizon: int, dim: int, dtype: type) -> np.ndarray:
    """Half of them between coarse steps, where halves to be rounded are frequent."""
    rng = np.random.default_rng(horizon + dim)
    chunks = rng.uniform(-1, 1, (count, horizon, dim))
    chunks[::2] = np.around(chunks[::2] * 20) / 20
    return chunks.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("horizon", "dim"), [(16, 1), (16, 8), (50, 7), (30, 14)])
def test_a_batch_is_tokenized_as_its_chunks_are_one_by_one(horizon, dim, dtype):
    chunks = random_chunks(300, horizon, dim, dtype)
    fast = FastTokenizer.fit(chunks, scale=10, byte_level=False)
    expected = fast.bpe.encode_batch([spelt(fast, chunk) for chunk in chunks])
    tokens = fast.encode(chunks)
    assert tokens == [encoding.ids for encoding in expected]
    assert tokens == fast.encode(list(chunks)) == [fast.encode(c[None])[0] for c in chunks]
    assert [fast.bpe.decode(row) for row in tokens] == [spelt(fast, chunk) for chunk in chunks]


def test_chunks_of_several_lengths_and_precisions_are_tokenized_as_each_is():
    kinds = [(16, np.float64), (50, np.float64), (16, np.float32)]
    chunks = [chunk for horizon, kind in kinds for chunk in random_chunks(20, horizon, 3, kind)]
    fast = FastTokenizer.fit(chunks, scale=10, byte_level=False)
    tokens = fast.encode(chunks)
    assert tokens == [fast.encode([chunk])[0] for chunk in chunks]
    assert [fast.bpe.decode(row) for row in tokens] == [spelt(fast, chunk) for chunk in chunks]


def test_no_chunks_are_no_sequences():
    fast = FastTokenizer.fit(random_chunks(30, 16, 3, np.float64))
    assert fast.encode([]) == [] == fast.encode(np.zeros((0, 16, 3)))


@pytest.mark.parametrize("factor", [1e5, 1e9])
def test_a_chunk_that_no_characters_can_spell_is_an_error(factor):
    chunks = random_chunks(30, 16, 3, np.float64)
    with pytest.raises(ValueError):
        FastTokenizer.fit(chunks).encode(chunks * factor)


@pytest.mark.parametrize("byte_level", [True, False])
def test_decoding_reads_every_character_as_its_integer(byte_level):
    chunks = random_chunks(200, 16, 3, np.float64)
    fast = FastTokenizer.fit(chunks, scale=60, byte_level=byte_level)
    tokens = fast.encode(chunks)
    integers = [[ord(c) + fast.min_token for c in spelt(fast, chunk)] for chunk in chunks]
    coefficients = np.reshape(integers, (-1, 16, 3)) / fast.scale
    expected = scipy_fft.idct(coefficients, axis=1, norm="ortho")
    assert np.array_equal(fast.decode(tokens, 16, 3, strict=True), expected)
