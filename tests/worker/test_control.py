"""Remote-control commands on a worker that is not there: what each answers, and what it asks of the worker."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.protocol.rules.delivery import Place, Stop
from celeriac.protocol.rules.revokes import Revokes
from celeriac.protocol.wire import commands as wire
from celeriac.protocol.wire import control
from celeriac.protocol.wire.control import ReplyTo, Request
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.message_reading import Reader
from celeriac.worker.brokers.base import Delivery
from celeriac.worker.control import mailbox
from celeriac.worker.control.registry import COMMANDS, NO_REPLY, Desk
from celeriac.worker.options import Telling
from celeriac.worker.request import open_request


def _request(number: int, **headers: Any) -> Any:
    headers = {"task": "proj.add", "id": f"id{number}", "retries": 0, **headers}
    message = Message(b'[[1, 2], {"k": 1}, {}]', "application/json", "utf-8", headers, {"priority": 3})
    return open_request(number, Delivery(number, message, "celery", "", "celery"), Reader())


class Deliveries:
    slots = 8

    def __init__(self, settled: set[int]) -> None:
        self._settled = settled

    def __contains__(self, number: int) -> bool:
        return True

    def settled(self, number: int) -> bool:
        return number in self._settled


class Consumer:
    """What commands see of a consumer; `calls` are what they made it do."""

    def __init__(self) -> None:
        self.reader = Reader()
        self.calls: list[tuple[Any, ...]] = []
        runs, waits = _request(1, stamps={"color": ["red", "blue"]}, stamped_headers=["color"]), _request(2)
        runs.begun, runs.pid = 12.5, 77
        far = _request(3, eta="2030-01-01T00:00:00+02:00")
        self.requests = {1: runs, 2: waits, 3: far}
        self.places = {Place.BEGUN: [runs], Place.SUBMITTED: [waits], Place.ASIDE: [far], Place.READY: []}
        self.deliveries = Deliveries({1})
        self.queues: dict[str, Any] = {"celery": ()}
        self.done = {"proj.add": 4}

    def at(self, place: Place) -> list[Any]:
        return self.places[place]

    def revoke(self, ids: Any, stamps: Any, now: float, signum: int | None = None) -> None:
        self.calls.append(("revoke", list(ids), dict(stamps), signum))

    def changed(self, name: str, now: float) -> None:
        self.calls.append(("changed", name))

    def add_queue(self, name: str, now: float, **options: Any) -> None:
        self.calls.append(("add", name, options["exchange"]))

    def drop_queue(self, name: str, now: float) -> None:
        self.calls.append(("drop", name))


class Pool:
    size = 2

    def __init__(self) -> None:
        self.restarted = False

    def members(self) -> Any:
        return [{"pid": 5, "done": 3}]

    def restart(self) -> None:
        self.restarted = True


def _worker(**more: Any) -> Any:
    add = SimpleNamespace(
        rate_limit="10/m", name="proj.add", acks_late=False, time_limit=None, exchange="ex", _secret=1
    )
    owner = SimpleNamespace(
        revoke_stored=lambda _ids: None,
        tasks={"proj.add": add, "celery.map": SimpleNamespace(rate_limit=None)},
        clock_value=lambda: 7,
        clock_forward=lambda: 8,
        clock_adjust=lambda other: other,
        settings=lambda with_defaults: {"all": with_defaults},
        report=lambda: "a report",
        queue_info=lambda name: {"name": name},
        broker_info=lambda: {"transport": "redis"},
        reload=lambda modules, reload: None,
    )
    told: list[Any] = []
    options = SimpleNamespace(
        pool=SimpleNamespace(autoscale=None, restarts=False, max_tasks=None, soft_limit=None, hard_limit=5.0)
    )
    worker = SimpleNamespace(
        hostname="w1@here",
        owner=owner,
        consumer=Consumer(),
        revokes=Revokes(),
        events=SimpleNamespace(on=False, exists=True, worker=lambda kind, fields: told.append((kind, fields))),
        revoked=lambda ids, stamps, now: told.append(("revoked", ids, stamps)),
        gossip=SimpleNamespace(elect=lambda *args: told.append(("elect", *args))),
        pool=Pool(),
        pid=42,
        started=0.0,
        options=options,
        told=told,
        controller=None,
        stop=told.append,
        resize=lambda size: told.append(("resize", size)),
        autoscale=lambda most, fewest: (most, fewest),
    )
    worker.broker_info = owner.broker_info
    for name, value in more.items():
        setattr(worker, name, value)
    return worker


@pytest.fixture
def worker() -> Any:
    return _worker()


@pytest.fixture
def ask(worker: Any) -> Any:
    desk = Desk(worker, {"mine": lambda **arguments: {"ok": arguments}})
    return lambda method, **arguments: desk.answer(method, arguments)


def test_every_command_of_celery_is_there() -> None:
    assert set(COMMANDS) == set(wire.BY_NAME)


def test_what_a_reply_holds_can_be_sent(ask: Any) -> None:
    for name in ("active", "reserved", "scheduled", "stats", "registered", "active_queues", "conf", "report", "clock"):
        json.dumps(ask(name))


@pytest.mark.parametrize(
    ("method", "arguments", "reply"),
    [
        ("ping", {}, {"ok": "pong"}),
        ("ping", {"more": 1}, {"ok": "pong"}),
        ("clock", {}, {"clock": 7}),
        ("nope", {}, {"error": "KeyError('nope')"}),
        ("mine", {"a": 1}, {"ok": {"a": 1}}),
        ("report", {}, {"ok": "a report"}),
        (
            "report",
            {"x": 1},
            {"error": """TypeError("report() got an unexpected keyword argument 'x'")"""},
        ),
        (
            "rate_limit",
            {"task_name": "x"},
            {"error": """TypeError("rate_limit() missing 1 required positional argument: 'rate_limit'")"""},
        ),
        ("conf", {"with_defaults": True}, {"all": True}),
        ("registered", {}, ["proj.add [exchange=ex rate_limit=10/m]"]),
        ("registered", {"taskinfoitems": ["acks_late"]}, ["proj.add [acks_late=False]"]),
        ("registered", {"taskinfoitems": ["__class__", "_secret", None, 5]}, ["proj.add"]),
        ("registered", {"taskinfoitems": ["exchange", "routing_key"]}, ["proj.add [exchange=ex]"]),
        ("query_task", {"ids": 5}, {}),
        ("query_task", {"ids": None}, {}),
        ("dump_tasks", {"builtins": True}, ["celery.map", "proj.add [exchange=ex rate_limit=10/m]"]),
        ("active_queues", {}, [{"name": "celery"}]),
        ("hello", {"from_node": "w1@here"}, None),
        ("hello", {"from_node": "other", "revoked": {"x": 1.0}}, {"revoked": ["x"], "clock": 8}),
        ("rate_limit", {"task_name": "proj.add", "rate_limit": "5/m"}, wire.RATE_LIMIT_SET),
        ("rate_limit", {"task_name": "proj.add", "rate_limit": 0}, wire.RATE_LIMIT_OFF),
        ("rate_limit", {"task_name": "nope", "rate_limit": 1}, wire.UNKNOWN_TASK),
        ("time_limit", {"task_name": "proj.add", "hard": 9}, wire.TIME_LIMITS_SET),
        ("time_limit", {"task_name": "nope"}, wire.UNKNOWN_TASK),
        ("time_limit", {"task_name": "proj.add", "hard": "9.5", "soft": 0}, wire.TIME_LIMITS_SET),
        *(
            (
                "time_limit",
                {"task_name": "proj.add", "soft": wrong},
                wire.raised(ValueError(f"expected a number of seconds, got {wrong!r}")),
            )
            for wrong in ("soon", -1, float("nan"), [1], {"a": 1}, True, 2**70)
        ),
        ("enable_events", {}, wire.EVENTS_ENABLED),
        ("disable_events", {}, wire.EVENTS_DISABLED_BEFORE),
        ("pool_grow", {"n": 2}, wire.POOL_GROWS),
        ("pool_shrink", {}, wire.POOL_SHRINKS),
        ("pool_shrink", {"n": 3}, {"error": """ValueError("Can't shrink pool. It is of 2, and 3 are to go.")"""}),
        ("pool_restart", {}, wire.NO_POOL_RESTARTS),
        ("autoscale", {"max": 4, "min": 2}, wire.NO_AUTOSCALE),
        ("add_consumer", {"queue": "extra"}, wire.consumer_added("extra")),
        ("cancel_consumer", {"queue": "celery"}, wire.consumer_cancelled("celery")),
        ("revoke", {"task_id": "gone"}, {"ok": "tasks {'gone'} flagged as revoked"}),
        ("revoke", {"task_id": ["gone"], "terminate": True}, wire.NONE_TERMINATED),
        ("terminate", {"task_id": "id1", "signal": "KILL"}, {"ok": "terminate: id1"}),
        ("shutdown", {}, NO_REPLY),
        ("heartbeat", {}, None),
        ("election", {"id": "e", "topic": "task", "action": {}}, None),
    ],
)
def test_replies(ask: Any, method: str, arguments: dict[str, Any], reply: Any) -> None:
    assert ask(method, **arguments) == reply


def test_a_bad_rate_is_named(ask: Any) -> None:
    assert ask("rate_limit", task_name="proj.add", rate_limit="x/y")["error"].startswith("Invalid rate limit string: ")


def test_requests_as_stock_shows_them(ask: Any) -> None:
    (active,) = ask("active")
    assert active == {
        "id": "id1",
        "name": "proj.add",
        "args": [1, 2],
        "kwargs": {"k": 1},
        "type": "proj.add",
        "hostname": "w1@here",
        "time_start": 12.5,
        "acknowledged": True,
        "delivery_info": {"exchange": "", "routing_key": "celery", "priority": 3, "redelivered": False},
        "worker_pid": 77,
    }
    assert list(active) == list(wire.REQUEST_KEYS)
    assert ask("dump_active", safe=True)[0]["args"] is None
    assert [each["id"] for each in ask("reserved")] == ["id2"]
    (scheduled,) = ask("scheduled")
    assert (scheduled["eta"], scheduled["priority"]) == ("2029-12-31T22:00:00+00:00", 6)
    found = ask("query_task", ids=["id1", "id2", "id3", "nobody"])
    assert {name: state for name, (state, _) in found.items()} == {
        "id1": "active",
        "id2": "reserved",
        "id3": "scheduled",
    }
    assert list(ask("query_task", ids="id1")) == ["id1"]


def test_what_is_due_waits_for_its_time_no_more(ask: Any, worker: Any) -> None:
    places = worker.consumer.places
    places[Place.ASIDE], places[Place.READY] = [], places[Place.ASIDE]
    assert ask("query_task", ids=["id3"])["id3"][0] == "reserved"
    assert ask("scheduled") == []
    assert [each["id"] for each in ask("reserved")] == ["id3", "id2"]


def test_stats(ask: Any) -> None:
    stats = ask("stats")
    assert list(stats) == ["total", "pid", "clock", "uptime", "pool", "broker", "prefetch_count", "rusage"]
    assert stats["clock"] == "7"
    assert stats["pool"]["timeouts"] == [0, 5.0]
    assert stats["pool"]["max-tasks-per-child"] == "N/A"
    writes = {"total": 3, "avg": "1.00", "all": "1.00", "raw": "3", "strategy": "fair"}
    assert stats["pool"]["writes"] == {**writes, "inqueues": {"total": 1, "active": 0}}
    assert len(stats["rusage"]) == 16


def test_stats_of_a_worker_whose_steps_have_something_to_say() -> None:
    steps = SimpleNamespace(told_by_steps=lambda: {"autoscaler": {"max": 5}, "pool": "not ours"})
    stats = Desk(_worker(controller=steps), {}).answer("stats", {})
    assert stats["autoscaler"] == {"max": 5}
    assert stats["pool"]["max-concurrency"] == 2


def test_memory(ask: Any) -> None:
    assert ask("memsample").endswith("MB")
    assert "rss: " in ask("memdump", samples=2)


def test_revoking_reaches_the_consumer_and_is_kept(ask: Any, worker: Any) -> None:
    ask("revoke", task_id=["a", "b"], signal="SIGTERM")
    ask("terminate", task_id="id1", signal="sigkill")
    ask("revoke", task_id="id1", terminate=True)
    assert worker.consumer.calls == [
        ("revoke", ["a", "b"], {}, None),
        ("revoke", ["id1"], {}, 9),
        ("revoke", ["id1"], {}, 15),
    ]
    assert worker.told == [("revoked", ["a", "b"], {}), ("revoked", ["id1"], {}), ("revoked", ["id1"], {})]
    told = len(worker.told)
    for signal in ("SIGNOPE", "signum", 0, 9999, -1, "99999999999", ["KILL"]):
        asked = {"task_id": "id1", "signal": signal, "terminate": True}
        assert "not found" in ask("revoke", **asked)["error"], signal
        assert "not found" in ask("revoke_by_stamped_headers", headers={"a": 1}, signal=signal)["error"], signal
    assert (len(worker.consumer.calls), len(worker.told)) == (3, told), "nothing is revoked by halves"
    assert ask("terminate", task_id="id1", signal="9") == {"ok": "terminate: id1"}


def test_revoking_by_stamps(ask: Any, worker: Any) -> None:
    flagged = ask("revoke_by_stamped_headers", headers={"color": "red"})
    assert flagged == {"ok": "headers {'color': 'red'} flagged as revoked, but not terminated"}
    ended = ask("revoke_by_stamped_headers", headers=["color=red"], terminate=True)
    assert ended == {"ok": "headers defaultdict(<class 'set'>, {'color': {'red'}}) revoked"}
    for nothing in (None, "color=red", ["color"], 5):
        assert "expected" in ask("revoke_by_stamped_headers", headers=nothing)["error"]
    none = ask("revoke_by_stamped_headers", headers={"color": "green"}, terminate=True)
    assert none == {"ok": "headers {'color': 'green'} were not terminated"}
    assert worker.consumer.calls[-1] == ("revoke", [], {"color": "green"}, 15)


def test_events_are_switched(ask: Any, worker: Any) -> None:
    assert ask("enable_events") == wire.EVENTS_ENABLED
    assert worker.events.on
    assert ask("enable_events") == wire.EVENTS_ENABLED_BEFORE
    assert ask("disable_events") == wire.EVENTS_DISABLED
    worker.events.exists = False
    assert ask("enable_events") == ask("disable_events") == wire.NO_EVENTS
    ask("heartbeat")
    ((kind, fields),) = worker.told
    assert (kind, fields["freq"]) == ("worker-heartbeat", 5)


def test_pools_that_follow_the_load(ask: Any, worker: Any) -> None:
    worker.options.pool.autoscale = (4, 2)
    assert "not supported with autoscale" in ask("pool_grow")["error"]
    assert "not supported with autoscale" in ask("pool_shrink")["error"]
    assert ask("autoscale", max=4, min=2) == {"ok": "autoscale now max=4 min=2"}
    worker.options.pool.restarts = True
    assert ask("pool_restart", modules=["os"]) == wire.POOL_RESTARTS
    assert worker.pool.restarted


def test_queues_change(ask: Any, worker: Any) -> None:
    assert ask("add_consumer", queue="extra", exchange="x") == wire.consumer_added("extra")
    ask("cancel_consumer", queue="extra")
    for wrong in ({"queue": 5}, {"queue": None}, {"queue": ["a"]}, {"queue": ""}, {"queue": "q", "routing_key": 5}):
        assert "expected" in ask("add_consumer", **wrong)["error"]
    assert worker.consumer.calls == [("add", "extra", "x"), ("drop", "extra")]


def test_shutdown_is_warm(ask: Any, worker: Any) -> None:
    ask("shutdown")
    assert worker.told == [Stop.WARM]


def test_an_election_without_gossip(ask: Any, worker: Any) -> None:
    worker.gossip = None
    assert ask("election", id="e", topic="task") is None


# --- the mailbox


class Sent:
    def __init__(self) -> None:
        self.parcels: list[Any] = []

    def send(self, parcels: Any) -> None:
        self.parcels += parcels


def _hear(worker: Any, request: Request | Message, desk: Any = None) -> list[Any]:
    sent = Sent()
    message = control.build_request(request) if isinstance(request, Request) else request
    box = mailbox.Mailbox(desk or Desk(worker, {"odd": object}), Telling())
    box.heard(sent, Delivery(None, message, "q", "", ""), 0.0)  # type: ignore[arg-type]
    return sent.parcels


REPLY = ReplyTo("reply.celery.pidbox", "me")


def test_the_mailbox_answers(worker: Any) -> None:
    (parcel,) = _hear(worker, Request("ping", ticket="t", reply_to=REPLY))
    assert (parcel.exchange, parcel.routing_key) == ("reply.celery.pidbox", "me")
    reply = control.parse_reply(parcel.message)
    assert (reply.node, reply.value, reply.ticket, reply.clock) == ("w1@here", {"ok": "pong"}, "t", 8)


@pytest.mark.parametrize(
    "request_",
    [
        Request("ping"),
        Request("shutdown", ticket="t", reply_to=REPLY),
        Request("ping", ticket="t", reply_to=REPLY, destination=("other@here",)),
        Request("ping", ticket="t", reply_to=REPLY, pattern="(", matcher="pcre"),
        Message(b"no json", "application/json", "utf-8"),
    ],
)
def test_what_is_not_answered(worker: Any, request_: Any) -> None:
    assert _hear(worker, request_) == []


def test_a_reply_that_cannot_be_written_is_an_error(worker: Any) -> None:
    (parcel,) = _hear(worker, Request("odd", ticket="t", reply_to=REPLY))
    assert "error" in control.parse_reply(parcel.message).value


def test_private_queues_are_declared_as_stock_declares_them() -> None:
    (requests,) = mailbox.Mailbox(Desk(_worker(), {}), Telling()).queues("w1@here")
    assert requests.name == "w1@here.celery.pidbox"
    assert (requests.exchange, requests.exchange_type, requests.exchange_durable) == ("celery.pidbox", "fanout", False)
    assert (requests.durable, requests.exclusive, requests.auto_delete) == (False, True, True)
    assert (requests.expires, dict(requests.arguments)) == (10.0, {"x-message-ttl": 300000})
    replies = mailbox.reply_queue("oid", Telling(control_queue_ttl=None))
    assert (replies.name, replies.exchange, replies.routing_key) == (
        "oid.reply.celery.pidbox",
        "reply.celery.pidbox",
        "oid",
    )
    assert dict(replies.arguments) == {}
