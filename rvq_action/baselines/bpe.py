"""The byte-pair encoder inside FAST, from the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_TOKEN_LENGTH = 10_000
MIN_FREQUENCY = 2


def new_bpe(byte_level: bool) -> Tokenizer:
    """An untrained encoder over UTF-8 bytes with the GPT-2 pre-tokenizer, or over characters."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    bpe = Tokenizer(models.BPE())
    if byte_level:
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel() if byte_level else decoders.Fuse()
    return bpe


def train_bpe(bpe: Tokenizer, texts: Iterable[str], vocab_size: int, alphabet: int) -> Tokenizer:
    """Learn the merges.

    Args:
        bpe: An untrained encoder.
        texts: One string per chunk.
        vocab_size: Largest number of tokens.
        alphabet: The characters 0 .. alphabet - 1 are tokens whether they occur or not.
    """
    from tokenizers import trainers

    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_FREQUENCY,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=[chr(i) for i in range(alphabet)],
        max_token_length=MAX_TOKEN_LENGTH,
    )
    bpe.train_from_iterator(texts, trainer=trainer)
    return bpe


def decode_text(bpe: Tokenizer, tokens: Sequence[Sequence[int]]) -> list[str]:
    """The string that each sequence of token ids spells."""
    return bpe.decode_batch([list(map(int, sequence)) for sequence in tokens])
