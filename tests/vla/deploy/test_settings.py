"""Settings that make no sense are refused; reports are plain data."""

from __future__ import annotations

import json
import math

import pytest

from tests.vla.deploy.conftest import drive
from vla.deploy.settings import DeploymentSettings, SafetySettings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"instruction": " "}, "Say what to do"),
        ({"seconds": 0}, "seconds must be positive"),
        ({"speed": 0.0}, "fraction of full speed"),
        ({"speed": 2.0}, "fraction of full speed"),
        ({"speed": math.nan}, "fraction of full speed"),
    ],
)
def test_runs_that_make_no_sense(settings, words):
    with pytest.raises(ValueError, match=words):
        DeploymentSettings(**{"instruction": "wave"} | settings)


def test_a_time_of_safety_is_positive():
    with pytest.raises(ValueError, match="stop_after_s must be a positive"):
        SafetySettings(stop_after_s=-1)


def test_the_watchdog_waits_for_two_periods_and_never_for_less_than_a_tenth_of_a_second():
    assert [SafetySettings().watchdog(1 / rate) for rate in (5, 20, 100)] == [0.4, 0.1, 0.1]
    assert SafetySettings(watchdog_s=1.0).watchdog(0.1) == 1.0


def test_a_report_is_plain_data(tmp_path):
    report = drive(periods=4, record=tmp_path / "run")[0]
    told = json.loads(json.dumps(report.to_dict()))
    assert told["ending"] == "time is up" and told["missed_share"] == 0.0
    assert told["recording"] == str(tmp_path / "run") and told["problems"] == []
    kept = json.loads((tmp_path / "run" / "run.json").read_text())
    assert kept["settings"]["schedule"]["mode"] == "asynchronous"
