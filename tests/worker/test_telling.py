"""Events, gossip and the loop, each by itself."""

from __future__ import annotations

import json
import os
import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.wire import event
from celeriac.protocol.wire.message import Message
from celeriac.worker.brokers.base import Delivery, Queue
from celeriac.worker.events import Dispatcher
from celeriac.worker.gossip import Gossip
from celeriac.worker.heartbeat import Heart
from celeriac.worker.kept import GivenUp, Kept
from celeriac.worker.loop import Loop
from celeriac.worker.options import Telling


class Sent:
    def __init__(self) -> None:
        self.parcels: list[Any] = []
        self.declared: list[Queue] = []

    def declare(self, queues: Any) -> None:
        self.declared += queues

    def send(self, parcels: Any) -> None:
        self.parcels += parcels


def _dispatcher(**more: Any) -> tuple[Dispatcher, Sent]:
    sent, clock = Sent(), iter(range(1, 10_000))
    events = Dispatcher("w1@here", lambda: next(clock), on=True, **more)
    events.connected(sent, "topic")  # type: ignore[arg-type]
    return events, sent


def test_task_events_are_sent_together() -> None:
    events, sent = _dispatcher()
    for number in range(30):
        events.task("task-started", {"uuid": str(number)})
    assert events.waiting
    assert not sent.parcels
    events.flush()
    assert [len(json.loads(parcel.message.body)) for parcel in sent.parcels] == [24, 6]
    assert {parcel.routing_key for parcel in sent.parcels} == {"task.multi"}
    (first, *_) = event.parse(sent.parcels[0].message.body)
    assert (first.hostname, first.pid, first.clock, first["uuid"]) == ("w1@here", os.getpid(), 1, "0")
    assert sent.parcels[0].message.headers == {"hostname": "w1@here"}


def test_the_exchange_of_events_is_made_where_nobody_listens_to_them() -> None:
    """On RabbitMQ a heartbeat to an exchange that is not there ends the connection."""
    _, sent = _dispatcher()
    assert sent.declared == [Queue("", "celeryev", "topic")]
    _, sent = _dispatcher(exists=False)
    assert not sent.declared


def test_worker_events_are_sent_at_once_and_alone() -> None:
    events, sent = _dispatcher()
    heart = Heart(events, lambda: (2, 9), 3)
    heart.begin(100.0)
    assert heart.tend(101.0) == 103.0
    assert heart.tend(103.5) == 106.5
    heart.end()
    kinds = [json.loads(parcel.message.body)["type"] for parcel in sent.parcels]
    assert kinds == ["worker-online", "worker-heartbeat", "worker-offline"]
    told = json.loads(sent.parcels[1].message.body)
    assert (told["freq"], told["active"], told["processed"], told["sw_ident"]) == (3.0, 2, 9, "py-celery")
    assert sent.parcels[1].routing_key == "worker.heartbeat"
    assert list(told) == [
        "hostname",
        "utcoffset",
        "pid",
        "clock",
        *event.FIELDS["worker-heartbeat"],
        "timestamp",
        "type",
    ]


def test_an_event_that_cannot_be_written_costs_no_other() -> None:
    events, sent = _dispatcher()
    events.task("task-received", {"uuid": "x", "args": object()})
    events.flush()
    assert not sent.parcels
    events.task("task-started", {"uuid": "y"})
    events.flush()
    assert len(sent.parcels) == 1


def test_without_a_connection_task_events_wait_and_worker_events_do_not() -> None:
    events, sent = _dispatcher()
    events.disconnected()
    events.task("task-started", {"uuid": "y"})
    events.worker("worker-heartbeat", {})
    events.flush()
    events.connected(sent, "fanout")  # type: ignore[arg-type]
    events.flush()
    assert [parcel.exchange_type for parcel in sent.parcels] == ["fanout"]


def _gossip() -> tuple[Gossip, Sent, Any]:
    events, sent = _dispatcher()
    done: list[Any] = []
    owner: Any = SimpleNamespace(clock_adjust=lambda other: other, send_signature=done.append)
    return Gossip("w1@here", owner, events, Telling()), sent, done


def _hear(gossip: Gossip, kind: str, now: float, hostname: str = "w2@here", **fields: Any) -> None:
    body = event.build(kind, fields, hostname=hostname, utcoffset=0, pid=1, clock=fields.pop("at", 1), timestamp=now)
    queue = gossip.queues("topic")[0].name
    delivery = Delivery(None, Message(body, "application/json", "utf-8"), queue, "", "")
    assert gossip.is_for(delivery)
    gossip.heard(delivery, now)


def test_who_is_there() -> None:
    gossip, _, _ = _gossip()
    _hear(gossip, "worker-online", 100.0, freq=2.0)
    _hear(gossip, "worker-heartbeat", 102.0, freq=2.0)
    _hear(gossip, "worker-heartbeat", 102.0, hostname="w1@here", freq=2.0)
    assert set(gossip.nodes) == {"w2@here"}
    assert gossip.tend(103.0) == 106.0
    assert gossip.tend(107.0) == float("inf")
    assert not gossip.nodes
    _hear(gossip, "worker-online", 110.0)
    _hear(gossip, "worker-offline", 111.0)
    _hear(gossip, "worker-offline", 111.0)
    assert not gossip.nodes
    gossip.heard(Delivery(None, Message(b"?"), "q", "", ""), 1.0)


def test_an_election() -> None:
    gossip, sent, done = _gossip()
    _hear(gossip, "worker-online", 100.0)
    action = {"task": "proj.add", "args": [], "kwargs": {}, "options": {}}
    gossip.elect("e", "task", action)
    assert json.loads(sent.parcels[-1].message.body)["type"] == "worker-elect"
    _hear(gossip, "worker-elect", 100.0, hostname="w1@here", id="e", topic="task", action=action, at=1)
    _hear(gossip, "worker-elect", 100.0, id="e", topic="task", action=action, at=5)
    assert json.loads(sent.parcels[-1].message.body)["type"] == "worker-elect-ack"
    _hear(gossip, "worker-elect-ack", 100.0, hostname="w1@here", id="e")
    assert not done
    _hear(gossip, "worker-elect-ack", 100.0, id="e")
    assert done == [action]
    _hear(gossip, "worker-elect-ack", 100.0, id="e")
    assert done == [action]


def test_the_loop_names_what_is_readable() -> None:
    loop = Loop()
    reads, writes = os.pipe()
    loop.watch("pipe", reads)
    loop.watch("pipe", reads)
    assert loop.wait(0) == set()
    os.write(writes, b"x")
    assert loop.wait(5) == {"pipe"}
    loop.watch("pipe", -1)
    assert loop.wait(0) == set()
    loop.bell.ring()
    assert loop.wait(5) == {"bell"}
    assert loop.wait(0) == set()
    loop.close()
    os.close(reads)
    os.close(writes)


# --- a connection that is kept


class Line:
    """What `Kept` tells, and a `connect` that fails as often as it is told."""

    def __init__(self, fails: int = 0, **more: Any) -> None:
        self.told: list[str] = []
        self.fails = fails
        self.up = lambda broker, now: self.told.append("up")
        self.kept = Kept(
            self.connect,
            shown="x://",
            wake=lambda: None,
            up=self._came_up,
            down=lambda now: self.told.append("down"),
            **more,
        )

    def _came_up(self, broker: Any, now: float) -> None:
        self.up(broker, now)

    def connect(self) -> Any:
        if self.fails:
            self.fails -= 1
            raise OperationalError("no")
        return SimpleNamespace(close=lambda: self.told.append("closed"))

    def tend(self, now: float) -> float:
        again = self.kept.tend(now)
        end = time.monotonic() + 5
        while self.kept._dialing and self.kept._made is None and time.monotonic() < end:
            time.sleep(0.001)
        return again


def test_it_is_made_again_when_it_is_lost() -> None:
    line = Line(fails=1)
    line.tend(100.0)
    assert 101.5 <= line.tend(100.0) <= 102.0
    line.tend(102.0)
    line.tend(102.0)
    line.kept.lost(OperationalError("cut"), 103.0)
    line.kept.lost(OperationalError("cut"), 103.0)
    line.tend(103.0)
    line.tend(103.0)
    assert line.told == ["up", "closed", "down", "up"]
    line.kept.close()
    assert line.tend(104.0) == float("inf")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"retry_at_start": False}, r"disabled \(app.conf.broker_connection_retry_on_startup=False\)"),
        ({"most": 0}, "tries"),
    ],
)
def test_it_is_given_up_where_that_is_wished(more: dict[str, Any], why: str) -> None:
    line = Line(fails=1, **more)
    line.tend(100.0)
    with pytest.raises(GivenUp, match=f"Cannot connect to x://.*{why}"):
        line.tend(100.0)


def test_it_is_as_patient_as_stock_workers_and_never_away_for_long() -> None:
    """They wait 2, 4, 6 seconds and so on, and give up when the tries are spent."""
    line = Line(fails=1000, most=4)
    pauses: list[float] = []

    def go_on(now: float) -> None:
        while len(pauses) < 100:
            line.tend(now)
            pauses.append(line.tend(now) - now)
            now += pauses[-1]

    with pytest.raises(GivenUp, match="after 4 tries"):
        go_on(100.0)
    assert max(pauses) <= 4.0
    assert 0.75 * (2 + 4 + 6 + 8) <= sum(pauses) <= 24


def test_a_loss_may_be_the_end() -> None:
    line = Line(retry=False)
    line.tend(100.0)
    line.tend(100.0)
    with pytest.raises(GivenUp, match="was lost"):
        line.kept.lost(OperationalError("cut"), 101.0)


def test_what_fails_as_it_comes_up_is_tried_again() -> None:
    line = Line()

    def fail(*_: Any) -> None:
        raise OperationalError("at once")

    line.up = fail
    line.tend(100.0)
    line.tend(100.0)
    assert line.kept.broker is None
    assert line.told == ["closed", "down"]


def test_one_that_comes_too_late_is_closed() -> None:
    line = Line()
    line.tend(100.0)
    line.kept.close()
    line.tend(100.0)
    assert line.told == ["closed"]


def test_a_mistake_of_ours_is_no_trouble_of_the_broker() -> None:
    line = Line()
    line.kept._connect = lambda: 1 / 0  # type: ignore[assignment, return-value]
    line.tend(100.0)
    with pytest.raises(ZeroDivisionError):
        line.tend(100.0)


def test_a_loop_sleeps_through_what_it_ignores() -> None:
    loop, (ours, theirs) = Loop(), socket.socketpair()
    try:
        loop.watch("pool", ours.fileno())
        theirs.send(b"!")
        assert loop.wait(5) == {"pool"}
        loop.ignore("pool")
        assert loop.wait(0) == set()
        loop.bell.ring()
        assert loop.wait(5) == {"bell"}
        loop.ignore(None)
        assert loop.wait(5) == {"pool"}
        loop.ignore("pool")
        loop.forget("pool")
        loop.ignore("pool")  # nobody of that name
        assert loop.wait(0) == set()
    finally:
        loop.close()
        ours.close()
        theirs.close()
