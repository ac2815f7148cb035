"""RESP: every kind of reply split at every byte, garbage, and commands there and back."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire import resp
from celeriac.protocol.wire.resp import ErrorReply, Parser, Push

# Bytes of one reply -> the value it is.
REPLIES: list[tuple[bytes, Any]] = [
    (b"+OK\r\n", b"OK"),
    (b"-ERR no such thing\r\n", ErrorReply("ERR", "ERR no such thing")),
    (b":42\r\n", 42),
    (b":-7\r\n", -7),
    (b":+7\r\n", 7),
    (b"$5\r\nhello\r\n", b"hello"),
    (b"$0\r\n\r\n", b""),
    (b"$4\r\n\r\n\r\n\r\n", b"\r\n\r\n"),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"*0\r\n", []),
    (b"*2\r\n:1\r\n*1\r\n$1\r\na\r\n", [1, [b"a"]]),
    (b"*3\r\n*0\r\n_\r\n*-1\r\n", [[], None, None]),
    (b"_\r\n", None),
    (b"#t\r\n", True),
    (b"#f\r\n", False),
    (b",1.5\r\n", 1.5),
    (b",-inf\r\n", -math.inf),
    (b"(3492890328409238509324850943850943825024385\r\n", 3492890328409238509324850943850943825024385),
    (b"=7\r\ntxt:abc\r\n", b"abc"),
    (b"!8\r\nERR a\nbc\r\n", ErrorReply("ERR", "ERR a\nbc")),
    (b"%1\r\n+a\r\n:1\r\n", {b"a": 1}),
    (b"%0\r\n", {}),
    (b"~2\r\n:1\r\n:2\r\n", [1, 2]),
    (b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n", Push((b"message", b"c", b"x"))),
    (b"|1\r\n+ttl\r\n:3\r\n*2\r\n:1\r\n:2\r\n", [1, 2]),
    (b"*2\r\n|1\r\n+ttl\r\n:3\r\n:1\r\n:2\r\n", [1, 2]),
    (b"*1\r\n|0\r\n:1\r\n", [1]),
]

GARBAGE = [
    b"hello\r\n",
    b"\r\n",
    b"$abc\r\n",
    b"$-2\r\n",
    b"$99999999999999999999999\r\n",
    b"$1\r\nabc\r\n",
    b":\r\n",
    b":1x\r\n",
    b":" + b"9" * 30 + b"\r\n",
    b"(" + b"9" * 5000 + b"\r\n",
    b",one\r\n",
    b"#x\r\n",
    b"_x\r\n",
    b"*x\r\n",
    b"*99999999999\r\n",
    b"=3\r\nabc\r\n",
    b"%1\r\n*0\r\n:1\r\n",
    b"*1\r\n" * 65,
    b"+" + b"x" * resp.MAX_LINE,
    b"$?\r\n",
]


@pytest.mark.parametrize(("data", "value"), REPLIES)
def test_every_kind_of_reply_split_at_every_byte(data: bytes, value: Any) -> None:
    for cut in range(len(data) + 1):
        parser = Parser()
        replies = parser.feed(data[:cut]) + parser.feed(data[cut:])
        assert replies == [value]
        assert type(replies[0]) is type(value)
        assert parser.idle
    one_by_one = Parser()
    replies = [reply for i in range(len(data)) for reply in one_by_one.feed(data[i : i + 1])]
    assert replies == [value]


@pytest.mark.parametrize("data", GARBAGE)
def test_garbage_is_refused_after_the_good_replies_before_it(data: bytes) -> None:
    with pytest.raises(BadMessage, match="RESP"):
        Parser().feed(data)
    parser = Parser()
    assert parser.broken is None
    assert parser.feed(b"+OK\r\n" + data) == [b"OK"]
    assert parser.broken is not None
    with pytest.raises(BadMessage):
        parser.feed(b"+OK\r\n")


def test_an_announced_length_costs_nothing() -> None:
    parser = Parser()
    assert parser.feed(b"*2000000000\r\n$500000000\r\n") == []
    assert not parser.idle


def test_a_large_reply_in_small_pieces_is_joined_once() -> None:
    body = b"x" * 5_000_000
    data = b"$%d\r\n%b\r\n" % (len(body), body)
    parser = Parser()
    replies = [reply for start in range(0, len(data), 1000) for reply in parser.feed(data[start : start + 1000])]
    assert replies == [body]


def test_depth_up_to_the_bound_is_read() -> None:
    (value,) = Parser().feed(b"*1\r\n" * resp.MAX_DEPTH + b":1\r\n")
    for _ in range(resp.MAX_DEPTH):
        (value,) = value
    assert value == 1


@given(st.lists(st.sampled_from(REPLIES), max_size=6), st.data())
def test_any_sequence_cut_anywhere(chosen: list[tuple[bytes, Any]], data: st.DataObject) -> None:
    stream = b"".join(each for each, _ in chosen)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parser = Parser()
    replies = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        replies += parser.feed(stream[start:stop])
    assert replies == [value for _, value in chosen]


@given(st.lists(st.binary(max_size=20), max_size=4), st.binary(max_size=40))
def test_any_bytes_give_replies_or_bad_message(pieces: list[bytes], tail: bytes) -> None:
    parser = Parser()
    with suppress(BadMessage):
        for piece in [*pieces, b"*1\r\n" + tail]:
            parser.feed(piece)


@given(
    st.lists(
        st.lists(
            st.one_of(
                st.binary(max_size=20),
                st.text(max_size=10, alphabet=st.characters(exclude_categories=["Cs"])),
                st.integers(),
                st.floats(allow_nan=False),
            ),
            min_size=1,
            max_size=5,
        ),
        max_size=4,
    )
)
def test_commands_round_trip(commands: list[list[Any]]) -> None:
    def seen(value: Any) -> bytes:
        if isinstance(value, bytes):
            return value
        return value.encode() if isinstance(value, str) else repr(value).encode()

    sent = resp.pack(*map(tuple, commands))
    assert Parser().feed(sent) == [[seen(value) for value in command] for command in commands]


def test_pack_writes_what_redis_expects() -> None:
    assert resp.pack(("SET", b"k", 1.5), ("PING",)) == (
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n1.5\r\n*1\r\n$4\r\nPING\r\n"
    )
    assert resp.pack(("GET", bytearray(b"k"))) == b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"  # type: ignore[arg-type]
    assert resp.pack(("GET", "ü")) == b"*2\r\n$3\r\nGET\r\n$2\r\n\xc3\xbc\r\n"


@pytest.mark.parametrize("argument", [None, True, [1], "\ud800", object()])
def test_pack_refuses_what_is_no_argument(argument: Any) -> None:
    with pytest.raises(BadCall):
        resp.pack(("GET", argument))


def test_lists_in_lists() -> None:
    assert Parser().feed(b"*3\r\n*2\r\n:1\r\n:2\r\n*1\r\n:3\r\n:4\r\n:5\r\n") == [[[1, 2], [3], 4], 5]


def test_pack_leaves_what_is_packed() -> None:
    assert resp.pack(("GET", "a"), resp.pack(("PING",))) == resp.pack(("GET", "a"), ("PING",))


def test_pack_refuses_an_empty_command() -> None:
    with pytest.raises(BadCall):
        resp.pack(())


def test_exec_values() -> None:
    assert resp.exec_values([1, b"x"]) == [1, b"x"]
    for reply in (None, ErrorReply("EXECABORT", "EXECABORT"), [1, ErrorReply("WRONGTYPE", "WRONGTYPE no")]):
        with pytest.raises(BadMessage):
            resp.exec_values(reply)
