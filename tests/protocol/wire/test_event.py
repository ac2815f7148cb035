"""Events: their form, their checks, batches and elections."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire import event
from celeriac.protocol.wire.event import Event
from celeriac.protocol.wire.message import Message

COMMON = {"hostname": "w1@h", "utcoffset": 0.0, "pid": 7, "clock": 3, "timestamp": 1795237094.5}

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def test_fields_stand_in_celerys_order():
    fields = {"runtime": 0.5, "own": 1, "result": "'x'", "uuid": "u"}
    assert event.build("task-succeeded", fields, **COMMON) == (
        b'{"hostname": "w1@h", "utcoffset": 0.0, "pid": 7, "clock": 3, "uuid": "u", "result": "\'x\'", "runtime": 0.5,'
        b' "own": 1, "timestamp": 1795237094.5, "type": "task-succeeded"}'
    )


def test_custom_event_keeps_its_own_order():
    found = json.loads(event.build("my-event", {"b": 1, "a": 2}, **COMMON))
    assert list(found) == ["hostname", "utcoffset", "pid", "clock", "b", "a", "timestamp", "type"]


@given(st.sampled_from([*event.FIELDS, "custom-thing"]), st.dictionaries(st.text().map("x{}".format), values))
def test_round_trip(kind, fields):
    checked = {"uuid": "u", "id": "i", **fields}
    (found,) = event.parse(event.build(kind, checked, **COMMON))
    assert found == Event(kind, "w1@h", 0.0, 7, 3, 1795237094.5, checked)
    assert found.group == kind.split("-")[0]
    assert found["uuid"] == "u"


def test_batches():
    documents = [event.document("task-started", {"uuid": str(n)}, **COMMON) for n in range(50)]
    cut = list(event.batches(documents))
    assert [len(part) for part in cut] == [24, 24, 2]
    assert [one["uuid"] for part in cut for one in event.parse(event.build_batch(part))] == [str(n) for n in range(50)]
    with pytest.raises(BadCall):
        event.build_batch([])


def test_keys_and_message():
    assert event.routing_key("worker-elect-ack") == "worker.elect.ack"
    assert event.batch_key() == "task.multi"
    assert event.message(b"{}", "w1@h") == Message(
        b"{}", "application/json", "utf-8", {"hostname": "w1@h"}, {"delivery_mode": 1, "priority": 0}
    )


def test_what_may_be_missing():
    assert event.parse('{"type": "x"}') == (Event("x"),)
    assert event.parse('{"type": "worker-heartbeat", "freq": 5, "clock": null}')[0].fields == {"freq": 5}
    assert event.parse("[]") == ()
    # Taken from the task message as they are: any type.
    assert event.parse('{"type": "task-received", "uuid": "u", "retries": "0"}')[0]["retries"] == "0"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"5", ""),
        (b"[5]", ""),
        (b"hello", ""),
        (b'{"type": 5}', "type"),
        (b'{"type": ""}', "type"),
        (b"{}", "type"),
        (b'{"type": "x", "hostname": 5}', "hostname"),
        (b'{"type": "x", "pid": "5"}', "pid"),
        (b'{"type": "x", "pid": true}', "pid"),
        (b'{"type": "x", "clock": 1e3}', "clock"),
        (b'{"type": "x", "clock": 99999999999999999999}', "clock"),
        (b'{"type": "x", "timestamp": NaN}', "timestamp"),
        (b'{"type": "x", "utcoffset": "0"}', "utcoffset"),
        (b'{"type": "task-started"}', "uuid"),
        (b'{"type": "task-started", "uuid": 5}', "uuid"),
        (b'{"type": "task-revoked", "uuid": "u", "expired": 1}', "expired"),
        (b'{"type": "worker-elect-ack"}', "id"),
        (b'{"type": "worker-online", "loadavg": 5}', "loadavg"),
        (b'[{"type": "x"}, {"type": "worker-online", "freq": Infinity}]', "freq"),
    ],
)
def test_bad_events(body, field):
    with pytest.raises(BadMessage) as caught:
        event.parse(body)
    assert caught.value.field == field


@given(values)
def test_any_value_is_events_or_bad(value):
    with suppress(BadMessage):
        event.read(value)


@given(st.binary(max_size=60), st.integers(0, 150))
def test_mutations(noise, at):
    body = event.build("task-received", {"uuid": "u", "name": "n", "retries": 0}, **COMMON)
    with suppress(BadMessage):
        event.parse(body[:at] + noise + body[at + len(noise) :])


def test_election():
    stands = [
        Event("worker-elect", "b", pid=1, clock=5, fields=event.elect("i", "task", {"task": "t"})),
        Event("worker-elect", "a", pid=2, clock=5),
        Event("worker-elect-ack", "a", pid=2, clock=1),
        Event("worker-elect", "c", pid=1, clock=6),
    ]
    assert event.leader(stands).hostname == "a"
    assert event.leader(stands[:1])["cver"] == 1
    with pytest.raises(BadCall):
        event.leader([])
