"""Beat's decisions: the heap against a plain model, what is made up for, and a lease under kills, pauses and delays."""

from __future__ import annotations

import heapq
import math
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from celeriac.protocol.errors import BadCall
from celeriac.protocol.rules import beat

NOON = datetime(2026, 3, 29, 12, tzinfo=timezone.utc)


class Event(NamedTuple):
    time: float
    priority: int
    entry: str


# --- the heap


def test_a_delay_that_is_not_over_is_shortened() -> None:
    assert beat.adjusted(10) == pytest.approx(9.99)
    assert beat.adjusted(10, -1) == 9
    assert [beat.adjusted(delay) for delay in (0, -3, None)] == [0, -3, None]


def test_nothing_to_look_at_is_the_longest_sleep() -> None:
    assert beat.look([], 5, 300) == (None, 300)


def test_a_look_before_the_time_says_how_long() -> None:
    assert beat.look([Event(10, 5, "a")], 4, 300) == (None, 6)
    assert beat.look([Event(1000, 5, "a")], 4, 300) == (None, 300)


@pytest.mark.parametrize("now", [10, 11])
def test_a_look_when_the_time_has_come_gives_the_event(now: float) -> None:
    event = Event(10, 5, "a")
    assert beat.look([event], now, 300) == (event, 0)


def test_an_event_is_taken_only_off_the_top() -> None:
    first, second = Event(1, 5, "a"), Event(2, 5, "b")
    heap = [first, second]
    assert not beat.take(heap, second)
    assert sorted(heap) == [first, second]
    assert beat.take(heap, first)
    assert heap == [second]


def test_after_an_entry_that_was_put_off_the_next_is_looked_at_at_once() -> None:
    assert beat.put_off([Event(5, 5, "b"), Event(9, 5, "a")], "a", 9, 300) == 0
    assert beat.put_off([Event(5, 5, "a"), Event(9, 5, "b")], "a", 9, 300) == pytest.approx(8.99)
    assert beat.put_off([Event(5, 5, "a")], "a", 900, 300) == 300
    assert beat.put_off([], "a", 0, 300) == 0


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 200))
def test_the_heap_serves_each_entry_on_its_time_and_in_order(periods: list[int], end: int) -> None:
    heap = [Event(period, 5, str(number)) for number, period in enumerate(periods)]
    heapq.heapify(heap)
    served: list[tuple[float, str]] = []
    now = 0.0
    while now <= end:
        event, sleep = beat.look(heap, now, 7)
        if event is None:
            assert 0 < sleep <= 7
            now += sleep
            continue
        assert beat.take(heap, event)
        served.append((now, event.entry))
        heapq.heappush(heap, Event(now + periods[int(event.entry)], 5, event.entry))
    wanted = sorted(
        (float(at), str(number)) for number, period in enumerate(periods) for at in range(period, end + 1, period)
    )
    assert sorted(served) == wanted
    assert [at for at, _ in served] == sorted(at for at, _ in served)


# --- the schedule


def test_schedules_are_the_same_when_names_and_entries_are() -> None:
    assert beat.same(None, None)
    assert not beat.same(None, {})
    assert not beat.same({}, None)
    assert beat.same({}, {})
    assert beat.same({"a": 1}, {"a": 1})
    assert not beat.same({"a": 1}, {"b": 1})
    assert not beat.same({"a": 1}, {"a": 2})
    assert not beat.same({"a": None}, {"a": None})


def test_a_merge_says_what_goes_what_stays_and_what_comes() -> None:
    assert beat.merge({"a", "b"}, ["c", "b", "c"]) == (frozenset({"a"}), ("b",), ("c",))


@given(st.sets(st.sampled_from("abcdef")), st.lists(st.sampled_from("abcdef")))
def test_after_a_merge_there_is_what_is_configured(kept: set[str], configured: list[str]) -> None:
    gone, stay, new = beat.merge(kept, configured)
    assert (kept - gone) | set(new) == set(configured)
    assert set(stay) == kept & set(configured)


@pytest.mark.parametrize(
    ("last", "sent", "most", "due"),
    [
        (None, 0, 0, True),
        (900, 0, 0, False),
        (700, 0, 0, True),
        (900, 5, 0, False),
        (900, 5, 5, True),
        (900, 4, 5, False),
    ],
)
def test_when_the_schedule_is_saved(last: float | None, sent: int, most: int, due: bool) -> None:
    assert beat.is_sync_due(1000, last, 180, sent, most) is due
    assert beat.is_sync_due(1000, last, 180, sent, most or None) is due


# --- last runs


def test_missed_ticks_are_one_run_now() -> None:
    assert beat.catch_up(NOON - timedelta(hours=5), NOON) == (True, NOON)


def test_missed_ticks_are_run_one_by_one_where_that_is_wanted() -> None:
    due = NOON - timedelta(seconds=5)
    assert beat.catch_up(due, NOON, each=True) == (True, due)


def test_a_tick_never_lies_ahead_of_the_clock() -> None:
    assert beat.catch_up(NOON + timedelta(seconds=1), NOON, each=True) == (True, NOON)


@pytest.mark.parametrize("each", [False, True])
def test_what_is_older_than_the_deadline_is_left_out(each: bool) -> None:
    due = NOON - timedelta(seconds=11)
    assert beat.catch_up(due, NOON, each=each, deadline=11).send
    skipped = beat.catch_up(due, NOON, each=each, deadline=10)
    assert skipped == (False, NOON - timedelta(seconds=10, microseconds=1) if each else NOON)


@pytest.mark.parametrize("deadline", [-1, math.nan])
def test_a_deadline_is_a_length_of_time(deadline: float) -> None:
    with pytest.raises(BadCall, match="deadline"):
        beat.catch_up(NOON, NOON, deadline=deadline)


@pytest.mark.parametrize("every", [timedelta(0), -timedelta(1)])
def test_no_rhythm_is_kept_that_is_none(every: timedelta) -> None:
    run = beat.catch_up(NOON - timedelta(hours=1), NOON, each=True, deadline=10, every=every)
    assert run == (False, NOON - timedelta(seconds=10, microseconds=1))


@given(st.integers(0, 100), st.one_of(st.none(), st.integers(0, 50)), st.sampled_from([0.3, 1, 7]))
def test_each_missed_tick_that_is_fresh_is_made_up_for_exactly_once(
    since: int, deadline: int | None, seconds: float
) -> None:
    """An entry that counts from its last run, which was so long ago."""
    every = timedelta(seconds=seconds)
    first = last = NOON - timedelta(seconds=since)
    sent = []
    while (due := last + every) <= NOON:
        run = beat.catch_up(due, NOON, each=True, deadline=deadline, every=every)
        if run.send:
            sent.append(due)
        assert run.last_run_at > last
        last = run.last_run_at
    ticks = [first + number * every for number in range(1, int(since / seconds) + 2)]
    limit = first if deadline is None else NOON - timedelta(seconds=deadline)
    assert sent == [tick for tick in ticks if limit <= tick <= NOON]


# --- the lease


@pytest.mark.parametrize("ttl", [0, -1, math.inf, math.nan])
def test_a_lease_lasts_for_some_time(ttl: float) -> None:
    with pytest.raises(BadCall, match="lease"):
        beat.Lease(ttl)


def test_a_lease_counts_from_when_it_was_asked_for() -> None:
    lease = beat.Lease(9)
    assert lease.asks(0)
    assert not lease.leads(0)
    assert lease.wait(0) == 0
    lease.granted(4, 100)
    assert lease.leads(108.9)
    assert not lease.leads(109)
    assert not lease.asks(102)
    assert lease.asks(103)
    assert lease.wait(101) == 2
    lease.granted(4, 103)
    assert lease.leads(111)
    with pytest.raises(BadCall, match="older"):
        lease.granted(3, 104)


def test_who_is_refused_asks_again_when_the_lease_may_be_free() -> None:
    lease = beat.Lease(9)
    lease.refused(100)
    assert lease.wait(100) == 3
    lease.refused(100, 1)
    assert lease.wait(100) == 1
    lease.refused(100, 0)
    assert lease.wait(100) == pytest.approx(0.3)
    lease.refused(100, 8)
    assert lease.wait(100) == 3


def test_whose_writing_was_refused_asks_at_once() -> None:
    lease = beat.Lease(9)
    lease.granted(1, 0)
    lease.ended(2)
    assert not lease.leads(2)
    assert lease.asks(2)


def test_a_token_counts_until_a_higher_one_was_given() -> None:
    assert beat.accepts(3, 3)
    assert not beat.accepts(4, 3)
    assert not beat.accepts(0, 0)


class Beats(RuleBasedStateMachine):
    """Three beats, a lease that lives elsewhere, answers that come late, kills: no tick is written down twice."""

    TTL = 9

    @initialize()
    def begin(self) -> None:
        self.now = 0
        self.holder, self.free_at, self.newest = -1, 0, 0
        self.written: list[int] = []
        self.leases = [beat.Lease(self.TTL) for _ in range(3)]
        self.known = [0, 0, 0]  # the last tick that each of them believes to have been sent

    @rule(who=st.integers(0, 2), delay=st.integers(0, 5))
    def ask(self, who: int, delay: int) -> None:
        lease = self.leases[who]
        if not lease.asks(self.now):
            return
        asked = self.now
        if self.free_at <= self.now:
            self.newest += 1
            self.holder = who
        self.now += delay
        if self.holder == who:
            self.free_at = asked + self.TTL
            if lease.token != self.newest:
                self.known[who] = len(self.written)
            lease.granted(self.newest, asked)
        else:
            lease.refused(asked, self.free_at - asked)

    @rule(who=st.integers(0, 2))
    def tick(self, who: int) -> None:
        lease = self.leases[who]
        if not lease.leads(self.now):
            return
        assert beat.accepts(self.newest, lease.token)
        self.written.append(self.known[who] + 1)
        self.known[who] += 1

    @rule(who=st.integers(0, 2))
    def tick_of_a_sleeper(self, who: int) -> None:
        """It decided while it led, and was then suspended for as long as you like."""
        if beat.accepts(self.newest, self.leases[who].token):
            self.written.append(self.known[who] + 1)
            self.known[who] += 1

    @rule(who=st.integers(0, 2))
    def kill(self, who: int) -> None:
        self.leases[who] = beat.Lease(self.TTL)
        if self.holder == who:
            self.holder = -1  # the new one does not know the old one's token

    @rule(seconds=st.integers(1, 12))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def one_leads(self) -> None:
        leading = [lease.token for lease in getattr(self, "leases", ()) if lease.leads(self.now)]
        assert len(leading) <= 1

    @invariant()
    def each_tick_once(self) -> None:
        written = getattr(self, "written", [])
        assert written == list(range(1, len(written) + 1))


TestBeats = Beats.TestCase
TestBeats.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
