"""The speed that a dataset says it was recorded at."""

from __future__ import annotations

import pytest

from rvq_action.data.recorded_speed import SPEED_FILE, recorded_speed, speed_text


@pytest.fixture
def file(tmp_path):
    (tmp_path / "meta").mkdir()
    return tmp_path / SPEED_FILE


def test_a_dataset_that_says_nothing_was_recorded_at_full_speed(tmp_path, file):
    assert recorded_speed(tmp_path) == 1.0
    file.write_text(speed_text(0.25))
    assert recorded_speed(tmp_path) == 0.25


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not valid JSON"),
        ("{}", "lacks the keys"),
        ('{"speed": "slow"}', "must be a list of numbers"),
        ('{"speed": 0}', "a fraction of full speed, got 0"),
        ('{"speed": 2}', "a fraction of full speed, got 2"),
    ],
)
def test_a_file_that_says_no_speed_is_named(tmp_path, file, text, words):
    file.write_text(text)
    with pytest.raises(ValueError, match=f"rvq_recording.json.*{words}"):
        recorded_speed(tmp_path)
