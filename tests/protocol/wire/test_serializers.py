"""The table of serializers: what is written, what is refused before it is read, what cannot be read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage, Refused, Undecodable
from celeriac.protocol.wire.json import BUILTIN_TYPES, Unencodable
from celeriac.protocol.wire.serializers import (
    BUILTIN,
    DATA,
    EVERYTHING,
    JSON_ONLY,
    NoSerializer,
    Serializer,
    Serializers,
    accepted,
    decode,
    encode,
    json_serializer,
)

PICKLE = "application/x-python-serialize"
MSGPACK = "application/x-msgpack"
YAML = "application/x-yaml"
JSON = "application/json"

small = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text("abc:-?é\n'\"{}[] 0")
)
values = st.recursive(small, lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner), max_leaves=8)


@given(st.sampled_from(["json", "msgpack", "yaml", "pickle"]), values.filter(lambda value: not isinstance(value, str)))
def test_what_is_written_is_read_back(name: str, value: Any) -> None:
    written = encode(value, name)
    assert (written.content_type, written.content_encoding) == (
        BUILTIN[name].content_type,
        BUILTIN[name].content_encoding,
    )
    assert decode(*reordered(written), EVERYTHING) == value


def reordered(written: Any) -> tuple[bytes, str, str]:
    return written.body, written.content_type, written.content_encoding


@given(
    st.binary(max_size=200),
    st.sampled_from([*(row.content_type for row in BUILTIN.values()), None, "text/plain", DATA, "x"]),
    st.sampled_from([None, "utf-8", "UTF-16", "latin-1", "binary", "zlib", "idna", "punycode", "a\0b", "x" * 5_000])
    | st.text(max_size=9),
)
def test_any_bytes_give_a_value_or_a_bad_message(body: bytes, kind: str | None, encoding: str | None) -> None:
    if kind == PICKLE:
        body = b"\x80\x04]." + body  # a list, and garbage: a pickle of any other kind runs what it says
    try:
        decode(body, kind, encoding, EVERYTHING)
    except BadMessage as problem:
        assert len(str(problem)) < 500  # noqa: PT017 - the other way out is as good


class Untouched:
    """A body that must not be looked at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"somebody asked for {name}")

    __len__ = __bool__ = __iter__ = __getitem__ = __getattr__


@pytest.mark.parametrize(
    ("kind", "name"),
    [(PICKLE, "pickle"), (YAML, "yaml"), (MSGPACK, "msgpack"), ("text/plain", "text/plain"), ("x", "x")],
)
def test_refused_before_a_byte_is_read(kind: str, name: str) -> None:
    with pytest.raises(Refused) as caught:
        decode(Untouched(), kind, "utf-8")  # type: ignore[arg-type]
    assert str(caught.value) == f"content: Refusing to deserialize untrusted content of type {name} ({kind})"


def test_accept_content_may_name_serializers_and_content_types() -> None:
    assert accepted(["json", "pickle", "text/plain"]) == {JSON, PICKLE, "text/plain"}
    assert accepted([]) == frozenset()
    with pytest.raises(NoSerializer, match="No encoder/decoder installed for nope; there are json, "):
        accepted(["nope"])


def test_text_is_read_where_it_is_accepted() -> None:
    assert decode(b"caf\xe9", "text/plain", "latin-1", accepted(["text/plain"])) == "caf\xe9"


@pytest.mark.parametrize(
    ("body", "kind", "encoding", "value"),
    [
        (b"x", None, None, "x"),
        (b"x", "", "", "x"),
        (b"\xff", None, "binary", b"\xff"),
        (b"\xff", DATA, "ASCII-8BIT", b"\xff"),
        (b"x", "application/text", "utf-8", "x"),
        (b"[1]", JSON, None, [1]),
        (b"[1]", b"application/json", b"utf-8", [1]),
        (b"[1]", JSON, "binary", [1]),
        (b"[1]", JSON, "banana", [1]),
        (b'"\xe9"', JSON, "latin-1", "é"),
        ('"é"'.encode(), JSON, "US-ASCII", "é"),
        ('"é"'.encode("utf-16"), JSON, "utf-16", "é"),
        (b"", JSON, "utf-8", b""),
        (b"", None, "nonsense", b""),
    ],
)
def test_content_types_and_encodings(body: bytes, kind: Any, encoding: Any, value: Any) -> None:
    found = decode(body, kind, encoding)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("body", "kind", "encoding", "words"),
    [
        (b"\xff", None, None, "content: content-encoding: not of that encoding: 'utf-8' codec"),
        (b"x", None, "zlib", "content: content-encoding: not of that encoding: 'zlib' is not a text encoding"),
        (b"x", None, "punycode", "content: content-encoding: unknown encoding 'punycode'"),
        (b"x", None, "a\0b", "unknown encoding"),
        (b"x", None, 5, "content: content-encoding: expected a text, got 5"),
        (b"x", [], "utf-8", "content: content-type: expected a text, got list of 0"),
        (b"nope", JSON, "utf-8", "JSON: not JSON: Expecting value"),
        (b"[" * 100_000, JSON, "utf-8", "JSON: nested too deep"),
        (b"\xc1", MSGPACK, "binary", "msgpack: FormatError"),
        (b"\x91" * 100_000, MSGPACK, "binary", "msgpack: StackError"),
        (b"\xdd\xff\xff\xff\xff", MSGPACK, "binary", "msgpack: ValueError: 4294967295 exceeds"),
        (b"nope", PICKLE, "binary", "pickle: UnpicklingError"),
        (b"cnowhere\nthing\n.", PICKLE, "binary", "pickle: ModuleNotFoundError"),
        (b"[" * 5_000, YAML, "utf-8", "yaml: nested too deep"),
        (b"!!python/object:os.system x", YAML, "utf-8", "yaml: ConstructorError"),
    ],
)
def test_what_cannot_be_read(body: bytes, kind: Any, encoding: Any, words: str) -> None:
    with pytest.raises(Undecodable) as caught:
        decode(body, kind, encoding, EVERYTHING)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("value", "serializer", "written"),
    [
        (b"raw", None, (DATA, "binary", b"raw")),
        ("text", None, ("text/plain", "utf-8", b"text")),
        ([1], None, (JSON, "utf-8", b"[1]")),
        ("text", "json", (JSON, "utf-8", b'"text"')),
        (b"raw", "raw", (DATA, "binary", b"raw")),
        (memoryview(b"raw"), "raw", (DATA, "binary", b"raw")),
        ("text", "raw", (DATA, "utf-8", b"text")),
        ((1, b"x"), "msgpack", (MSGPACK, "binary", b"\x92\x01\xc4\x01x")),
        ({"b": 1, "a": [None]}, "yaml", (YAML, "utf-8", b"a:\n- null\nb: 1\n")),
        ((1,), "pickle", (PICKLE, "binary", b"\x80\x04\x95\x05\0\0\0\0\0\0\0K\x01\x85\x94.")),
    ],
)
def test_what_is_written(value: Any, serializer: str | None, written: tuple[str, str, bytes]) -> None:
    assert encode(value, serializer) == written


@pytest.mark.parametrize(
    ("value", "serializer", "words"),
    [
        ({1}, "json", "Object of type set is not JSON serializable"),
        ({1}, "msgpack", "set"),
        ({1: object()}, "yaml", "cannot represent"),
        (lambda: 0, "pickle", "pickle"),
        (5, "raw", "raw content is bytes or a text, not int"),
        ("\ud800", None, "surrogates not allowed"),
        (2**64, "msgpack", "out of range"),
    ],
)
def test_what_cannot_be_written(value: Any, serializer: str | None, words: str) -> None:
    with pytest.raises(Unencodable) as caught:
        encode(value, serializer)
    assert words in str(caught.value)
    assert isinstance(caught.value.cause, Exception)


def test_an_unknown_serializer() -> None:
    with pytest.raises(NoSerializer, match="No encoder/decoder installed for nope") as caught:
        encode(1, "nope")
    assert isinstance(caught.value, BadCall)


def test_the_table_never_changes() -> None:
    mine = Serializer("mine", "application/mine", "utf-8", str, lambda data: data.decode())
    table = BUILTIN.with_(mine)
    assert encode(5, "mine", table) == ("application/mine", "utf-8", b"5")
    assert decode(b"5", "application/mine", "utf-8", accepted(["mine"], table), table) == "5"
    assert [*table] == [*BUILTIN, "mine"]
    assert len(table) == len(BUILTIN) + 1
    assert "mine" not in BUILTIN
    assert [*table.without("mine")] == [*BUILTIN]
    assert table.without("mine").of_type("application/mine") is None
    replaced = table.with_(Serializer("mine", "application/other", "utf-8", None, None))
    assert replaced.of_type("application/mine") is None


def test_a_serializer_may_only_write_or_only_read() -> None:
    table = Serializers([Serializer("mute", "x/mute", "utf-8", None, None)])
    with pytest.raises(NoSerializer, match="No encoder installed for mute"):
        encode(1, "mute", table)
    assert decode(b"as it came", "x/mute", "utf-8", {"x/mute"}, table) == "as it came"


def test_a_serializer_may_take_over_untyped_data() -> None:
    table = BUILTIN.with_(Serializer("auth", DATA, "utf-8", None, lambda data: data[::-1]))
    assert decode(b"abc", None, None, JSON_ONLY, table) == b"cba"


def test_a_user_says_what_is_bad() -> None:
    def refuse(_: Any) -> Any:
        raise Refused("mine", "no")

    def ask(_: Any) -> Any:
        raise BadCall("mine")

    table = Serializers([Serializer("mine", "x/mine", "binary", ask, refuse)])
    with pytest.raises(Refused, match="mine: no"):
        decode(b"x", "x/mine", "latin-1", {"x/mine"}, table)
    with pytest.raises(BadCall, match=r"^mine$"):
        encode(1, "mine", table)


def test_json_of_ones_own_types() -> None:
    table = BUILTIN.with_(json_serializer(BUILTIN_TYPES.with_type(set, "set", sorted, set)))
    assert decode(*reordered(encode({1}, "json", table)), JSON_ONLY, table) == {1}
    with pytest.raises(Undecodable, match="unsupported type 'set'"):
        decode(*reordered(encode({1}, "json", table)))


def test_yaml_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(NoSerializer, match=r"install celeriac\[yaml\]"):
        encode([1], "yaml")
    with pytest.raises(Undecodable, match=r"install celeriac\[yaml\]"):
        decode(b"[1]", YAML, "utf-8", EVERYTHING)


def read_yaml(text: str) -> Any:
    return decode(text.encode(), YAML, "utf-8", EVERYTHING)


def test_yaml_writes_and_reads_what_occurs_twice() -> None:
    shared = {"a": [1]}
    written = encode([shared, shared, shared["a"]], "yaml").body
    assert b"*id001" in written
    found = decode(written, YAML, "utf-8", EVERYTHING)
    assert found == [shared, shared, [1]]
    assert found[0] is found[1]
    assert read_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}")["b"] == {"x": 1, "y": 2}
    assert read_yaml("---\n") is None
    assert read_yaml("# nothing") is None
    assert read_yaml("-2.2250738585072014e-308: 1") == {-2.2250738585072014e-308: 1}
    assert read_yaml("12345678901234567890: 1") == {12345678901234567890: 1}


def bomb(level: Callable[[str], str]) -> str:
    lines = ["a: &a {x: y}"]
    lines += [f"{chr(98 + i)}: &{chr(98 + i)} {level('*' + chr(97 + i))}" for i in range(9)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (bomb(lambda above: f"[{', '.join([above] * 9)}]"), "its aliases stand for too much"),
        (bomb(lambda above: f"{{<<: [{', '.join([above] * 9)}]}}"), "its aliases stand for too much"),
        ("&a [*a]", "an alias refers to what it is part of"),
        ("&a {x: {y: *a}}", "an alias refers to what it is part of"),
        ("1" + ":1" * 5_000, "a number of 10001 characters"),
        ("1" * 5_000 + ".", "a number of 5001 characters"),
        ("1" * 21 + ": x", "a number of 21 characters"),
        ("{<<: {a: 1}, <<: {b: 1}}", "more than one merge"),
        ("1\n---\n2", "expected a single document"),
    ],
    ids=range(9),
)
def test_yaml_is_bounded(text: str, words: str) -> None:
    with pytest.raises(Undecodable) as caught:
        read_yaml(text)
    assert words in str(caught.value)


def test_a_yaml_chain_of_aliases_counts_for_what_it_stands_for() -> None:
    links = ["&k0 []", *(f"&k{i} [*k{i - 1}]" for i in range(1, 3_000))]
    assert len(read_yaml("\n".join(f"- {link}" for link in links[:100]))) == 100
    with pytest.raises(Undecodable, match="its aliases stand for too much"):
        read_yaml("\n".join(f"- {link}" for link in links))


def test_msgpack_maps_have_keys_of_plain_types() -> None:
    plain = {1: 2, None: 3, b"x": 4, 1.5: 5, False: 6, "s": {2: 7}}
    assert decode(msgpack.packb(plain), MSGPACK, "binary", EVERYTHING) == plain
    for key in (msgpack.Timestamp(1, 2), msgpack.ExtType(1, b"")):
        with pytest.raises(Undecodable, match="is not allowed for map key"):
            decode(msgpack.packb({1: 0, key: 1}), MSGPACK, "binary", EVERYTHING)


def test_our_yaml_is_pyyamls() -> None:
    value = [{"k": ["é", "a: b", 1.0, True, None, "2024-01-01"]}]
    assert encode(value, "yaml").body == yaml.safe_dump(value).encode()
