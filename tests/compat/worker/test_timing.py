"""The worker's timer is kombu's, once somebody enters something."""

from __future__ import annotations

import time

from celeriac.compat.worker.timing import Timer


def test_nothing_is_made_before_something_is_entered() -> None:
    timer = Timer(lambda: None)
    assert timer
    assert len(timer) == 0
    assert timer.turn() == float("inf")
    timer.stop()
    assert timer._schedule is None


def test_entries_are_called_by_who_turns_it() -> None:
    woken, called, problems = [], [], []
    with Timer(lambda: woken.append(1), on_error=problems.append) as timer:
        timer.call_after(0, called.append, (1,))
        timer.call_after(0, lambda: 1 / 0)
        again = timer.call_repeatedly(60, called.append, (2,))
        assert len(woken) == len(timer) == 3
        end = time.monotonic() + 30
        while len(called) + len(problems) < 2 and time.monotonic() < end:
            assert timer.turn() >= 0
        assert called == [1]
        assert [type(each) for each in problems] == [ZeroDivisionError]
        assert 0 < timer.turn() <= 60
        timer.cancel(again)
