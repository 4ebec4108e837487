"""The tiny recordings and the policy for them, as the tests of the data have them."""

from tests.vla.data.conftest import policy, recordings, talks, tokenizer

__all__ = ["policy", "recordings", "talks", "tokenizer"]
