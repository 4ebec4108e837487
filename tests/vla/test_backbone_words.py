"""The words of a packaged shape: one token each, and every text still comes back."""

from __future__ import annotations

import pytest

from vla.backbone import SPECIAL, byte_tokenizer, packaged_shape, packaged_words


@pytest.mark.parametrize("name", ["tiny", "mini"])
def test_a_packaged_shape_has_a_row_per_token(name):
    text = byte_tokenizer(packaged_words(name))
    assert packaged_shape(name, text).text_config.vocab_size == len(text)


def test_a_word_is_one_token_alone_and_behind_a_space():
    words = packaged_words("tiny")
    text = byte_tokenizer(words)
    for word in words:
        for told in (word, f" {word}"):
            assert len(text(told)["input_ids"]) == 1, told


@pytest.mark.parametrize(
    "told",
    ["Close the cabinet door.", "unlocked  crates\n\t7.5 %", "größer 箱子", f"{SPECIAL[1]}user"],
)
def test_any_text_comes_back(told):
    text = byte_tokenizer(packaged_words("tiny"))
    ids = text(told, add_special_tokens=False)["input_ids"]
    assert text.decode(ids) == told and len(ids) <= len(told.encode())
