"""Outcomes on disk: whole, resumable, and not mixed up."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vla.evaluation.closed_loop.loop import Outcome
from vla.evaluation.closed_loop.results import LOG, OutcomeLog, by_task, summary, write_report
from vla.evaluation.closed_loop.settings import RolloutSettings
from vla.evaluation.closed_loop.starts import Start
from vla.evaluation.shares import Average, Share

CLAIM = {"policy": "p", "seed": 0}


def outcome(task: str = "a", number: int = 0, success: bool = True) -> Outcome:
    return Outcome(Start(task, number, 7 + number), "go", success, 12, 40.0, "move")


@pytest.mark.parametrize(
    ("solved", "count", "low", "high"),
    [(17, 20, 0.6396, 0.9476), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)],
)
def test_intervals_are_wilsons(solved, count, low, high):
    share = Share.of([True] * solved + [False] * (count - solved))
    assert (share.count, share.solved, share.success) == (count, solved, solved / count)
    assert (share.low, share.high) == pytest.approx((low, high), abs=1e-4)


def test_a_log_goes_on_where_it_was_stopped(tmp_path):
    log = OutcomeLog(tmp_path, CLAIM)
    log.add(outcome())
    log.add(outcome("b", 3, success=False))
    with (tmp_path / LOG).open("a") as file:
        file.write('{"task": "b", "num')
    again = OutcomeLog(tmp_path, CLAIM)
    assert again.has(Start("b", 3, 10)) and not again.has(Start("b", 0, 7))
    again.add(outcome("b", 4))
    last = OutcomeLog(tmp_path, CLAIM)
    starts = [Start("a", 0, 7), Start("b", 3, 10), Start("b", 4, 11)]
    assert last.of(starts) == [outcome(), outcome("b", 3, success=False), outcome("b", 4)]


def test_a_log_that_was_cut_off_at_its_beginning_begins_again(tmp_path):
    (tmp_path / LOG).write_text('{"policy": "p", "se')
    log = OutcomeLog(tmp_path, CLAIM)
    log.add(outcome())
    assert OutcomeLog(tmp_path, CLAIM).has(Start("a", 0, 7))


def test_outcomes_of_another_policy_are_not_gone_on_with(tmp_path):
    OutcomeLog(tmp_path, CLAIM).add(outcome())
    with pytest.raises(ValueError, match="policy: 'p', not 'q'"):
        OutcomeLog(tmp_path, {**CLAIM, "policy": "q"})


def test_a_damaged_log_is_an_error(tmp_path):
    log = OutcomeLog(tmp_path, CLAIM)
    log.add(outcome())
    with (tmp_path / LOG).open("a") as file:
        file.write('{"task": "b"}\n')
    with pytest.raises(ValueError, match=r"outcomes.jsonl is damaged"):
        OutcomeLog(tmp_path, CLAIM)


def test_the_report_says_all(tmp_path):
    outcomes = [outcome("a", n, n < 3) for n in range(4)] + [outcome("b", 0)]
    report = json.loads(write_report(tmp_path, CLAIM, outcomes).read_text())
    assert report["settings"] == CLAIM and report["mean"]["solved"] == 4
    assert {task: row["success"] for task, row in report["tasks"].items()} == {"a": 0.75, "b": 1.0}
    assert report["outcomes"][3] == {
        "task": "a", "number": 3, "seed": 10, "instruction": "go", "success": False, "steps": 12,
        "progress": 40.0, "stage": "move",
    }  # fmt: skip


def test_every_task_counts_alike_and_stages_are_counted():
    easy = [outcome("a", n)._replace(progress=100.0, stage="solved") for n in range(4)]
    hard = [outcome("b", n, False)._replace(progress=20.0 * n, stage="move") for n in range(2)]
    tasks = by_task(easy + hard)
    row = summary(list(tasks.values()))
    assert row["solved"] == 4 and row["count"] == 6
    assert row["progress"]["mean"] == 55.0 and row["stages"] == {"solved": 4, "move": 2}
    assert (row["progress"]["low"], row["progress"]["high"]) == (50.0, 60.0)
    unjudged = [outcome("c")._replace(progress=None, stage=None)]
    assert summary([easy, unjudged])["progress"] is None


def test_an_average_of_more_attempts_is_surer():
    rng = np.random.default_rng(0)
    few, many = (Average.of([rng.uniform(0, 100, n)]) for n in (10, 1000))
    assert many.high - many.low < 0.2 * (few.high - few.low)
    assert many.low < 50 < many.high and few.low < few.mean < few.high


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"tasks": ("reach-v9",)}, "no task 'reach-v9'. Perhaps: reach-v3"),
        ({"tasks": ("reach-v3", "reach-v3")}, "each once"),
        ({"starts": 0}, "start at 1"),
        ({"max_steps": 500}, "max_steps is 1 to 499, got 500"),
        ({"pathway": "diffusion"}, "pathway is one of"),
        ({"instruction": "  "}, "instruction is empty"),
        ({"control": "shuffled"}, "give --data with --control"),
        ({"data": ("demos",)}, "neither without the other"),
    ],
)
def test_settings_that_cannot_be_are_refused(changed, says):
    with pytest.raises(ValueError, match=says):
        RolloutSettings(**{"tasks": ("reach-v3",), **changed})


def test_more_starts_and_tasks_go_on_with_the_same_log():
    few = RolloutSettings(("reach-v3",), 3)
    more = RolloutSettings(("reach-v3", "push-v3"), 9)
    assert few.decisive() == more.decisive() != RolloutSettings(("reach-v3",), seed=1).decisive()
