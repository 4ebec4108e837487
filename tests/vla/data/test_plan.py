"""BatchPlan: nine to one, however batches are dealt out."""

from __future__ import annotations

import pytest

from vla.data.plan import BatchPlan

DEALT = [(20, 1, 1), (5, 2, 2), (5, 4, 1), (10, 1, 2)]
"""(batch size, processes, accumulation) of a global batch of 20."""


def global_batch(step: int, batch_size: int, world: int, accumulation: int):
    """All places of a step, per micro-batch."""
    plans = [BatchPlan(batch_size, 9, 1, rank, world, accumulation) for rank in range(world)]
    return [plan.places(step, micro) for micro in range(accumulation) for plan in plans]


@pytest.mark.parametrize("dealt", DEALT)
def test_every_global_batch_is_nine_to_one(dealt):
    for step in range(7):
        cells = global_batch(step, *dealt)
        assert {len(cell) for cell in cells} == {dealt[0]}
        others = [sum(not place.robot for place in cell) for cell in cells]
        assert sum(others) == 2 and max(others) - min(others) <= 1


@pytest.mark.parametrize("dealt", DEALT[1:])
def test_a_global_batch_is_the_same_however_it_is_dealt_out(dealt):
    whole = {place for cell in global_batch(3, *DEALT[0]) for place in cell}
    assert {place for cell in global_batch(3, *dealt) for place in cell} == whole


@pytest.mark.parametrize("size", [1, 7, 16, 33])
def test_remainders_are_carried_on(size):
    plan, robots = BatchPlan(size), 0
    for step in range(40):
        robots += plan.count_robots(step)
        assert abs(robots - 0.9 * size * (step + 1)) < 1
    assert robots == 36 * size


def test_draws_follow_one_another_without_gap():
    places = [p for step in range(9) for cell in global_batch(step, 3, 2, 2) for p in cell]
    for robot in (True, False):
        draws = sorted(place.draw for place in places if place.robot is robot)
        assert draws == list(range(len(draws)))
    assert sum(place.robot for place in places) == 98  # of 9 * 12


def test_other_ratios_and_wrong_ones():
    assert BatchPlan(8, 1, 0).count_robots(5) == 8
    assert BatchPlan(8, 3, 1).count_robots(5) == 6
    for wrong in ({"batch_size": 0}, {"others": -1}, {"robots": 0, "others": 0}, {"rank": 1}):
        with pytest.raises(ValueError):
            BatchPlan(**{"batch_size": 4, **wrong})
