"""The life of deliveries: each rule by itself. `test_delivery_machine.py` has them all at once, in any order."""

from __future__ import annotations

import math
from typing import Any

import pytest

from celeriac.protocol.rules import delivery
from celeriac.protocol.rules.aside import Line
from celeriac.protocol.rules.decisions import (
    Adopted,
    Arrival,
    Bury,
    Cancelled,
    Decision,
    Forgotten,
    How,
    Kill,
    Manner,
    Park,
    Recall,
    Received,
    Resend,
    Revoked,
    Settle,
    Submit,
    Terms,
    TimedOut,
    Unregistered,
    WorkerLost,
)
from celeriac.protocol.rules.delivery import Deliveries, Place, Stop
from celeriac.protocol.rules.outcome import Fate
from celeriac.protocol.rules.revokes import Revokes

NOW = 1_000_000.0
LATE = Manner(late=True)


def machine(slots: int = 2, *, parks: bool = False, **terms: Any) -> Deliveries:
    return Deliveries(slots, Revokes(), Terms(**terms), parks=parks)


def arrival(manner: Manner = LATE, name: str = "t", id: str = "a", **more: Any) -> Arrival:  # noqa: A002
    return Arrival(id, name, manner, **more)


def running(manner: Manner = LATE, number: int = 1, **more: Any) -> Deliveries:
    terms = {key: more.pop(key) for key in list(more) if key in Terms.__slots__}
    m = machine(**terms)
    assert m.received(number, arrival(manner, **more), NOW) == [Received(number), Submit(number)]
    m.begun(number, NOW)
    return m


def test_early_is_acknowledged_when_it_begins_and_not_before() -> None:
    m = machine()
    assert m.received(1, arrival(Manner()), NOW) == [Received(1), Submit(1)]
    assert not m.settled(1)
    assert m.begun(1, NOW) == [Settle(1, How.ACK)]
    assert m.settled(1)
    assert m.begun(1, NOW) == []
    assert m.ended(1, Fate.FAILED, NOW) == []
    assert m.idle


@pytest.mark.parametrize(
    ("manner", "fate", "how"),
    [
        (LATE, Fate.DONE, How.ACK),
        (LATE, Fate.RETRIED, How.ACK),
        (LATE, Fate.FAILED, How.ACK),
        (Manner(late=True, ack_failures=False), Fate.FAILED, How.DROP),
        (LATE, Fate.REJECTED, How.DROP),
        (LATE, Fate.REQUEUED, How.REQUEUE),
    ],
)
def test_late_is_settled_by_what_it_came_to(manner: Manner, fate: Fate, how: How) -> None:
    assert running(manner).ended(1, fate, NOW) == [Settle(1, how)]


@pytest.mark.parametrize(
    ("manner", "decisions"),
    [
        (Manner(), [WorkerLost(1, "x")]),
        (LATE, [WorkerLost(1, "x"), Settle(1, How.ACK)]),
        (Manner(late=True, ack_failures=False), [WorkerLost(1, "x"), Settle(1, How.DROP)]),
        (Manner(late=True, requeue_lost=True), [Settle(1, How.REQUEUE, 1)]),
        (Manner(requeue_lost=True), [WorkerLost(1, "x")]),
        (Manner(late=True, retry_lost=True), [Resend(1, "x")]),
        (Manner(late=True, retry_lost=True, max_retries=None), [Resend(1, "x")]),
        (Manner(late=True, retry_lost=True, max_retries=0), [WorkerLost(1, "x"), Settle(1, How.ACK)]),
        (
            Manner(late=True, retry_lost=True, requeue_lost=True, max_retries=0),
            [WorkerLost(1, "x"), Settle(1, How.ACK)],
        ),
    ],
)
def test_what_ran_it_is_gone(manner: Manner, decisions: list[Decision]) -> None:
    assert running(manner).lost(1, "x", NOW) == decisions


def test_a_connection_lost_while_it_is_sent_again() -> None:
    m = running(Manner(late=True, retry_lost=True))
    m.lost(1, "x", NOW)
    m.disconnected(NOW)
    assert m.resent(1, "x", NOW, sent=True) == [Forgotten(1)]
    m.reconnected(parks=False)
    assert m.received(2, arrival(redelivered=True), NOW) == [Settle(2, How.ACK)]


def test_a_resend_that_fails_is_a_loss() -> None:
    m = running(Manner(late=True, retry_lost=True, requeue_lost=True))
    m.lost(1, "x", NOW)
    assert not m.idle
    assert m.resent(1, "x", NOW, sent=False) == [Settle(1, How.REQUEUE, 1)]
    m = running(Manner(late=True, retry_lost=True))
    m.lost(1, "x", NOW)
    assert m.resent(1, "x", NOW, sent=True) == [Settle(1, How.ACK)]
    assert m.idle


@pytest.mark.parametrize(
    ("manner", "rest"),
    [
        (Manner(), []),
        (Manner(ack_timeouts=False), []),
        (LATE, [Settle(1, How.ACK)]),
        (Manner(late=True, ack_timeouts=False), [Settle(1, How.REQUEUE, 1)]),
    ],
)
def test_a_hard_limit(manner: Manner, rest: list[Decision]) -> None:
    assert running(manner).lost(1, "x", NOW, limit=3.0) == [TimedOut(1, 3.0), *rest]


def test_what_destroys_workers_is_buried() -> None:
    m = machine(losses=2)
    manner = Manner(late=True, requeue_lost=True)
    for number, then in ((1, [Settle(1, How.REQUEUE, 1)]), (2, [WorkerLost(2, "x"), Bury(2, "2 times lost: x")])):
        m.received(number, arrival(manner, redelivered=number > 1), NOW)
        m.begun(number, NOW)
        assert m.lost(number, "x", NOW) == then
    # Void by then, there is nothing to bury; it is dropped when it comes again.
    for number in (3, 4):
        m.received(number, arrival(manner), NOW)
        m.begun(number, NOW)
        if number == 4:
            m.disconnected(NOW)
        done = m.lost(number, "x", NOW)
    assert done == [WorkerLost(4, "x"), Forgotten(4)]
    m.reconnected(parks=False)
    assert m.received(5, arrival(manner, redelivered=True), NOW) == [Settle(5, How.DROP)]


def test_what_destroyed_workers_elsewhere_is_buried_here() -> None:
    manner = Manner(late=True, requeue_lost=True)
    for known, then in ((0, [Settle(1, How.REQUEUE, 1)]), (3, [Settle(1, How.REQUEUE, 4)])):
        m = machine(losses=5)
        m.received(1, arrival(manner, redelivered=True, losses=known), NOW)
        m.begun(1, NOW)
        assert m.lost(1, "x", NOW) == then
    m = machine(losses=5)
    m.received(1, arrival(manner, redelivered=True, losses=4), NOW)
    m.begun(1, NOW)
    assert m.lost(1, "x", NOW) == [WorkerLost(1, "x"), Bury(1, "5 times lost: x")]


def test_a_success_forgives_losses() -> None:
    m = machine(losses=2)
    manner = Manner(late=True, requeue_lost=True)
    for number in (1, 2, 3):
        m.received(number, arrival(manner), NOW)
        m.begun(number, NOW)
        if number == 2:
            m.ended(number, Fate.DONE, NOW)
        else:
            assert m.lost(number, "x", NOW) == [Settle(number, How.REQUEUE, 1)]


def test_no_more_is_submitted_than_there_are_slots() -> None:
    m = machine(1)
    assert m.credit() == 1
    assert m.received(1, arrival(id="a"), NOW) == [Received(1), Submit(1)]
    assert m.credit() == 0
    assert m.received(2, arrival(id="b"), NOW) == [Received(2)]
    assert list(m.at(Place.READY)) == [2]
    m.begun(1, NOW)
    assert m.ended(1, Fate.DONE, NOW) == [Settle(1, How.ACK), Submit(2)]
    assert m.busy == 1
    m.received(3, arrival(id="c"), NOW)
    assert m.resize(2, NOW) == [Submit(3)]


def test_no_more_is_taken_than_may_be_held_for_later() -> None:
    m = machine(8, aside=3)
    assert m.credit() == 3
    m.received(1, arrival(id="a", eta=NOW + 5), NOW)
    assert m.credit() == 2
    m.received(2, arrival(id="b"), NOW)
    assert m.credit() == 2


def test_it_waits_for_its_eta_without_a_slot() -> None:
    m = machine(1, aside=1)
    assert m.received(1, arrival(eta=NOW + 5), NOW) == [Received(1)]
    assert m.aside == 1
    assert m.credit() == 0  # for there is room for one aside
    assert m.next(NOW) == NOW + 5
    assert m.wake(NOW + 4) == []
    assert m.wake(NOW + 5) == [Submit(1)]
    assert 1 in m


def test_a_far_eta_is_parked_where_that_can_be() -> None:
    assert machine(parks=True).received(1, arrival(eta=NOW + 100), NOW) == [Received(1), Park(1, NOW + 98)]
    assert machine(parks=True).received(1, arrival(eta=NOW + 50), NOW) == [Received(1)]
    assert machine(parks=True).received(1, arrival(eta=NOW + 100, owed=False), NOW) == [Received(1)]
    assert machine().received(1, arrival(eta=NOW + 100), NOW) == [Received(1)]


def test_expired_before_anything_else() -> None:
    m = machine()
    assert m.received(1, arrival(expires=NOW - 1), NOW) == [Revoked(1, expired=True), Settle(1, How.ACK)]
    assert m.received(2, arrival(expires=NOW - 1, owed=False), NOW) == [Revoked(2, expired=True), Forgotten(2)]
    assert m.received(3, arrival(expires=NOW), NOW) == [Received(3), Submit(3)]  # strictly later


def test_it_expires_in_the_pool() -> None:
    m = machine()
    m.received(1, arrival(expires=NOW + 5), NOW)
    later = NOW + 5.1
    assert m.wake(later) == [Recall(1)]
    assert m.wake(later) == []
    assert m.returned(1, later) == [Revoked(1, expired=True), Settle(1, How.ACK)]


def test_what_runs_does_not_expire() -> None:
    m = machine()
    m.received(1, arrival(expires=NOW + 5), NOW)
    m.begun(1, NOW)
    assert m.wake(NOW + 6) == []


def test_revoked_ids_at_once_and_stamps_before_they_run() -> None:
    m = machine()
    m.revoke(["a"], {"k": "v"}, NOW)
    assert m.received(1, arrival(), NOW) == [Revoked(1), Settle(1, How.ACK)]
    assert m.received(2, arrival(id="b", stamps={"k": ["v", "w"]}), NOW) == [
        Received(2),
        Revoked(2, stamp=("k", "v")),
        Settle(2, How.ACK),
    ]


def test_revoking_finds_it_wherever_it_is() -> None:
    m = machine(1)
    m.received(1, arrival(id="runs"), NOW)
    m.begun(1, NOW)
    m.received(2, arrival(id="ready"), NOW)
    m.received(3, arrival(id="waits", eta=NOW + 9), NOW)
    m.received(4, arrival(id="other"), NOW)
    gone = m.revoke(["ready", "waits", "runs"], {}, NOW)
    assert gone == [Recall(1), Revoked(2), Settle(2, How.ACK), Revoked(3), Settle(3, How.ACK)]
    assert m.ended(1, Fate.DONE, NOW) == [Settle(1, How.ACK), Submit(4)]
    assert m.revoke(["other"], {}, NOW) == [Recall(4)]
    assert m.returned(4, NOW) == [Revoked(4), Settle(4, How.ACK)]
    assert m.wake(NOW + 10) == []
    assert m.idle


def test_terminate() -> None:
    m = running()
    assert m.revoke(["a"], {}, NOW, 9) == [Kill(1, 9)]
    assert m.lost(1, "killed", NOW) == [Revoked(1, terminated=True, signum=9), Settle(1, How.ACK)]
    m = running(Manner(), stamps={"k": 1})
    assert m.revoke([], {"k": 2}, NOW, 9) == []
    assert m.revoke([], {"k": 1}, NOW, 9) == [Kill(1, 9)]
    assert m.lost(1, "killed", NOW) == [Revoked(1, terminated=True, signum=9)]
    m = running()
    m.revoke(["a"], {}, NOW, 9)
    assert m.ended(1, Fate.DONE, NOW) == [Settle(1, How.ACK)]  # it was quicker


@pytest.mark.parametrize("signum", [None, 15])
def test_revoked_while_it_waits_in_its_child(signum: int | None) -> None:
    """It is the child's, and acknowledged where that comes early: the pool may find that it does not run yet."""
    for manner, then in ((Manner(late=True), [Settle(1, How.ACK)]), (Manner(), [])):
        m = running(manner)
        assert m.revoke(["a"], {}, NOW, signum) == [Kill(1, signum) if signum else Recall(1)]
        assert m.returned(1, NOW) == [Revoked(1), *then]
        assert m.idle
    m = running(Manner())
    m.revoke(["a"], {}, NOW, signum)
    m.stop(Stop.WARM, NOW)
    assert m.returned(1, NOW) == []
    assert m.idle


def test_terminate_before_it_has_begun() -> None:
    m = machine()
    m.received(1, arrival(Manner()), NOW)
    assert m.revoke(["a"], {}, NOW, 15) == [Recall(1)]
    assert m.begun(1, NOW) == [Settle(1, How.ACK), Kill(1, 15)]
    m.received(2, arrival(id="b"), NOW)
    m.revoke(["b"], {}, NOW, 15)
    m.revokes.forgive("b")
    assert m.returned(2, NOW) == [Submit(2)]
    assert m.begun(2, NOW) == []


def test_a_rate() -> None:
    m = machine(9)
    assert m.limit("t", 0.5, NOW) == []
    assert m.received(1, arrival(id="a"), NOW) == [Received(1), Submit(1)]
    assert m.received(2, arrival(id="b"), NOW) == [Received(2)]
    assert m.received(3, arrival(id="c"), NOW) == [Received(3)]
    assert m.received(4, arrival(id="d", name="other"), NOW) == [Received(4), Submit(4)]
    assert (m.aside, m.credit()) == (2, 7)
    assert m.next(NOW) == NOW + 2
    assert m.wake(NOW + 2) == [Submit(2)]
    assert m.limit("t", 4, NOW + 2) == [Submit(3)]  # anew, and full
    m.received(5, arrival(id="e"), NOW + 2)
    m.received(6, arrival(id="f"), NOW + 2)
    assert m.revoke(["e"], {}, NOW + 2) == [Revoked(5), Settle(5, How.ACK)]
    assert m.limit("t", 0, NOW + 2) == [Submit(6)]
    assert m.limit("t", 0, NOW + 2) == []


def test_a_rate_when_the_clock_is_set_back() -> None:
    m = machine(9)
    m.limit("t", 1, NOW)
    m.received(1, arrival(id="a"), NOW)
    m.received(2, arrival(id="b"), NOW)
    assert m.next(NOW - 1000) == NOW - 999
    assert m.wake(NOW - 999) == [Submit(2)]


def test_those_beyond_the_horizon_of_a_rate_are_parked_one_after_the_other() -> None:
    m = machine(9, parks=True, horizon=3.0)
    m.limit("t", 1, NOW)
    out = [m.received(number, arrival(id=str(number)), NOW)[1:] for number in range(7)]
    assert out == [[Submit(0)], [], [], [], [Park(4, NOW + 4)], [Park(5, NOW + 5)], [Park(6, NOW + 6)]]
    m.revoke(["1"], {}, NOW)
    assert m.wake(NOW + 1) == [Submit(2)]


def test_nobody_is_parked_for_ever_for_a_rate_that_may_change() -> None:
    m = machine(9, parks=True, horizon=3.0)
    m.limit("t", 1 / 3600, NOW)
    out = [m.received(number, arrival(id=str(number)), NOW)[1:] for number in range(3)]
    assert out == [[Submit(0)], [Park(1, NOW + 603)], [Park(2, NOW + 603)]]


def limited(*ids: str, rate: float = 2.0, **terms: Any) -> Deliveries:
    """A common limit, and these waiting for it, numbered from 1."""
    m = machine(9, **terms)
    assert m.limit("t", rate, NOW, common=True) == []
    for number, each in enumerate(ids, 1):
        assert m.received(number, arrival(id=each), NOW) == [Received(number)]
    return m


def test_nothing_with_a_common_limit_begins_before_it_was_granted() -> None:
    m = limited("a", "b", "c")
    assert m.asking(NOW) == [("t", 2.0, 1)]  # no more than a quarter of a second holds
    assert m.next(NOW) == 0.0
    assert m.granted("t", 1, 0.0, NOW) == [Submit(1)]
    assert m.asking(NOW) == [("t", 2.0, 1)]
    assert m.granted("t", 0, 0.5, NOW) == []
    assert (m.asking(NOW), m.next(NOW)) == ([], NOW + 0.25)
    assert m.asking(NOW + 0.25) == [("t", 2.0, 1)]
    assert m.granted("t", 1, 0.25, NOW + 0.25) == []
    assert (m.asking(NOW + 0.25), m.next(NOW + 0.25)) == ([], NOW + 0.5)
    assert m.wake(NOW + 0.5) == [Submit(2)]


def test_a_quick_common_limit_is_granted_by_the_dozen() -> None:
    m = limited("a", "b", "c", rate=40.0)
    assert m.asking(NOW) == [("t", 40.0, 3)]
    assert m.granted("t", 3, 0.0, NOW) == [Submit(1)]
    assert m.wake(NOW + 0.03) == [Submit(2)]
    assert m.wake(NOW + 0.06) == [Submit(3)]
    assert (m.asking(NOW + 1), m.next(NOW + 1)) == ([], math.inf)


def test_tokens_of_a_common_limit_are_not_kept() -> None:
    m = limited("a", "b", rate=40.0)
    m.granted("t", 2, 0.0, NOW)
    assert m.revoke(["b"], {}, NOW) == [Revoked(2), Settle(2, How.ACK)]
    assert m.wake(NOW + 9) == []
    assert m.received(3, arrival(id="c"), NOW + 9) == [Received(3)]
    assert m.asking(NOW + 9) == [("t", 40.0, 1)]


def test_a_common_limit_that_nobody_keeps_is_asked_for_later() -> None:
    m = limited("a")
    m.ungranted("t", 5.0, NOW)
    assert (m.asking(NOW), m.next(NOW)) == ([], NOW + 5)
    assert m.asking(NOW + 5) == [("t", 2.0, 1)]
    m.limit("t", 1.0, NOW)  # meanwhile it is a limit of our own
    assert m.granted("t", 1, 0.0, NOW) == []
    m.ungranted("t", 5.0, NOW)
    assert m.asking(NOW + 9) == []


def test_a_common_limit_when_the_clock_is_set_back() -> None:
    m = limited("a", "b")
    m.granted("t", 1, 0.2, NOW)
    assert m.wake(NOW - 1000) == [Submit(1)]
    m.granted("t", 0, 0.5, NOW)
    assert (m.next(NOW - 1000), m.asking(NOW - 1000)) == (NOW - 1000, [("t", 2.0, 1)])


def test_those_beyond_the_horizon_of_a_common_rate_are_parked() -> None:
    m = limited("a", parks=True, horizon=3.0, rate=0.2)
    m.granted("t", 0, 2.0, NOW)
    assert m.received(2, arrival(id="b"), NOW) == [Received(2), Park(2, NOW + 8)]


def test_who_waits_in_line_may_expire() -> None:
    m = machine()
    m.limit("t", 0.01, NOW)
    m.received(1, arrival(id="a"), NOW)
    m.received(2, arrival(id="b", expires=NOW + 1), NOW)
    assert m.wake(NOW + 2) == [Revoked(2, expired=True), Settle(2, How.ACK)]


def test_who_waits_for_a_slot_may_expire() -> None:
    m = machine(1)
    m.received(1, arrival(id="a"), NOW)
    m.received(2, arrival(id="b", expires=NOW + 1), NOW)
    m.begun(1, NOW)
    assert m.ended(1, Fate.DONE, NOW + 2) == [Settle(1, How.ACK), Revoked(2, expired=True), Settle(2, How.ACK)]


def test_an_unknown_task() -> None:
    assert machine().unknown(1, arrival(), NOW) == [Unregistered(1), Settle(1, How.DROP)]
    m = machine(unknown=(5.0, 2), parks=True)
    assert m.unknown(1, arrival(), NOW) == [Park(1, NOW + 5)]
    assert m.unknown(2, arrival(), NOW) == [Park(2, NOW + 5)]
    assert m.unknown(3, arrival(), NOW) == [Unregistered(3), Bury(3, "unknown task t, 2 times given back")]
    m = machine(unknown=(5.0, 2))
    assert m.unknown(1, arrival(), NOW) == []
    assert m.wake(NOW + 5) == [Settle(1, How.REQUEUE)]
    m.stop(Stop.WARM, NOW)
    assert m.unknown(1, arrival(), NOW) == [Settle(1, How.RESTORE)]


def test_a_warm_stop_gives_back_what_has_not_begun() -> None:
    m = machine(2)
    m.received(1, arrival(id="runs"), NOW)
    m.received(2, arrival(id="in the pool"), NOW)
    m.received(3, arrival(id="ready"), NOW)
    m.received(4, arrival(id="waits", eta=NOW + 1), NOW)
    m.begun(1, NOW)
    assert m.stop(Stop.WARM, NOW) == [Recall(2), Settle(3, How.RESTORE), Settle(4, How.RESTORE)]
    assert m.credit() == 0
    assert m.received(5, arrival(id="late"), NOW) == [Settle(5, How.RESTORE)]
    assert m.received(6, arrival(id="late", owed=False), NOW) == [Forgotten(6)]
    assert m.returned(2, NOW) == [Settle(2, How.RESTORE)]
    assert not m.idle
    assert m.ended(1, Fate.DONE, NOW) == [Settle(1, How.ACK)]
    assert m.idle


def test_a_cold_stop_gives_back_what_was_not_acknowledged() -> None:
    m = running()
    m.received(2, arrival(Manner(), id="b"), NOW)
    m.begun(2, NOW)
    assert m.stop(Stop.COLD, NOW) == []
    assert m.lost(1, "x", NOW) == [Settle(1, How.RESTORE)]
    assert m.lost(2, "x", NOW) == [WorkerLost(2, "x")]


def test_what_was_never_submitted_is_not_lost() -> None:
    m = machine()
    for call in (
        lambda: m.ended(7, Fate.DONE, NOW),
        lambda: m.lost(7, "x", NOW),
        lambda: m.returned(7, NOW),
        lambda: m.begun(7, NOW),
    ):
        assert call() == []
    m.received(1, arrival(), NOW)
    assert m.lost(1, "x", NOW, begun=False) == [Submit(1)]


# --- a connection is lost


def test_what_has_not_begun_is_forgotten_and_what_runs_goes_on() -> None:
    m = machine(3)
    m.received(1, arrival(id="late"), NOW)
    m.received(2, arrival(Manner(), id="early"), NOW)
    m.received(3, arrival(id="in the pool"), NOW)
    m.received(4, arrival(id="ready"), NOW)
    m.received(5, arrival(id="waits", eta=NOW + 1), NOW)
    m.received(6, arrival(id="given", eta=NOW + 1, owed=False), NOW)
    m.begun(1, NOW)
    m.begun(2, NOW)
    assert m.disconnected(NOW) == [Recall(3), Forgotten(4), Forgotten(5)]
    assert m.disconnected(NOW) == []
    assert m.credit() == 0
    assert m.returned(3, NOW) == [Forgotten(3)]
    m.reconnected(parks=True)
    assert m.credit() == 1
    # The late one comes again and is the one that runs; the early one's acknowledgement had not arrived.
    assert m.received(11, arrival(id="late", redelivered=True), NOW) == [Adopted(11, 1)]
    assert m.received(12, arrival(Manner(), id="early", redelivered=True), NOW) == [Settle(12, How.ACK)]
    assert m.received(13, arrival(id="in the pool", redelivered=True), NOW) == [Received(13), Submit(13)]
    assert m.ended(1, Fate.DONE, NOW) == [Settle(1, How.ACK)]
    assert m.ended(2, Fate.DONE, NOW) == []


def test_what_ended_meanwhile_is_settled_when_it_comes_again() -> None:
    m = running()
    m.disconnected(NOW)
    assert m.ended(1, Fate.DONE, NOW) == [Forgotten(1)]
    m.reconnected(parks=False)
    assert m.received(2, arrival(redelivered=True, retries=1), NOW) == [Received(2), Submit(2)]  # another run
    assert m.received(3, arrival(redelivered=True), NOW) == [Settle(3, How.ACK)]
    assert m.received(4, arrival(redelivered=True), NOW) == [Received(4), Submit(4)]


def test_what_refused_meanwhile_runs_again() -> None:
    m = running()
    m.disconnected(NOW)
    assert m.ended(1, Fate.REQUEUED, NOW) == [Forgotten(1)]
    m.reconnected(parks=False)
    assert m.received(2, arrival(redelivered=True), NOW) == [Received(2), Submit(2)]


def test_an_early_one_that_begins_over_a_lost_connection() -> None:
    m = machine()
    m.received(1, arrival(Manner()), NOW)
    assert m.disconnected(NOW) == [Recall(1)]
    assert m.begun(1, NOW) == []
    m.reconnected(parks=False)
    assert m.received(2, arrival(Manner(), redelivered=True), NOW) == [Adopted(2, 1), Settle(1, How.ACK)]
    assert m.ended(1, Fate.DONE, NOW) == []


def test_one_in_the_pool_is_adopted_before_it_comes_back() -> None:
    m = machine()
    m.received(1, arrival(), NOW)
    m.disconnected(NOW)
    m.reconnected(parks=False)
    assert m.received(2, arrival(redelivered=True), NOW) == [Adopted(2, 1)]
    assert m.returned(1, NOW) == [Submit(1)]


def test_long_running_tasks_may_be_cancelled_with_their_connection() -> None:
    m = running(cancel_on_loss=True)
    assert m.disconnected(NOW) == [Kill(1, 15, cancelled=True)]
    assert m.revoke(["a"], {}, NOW, 9) == []
    assert m.lost(1, "x", NOW) == [Cancelled(1)]


def test_old_acknowledgements_are_not_in_doubt() -> None:
    m = running(Manner())
    m.disconnected(NOW + 31)
    m.reconnected(parks=False)
    assert m.received(2, arrival(redelivered=True), NOW + 31) == [Received(2), Submit(2)]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_REMEMBERED", 3)
    m = machine(9, unknown=(1.0, 1), parks=True)
    for number in range(6):
        m.received(number, arrival(id=str(number)), NOW)
        m.begun(number, NOW)
    m.disconnected(NOW)
    for number in range(6):
        m.ended(number, Fate.DONE, NOW)
    m.reconnected(parks=True)
    assert m.received(7, arrival(id="0", redelivered=True), NOW) == [Received(7), Submit(7)]
    assert m.received(8, arrival(id="5", redelivered=True), NOW) == [Settle(8, How.ACK)]
    for number in range(20, 26):
        m.unknown(number, arrival(id=str(number)), NOW)
    assert m.unknown(30, arrival(id="20"), NOW) == [Park(30, NOW + 1)]


def test_nothing_to_wake_for() -> None:
    assert machine().next(NOW) == math.inf
    line = Line.at(1.0, NOW)
    assert line.next(NOW) == math.inf


# --- taken by somebody who has rules of his own


def outside(**more: Any) -> Deliveries:
    m = machine(1, **more)
    assert m.outside(1, arrival(), NOW) == []
    assert list(m.at(Place.BEGUN)) == [1]
    return m


@pytest.mark.parametrize(
    ("fate", "how"), [(Fate.DONE, How.ACK), (Fate.REJECTED, How.DROP), (Fate.REQUEUED, How.REQUEUE)]
)
def test_who_took_it_says_how_it_ends(fate: Fate, how: How) -> None:
    m = outside()
    assert m.credit() == 0
    assert m.ended(1, fate, NOW) == [Settle(1, how)]
    assert m.idle


def test_it_waits_for_no_slot() -> None:
    m = outside()
    assert m.outside(2, arrival(id="b"), NOW) == []
    assert m.busy == 2
    assert m.credit() == 0


def test_it_can_be_given_to_us_after_all() -> None:
    m = outside()
    m.inside(1)
    assert m.idle
    assert m.received(1, arrival(Manner()), NOW) == [Received(1), Submit(1)]


def test_what_is_revoked_or_too_late_does_not_get_outside() -> None:
    m = machine()
    m.revoke(["a"], {}, NOW)
    assert m.outside(1, arrival(), NOW) == [Revoked(1), Settle(1, How.ACK)]
    late = m.outside(2, arrival(id="b", expires=NOW - 1), NOW)
    assert late == [Revoked(2, expired=True), Settle(2, How.ACK)]
    assert m.idle


def test_what_somebody_has_outlives_its_connection() -> None:
    m = outside()
    assert m.disconnected(NOW) == []
    m.reconnected(parks=False)
    assert m.outside(2, arrival(redelivered=True), NOW) == [Adopted(2, 1)]
    assert m.ended(1, Fate.DONE, NOW) == [Settle(1, How.ACK)]


def test_what_he_ended_while_there_was_no_connection_is_settled_when_it_comes_again() -> None:
    m = outside()
    m.disconnected(NOW)
    assert m.ended(1, Fate.DONE, NOW) == [Forgotten(1)]
    m.reconnected(parks=False)
    assert m.outside(2, arrival(id="new", redelivered=True), NOW) == []
    assert m.outside(3, arrival(redelivered=True), NOW) == [Settle(3, How.ACK)]


def test_a_worker_that_leaves_gives_it_back() -> None:
    m = outside()
    assert m.stop(Stop.WARM, NOW) == []
    assert m.outside(2, arrival(id="b"), NOW) == [Settle(2, How.RESTORE)]
    assert m.returned(1, NOW) == [Settle(1, How.RESTORE)]
    assert m.idle
