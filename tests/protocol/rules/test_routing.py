"""Routes by name, and which bindings get a message."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall
from celeriac.protocol.rules.routing import RouteMap, matches, topic_matches


@pytest.mark.parametrize(
    ("routes", "target"),
    [
        ({}, None),
        ({"a.b": "feeds"}, "feeds"),
        ({"a.b": {"queue": "feeds"}}, {"queue": "feeds"}),
        ({"a.*": "feeds"}, "feeds"),
        ({"a.?": "feeds"}, None),
        ({re.compile(r"a\..$"): "feeds"}, "feeds"),
        ({"*": "rest", "a.b": "exact"}, "exact"),
        ([("a.*", "pairs"), ("*", "never")], "pairs"),
    ],
)
def test_a_map_routes_by_name(routes: Any, target: Any) -> None:
    assert RouteMap(routes)("a.b", (), {}, {}, task=None) == target


@pytest.mark.parametrize(
    ("routes", "text"),
    [
        ({"a": 5}, "'a': expected a queue name"),
        ({5: "q"}, "expected a task name"),
        (["ab"], "expected pairs"),
        ([["abc"]], "expected pairs"),
    ],
)
def test_routes_that_cannot_be_are_named(routes: Any, text: str) -> None:
    with pytest.raises(BadCall, match=text):
        RouteMap(routes)


def test_a_map_without_an_answer_says_none() -> None:
    assert RouteMap({"a.*": "q"})("b") is None


WORDS = st.lists(st.sampled_from(["a", "b", "cc"]), max_size=6).map(".".join)
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "#"]), max_size=6).map(".".join)


def naive(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return naive(pattern[1:], words) or (bool(words) and naive(pattern, words[1:]))
    return bool(words) and pattern[0] in ("*", words[0]) and naive(pattern[1:], words[1:])


@given(PATTERNS, WORDS)
def test_topics_match_as_the_definition_says(pattern: str, key: str) -> None:
    split = [part.split(".") if part else [] for part in (pattern, key)]
    assert topic_matches(pattern, key) is naive(split[0], split[1])


def test_a_hostile_topic_pattern_takes_no_time() -> None:
    assert not topic_matches(".".join(["#", "a"] * 500 + ["x"]), ".".join(["a"] * 1000))


def test_bindings_by_exchange_type() -> None:
    assert matches("direct", "k", "k")
    assert not matches("direct", "k", "l")
    assert matches("fanout", "", "anything")
    assert matches("topic", "a.*", "a.b")
    with pytest.raises(BadCall, match="'headers' is unknown; known are direct, fanout, topic"):
        matches("headers", "", "")
