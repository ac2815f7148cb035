"""Bindings as kombu stores them, and topic keys matched as its regexes match, without running them."""

from __future__ import annotations

import contextlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire.redis_bindings import (
    LONGEST,
    Binding,
    matches,
    member,
    parse_member,
    parse_members,
    pattern_of,
    reached,
)

SEP = "\x06\x16"
texts = st.text(max_size=6, alphabet=st.characters(exclude_characters=SEP, exclude_categories=["Cs"]))


@given(texts, texts, texts)
def test_members_round_trip(key: str, pattern: str, queue: str) -> None:
    binding = Binding(key, pattern, queue)
    assert parse_member(member(binding, SEP), SEP) == binding


def test_members_as_kombu_writes_them() -> None:
    assert member(Binding("task.#", r"^task\..*?$", "tq"), SEP) == b"task.#\x06\x16^task\\..*?$\x06\x16tq"
    assert parse_member(b"a::b", ":") == Binding("a", "", "b")


@pytest.mark.parametrize("data", [b"", b"a", b"a\x06\x16b", b"\xff\x06\x16\x06\x16b", b"a\x06\x16b\x06\x16c\x06\x16d"])
def test_a_member_that_is_none(data: bytes) -> None:
    with pytest.raises(BadMessage, match="binding"):
        parse_member(data, SEP)
    assert parse_members([data, b"a\x06\x16\x06\x16q"], SEP) == [Binding("a", "", "q")]


@given(st.binary(max_size=40))
def test_any_bytes_are_a_member_or_bad_message(data: bytes) -> None:
    with contextlib.suppress(BadMessage):
        parse_member(data, SEP)


@pytest.mark.parametrize(
    ("binding_key", "routing_key", "hit"),
    [
        ("a.#", "a.b.c", True),
        ("a.#", "a.", True),
        ("a.#", "a", False),
        ("*.b", "a.b", True),
        ("*.b", "a.x.b", False),
        ("*.b", ".b", False),
        ("#", "", True),
        ("#", "x\ny", False),
        ("a", "a\n", True),
        ("a", "a\n\n", False),
        ("", "", True),
        ("a+b", "a+b", True),
        ("a+b", "aab", False),
        ("ab*", "abbb", True),
        ("ab*", "a", True),
        ("x.*a", "x...a", True),
        ("x.*a", "xa", True),
        ("**", "a", False),
        ("a**", "a", False),
        ("*a", "a", False),
        ("a#b", "a#b", True),
        ("nul\0", "nul\0", True),
        ("ü.*", "ü.é", True),
        ("a*b*c*d", "d", True),
        ("a*b*c*d", "bbd", True),
        ("a*b*c*d", "bad", False),
    ],
)
def test_topic_keys(binding_key: str, routing_key: str, hit: bool) -> None:
    assert matches(binding_key, routing_key) is hit


@given(st.text(alphabet="ab.*#\n+\0", max_size=7), st.text(alphabet="ab.*#\n+\0", max_size=8))
def test_it_agrees_with_the_regex_that_kombu_stores(binding_key: str, routing_key: str) -> None:
    try:
        expected = re.match(pattern_of(binding_key), routing_key) is not None
    except re.error:
        expected = False
    # a quantifier after a quantifier is an error to re, or, from 3.11 on for `*+`, something kombu never meant
    assert matches(binding_key, routing_key) is expected


def test_a_hostile_binding_takes_no_time() -> None:
    began = time.process_time()
    assert not matches(".".join("#" * 300) + ".x", "a." * 400 + "!")
    assert not matches("a*" * 2000 + "b", "a" * 2000)
    evil = Binding("a", "^(a+)+$", "q")
    assert reached("topic", [evil], "a" * 50 + "!") == []
    assert time.process_time() - began < 2


def test_which_queues_are_reached() -> None:
    bindings = [
        Binding("a.*", pattern_of("a.*"), "q2"),
        Binding("a.b", pattern_of("a.b"), "q1"),
        Binding("#", pattern_of("#"), "q1"),
        Binding("a.b", "", ""),
    ]
    assert reached("topic", bindings, "a.b") == ["q1", "q2"]
    assert reached("topic", bindings, "x") == ["q1"]
    assert reached("direct", bindings, "a.b") == ["q1"]
    assert reached("direct", bindings, "x") == []
    assert reached("fanout", bindings, "whatever") == ["q1", "q2"]


def test_absurdly_long_keys_match_nothing_and_cost_nothing() -> None:
    start = time.process_time()
    assert not matches("#." * 5_000_000, "a")
    assert not matches("#", "a." * 5_000_000)
    assert matches("#", "a" * LONGEST)
    assert matches("#." * (LONGEST // 2 - 1) + "b", "a." * (LONGEST // 2 - 1) + "b")
    assert reached("direct", [Binding("a" * 10_000, "", "q")], "a" * 10_000) == ["q"]
    assert time.process_time() - start < 2
