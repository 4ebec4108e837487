"""The error is looked at after every token, rows or not."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.codecs import Decoded
from analysis.rvq_codec import prefixes
from analysis.transfer import case

LENGTH = 64


class OneWorse:
    """k of 64 tokens miss every value by 1 / k, but one number of tokens by twice as much."""

    name, kind, length = "mine", "rvq", LENGTH

    def __init__(self, worse: int | None) -> None:
        self.worse = worse

    def encode(self, batch):
        return np.zeros((len(batch), LENGTH), int)

    def decode(self, tokens, batch):
        count = tokens.shape[1]
        scored = batch.scored + (2 if count == self.worse else 1) / count
        return Decoded(scored, np.zeros(len(batch), bool), batch.relative)

    def sizes(self, length):
        return np.full(length, 256)


def measured(data, worse: int | None) -> dict:
    return case.measure("a", case.HORIZON, data, [OneWorse(worse)], []).to_dict()["rows"]


@pytest.mark.parametrize("worse", [33, 63])
def test_a_rise_at_a_length_without_a_row_is_found(so101_set, worse):
    assert worse not in prefixes(LENGTH)
    rows = measured(so101_set, worse)
    assert f"mine@{worse}" not in rows
    rise = (2 / worse) ** 2 / (1 / (worse - 1)) ** 2 - 1
    assert rows["mine"]["prefix_rise"] == pytest.approx(rise)


def test_a_rise_with_the_last_token_is_found(so101_set):
    rise = (2 * 63 / 64) ** 2 - 1
    assert measured(so101_set, LENGTH)["mine"]["prefix_rise"] == pytest.approx(rise)


def test_an_error_that_only_falls_never_rises(so101_set):
    assert measured(so101_set, None)["mine"]["prefix_rise"] == 0
