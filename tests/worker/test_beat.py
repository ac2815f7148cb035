"""Beat's loop on a clock that the test turns: how long it sleeps, when it looks up, how it ends."""

from __future__ import annotations

import threading

import pytest

from celeriac.worker.beat import RealClock, Service


class Turned:
    """Sleeps take no time; so many of them, and it is over."""

    def __init__(self, service: list[Service], sleeps: int) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self._service = service
        self._sleeps = sleeps

    def steady(self) -> float:
        return self.now

    def sleep(self, seconds: float, stop: threading.Event) -> None:
        assert not stop.is_set()
        self.now += seconds
        self.slept.append(seconds)
        if len(self.slept) == self._sleeps:
            self._service[0].stop()


def test_it_sleeps_as_long_as_ticks_say_and_not_after_those_that_say_nothing() -> None:
    made: list[Service] = []
    clock = Turned(made, 3)
    answers = iter([0, 5, 0, 0, 7.5, -1, 2])
    told: list[object] = []
    made.append(Service(lambda: next(answers), slept=lambda: told.append("slept"), sleeps=told.append, clock=clock))
    made[0].run()
    assert clock.slept == [5, 7.5, 2]
    assert told == [5, "slept", 7.5, "slept", 2, "slept"]
    assert made[0].ticked_at == 112.5
    assert list(answers) == []


def test_a_tick_that_fails_ends_it_and_is_no_tick_any_more() -> None:
    seen: list[bool] = []

    def tick() -> float:
        seen.append(service.ticking)
        raise OSError("broken")

    service = Service(tick)
    with pytest.raises(OSError, match="broken"):
        service.run()
    assert seen == [True]
    assert not service.ticking


def test_who_is_stopped_during_a_tick_ends_after_it() -> None:
    ticks = []

    def tick() -> float:
        ticks.append(1)
        service.stop()
        return 1000

    service = Service(tick, stopping=threading.Event())
    service.run()
    assert len(ticks) == 1


def test_the_real_clock_wakes_when_it_is_told() -> None:
    stop = threading.Event()
    stop.set()
    clock = RealClock()
    before = clock.steady()
    clock.sleep(100, stop)
    assert clock.steady() - before < 50
