"""A file that is held has one holder, also while it is deleted and made again."""

from __future__ import annotations

import os

from rvq_action.housekeeping import file_lock
from rvq_action.housekeeping.file_lock import hold, let_go


def test_a_file_has_one_holder_and_is_gone_after_it(tmp_path):
    place = tmp_path / ".lock"
    first = hold(place)
    assert first is not None and hold(place) is None
    let_go(first, place)
    assert not place.exists()
    second = hold(place)
    let_go(first, place)
    assert second is not None and place.exists(), "letting go twice hurts the next one"
    let_go(second, place)


def test_a_file_deleted_between_opening_and_locking_is_not_taken_for_the_lock(
    tmp_path, monkeypatch
):
    place, lock, calls = tmp_path / ".lock", file_lock.lock, []

    def late(file):
        calls.append(file)
        if len(calls) <= 2:
            place.unlink()
        if len(calls) == 2:
            place.touch()
        return lock(file)

    monkeypatch.setattr(file_lock, "lock", late)
    held = hold(place)
    assert held is not None and len(calls) == 3 and all(file.closed for file in calls[:2])
    assert os.path.samestat(os.fstat(held.fileno()), place.stat())
    assert hold(place) is None
    held.close()
