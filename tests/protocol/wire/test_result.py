"""Result documents in every store: ours again byte for byte, other people's as well as can be."""

from __future__ import annotations

import json
import math
import pickle
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage, Refused, Undecodable
from celeriac.protocol.wire import children, failure, result, rows, rpc, serializers, states, stores
from celeriac.protocol.wire.children import Node
from celeriac.protocol.wire.failure import Failure
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.result import About, Result
from celeriac.protocol.wire.serializers import BUILTIN, NoSerializer, Serializer, Unencodable
from celeriac.protocol.wire.stored import JSON, MAGIC, Codec

WITH_PICKLE = serializers.accepted(["json", "pickle"])

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
texts = st.none() | st.text(min_size=1, max_size=5)
abouts = st.builds(
    About,
    texts,
    values,
    values,
    texts,
    st.none() | st.integers(0, 9),
    texts,
    st.just({"st": "v", "other": [1]}),
    st.sampled_from([("st", "other"), ("other", "st")]),
)
failures = st.builds(Failure, st.text(min_size=1, max_size=5), st.lists(values, max_size=3).map(tuple), texts)
results = st.builds(
    Result,
    st.text(min_size=1, max_size=5),
    st.sampled_from(["SUCCESS", "STARTED", "PROGRESS", "success"]),
    values,
    texts,
    st.none() | st.just([[["c", None], None]]),
    st.none() | st.just("2026-11-21T03:04:31.421607+00:00"),
    texts,
    texts,
    st.none() | abouts,
    st.just({}) | st.just({"foo": 1}),
) | st.builds(Result, st.just("id"), st.sampled_from(sorted(states.EXCEPTIONS)), failures, texts)

CODECS = [
    JSON,
    Codec(compress="gzip"),
    *(Codec(name, serializers.accepted([name])) for name in ("msgpack", "yaml", "pickle")),
]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: f"{codec.serializer}-{codec.compress}")
def test_round_trip(codec):
    @given(results)
    def check(one):
        assert result.parse(result.build(one, codec), codec) == one

    check()


def test_keys_stand_in_celerys_order():
    about = About("t", [1], {}, "w1@h", 0, "celery", {"st": "v", "un": 1}, ("st",))
    one = Result("id", result=3, children=[], group_id="g", parent_id="p", about=about, extra={"foo": 1})
    assert list(json.loads(result.build(one))) == [
        *("status", "result", "traceback", "children", "date_done", "group_id", "parent_id"),
        *("name", "args", "kwargs", "worker", "retries", "queue", "stamped_headers", "st", "foo", "task_id"),
    ]


def test_typed_values_travel():
    value = {"u": UUID(int=1), "d": Decimal("1.10"), "t": datetime(2026, 1, 2), "b": b"\xff"}
    assert result.parse(result.build(Result("id", result=value))).result == value


def test_compressed_form():
    data = result.build(Result("id", result="x" * 500), Codec(compress="gzip"))
    assert data.startswith(b"\x00celery-compressed\x00application/x-gzip\x00x\x9c")
    assert result.parse(data).result == "x" * 500  # told from the bytes, not from the settings


@pytest.mark.parametrize(
    "data",
    [
        MAGIC,
        MAGIC + b"application/x-gzip",
        MAGIC + b"application/x-gzip\x00hello",
        MAGIC + b"no/such\x00hello",
        MAGIC + b"\xff\x00hello",
        MAGIC + b"a" * 200 + b"\x00",
    ],
)
def test_bad_compression(data):
    with pytest.raises(Undecodable, match="it begins b"):
        result.parse(data)


def test_a_serializer_that_nobody_knows_is_the_callers_mistake():
    for door in (lambda codec: codec.encode(1), lambda codec: codec.decode(b"1")):
        with pytest.raises(NoSerializer, match="nope"):
            door(Codec("nope"))


def test_compressed_bombs_do_not_burst():
    data = Codec(compress="gzip").encode("x" * 100_000)
    with pytest.raises(Undecodable):
        Codec(limit=1000).decode(data)


# --- what others write


def _read(text, task_id="t"):
    return result.parse(text.encode(), task_id=task_id)


def test_gocelery():
    found = _read('{"task_id":"","status":"SUCCESS","traceback":null,"result":3,"children":null}')
    assert found == Result("t", result=3)
    assert _read("null") == Result("t")


def test_celery_node():
    found = _read(
        '{"status":"SUCCESS","traceback":{"a":1},"children":[],"task_id":"x","date_done":"2026-11-21T04:17:39.921Z"}',
        None,
    )
    assert (found.task_id, found.result, found.traceback) == ("x", None, None)
    assert found.done_at() == datetime(2026, 11, 21, 4, 17, 39, 921000, timezone.utc)
    failed = _read('{"status":"FAILURE","result":null,"traceback":{},"children":[],"task_id":"x"}')
    assert failed.result == result.NO_EXCEPTION
    assert _read('{"status":"FAILURE","result":{}}').result == result.NO_EXCEPTION
    assert _read('{"status":"REVOKED","result":null}').result == failure.revoked("revoked")
    assert _read('{"status":"RETRY","result":null}').result is None


def test_celery_31_and_44():
    found = _read('{"status":"FAILURE","traceback":"tb","result":{"exc_type":"V","exc_message":"(1,)"},"children":[]}')
    assert found == Result("t", "FAILURE", Failure("V", ("(1,)",), None), "tb", [])
    naive = _read('{"status":"SUCCESS","date_done":"2026-11-21T04:18:41.019321"}')
    assert naive.done_at() == datetime(2026, 11, 21, 4, 18, 41, 19321, timezone.utc)
    zone = timezone(timedelta(hours=5))
    assert naive.done_at(zone).tzinfo is zone
    assert Result("t").done_at() is None
    with pytest.raises(BadMessage, match="date_done"):
        replace(naive, date_done="yesterday").done_at()


def test_key_says_more_than_the_document():
    assert _read('{"status":"SUCCESS","result":3,"task_id":"other"}').task_id == "t"


def test_states():
    assert [Result("t", status).ready for status in ("SUCCESS", "FAILURE", "REVOKED", "RETRY", "success", "WEIRD")] == [
        *(True, True, True, False, False, False)
    ]
    assert [Result("t", status).failed for status in ("SUCCESS", "FAILURE", "REVOKED", "RETRY")] == [
        False,
        True,
        True,
        False,
    ]


def test_wrong_types_in_the_lesser_fields_do_no_harm():
    found = _read(
        '{"status":"SUCCESS","traceback":5,"children":5,"date_done":5,"group_id":5,"parent_id":{},"name":5,'
        '"worker":[],"retries":"1","queue":1,"stamped_headers":5}'
    )
    assert found == Result("t", about=About())
    stamped = _read('{"status":"SUCCESS","name":"n","stamped_headers":["st",5,"status"],"st":"v"}')
    assert stamped.about == About("n", stamps={"st": "v"}, stamped_headers=("st", "status"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"hello", "it begins b'hello'"),
        (b"5", "expected an object, got 5; it begins b'5'"),
        (b"[]", "expected an object"),
        (b"", "expected an object, got b''"),
        (b"\xff", "not UTF-8"),
        (b"{}", "status: expected a text, got None"),
        (b'{"status": 5}', "status: expected a text, got 5"),
        (b'{"status": ""}', "status"),
        (b'{"status": "SUCCESS", "result": ' + b"[" * 100_000, "nested too deep|not JSON"),
        (b'{"status": "SUCCESS", "result": {"__type__": "odd", "__value__": 1}}', "odd"),
    ],
)
def test_bad_documents(data, said):
    with pytest.raises(BadMessage, match=said):
        result.parse(data, task_id="t")


def test_nobody_names_the_task():
    with pytest.raises(BadMessage, match="task_id"):
        result.parse(b'{"status": "SUCCESS", "task_id": 5}')


def test_pickles_are_refused_unless_accepted():
    data = pickle.dumps({"status": "FAILURE", "result": KeyError("k"), "task_id": "t"})
    with pytest.raises(Refused):
        result.parse(data, Codec("pickle"))
    found = result.parse(data, Codec("pickle", WITH_PICKLE))
    assert isinstance(found.result, KeyError)


@given(results, st.sampled_from(CODECS), st.sampled_from([{}, {"foo": 1}]), st.sampled_from([[], None]))
def test_one_step_writes_what_the_document_is(one, codec, extra, kids):
    one = replace(one, children=kids, traceback=None, about=None, extra=extra)
    try:
        wanted = codec.encode(result.document(one))
    except BadCall as problem:
        with pytest.raises(type(problem)):
            result.build(one, codec)
    else:
        assert result.build(one, codec) == wanted


def test_what_one_step_cannot_write_is_said_the_long_way():
    with pytest.raises(Unencodable):
        result.build(Result("id", result=object(), children=[]))
    latin = Serializer("json", "application/json", "utf-8", lambda value: json.dumps(value).encode(), None, True)
    one = Result("id", result=5, children=[])
    assert result.build(one, Codec(table=BUILTIN.with_(latin))) == result.build(one)


@given(values)
def test_any_value_is_a_result_or_bad(value):
    for doc in (value, {"status": "FAILURE", "result": value, "children": value, "date_done": value}):
        with suppress(BadMessage):
            result.parse(json.dumps(doc).encode(), task_id="t")
        with suppress(BadMessage):
            rows.parse({"task_id": "t", "status": "SUCCESS", "result": value, "stamps": json.dumps(doc)})


GOLD = result.build(
    Result("id", "FAILURE", Failure("V", ("boom",)), "tb", [[["c", None], None]], "2026-11-21T03:04:31")
)


@given(st.binary(max_size=20), st.integers(0, len(GOLD)), st.sampled_from(CODECS))
def test_mutations(noise, at, codec):
    data = GOLD if codec.serializer == "json" else result.build(Result("id"), codec)
    with suppress(BadMessage):
        result.parse(data[:at] + noise + data[at + len(noise) :], replace(codec, accept=serializers.JSON_ONLY))
    if codec.serializer != "pickle":  # an accepted pickle may do anything
        with suppress(BadMessage):
            result.parse(data[:at] + noise + data[at + len(noise) :], codec)


# --- groups

GROUP = Node("g", None, (Node("a"), Node("h", None, (Node("b"),))))


def test_saved_group():
    data = result.build_group(GROUP)
    assert data == b'{"result": [["g", null], [[["a", null], null], [["h", null], [[["b", null], null]]]]]}'
    assert result.parse_group(data) == GROUP
    old = b'{"result": ["g", [[["a", null], null]]]}'
    assert result.parse_group(old) == Node("g", None, (Node("a"),))
    for bad in (b"5", b"{}", b"null", b'{"result": 5}'):
        with pytest.raises(BadMessage):
            result.parse_group(bad)


# --- rows

DONE = datetime(2026, 11, 21, 3, 59, 36, 799661, timezone.utc)


@given(results)
def test_row_round_trip(one):
    row = rows.build(one, DONE)
    kept = replace(one, children=one.children or None, group_id=None, parent_id=None, extra={})
    assert rows.parse(row) == replace(kept, date_done=DONE.isoformat())


def test_row_as_celery_writes_it():
    about = About("t", (1,), {}, "w1@h", 0, "celery", {"st": "v"}, ("st", "lost"))
    row = rows.build(Result("id", "FAILURE", Failure("V", ("boom",)), "tb", [], about=about), DONE)
    assert row == {
        "task_id": "id",
        "status": "FAILURE",
        "result": b'{"exc_type": "V", "exc_message": ["boom"], "exc_module": "builtins"}',
        "date_done": datetime(2026, 11, 21, 3, 59, 36, 799661),
        "traceback": "tb",
        "children": None,
        "name": "t",
        "args": b"[1]",
        "kwargs": b"{}",
        "worker": "w1@h",
        "retries": 0,
        "queue": "celery",
        "stamps": b'{"stamped_headers": ["st", "lost"], "stamps": {"st": "v"}}',
    }
    plain = rows.build(Result("id", "STARTED", about=replace(about, stamped_headers=())), None)
    assert plain["date_done"] is None
    assert plain["stamps"] is None


def test_rows_of_old():
    row = {"task_id": "t", "status": "SUCCESS", "result": pickle.dumps({"a": 1}), "date_done": DONE}
    with pytest.raises(Refused):
        rows.parse(row)
    assert rows.parse(row, Codec(accept=WITH_PICKLE)).result == {"a": 1}
    bare = serializers.BUILTIN.without("pickle")
    assert rows.parse(row, Codec(accept=WITH_PICKLE, table=bare)).result == {"a": 1}
    assert rows.parse({**row, "result": b"\x80"}, Codec("msgpack", serializers.accepted(["msgpack"]))).result == {}
    assert rows.parse({**row, "result": "3"}).result == 3
    assert rows.parse({**row, "result": memoryview(b"3")}).result == 3
    with pytest.raises(BadMessage, match="result row: result: expected bytes, got 5"):
        rows.parse({**row, "result": 5})


@pytest.mark.parametrize("stamps", [b"5", b'{"stamps": 5}', b"{}"])
def test_odd_stamps_are_none(stamps):
    row = {"task_id": "t", "status": "SUCCESS", "result": b"3", "name": "n", "stamps": stamps}
    assert rows.parse(row).about == About("n")


def test_stamps_do_not_override_columns():
    stamps = json.dumps({"stamped_headers": ["st", "status"], "stamps": {"st": 1, "status": "FAILURE"}})
    found = rows.parse({"task_id": "t", "status": "SUCCESS", "result": b"3", "name": "n", "stamps": stamps})
    assert found.status == "SUCCESS"
    assert found.about.stamps == {"st": 1}


def test_group_rows():
    assert rows.parse_group({"result": rows.build_group(GROUP)}) == GROUP
    with pytest.raises(BadMessage):
        rows.parse_group({})


# --- rpc


@given(results)
def test_rpc_round_trip(one):
    assert rpc.parse(rpc.build(one)) == one


def test_rpc_message():
    assert rpc.build(Result("id", result=3), "cid", persistent=True) == Message(
        result.build(Result("id", result=3)),
        "application/json",
        "utf-8",
        {},
        {"correlation_id": "cid", "delivery_mode": 2, "priority": 0},
    )
    assert rpc.build(Result("id")).properties == {"correlation_id": "id", "delivery_mode": 1, "priority": 0}


def test_rpc_without_a_task_id():
    message = Message(b'{"status": "SUCCESS", "task_id": ""}', "application/json", properties={"correlation_id": "c"})
    assert rpc.parse(message).task_id == "c"
    for bad in (replace(message, body=b"5"), replace(message, body=b"x"), replace(message, properties={})):
        with pytest.raises(BadMessage):
            rpc.parse(bad)
    with pytest.raises(Refused):
        rpc.parse(replace(message, content_type="application/x-python-serialize"))


def test_children_in_a_result():
    one = Result("t", children=[children.build(Node("c", Node("p")))])
    assert children.parse(result.parse(result.build(one)).children[0]) == Node("c", Node("p"))


def test_nan_passes():
    assert math.isnan(result.parse(b'{"status": "SUCCESS", "result": NaN}', task_id="t").result)


def test_may_replace_agrees_with_states():
    for status in ("SUCCESS", "FAILURE", "STARTED"):
        assert stores.may_replace(result.build(Result("t", status))) is (status != "SUCCESS")
