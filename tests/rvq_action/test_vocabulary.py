"""Codes <-> token ids: a round trip, and strictness about everything foreign."""

from __future__ import annotations

from dataclasses import replace

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


def closed(order: str = "level_major", first_id: int = 100) -> ActionVocabulary:
    return ActionVocabulary(S, K, V, order, first_id, end_token=True)


def prefixes(words: ActionVocabulary, lengths: list[int]) -> torch.Tensor:
    """Codes [len(lengths), S, K], each with so many of them."""
    codes = random_codes(len(lengths))
    for row, length in enumerate(lengths):
        for slot, level in words.order[length:]:
            codes[row, slot, level] = -1
    return codes


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("end_token", [False, True])
def test_chunks_of_different_length_make_the_round_trip(order, end_token):
    words = ActionVocabulary(S, K, V, order, 100, end_token)
    lengths = [S * K, 0, 4, 1, S * K - 1]
    codes = prefixes(words, lengths)
    sequences = words.to_sequences(codes)
    closing = [end_token and length < S * K for length in lengths]
    assert [len(s) for s in sequences] == [n + c for n, c in zip(lengths, closing, strict=True)]
    assert [s[-1:] == [words.end_id] for s in sequences] == closing
    assert torch.equal(words.to_codes(sequences), codes)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.int16])
def test_chunks_of_different_length_may_be_rows_of_any_integers(dtype):
    words = closed()
    codes = prefixes(words, [S * K, 0, 4])
    rows = [np.array(row, dtype) for row in words.to_sequences(codes)]
    assert torch.equal(words.to_codes(rows), codes)


def test_only_what_is_shorter_than_a_whole_code_needs_an_end():
    words = closed()
    assert (words.size, words.end_id) == (K * V + 1, 100 + K * V)
    whole, short = random_codes(), prefixes(words, [2, 2])
    assert words.to_ids(whole).shape == (5, S * K)
    ids = words.to_ids(short)
    assert ids.shape == (2, 3) and (ids[:, 2] == words.end_id).all()
    assert torch.equal(words.to_codes(ids), short)


def test_a_sequence_may_be_padded_with_the_end_and_may_stop_without_it():
    words = closed()
    codes = prefixes(words, [2, 5])
    rows = words.to_sequences(codes)
    padded = torch.tensor([row + [words.end_id] * (9 - len(row)) for row in rows])
    assert torch.equal(words.to_codes(padded), codes)
    assert torch.equal(words.to_codes([row[:-1] for row in rows]), codes)


def test_nothing_may_follow_the_end():
    words = closed()
    ids = words.to_ids(random_codes(1))[0].tolist()
    with pytest.raises(ValueError, match=rf"{ids[3]} at position 3 follows the end token 120"):
        words.to_codes([[*ids[:2], 120, *ids[3:]]])
    with pytest.raises(ValueError, match="position 6 follows a whole code of 6 tokens.*120"):
        words.to_codes([[*ids, ids[0]]])


def test_a_vocabulary_gets_an_end_before_it_is_placed():
    words = vocabulary().with_end()
    assert words == closed() == words.with_end()
    (ids,) = words.to_sequences(prefixes(words, [2]))
    assert len(ids) == 3 and ids[2] == words.end_id
    assert vocabulary(first_id=0).with_end().at_end(600).end_id == 600 - 1 - 128 - K * V
    with pytest.raises(ValueError, match="Place them anew"):
        vocabulary().over(range(0, 60, 3)).with_end()


def test_the_end_token_of_another_vocabulary_is_foreign():
    with pytest.raises(ValueError, match="120 at position 1"):
        vocabulary().to_codes([[100, 120]])


@pytest.mark.parametrize("sequence", [[100.0], ["100"], [None], [[100]], [10**30]])
def test_sequences_hold_ids_only(sequence):
    with pytest.raises(ValueError, match="Sequence 1 must hold token ids only"):
        vocabulary().to_codes([[100], sequence])


class Growing:
    """A tokenizer as far as new tokens are concerned, with some words of its own."""

    def __init__(self, *words: str) -> None:
        self.words = {word: number for number, word in enumerate(words)}

    def add_tokens(self, new_tokens: list[str]) -> int:
        before = len(self.words)
        for word in new_tokens:
            self.words.setdefault(word, len(self.words))
        return len(self.words) - before

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        return [self.words[token] for token in tokens]


PLACES = {
    "at the end": lambda words: words.at_end(257_152),
    "over scattered ids": lambda words: words.over([7, 900, 31, *range(400, 600), 5]),
    "added to a size": lambda words: words.added(32_000),
    "added to a tokenizer": lambda words: words.added(Growing("a", "b")),
    "added where some are there": lambda words: words.added(Growing("a", "<action_3>", "b")),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("end_token", [False, True])
def test_wherever_it_is_placed_codes_come_back(place, end_token):
    words = PLACES[place](ActionVocabulary(S, K, V, end_token=end_token))
    assert len(set(words.ids)) == len(words.ids) == words.size == K * V + end_token
    assert words.first_id == words.ids[0] and min(words.ids) >= 0
    codes = prefixes(words, [S * K, 3, 0])
    sequences = words.to_sequences(codes)
    assert {i for row in sequences for i in row} <= set(words.ids)
    assert torch.equal(words.to_codes(sequences), codes)
    for foreign in (min(words.ids) - 1, max(words.ids) + 1):
        with pytest.raises(ValueError, match=f"Id {foreign} at position 0"):
            words.to_codes([[foreign]])


def test_the_end_of_a_vocabulary_is_counted_as_openpi_does():
    plain, placed = vocabulary(first_id=0), vocabulary(first_id=0).at_end(257_152, skip=128)
    codes = random_codes()
    tokens = plain.to_ids(codes)
    assert torch.equal(placed.to_ids(codes), 257_152 - 1 - 128 - tokens)
    assert torch.equal(placed.to_codes(257_152 - 1 - 128 - tokens), codes)
    with pytest.raises(ValueError, match=r"slot 0, level 0, whose ids are 257014\.\.257023"):
        placed.to_codes([[257_024]])


def test_a_place_with_too_little_room_is_an_error():
    words = closed()
    with pytest.raises(ValueError, match="21 words and 128 ids to skip .* vocabulary of 148"):
        words.at_end(148)
    with pytest.raises(ValueError, match="21 words need as many reserved ids, got 20"):
        words.over(range(20))
    with pytest.raises(ValueError, match=r"given twice: \[3\]"):
        words.over([*range(20), 3])
    with pytest.raises(ValueError, match="last one would have id -1"):
        ActionVocabulary(S, K, V, first_id=18, step=-1)


def test_adding_twice_finds_the_tokens_again():
    tokenizer = Growing("a")
    first = closed().added(tokenizer)
    assert first == closed().added(tokenizer) and first.names[-1] == "<action_end>"
    assert len(tokenizer.words) == 1 + first.size


def test_a_table_goes_with_its_vocabulary():
    placed = vocabulary().over(range(0, 60, 3))
    with pytest.raises(ValueError, match="Place them anew"):
        replace(placed, first_id=1)


def test_a_hugging_face_tokenizer_reads_the_names_it_was_given():
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({"pick": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")
    placed = closed(first_id=0).added(tokenizer)
    assert placed.first_id == 2 and len(tokenizer) == 2 + placed.size
    codes = prefixes(placed, [4])
    ids = placed.to_sequences(codes)[0]
    text = "".join(tokenizer.convert_ids_to_tokens(ids))
    assert text.startswith("<action_") and text.endswith("<action_end>")
    assert tokenizer(text)["input_ids"] == ids
