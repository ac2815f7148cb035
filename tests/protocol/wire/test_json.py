"""JSON with kombu's typed values: the text, what is read back, and what is refused."""

from __future__ import annotations

import json
import math
import sys
import types
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage, Undecodable
from celeriac.protocol.wire import json as wire_json
from celeriac.protocol.wire.json import BUILTIN_TYPES, Unencodable, dumps, loads, plain_dumps, plain_loads

zones = st.none() | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
typed = (
    st.datetimes(timezones=zones)
    | st.dates()
    | st.times()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.binary()
    | st.text().map(str.encode)
)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters())
values = st.recursive(
    plain | typed,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert loads(dumps(value)) == value
    assert loads(dumps(value).encode()) == value


@given(st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12))
def test_plain_values_are_pythons_json(value: Any) -> None:
    assert dumps(value) == plain_dumps(value) == json.dumps(value)
    assert plain_loads(json.dumps(value)) == loads(json.dumps(value, ensure_ascii=False)) == value


def reason_of(read: Callable[[Any], Any], data: Any) -> str:
    """Why it is a bad message, or an empty text; any other exception fails the test."""
    try:
        read(data)
    except BadMessage as problem:
        return str(problem)
    return ""


@given(st.binary() | st.text())
def test_any_bytes_give_a_value_or_a_bad_message(data: bytes | str) -> None:
    for read in (loads, plain_loads):
        reason = reason_of(read, data)
        assert not reason or reason.startswith("JSON: ")


marks = st.sampled_from([*BUILTIN_TYPES.decoders, "unknown", None, 1, []])
guts = st.recursive(
    plain | st.sampled_from(["2024-01-01", "12:00Z", "NaN", "/w==", "hex", "ab" * 16]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["hex", "int", "fields", "version", "is_safe", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(marks, guts)
def test_any_typed_value_gives_a_value_that_can_be_shown_or_a_bad_message(mark: Any, value: Any) -> None:
    reason = reason_of(lambda text: repr(loads(text)), json.dumps([{"__type__": mark, "__value__": value}]))
    assert not reason or reason.startswith(("JSON: __type__: ", "JSON: __value__: "))
    assert len(reason) < 500


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            '{"__type__": "datetime", "__value__": "2024-02-29T12:30:15Z"}',
            datetime(2024, 2, 29, 12, 30, 15, tzinfo=timezone.utc),
        ),
        ('{"__type__": "date", "__value__": "2024-02-29T10:00:00"}', date(2024, 2, 29)),
        ('{"__type__": "time", "__value__": "01:02:03.000004"}', time(1, 2, 3, 4)),
        ('{"__type__": "decimal", "__value__": 1.5}', Decimal("1.5")),
        (
            '{"__type__": "uuid", "__value__": {"hex": "12345678123456781234567812345678"}}',
            UUID("12345678-1234-5678-1234-567812345678"),
        ),
        ('{"\\u005f_type__": "bytes", "__value__": "x"}', b"x"),
        ('{"__\\u0074ype__": "bytes", "\\u005F_value__": "x"}', b"x"),
        ('{"__type__": "bytes", "__value__": "x", "more": 1}', {"__type__": "bytes", "__value__": "x", "more": 1}),
        ('{"__type__": "bytes"}', {"__type__": "bytes"}),
        ('{"__type__": "x", "__type__": "bytes", "__value__": "x"}', b"x"),
    ],
)
def test_typed_values(text: str, value: Any) -> None:
    found = loads(text)
    assert (found, type(found)) == (value, type(value))
    assert plain_loads(text) == json.loads(text)


def test_text_with_harmless_escapes_is_plain() -> None:
    assert loads('["\\u00e9", "\\u006a"]') == ["é", "j"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff", "body: not UTF-8: invalid start byte at byte 0"),
        (b"", "body: not JSON: Expecting value"),
        ("\ufeff1", "body: not JSON"),
        ("[" * 100_000, "body: nested too deep"),
        ('{"__type__":' * 100_000, "body: nested too deep"),
        ("9" * 5_000, "body: not JSON: Exceeds the limit"),
        ('{"__type__": "nope", "__value__": 1}', "body: __type__: unsupported type 'nope'"),
        ('{"__type__": [1], "__value__": 1}', "body: __type__: unsupported type list of 1"),
        (
            '{"__type__": "datetime", "__value__": 17}',
            "body: __value__: 17 is no datetime: fromisoformat: argument must be str",
        ),
        (
            '{"__type__": "uuid", "__value__": {"int": 1.5}}',
            "body: __value__: dict of 1 is no uuid: its parts are of the wrong types",
        ),
        ('{"__type__": "uuid", "__value__": {"int": 1, "is_safe": 1}}', "its parts are of the wrong types"),
        ('{"__type__": "base64", "__value__": "x"}', "body: __value__: 'x' is no base64"),
    ],
)
def test_what_cannot_be_read(data: bytes | str, words: str) -> None:
    with pytest.raises(Undecodable) as caught:
        loads(data, "body")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_huge_bad_value_makes_a_short_reason() -> None:
    with pytest.raises(Undecodable) as caught:
        loads(json.dumps({"__type__": "datetime", "__value__": "x" * 1_000_000}))
    assert len(str(caught.value)) < 500


class Told:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __json__(self) -> Any:
        return self.answer


def _loop() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def _deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({1}, "Object of type set is not JSON serializable"),
        ({(1, 2): 3}, "keys must be str, int, float, bool or None, not tuple"),
        (_loop(), "Circular reference detected"),
        (_deep(), "recursion"),
        (Told(object()), "Object of type object is not JSON serializable"),
        (Told, "missing 1 required positional argument"),
        pytest.param(10**5_000, "Exceeds the limit", id="huge"),
    ],
)
def test_what_cannot_be_written(value: Any, words: str) -> None:
    with pytest.raises(BadCall) as caught:
        dumps(value)
    assert isinstance(caught.value, Unencodable)
    assert str(caught.value) == str(caught.value.cause)
    assert words in str(caught.value)


def test_plain_json_knows_no_other_types() -> None:
    with pytest.raises(Unencodable, match="Object of type bytes"):
        plain_dumps(b"x")


def test_an_object_says_what_it_is_in_json() -> None:
    assert dumps([Told({"a": Told(b"x")})]) == '[{"a": {"__type__": "bytes", "__value__": "x"}}]'


def test_what_python_writes_beyond_json() -> None:
    text = dumps([math.nan, math.inf, -math.inf, "\ud800", 2**70])
    assert text == '[NaN, Infinity, -Infinity, "\\ud800", 1180591620717411303424]'
    assert repr(loads(text)) == "[nan, inf, -inf, '\\ud800', 1180591620717411303424]"


def test_a_lazy_text_of_django_is_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Promise:
        def __str__(self) -> str:
            return "later"

    module = types.ModuleType("django.utils.functional")
    module.Promise = Promise  # type: ignore[attr-defined]
    with pytest.raises(Unencodable):
        dumps(Promise())
    monkeypatch.setitem(sys.modules, "django.utils.functional", module)
    assert dumps([Promise()]) == '["later"]'
    with pytest.raises(Unencodable):
        dumps({1})


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


def test_a_type_of_ones_own() -> None:
    mine = BUILTIN_TYPES.with_type(Point, "point", lambda point: [point.x], lambda parts: Point(*parts))
    text = dumps({"p": Point(3)}, mine)
    assert text == '{"p": {"__type__": "point", "__value__": [3]}}'
    assert loads(text, types=mine)["p"].x == 3
    with pytest.raises(Undecodable, match="unsupported type 'point'"):
        loads(text)


def test_a_type_without_a_marker_stands_alone() -> None:
    mine = BUILTIN_TYPES.with_type(set, None, sorted)
    assert dumps({2, 1}, mine) == "[1, 2]"
    assert mine.decoders == BUILTIN_TYPES.decoders


def test_a_marker_without_a_decoder_gives_its_value() -> None:
    mine = BUILTIN_TYPES.with_type(set, "set", sorted)
    assert loads(dumps({2, 1}, mine), types=mine) == [1, 2]


def test_the_first_type_wins() -> None:
    class Day(date):
        pass

    mine = BUILTIN_TYPES.with_type(Day, "day", str)
    assert dumps(Day(2024, 1, 2), mine) == '{"__type__": "date", "__value__": "2024-01-02"}'


def test_a_decoder_of_a_user_may_raise_anything() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def decode(_: Any) -> Any:
        raise Mute

    mine = BUILTIN_TYPES.with_type(set, "set", sorted, decode)
    with pytest.raises(Undecodable, match="1 is no set: Mute"):
        loads('{"__type__": "set", "__value__": 1}', types=mine)


def test_integers_are_bounded_where_python_has_no_limit() -> None:
    assert wire_json._bounded_int("12") == 12
    with pytest.raises(ValueError, match="5000 digits exceeds the limit"):
        wire_json._bounded_int("9" * 5_000)


def test_without_the_accelerator_the_text_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"a": [1, None, 1.5, "\u2603"], "t": datetime(2026, 1, 1), "n": float("nan")}
    fast = dumps(value)
    monkeypatch.setattr(wire_json, "make_encoder", None)
    slow = wire_json.JsonTypes(BUILTIN_TYPES.encoders, BUILTIN_TYPES.decoders)
    assert dumps(value, slow) == fast


def test_a_value_that_holds_itself_is_named_as_such() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(Unencodable, match="Circular reference detected"):
        dumps(loop)


def test_what_kombu_writes_beyond_json() -> None:
    kinds = BUILTIN_TYPES.encoders
    assert [kind.__name__ for kind in kinds] == ["datetime", "date", "time", "Decimal", "UUID"]
    assert len(kinds) == 5
