"""One call becomes one message, with Celery's arithmetic and Celery's quirks."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall
from celeriac.protocol.rules.calling import (
    Call,
    Outgoing,
    Parent,
    Sender,
    WrongType,
    compose,
    sent_event,
)
from celeriac.protocol.rules.routing import Queue, Route
from celeriac.protocol.wire.message_reading import read_task
from celeriac.protocol.wire.serializers import NoSerializer
from tests.protocol.shell import Router, over_the_tasks

NOW = datetime(2026, 11, 1, 5, 30, 0, 123456, tzinfo=timezone.utc)
SENDER = Sender("gen1@h", "oid")
CELERY = Queue("celery", "celery", "direct", "celery")
ROUTE = Route("", "celery", CELERY)
SIG = {"task": "mul", "args": [3], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}
NEW_YORK = ZoneInfo("America/New_York")


def send(
    args: Any = (1, 2), kwargs: Any = None, *, sender: Sender = SENDER, parent: Parent | None = None, **options: Any
) -> Outgoing:
    return compose(Call("add", args, kwargs, options), sender, ROUTE, NOW, new_id="1", parent=parent)


def headers(**options: Any) -> dict[str, Any]:
    return send(**options).message.headers


def properties(**options: Any) -> dict[str, Any]:
    return send(**options).message.properties


def test_a_plain_call() -> None:
    sent = send((1, 2), {"a": "b"})
    assert (
        sent.message.body
        == b'[[1, 2], {"a": "b"}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
    )
    assert sent.message.headers == {
        "lang": "py",
        "task": "add",
        "id": "1",
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": "1",
        "parent_id": None,
        "argsrepr": "(1, 2)",
        "kwargsrepr": "{'a': 'b'}",
        "origin": "gen1@h",
        "ignore_result": None,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    assert list(sent.message.properties.items()) == [
        ("correlation_id", "1"),
        ("reply_to", "oid"),
        ("delivery_mode", 2),
        ("priority", 0),
    ]
    assert (sent.exchange, sent.routing_key, sent.queue, sent.mandatory, sent.lost) == ("", "celery", CELERY, False, ())
    assert read_task(sent.message).id == sent.task.id


def test_no_arguments_are_empty_ones() -> None:
    assert send(None, None).message.body.startswith(b"[[], {}, ")
    assert (headers(args=None)["argsrepr"], headers()["kwargsrepr"]) == ("()", "{}")
    assert headers(args=[1])["argsrepr"] == "[1]"


@pytest.mark.parametrize(
    ("zone", "options", "eta"),
    [
        (timezone.utc, {}, None),
        (timezone.utc, {"countdown": 0}, None),
        (timezone.utc, {"countdown": None, "eta": None}, None),
        (timezone.utc, {"countdown": 10}, "2026-11-01T05:30:10.123456+00:00"),
        (timezone.utc, {"countdown": 0.876544}, "2026-11-01T05:30:01+00:00"),
        (timezone.utc, {"countdown": -1}, "2026-11-01T05:29:59.123456+00:00"),
        (timezone.utc, {"countdown": 1, "eta": datetime(2030, 1, 1)}, "2026-11-01T05:30:01.123456+00:00"),
        (NEW_YORK, {"countdown": 60}, "2026-11-01T01:31:00.123456-04:00"),
        (NEW_YORK, {"countdown": 3600}, "2026-11-01T01:30:00.123456-05:00"),  # the clocks go back in between
        (NEW_YORK, {"eta": datetime(2030, 1, 2, 3, 4, 5)}, "2030-01-02T03:04:05"),
        (NEW_YORK, {"eta": datetime(2030, 1, 1, tzinfo=timezone.utc)}, "2030-01-01T00:00:00+00:00"),
        (NEW_YORK, {"eta": "2030-01-02T03:04:05Z"}, "2030-01-02T03:04:05Z"),
    ],
)
def test_eta(zone: Any, options: dict[str, Any], eta: str | None) -> None:
    assert headers(sender=Sender("o", timezone=zone), **options)["eta"] == eta


@pytest.mark.parametrize(
    ("options", "header", "expiration"),
    [
        ({"expires": 60}, "2026-11-01T05:31:00.123456+00:00", "60000"),
        ({"expires": 1.2345}, "2026-11-01T05:30:01.357956+00:00", "1234"),
        ({"expires": 0}, "2026-11-01T05:30:00.123456+00:00", "0"),
        ({"expires": -5}, "2026-11-01T05:29:55.123456+00:00", "0"),
        ({"expires": datetime(2026, 11, 1, 5, 31)}, "2026-11-01T05:31:00", "59876"),
        ({"expires": datetime(2026, 11, 1, 5, 31, tzinfo=timezone.utc)}, "2026-11-01T05:31:00+00:00", "59876"),
        ({"expires": datetime(2020, 1, 1)}, "2020-01-01T00:00:00", "0"),
        ({"expires": "2026-11-01T07:31:00+02:00"}, "2026-11-01T07:31:00+02:00", "59876"),
        ({"expiration": 2.5}, None, "2500"),
        ({"expires": 1, "expiration": 2.5}, "2026-11-01T05:30:01.123456+00:00", "1000"),
        ({}, None, None),
    ],
)
def test_expires(options: dict[str, Any], header: str | None, expiration: str | None) -> None:
    message = send(**options).message
    assert (message.headers["expires"], message.properties.get("expiration")) == (header, expiration)


def test_links_are_lists() -> None:
    assert send(link=SIG).task.callbacks == [SIG]
    assert send(link_error=[SIG, SIG]).task.errbacks == [SIG, SIG]
    assert send(link=[]).task.callbacks == []
    assert json.loads(send(chain=[SIG], chord=SIG).message.body)[2] == {
        "callbacks": None,
        "errbacks": None,
        "chain": [SIG],
        "chord": SIG,
    }


def test_fields_of_the_workflow() -> None:
    sent = headers(
        group_id="g", group_index=3, retries=2, time_limit=9, soft_time_limit=5, shadow="s", ignore_result=True
    )
    assert (sent["group"], sent["group_index"], sent["retries"], sent["timelimit"]) == ("g", 3, 2, [9, 5])
    assert (sent["shadow"], sent["ignore_result"]) == ("s", True)
    assert headers(task_id="own")["id"] == "own"
    assert headers(replaced_task_nesting=2)["replaced_task_nesting"] == 2


@pytest.mark.parametrize(
    ("options", "parent", "root_and_parent"),
    [
        ({}, None, ("1", None)),
        ({}, Parent("p"), ("p", "p")),
        ({}, Parent("p", "r"), ("r", "p")),
        ({"root_id": "own"}, Parent("p", "r"), ("own", "p")),
        ({"parent_id": "own"}, Parent("p", "r"), ("r", "own")),
        ({"root_id": "a", "parent_id": "b"}, None, ("a", "b")),
    ],
)
def test_lineage(options: dict[str, Any], parent: Parent | None, root_and_parent: tuple[Any, Any]) -> None:
    sent = headers(parent=parent, **options)
    assert (sent["root_id"], sent["parent_id"]) == root_and_parent


def test_a_priority_is_inherited_only_where_the_app_says_so() -> None:
    heir = Sender("o", inherit_priority=True)
    assert properties(parent=Parent("p", priority=7))["priority"] == 0
    assert properties(sender=heir, parent=Parent("p", priority=7))["priority"] == 7
    assert properties(sender=heir, parent=Parent("p", priority=7), priority=2)["priority"] == 2
    assert "priority" not in properties(sender=heir, parent=Parent("p"))
    by_hand = {"root_id": "a", "parent_id": "b"}
    assert properties(sender=heir, parent=Parent("p", priority=7), **by_hand)["priority"] == 0


@pytest.mark.parametrize(
    ("attributes", "options", "by_name", "priority"),
    [
        ({"priority": None}, {}, False, 0),
        ({"priority": None}, {"queue": "q"}, False, None),
        ({"priority": None, "queue": "q"}, {}, False, None),
        ({"priority": None}, {"queue": "q"}, True, 0),
        ({"priority": 4}, {"queue": "q"}, False, 4),
        ({"priority": 4}, {"queue": "q", "priority": 5}, True, 5),
    ],
)
def test_a_queue_without_a_priority_leaves_it_out(
    attributes: dict[str, Any], options: dict[str, Any], by_name: bool, priority: int | None
) -> None:
    router = Router([CELERY])
    expanded = router.expand(over_the_tasks(attributes, options, by_name=by_name), "add")
    sent = compose(Call("add", (), {}, expanded), SENDER, router.resolve(expanded), NOW, new_id="1")
    assert sent.message.properties.get("priority") == priority


def test_unknown_options_become_properties_and_leaks_stay() -> None:
    sent = send(argsrepr="<args>", kwargsrepr="<kwargs>", origin="me", app_id="a", foo=None, correlation_id="c")
    assert (sent.task.argsrepr, sent.task.kwargsrepr, sent.task.origin) == ("<args>", "<kwargs>", "me")
    assert list(sent.message.properties.items()) == [
        ("correlation_id", "c"),
        ("reply_to", "oid"),
        ("argsrepr", "<args>"),
        ("kwargsrepr", "<kwargs>"),
        ("origin", "me"),
        ("app_id", "a"),
        ("foo", None),
        ("delivery_mode", 2),
        ("priority", 0),
    ]


def test_options_about_sending_leave_no_trace() -> None:
    quiet = {"retry": True, "retry_policy": {}, "queue": "q", "routing_key": "r", "exchange": "", "add_to_parent": True}
    assert send(**quiet, timeout=1, connection=object()).message == send().message
    assert send(mandatory=True).mandatory


def test_reply_to_delivery_mode_serializer_and_compression() -> None:
    assert properties(reply_to="me")["reply_to"] == "me"
    assert properties(sender=Sender("o"))["reply_to"] == ""
    assert [properties(delivery_mode=mode)["delivery_mode"] for mode in (1, "transient", None)] == [1, 1, 2]
    assert properties(sender=Sender("o", delivery_mode="transient"))["delivery_mode"] == 1
    assert send(serializer="yaml", compression="zlib").message.content_type == "application/x-yaml"
    sender = Sender("o", serializer="msgpack", compression="bzip2")
    assert send(sender=sender).message.headers["compression"] == "application/x-bz2"


def test_stamps_are_taken_out_of_the_options() -> None:
    sent = send(stamped_headers=["a", "b"], a="v", b=[1, 2]).message
    assert (sent.headers["stamped_headers"], sent.headers["stamps"]) == (["a", "b"], {"a": "v", "b": [1, 2]})
    assert {"a", "b", "stamped_headers"}.isdisjoint(sent.properties)
    assert headers(stamped_headers=None)["stamped_headers"] is None


def test_own_headers_win() -> None:
    sent = headers(headers={"x": 1, "retries": 9}, retries=1)
    assert (list(sent)[-1], sent["retries"]) == ("x", 9)
    assert headers(headers=None) == headers()


def test_reprs_have_the_sender_s_limits() -> None:
    sender = Sender("o", argsrepr_maxsize=20, kwargsrepr_maxsize=10, repr_maxlevels=1)
    sent = headers(sender=sender, args=(list(range(100)), 1), kwargs={"a": [1], "b": 2})
    assert len(sent["argsrepr"]) < 30
    assert "..." in sent["kwargsrepr"]


def test_queues_of_old_peers_get_protocol_1() -> None:
    sender = Sender("o", utc=False, queue_protocols={"celery": 1})
    sent = send(sender=sender, chain=[SIG], shadow="s")
    body = json.loads(sent.message.body)
    assert (body["callbacks"], body["utc"], sent.lost, sent.message.headers) == ([SIG], False, ("shadow",), {})
    elsewhere = compose(Call("add"), sender, Route("ex", "rk", None, "topic"), NOW, new_id="1")
    assert elsewhere.task.protocol == 2
    assert send(sender=Sender("o", protocol=1)).task.protocol == 1
    assert send(sender=Sender("o", protocol=1, queue_protocols={"celery": 2})).task.protocol == 2


def test_task_sent() -> None:
    event = sent_event(send(countdown=1).task)
    assert event == {
        "uuid": "1",
        "root_id": "1",
        "parent_id": None,
        "name": "add",
        "args": "(1, 2)",
        "kwargs": "{}",
        "retries": 0,
        "eta": "2026-11-01T05:30:01.123456+00:00",
        "expires": None,
    }
    assert "root_id" not in sent_event(send(sender=Sender("o", protocol=1)).task)


WRONG_TYPES: list[dict[str, Any]] = [
    {"args": "abc"},
    {"args": 5},
    {"kwargs": [1]},
    {"countdown": "x"},
    {"countdown": timedelta(1)},
    {"eta": 5},
    {"eta": timedelta(1)},
    {"expires": timedelta(1)},
    {"expires": [1]},
    {"expiration": "5"},
    {"headers": 5},
    {"link": 5},
    {"link_error": "name"},
]
OUT_OF_RANGE: list[dict[str, Any]] = [
    {"countdown": 1e300},
    {"countdown": -(2**40)},
    {"countdown": math.nan},
    {"countdown": math.inf},
    {"expires": math.nan},
    {"expires": 10**30},
    {"expiration": math.inf},
    {"eta": "tomorrow"},
    {"eta": ""},
    {"expires": "never"},
    {"delivery_mode": "fast"},
    {"delivery_mode": 1.5},
    {"stamped_headers": ["unset"]},
    {"callbacks": []},
    {"errbacks": []},
    {"content_type": "application/json"},
    {"args": ({1},)},
]


@pytest.mark.parametrize("options", WRONG_TYPES)
def test_wrong_types_are_type_errors_too(options: dict[str, Any]) -> None:
    with pytest.raises(WrongType) as caught:
        send(**options)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, BadCall)
    assert next(iter(options)) in str(caught.value) or "argument" in str(caught.value)


@pytest.mark.parametrize("options", OUT_OF_RANGE)
def test_what_cannot_be_sent_is_a_bad_call(options: dict[str, Any]) -> None:
    with pytest.raises(BadCall):
        send(**options)


def test_unknown_serializers_and_protocols_are_the_caller_s_fault() -> None:
    with pytest.raises(NoSerializer):
        send(serializer="nope")
    with pytest.raises(BadCall, match="no task protocol 3"):
        send(sender=Sender("o", protocol=3))
    with pytest.raises(BadCall, match="neither a task_id nor a new id"):
        compose(Call("add"), SENDER, ROUTE, NOW)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]))
def test_times_are_elapsed_times_in_every_zone(countdown: float, expires: float, zone: str) -> None:
    sender = Sender("o", timezone=ZoneInfo(zone))
    sent = headers(sender=sender, countdown=countdown, expires=expires)
    if countdown:
        assert datetime.fromisoformat(sent["eta"]) - NOW == timedelta(seconds=countdown)
    assert datetime.fromisoformat(sent["expires"]) - NOW == timedelta(seconds=expires)
