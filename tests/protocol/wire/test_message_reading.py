"""Reading task messages: what was built comes back, what a stock worker takes is taken, the rest is BadMessage."""

from __future__ import annotations

import json
import pickle
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadMessage, Refused, Undecodable
from celeriac.protocol.wire.envelope import parse
from celeriac.protocol.wire.message import Message, Posting, Task, build
from celeriac.protocol.wire.message_reading import Reader, read_body, read_head, read_task
from celeriac.protocol.wire.serializers import accepted
from tests.protocol.claims.messages import envelopes
from tests.protocol.vectors import index, vector
from tests.protocol.wire.test_fields import ANYTHING

ALL = Reader(accept=accepted(["json", "yaml", "msgpack", "pickle"]))
SIG = {"task": "mul", "args": [3], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}
ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    | st.text(ids_alphabet := "abcä"),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(ids_alphabet), some, max_size=3),
    max_leaves=6,
)
signatures = st.none() | st.lists(st.just(SIG), max_size=2)
tasks = st.builds(
    Task,
    name=ids,
    id=ids,
    args=st.lists(json_values, max_size=3),
    kwargs=st.dictionaries(st.text(ids_alphabet), json_values, max_size=3),
    callbacks=signatures,
    errbacks=signatures,
    chain=signatures,
    chord=st.none() | st.just(SIG),
    shadow=st.none() | st.text(ids_alphabet),
    eta=st.none() | st.datetimes(timezones=st.just(timezone.utc)).map(datetime.isoformat),
    expires=st.none() | st.datetimes().map(datetime.isoformat),
    group=st.none() | ids,
    group_index=st.none() | st.integers(0, 2**31),
    retries=st.integers(0, 2**31),
    timelimit=st.tuples(st.none() | st.integers(0, 10**6), st.none() | st.floats(0, 10**6)),
    root_id=ids,
    parent_id=st.none() | ids,
    argsrepr=st.text(ids_alphabet),
    kwargsrepr=st.text(ids_alphabet),
    origin=st.text(ids_alphabet),
    ignore_result=st.none() | st.booleans(),
    replaced_task_nesting=st.integers(0, 100),
    stamped_headers=st.none() | st.lists(st.text(ids_alphabet), max_size=2),
    stamps=st.dictionaries(st.text(ids_alphabet), json_values, max_size=2),
    headers=st.dictionaries(st.text("xyz", min_size=1), json_values, max_size=2),
)
LOST_IN_V1 = {
    "shadow": None,
    "root_id": None,
    "parent_id": None,
    "argsrepr": None,
    "kwargsrepr": None,
    "origin": None,
    "ignore_result": None,
    "replaced_task_nesting": 0,
    "stamped_headers": None,
    "stamps": {},
    "lang": None,
    "chain": None,
}


@given(tasks, st.sampled_from(["json", "yaml", "msgpack"]), st.sampled_from([None, "gzip", "bzip2"]))
def test_what_was_built_is_read_back(task: Task, serializer: str, compression: str | None) -> None:
    message = build(task, Posting(serializer=serializer, compression=compression))
    assert read_task(message, ALL) == task
    older = replace(task, protocol=1, utc=False)
    message = build(older, Posting(serializer=serializer, compression=compression))
    assert read_task(message, ALL) == replace(older, **LOST_IN_V1)  # type: ignore[arg-type]  # a table of defaults


def v2(body: Any = None, properties: dict[str, Any] | None = None, **headers: Any) -> Message:
    body = [[1], {}, {}] if body is None else body
    headers = {"task": "add", "id": "1", **headers}
    return Message(json.dumps(body).encode(), "application/json", "utf-8", headers, properties or {})


def v1(headers: Any = None, **fields: Any) -> Message:
    body = {"task": "add", "id": "1", "args": [1], "kwargs": {}, **fields}
    return Message(json.dumps(body).encode(), "application/json", "utf-8", headers or {})


def test_protocol_2_is_read_without_its_body() -> None:
    head = read_head(Message(b"[not json", "application/json", "utf-8", {"task": "add", "id": "1"}))
    assert (head.name, head.id, head.protocol, head.payload) == ("add", "1", 2, None)
    assert (head.retries, head.timelimit, head.stamps, head.ignore_result) == (0, (None, None), {}, None)
    assert (head.eta, head.expires, head.reply_to, head.correlation_id, head.priority) == (None, None, None, "1", None)


def test_dates_are_moments_and_keep_their_text() -> None:
    head = read_head(v2(eta="2026-11-21T03:15:19.521Z", expires="2030-01-01T00:00:00"))
    assert head.eta == datetime(2026, 11, 21, 3, 15, 19, 521000, timezone.utc)
    assert head.expires == datetime(2030, 1, 1, tzinfo=timezone.utc)
    assert (head.eta_text, head.expires_text) == ("2026-11-21T03:15:19.521Z", "2030-01-01T00:00:00")
    zone = timezone(timedelta(hours=3))
    assert read_head(v2(expires="2030-01-01T00:00:00"), Reader(naive=zone)).expires == datetime(2030, 1, 1, tzinfo=zone)


def test_properties_of_javascript_clients_are_understood() -> None:
    head = read_head(v2(properties={"replyTo": "me", "correlationId": "c"}))
    assert (head.reply_to, head.correlation_id) == ("me", "c")
    head = read_head(v2(properties={"reply_to": "", "correlation_id": None}))
    assert (head.reply_to, head.correlation_id) == (None, "1")
    head = read_head(v2(properties={"reply_to": 5, "correlation_id": [1]}))
    assert (head.reply_to, head.correlation_id) == (None, "1")


@pytest.mark.parametrize(("sent", "read"), [(3, 3), (0, 0), (None, None), ("5", 5), (2.0, 2), ([], None), ("x", None)])
def test_a_priority_that_is_no_number_is_none(sent: Any, read: Any) -> None:
    assert read_head(v2(properties={"priority": sent})).priority == read


def test_protocol_1_takes_taskset_for_group_and_what_is_missing_for_nothing() -> None:
    task = read_task(v1({"x": 1, "compression": None}, group="new", taskset="old", utc=False, timelimit=None))
    assert (task.group, task.utc, task.protocol, task.headers) == ("old", False, 1, {"x": 1})
    bare = Message(b'{"task": "add", "id": "1"}', "application/json")
    task = read_task(bare)
    assert (task.args, task.kwargs, task.retries, task.timelimit, task.utc) == ((), {}, 0, (None, None), True)
    assert read_task(v1(chain=[SIG])).chain is None


def test_a_hybrid_s_headers_win_over_its_body() -> None:
    body = {"task": "no", "id": "no", "args": [7], "kwargs": {"a": 1}, "eta": "2030-01-01T00:00:00Z", "retries": 3}
    body |= {"callbacks": [SIG], "chain": [SIG], "utc": False, "parent_id": "p"}
    task = read_task(v2(body, retries=None))
    assert (task.name, task.id, task.args, task.kwargs, task.retries) == ("add", "1", [7], {"a": 1}, 0)
    assert (task.eta, task.parent_id, task.callbacks, task.chain) == ("2030-01-01T00:00:00Z", "p", [SIG], None)
    assert (task.protocol, task.utc) == (2, False)


@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_hybrid_is_found_in_every_serializer(serializer: str, compression: str | None) -> None:
    older = build(Task("add", "1", [7], protocol=1), Posting(serializer=serializer, compression=compression))
    hybrid = replace(older, headers={"task": "add", "id": "1", **older.headers})
    head = read_head(hybrid, ALL)
    assert head.payload is None if compression or serializer == "pickle" else head.payload["args"] == [7]
    assert read_body(hybrid, head, ALL).args == [7]
    plain = build(Task("add", "1", [7]), Posting(serializer=serializer, compression=compression))
    assert read_head(plain, ALL).payload is None
    assert list(read_task(plain, ALL).args or ()) == [7]


def test_null_args_are_the_task_s_failure_not_the_message_s() -> None:
    assert read_task(v2([None, {}, {}])).args is None
    assert read_task(v1(args=None)).args is None


def test_typed_dates_and_other_own_types_are_read() -> None:
    date = {"__type__": "datetime", "__value__": "2030-01-01T00:00:00+00:00"}
    assert read_task(v1(eta=date)).eta == "2030-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "message",
    [
        v2([[1], {}, None]),
        v2([[1], {}, {"callbacks": None, "more": 5}]),
        v2(retries="0", timelimit=None, stamps=None, argsrepr=None),
        v2(retries=2.0, group_index=1.0, lang=None, shadow=5, ignore_result=0),
        v2(timelimit=[], stamped_headers=[], anything={"a": [None]}),
        replace(v2(), content_encoding=None, properties=None),  # type: ignore[arg-type]  # as read from elsewhere
        replace(v1(), headers=None),  # type: ignore[arg-type]  # likewise
    ],
)
def test_what_a_stock_worker_lives_with_is_read(message: Message) -> None:
    assert read_task(message).name == "add"


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (v2(id=None), "id"),
        (v2(id=""), "id"),
        (v2(id=["x"]), "id"),
        (v2(task=None), "task"),
        (v2(task=5.5), "task"),
        (v2(eta=5), "eta"),
        (v2(eta=""), "eta"),
        (v2(eta="tomorrow"), "eta"),
        (v2(expires="never"), "expires"),
        (v2(eta="9999-12-31T24:00:00"), "eta"),
        (v2(retries="many"), "retries"),
        (v2(retries=10**30), "retries"),
        (v2(timelimit=[1]), "timelimit"),
        (v2(timelimit=5), "timelimit"),
        (v2(group={}), "group"),
        (v2(stamps=[]), "stamps"),
        (v2(stamped_headers="abc"), "stamped_headers"),
        (v2([[1], {}]), "body"),
        (v2([[1], {}, {}, 4]), "body"),
        (v2({}), "body"),
        (v2({"kwargs": {}}), "body"),
        (v2("text"), "body"),
        (v2([5, {}, {}]), "args"),
        (v2(["abc", {}, {}]), "args"),
        (v2([[1], None, {}]), "kwargs"),
        (v2([[1], [], {}]), "kwargs"),
        (v2([[1], {}, [1]]), "embed"),
        (v2([[1], {}, {"callbacks": SIG}]), "callbacks"),
        (v2([[1], {}, {"errbacks": [5]}]), "errbacks[0]"),
        (v2([[1], {}, {"chain": [SIG, {"task": 1}]}]), "chain[1].task"),
        (v2([[1], {}, {"chord": [SIG]}]), "chord"),
        (v1(kwargs=None), "kwargs"),
        (v1(kwargs=[]), "kwargs"),
        (v1(args={}), "args"),
        (v1(id=None), "id"),
        (v1(eta="soon"), "eta"),
        (Message(b"[]", "application/json", "utf-8", []), "headers"),  # type: ignore[arg-type]  # as read from elsewhere
        (v2(compression=5), "compression"),
        (v2(compression="application/x-nope"), "compression"),
        (v2(compression="application/x-gzip"), "compression"),
    ],
)
def test_what_would_harm_is_a_bad_message_that_names_the_field(message: Message, field: str) -> None:
    if message.headers == []:
        message = replace(message, headers=["x"])  # type: ignore[arg-type]  # a list that is not empty
    with pytest.raises(BadMessage) as caught:
        read_task(message)
    assert caught.value.field == field


@pytest.mark.parametrize("body", [b"[]", b"5", b'"task"', b"{}", b'{"method": "ping"}', b"null"])
def test_what_names_no_task_is_no_task_message(body: bytes) -> None:
    with pytest.raises(BadMessage, match="neither its headers nor its body names a task"):
        read_head(Message(body, "application/json", "utf-8"))


def test_content_that_is_not_accepted_is_refused_unread() -> None:
    for headers in ({"task": "add", "id": "1"}, {}):
        with pytest.raises(Refused):
            read_head(Message(b"\x80\x04bad", "application/x-python-serialize", "binary", headers))


def test_a_missing_content_type_is_no_json() -> None:
    with pytest.raises(BadMessage):
        read_task(replace(v2(), content_type=None))
    with pytest.raises(BadMessage):
        read_task(replace(v1(), content_type=None))


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe", b'[["\xc3"', b"[[1], {}, {}"])
def test_bodies_that_are_no_json_are_undecodable(body: bytes) -> None:
    with pytest.raises(Undecodable):
        read_task(replace(v2(), body=body))
    with pytest.raises(BadMessage):
        read_task(replace(v1(), body=body))


def test_a_body_unfolds_no_further_than_its_reader_lets_it() -> None:
    message = build(Task("add", "1", ["x" * 100_000]), Posting(compression="zlib"))
    assert read_task(message).name == "add"
    with pytest.raises(Undecodable, match="more than 1000 bytes"):
        read_task(message, Reader(limit=1000))


@given(st.dictionaries(st.sampled_from(list(build(Task("t", "i")).headers)), ANYTHING), ANYTHING, st.booleans())
def test_any_values_in_any_fields_give_a_task_or_a_bad_message(fields: dict[str, Any], part: Any, old: bool) -> None:
    fields = {"task": "add", "id": "1", **fields}
    body: Any = {**fields, "args": part, "kwargs": {}} if old else [[], {}, part]
    message = build(Task("t", "i", ()), Posting(serializer="pickle"))
    encoded = replace(message, headers={} if old else fields, body=pickle.dumps(body))
    with suppress(BadMessage):
        assert isinstance(read_task(encoded, ALL), Task)


GOLDEN = [parse(data).message for case in index() if case.startswith("redis/msg/") for data in envelopes(vector(case))]


@given(st.sampled_from(GOLDEN), st.data())
def test_mutated_golden_messages_give_a_task_or_a_bad_message(message: Message, data: st.DataObject) -> None:
    body = bytearray(message.body)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    kept = bytes(body[: data.draw(st.integers(0, len(body)))]) if data.draw(st.booleans()) else bytes(body)
    with suppress(BadMessage):
        read_task(replace(message, body=kept), Reader(accept=accepted(["json", "msgpack", "yaml"])))
