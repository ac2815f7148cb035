"""Task messages are built as Celery builds them, and signatures are checked."""

from __future__ import annotations

import json
import pickle
import zlib
from typing import Any

import pytest

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire.compression import UnknownCompression
from celeriac.protocol.wire.message import Codecs, Posting, Task, build, read_signature
from celeriac.protocol.wire.serializers import NoSerializer, Serializer, Serializers

SIG = {"task": "mul", "args": [3], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}


def test_protocol_2_has_nineteen_headers_in_order() -> None:
    message = build(Task("add", "1", (1, 2), {"a": 1}, origin="gen1@h", argsrepr="(1, 2)", kwargsrepr="{'a': 1}"))
    assert json.dumps(message.headers) == (
        '{"lang": "py", "task": "add", "id": "1", "shadow": null, "eta": null, "expires": null, "group": null, '
        '"group_index": null, "retries": 0, "timelimit": [null, null], "root_id": "1", "parent_id": null, '
        '"argsrepr": "(1, 2)", "kwargsrepr": "{\'a\': 1}", "origin": "gen1@h", "ignore_result": null, '
        '"replaced_task_nesting": 0, "stamped_headers": null, "stamps": {}}'
    )
    assert message.body == (b'[[1, 2], {"a": 1}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]')
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")


def test_own_headers_are_merged_last_and_win() -> None:
    headers = build(Task("add", "1", headers={"x": 1, "lang": "go", "retries": 7})).headers
    assert list(headers)[-1] == "x"
    assert (headers["lang"], headers["retries"]) == ("go", 7)


def test_protocol_1_keeps_all_in_its_body() -> None:
    message = build(Task("add", "1", (1,), callbacks=[SIG], group="g", timelimit=(9, 5), headers={"x": 1}, protocol=1))
    assert message.headers == {"x": 1}
    assert message.body == (
        b'{"task": "add", "id": "1", "args": [1], "kwargs": {}, "group": "g", "group_index": null, "retries": 0, '
        b'"eta": null, "expires": null, "utc": true, "callbacks": [{"task": "mul", "args": [3], "kwargs": {}, '
        b'"options": {}, "subtask_type": null, "immutable": false}], "errbacks": null, "timelimit": [9, 5], '
        b'"taskset": "g", "chord": null}'
    )


def test_properties_come_in_kombu_s_order() -> None:
    posting = Posting("me", 1, 3, "500", {"app_id": "a", "correlation_id": "other"})
    assert list(build(Task("add", "1"), posting).properties.items()) == [
        ("correlation_id", "other"),
        ("reply_to", "me"),
        ("app_id", "a"),
        ("delivery_mode", 1),
        ("expiration", "500"),
        ("priority", 3),
    ]
    assert build(Task("add", "1")).properties == {
        "correlation_id": "1",
        "reply_to": "",
        "delivery_mode": 2,
        "priority": 0,
    }
    assert "priority" not in build(Task("add", "1"), Posting(priority=None)).properties


def test_compression_is_the_last_header() -> None:
    message = build(Task("add", "1", (1,), headers={"x": 1}), Posting(compression="gzip"))
    assert list(message.headers.items())[-2:] == [("x", 1), ("compression", "application/x-gzip")]
    assert zlib.decompress(message.body) == build(Task("add", "1", (1,))).body


def test_serializers_of_ones_own_are_used() -> None:
    table = Serializers([Serializer("shout", "text/x-shout", "utf-8", lambda value: repr(value).upper(), None)])
    message = build(Task("add", "1", (1,)), Posting(serializer="shout"), Codecs(table))
    assert message.body.startswith(b"((1,), {}, {'CALLBACKS': NONE")
    assert message.content_type == "text/x-shout"


def test_pickle_keeps_tuples() -> None:
    body = pickle.loads(build(Task("add", "1", (1,)), Posting(serializer="pickle")).body)
    assert body == ((1,), {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})


@pytest.mark.parametrize(
    ("task", "posting", "problem"),
    [
        (Task("add", "1", protocol=3), Posting(), BadCall),
        (Task("add", "1"), Posting(serializer="nope"), NoSerializer),
        (Task("add", "1"), Posting(compression="nope"), UnknownCompression),
        (Task("add", "1", ({1},)), Posting(), BadCall),
    ],
)
def test_what_cannot_be_built_is_the_caller_s_fault(task: Task, posting: Posting, problem: type[Exception]) -> None:
    with pytest.raises(problem):
        build(task, posting)


def test_a_signature_is_completed_and_keeps_what_it_has() -> None:
    assert read_signature({"task": "add", "args": None, "chord_size": 2}) == {
        "task": "add",
        "args": [],
        "kwargs": {},
        "options": {},
        "subtask_type": None,
        "immutable": False,
        "chord_size": 2,
    }
    assert read_signature(SIG) == SIG
    assert list(read_signature(SIG)) == list(SIG)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, "signature"),
        ([], "signature"),
        ({}, "signature.task"),
        ({"task": None}, "signature.task"),
        ({"task": 5}, "signature.task"),
        ({"task": "t", "args": 5}, "signature.args"),
        ({"task": "t", "args": "ab"}, "signature.args"),
        ({"task": "t", "kwargs": []}, "signature.kwargs"),
        ({"task": "t", "options": 1}, "signature.options"),
        ({"task": "t", "subtask_type": {}}, "signature.subtask_type"),
    ],
)
def test_what_could_not_be_called_is_no_signature(value: Any, field: str) -> None:
    with pytest.raises(BadMessage) as caught:
        read_signature(value)
    assert caught.value.field == field
