"""The fast ways say what the careful ways say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire.amqp.headers import _SHAPES, HeaderReader, HeaderWriter, TableTemplate
from celeriac.protocol.wire.amqp.table import read_table, write_table
from tests.protocol.wire.amqp.strategies import damaged, tables, task_headers, values


def both(reader: HeaderReader, data: bytes) -> tuple[Any, Any]:
    return answer(reader.read, data), answer(read_table, data)


def answer(read: Any, data: bytes) -> Any:
    try:
        table, end = read(data)
    except BadMessage as why:
        return str(why)
    return repr(table), end  # repr: the order and the types count, NaN is not equal to itself


@settings(max_examples=60)
@given(st.lists((task_headers | tables).map(write_table), max_size=6), st.data())
def test_the_learned_reader_agrees_with_the_careful_one(written: list[bytes], data: st.DataObject) -> None:
    reader = HeaderReader()
    for table in written + written:
        learned, careful = both(reader, table)
        assert learned == careful
    if written:
        broken = data.draw(damaged(st.sampled_from(written)))
        learned, careful = both(reader, broken)
        assert learned == careful


HEADERS = {
    "lang": "py",
    "id": "1f",
    "eta": None,
    "retries": 0,
    "timelimit": [None, None],
    "stamps": {},
    "ignored": True,
}


def test_the_second_table_of_a_layout_is_matched() -> None:
    reader = HeaderReader()
    reader.read(write_table(HEADERS))
    (shape,) = reader._shapes
    other = HEADERS | {"id": "longer", "retries": 3}
    assert shape.match(write_table(other), 0) == (other, len(write_table(other)))


@pytest.mark.parametrize(
    "other",
    [
        HEADERS | {"eta": "now"},
        HEADERS | {"ignored": False},
        HEADERS | {"timelimit": [None, 5]},
        HEADERS | {"stamps": {"a": 1}},
        HEADERS | {"more": None},
        {**HEADERS, "id": "x" * 256},
        {**HEADERS, "id": b"\xff"},
        {**HEADERS, "id": "\ud800"},
        {"lang": "py"},
        {},
    ],
)
def test_another_layout_is_not_matched(other: dict[str, Any]) -> None:
    reader = HeaderReader()
    reader.read(write_table(HEADERS))
    written = write_table(other)
    assert reader._shapes[0].match(written, 0) is None
    assert reader.read(written) == read_table(written)


def test_long_texts_have_a_layout_of_their_own() -> None:
    reader = HeaderReader()
    long = HEADERS | {"id": "x" * 300}
    reader.read(write_table(long))
    other = HEADERS | {"id": "y" * 511}
    assert reader._shapes[0].match(write_table(other), 0) == (other, len(write_table(other)))


def test_what_a_reading_gives_is_the_callers_own() -> None:
    reader = HeaderReader()
    written = write_table(HEADERS)
    for _ in range(3):
        table, _ = reader.read(written)
        assert table == HEADERS
        table["timelimit"].append(1)
        table["stamps"]["x"] = 1


def test_the_layout_used_last_is_tried_first_and_few_are_kept() -> None:
    reader = HeaderReader()
    many = [write_table({f"key{number}": "x"}) for number in range(_SHAPES + 2)]
    for table in many:
        reader.read(table)
    assert len(reader._shapes) == _SHAPES
    reader.read(many[-3])
    assert reader._shapes[0].template == {f"key{_SHAPES - 1}": None}
    assert len(reader._shapes) == _SHAPES


def test_a_key_that_occurs_twice_is_not_learned() -> None:
    twice = b"\x00\x00\x00\x06\x01kV\x01kV"
    reader = HeaderReader()
    assert reader.read(twice) == read_table(twice) == ({"k": None}, 10)
    assert reader._shapes == []


def test_bad_messages_are_the_careful_readers() -> None:
    reader = HeaderReader()
    good = write_table({"list": [1, 2], "time": "x"})
    reader.read(good)
    for broken in (good[:-1], good.replace(b"I\x00\x00\x00\x02", b"?\x00\x00\x00\x02")):
        with pytest.raises(BadMessage) as learned:
            reader.read(broken)
        with pytest.raises(BadMessage) as careful:
            read_table(broken)
        assert str(learned.value) == str(careful.value)


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=9), values, max_size=8), st.data())
def test_a_template_writes_what_the_table_writes(table: dict[str, Any], data: st.DataObject) -> None:
    slots = [key for key in table if data.draw(st.booleans())]
    template = TableTemplate(table, slots)
    filled = [data.draw(values) for _ in slots]
    assert template.fill(*filled) == write_table(table | dict(zip(slots, filled, strict=True)))


def test_a_template_knows_its_slots() -> None:
    with pytest.raises(BadCall, match="has no x, y"):
        TableTemplate({"a": 1}, ["y", "x", "a"])
    template = TableTemplate({"a": 1, "b": 2}, ["a"])
    for values_given in ((), (1, 2)):
        with pytest.raises(BadCall, match=f"one value per slot.*1.*{len(values_given)}"):
            template.fill(*values_given)


@given(st.lists(task_headers | tables, max_size=5))
def test_the_learned_writer_agrees_with_the_careful_one(several: list[dict[Any, Any]]) -> None:
    writer = HeaderWriter()
    for table in several + several:
        assert writer.write(table) == writer.write(table) == write_table(table)
