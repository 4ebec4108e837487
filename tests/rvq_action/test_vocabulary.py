"""Codes <-> token ids: a round trip, and strictness about everything foreign."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rvq_action import ActionVocabulary

S, K, V = 3, 2, 10
ORDERS = ("level_major", "slot_major")


def vocabulary(order: str = "level_major", first_id: int = 100) -> ActionVocabulary:
    return ActionVocabulary(S, K, V, order, first_id)


def random_codes(batch: int = 5) -> torch.Tensor:
    return torch.randint(0, V, (batch, S, K))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("present", range(S * K + 1))
def test_every_prefix_makes_the_round_trip(order, present):
    words, codes = vocabulary(order), random_codes()
    for slot, level in words.order[present:]:
        codes[:, slot, level] = -1
    ids = words.to_ids(codes)
    assert ids.shape == (5, present)
    assert torch.equal(words.to_codes(ids), codes)


@pytest.mark.parametrize("order", ORDERS)
def test_an_id_tells_level_and_code(order):
    words, codes = vocabulary(order), random_codes()
    ids = words.to_ids(codes)
    for position, (slot, level) in enumerate(words.order):
        assert torch.equal(ids[:, position], 100 + level * V + codes[:, slot, level])
    assert words.size == K * V and int(ids.max()) < 100 + words.size


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int16])
def test_numpy_in_numpy_out(dtype):
    codes = random_codes().numpy().astype(dtype)
    ids = vocabulary().to_ids(codes)
    assert isinstance(ids, np.ndarray) and ids.dtype == np.int64
    assert np.array_equal(vocabulary().to_codes(ids.astype(dtype)), codes)


def test_fewer_levels_are_a_prefix_where_levels_come_first():
    codes = random_codes()
    ids = vocabulary().to_ids(codes[..., :1])
    assert torch.equal(ids, vocabulary().to_ids(codes)[:, :S])
    with pytest.raises(ValueError, match="Only a prefix"):
        vocabulary("slot_major").to_ids(codes[..., :1])


def test_an_empty_batch_is_a_batch():
    ids = vocabulary().to_ids(random_codes(0))
    assert ids.shape == (0, S * K)
    assert vocabulary().to_codes(ids).shape == (0, S, K)


@pytest.mark.parametrize("code", [V, -2])
def test_a_foreign_code_is_an_error(code):
    codes = random_codes()
    codes[2, 1, 0] = code
    with pytest.raises(ValueError, match=str(code)):
        vocabulary().to_ids(codes)


@pytest.mark.parametrize("foreign", [0, 99, 110, 120])
def test_a_foreign_id_names_position_slot_and_level(foreign):
    ids = vocabulary().to_ids(random_codes())
    ids[1, 2] = foreign
    with pytest.raises(ValueError, match=rf"{foreign} at position 2 .* slot 2, level 0"):
        vocabulary().to_codes(ids)


def test_a_gap_is_an_error():
    codes = random_codes()
    codes[:, 0, 0] = -1
    with pytest.raises(ValueError, match="Only a prefix"):
        vocabulary().to_ids(codes)


def test_chunks_of_different_length_go_one_by_one():
    codes = random_codes()
    codes[0, -1, -1] = -1
    with pytest.raises(ValueError, match="chunk by chunk"):
        vocabulary().to_ids(codes)


@pytest.mark.parametrize("shape", [(5, S), (5, S + 1, K), (5, S, K + 1)])
def test_codes_of_another_shape_are_an_error(shape):
    with pytest.raises(ValueError, match=r"\[B, 3, k\]"):
        vocabulary().to_ids(torch.zeros(shape, dtype=torch.int64))


def test_floats_are_no_codes_and_no_ids():
    with pytest.raises(ValueError, match="integers"):
        vocabulary().to_ids(random_codes().float())
    with pytest.raises(ValueError, match="integers"):
        vocabulary().to_codes(torch.full((1, 2), 100.0))
