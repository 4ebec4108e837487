"""What attempts add up to."""

from __future__ import annotations

import pytest

from vla.evaluation.schedules.command import COLUMNS, table_row
from vla.evaluation.schedules.settings import ScheduleTrials
from vla.evaluation.schedules.summary import interval, summarize


def row(mode: str, number: int, jump: list[float], success: bool = True, missed: int = 0) -> dict:
    return {
        **{"mode": mode, "task": "reach-v3", "number": number, "success": success},
        **{"seconds": 2.0, "periods": 40, "missed": missed, "overrun": 0},
        **{"jump": jump, "jump_by_group": {"hand": [2 * j for j in jump]}, "inside": [0.1]},
        **{"inference_ms": {"median": 90.0}, "delay_periods": {}},
    }


def test_jumps_are_a_mean_over_seams_and_held_against_the_naive_ones():
    naive = [row("asynchronous", 0, [1.0, 3.0]), row("asynchronous", 1, [2.0], success=False)]
    guided = [row("real_time", 0, [0.5]), row("real_time", 1, [1.0, 1.0], missed=4)]
    found = summarize([*naive, *guided])
    assert found["asynchronous"]["jump"] == 2.0 and found["asynchronous"]["jump_ratio"] == 1.0
    own = found["real_time"]
    assert own["jump"] == pytest.approx(2.5 / 3) and own["jump_ratio"] == pytest.approx(2.5 / 6)
    assert own["jump_ratio_ci"] == pytest.approx([0.25, 0.5])
    assert own["groups"] == {"hand": pytest.approx(5 / 3)} and own["inside"] == pytest.approx(0.1)
    assert (own["missed"], own["only_here"], own["only_there"]) == (4 / 80, 1, 0)
    assert own["success"]["solved"] == 2 and own["inference_ms"] == 90.0


def test_where_there_is_nothing_to_measure_there_is_null():
    alone = row("ensemble", 0, []) | {"inside": []}
    found = summarize([alone])["ensemble"]
    assert found["jump"] is None and found["jump_ci"] == [None, None]
    assert "jump_ratio" not in found
    assert "ensemble" in table_row("ensemble", found)


def test_an_interval_covers_the_measure():
    low, high = interval([0.0, 1.0] * 50, lambda some: sum(some) / len(some))
    assert 0.35 < low < 0.5 < high < 0.65
    assert len(COLUMNS) == 7


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"modes": ("naive",)}, r"got \['naive'\]"),
        ({"modes": ()}, "at least one mode"),
        ({"seconds": 0.0}, "seconds are positive"),
        ({"steps": 0}, "starts and steps begin at 1"),
        ({"latency_s": (0.1, 0.2), "real_clock": True}, "leave out latency"),
        ({"latency_s": (-0.1, 0.2)}, r"got \[-0.1, 0.2\]"),
        ({"tasks": ("fly-v3",)}, "no task 'fly-v3'"),
    ],
)
def test_trials_that_are_none(wrong, words):
    with pytest.raises(ValueError, match=words):
        ScheduleTrials(**{"tasks": ("reach-v3",)} | wrong)
