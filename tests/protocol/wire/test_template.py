"""A template writes what the builder writes, for every task and every filling."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire.envelope import Frame
from celeriac.protocol.wire.envelope import build as envelope
from celeriac.protocol.wire.message import BUILT_IN_ORDER, Codecs, Posting, Task, build
from celeriac.protocol.wire.reprs import Shown, saferepr
from celeriac.protocol.wire.serializers import BUILTIN, Serializer
from celeriac.protocol.wire.template import Particulars, Template, fill
from tests.protocol.wire.test_message_reading import ids, json_values, tasks

texts = st.text("aä%\"'\\ \n\ud800", max_size=6)
postings = st.builds(
    Posting,
    reply_to=texts,
    delivery_mode=st.sampled_from([1, 2]),
    priority=st.sampled_from([None, 0, 9]),
    expiration=st.sampled_from([None, "0", "1500"]),
    extra=st.dictionaries(st.sampled_from(["app_id", "correlation_id", "x%s", "%(id)s"]), json_values, max_size=2),
    serializer=st.sampled_from(["json", "json", "msgpack", "yaml", "pickle"]),
    compression=st.sampled_from([None, None, "zlib"]),
)
headers = st.dictionaries(st.sampled_from([*BUILT_IN_ORDER, "x", "%s", "compression"]), json_values, max_size=3)
particulars = st.builds(
    Particulars,
    id=texts,
    args=st.lists(json_values, max_size=3) | st.tuples(json_values),
    kwargs=st.dictionaries(ids, json_values, max_size=2),
    argsrepr=texts,
    kwargsrepr=texts,
    root_id=st.none() | texts,
    parent_id=st.none() | texts,
    eta=st.none() | texts,
    group=st.none() | texts,
    group_index=st.none() | st.integers(),
)


@given(tasks, headers, postings, st.lists(particulars, min_size=1, max_size=2))
def test_same_as_the_builder(task: Task, own: dict[str, Any], posting: Posting, given_: list[Particulars]) -> None:
    task = Task(task.name, "", shadow=task.shadow, chain=task.chain, timelimit=task.timelimit, headers=own)
    template = Template.of(task, posting)
    for each in given_:
        expected = build(fill(task, each), posting)
        message = template.message(each)
        assert message == expected
        assert list(message.headers) == list(expected.headers)
        assert list(message.properties) == list(expected.properties)
        pieces = template.pieces(each)
        frame = Frame.of(message.content_type, message.content_encoding, "", "q", posting.priority or 0)
        written = frame.fill(pieces.body, pieces.headers, pieces.properties, "tag")
        assert written == envelope(expected, exchange="", routing_key="q", delivery_tag="tag")


def test_messages_of_one_template_do_not_share_what_is_filled_in() -> None:
    template = Template.of(Task("add", ""))
    first, second = template.message(Particulars("1", (1,))), template.message(Particulars("2", (2,)))
    assert (first.headers["id"], second.headers["id"]) == ("1", "2")
    assert (first.properties["correlation_id"], second.properties["correlation_id"]) == ("1", "2")
    assert (first.headers["root_id"], first.body[:4]) == ("1", b"[[1]")


def test_a_json_of_ones_own_is_used() -> None:
    row = Serializer("json", "application/json", "utf-8", lambda value: json.dumps(value, indent=1), None)
    codecs = Codecs(BUILTIN.with_(row))
    template = Template.of(Task("add", ""), None, codecs)
    assert template.pieces(Particulars("1")).body == build(Task("add", "1"), None, codecs).body
    assert b"\n" in template.pieces(Particulars("1")).body


def test_protocol_1_has_no_templates() -> None:
    with pytest.raises(BadCall, match="protocol 2"):
        Template.of(Task("add", "", protocol=1))


def test_what_json_cannot_write_is_the_callers_mistake() -> None:
    template = Template.of(Task("t", "id"))
    with pytest.raises(BadCall, match="not JSON serializable"):
        template.message(Particulars("id", (object(),)))


whole_numbers = st.integers(-(10**19), 10**19) | st.sampled_from([10**18, -(10**18), 10**18 - 1, True])
any_args = st.lists(whole_numbers | json_values, max_size=3) | st.lists(whole_numbers, max_size=70).map(tuple)


@example((1, 2, 3), {}, Shown(args=4), Posting())
@example((1,), {}, Shown(args=4), Posting())
@example([*range(65)], {}, Shown(), Posting())
@given(
    any_args,
    st.dictionaries(ids, json_values, max_size=2),
    st.builds(Shown, args=st.none() | st.integers(1, 200), kwargs=st.none() | st.integers(1, 30)),
    st.sampled_from([Posting(), Posting(serializer="pickle"), Posting(compression="zlib")]),
)
def test_a_body_with_its_texts_is_as_each_alone(args: Any, kwargs: Any, shown: Shown, posting: Posting) -> None:
    template = Template.of(Task("t", ""), posting)
    text = saferepr(kwargs, shown.kwargs, shown.levels) if kwargs else "{}"
    expected = template.body(args, kwargs), saferepr(args, shown.args, shown.levels), text
    assert template.writer(shown)(args, kwargs) == expected


def test_arguments_of_unusual_classes_are_written_as_the_serializer_writes_them() -> None:
    class Pair(tuple[int, int]):
        __slots__ = ()

        def __repr__(self) -> str:
            return "a pair"

    body, *texts = Template.of(Task("t", "")).writer(Shown())(Pair((1, 2)), {})
    assert body.startswith(b"[[1, 2], {}, ")
    assert texts == [saferepr(Pair((1, 2))), "{}"]
