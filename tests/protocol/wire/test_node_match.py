"""Patterns for node names agree with Python's own matchers, or are refused for what they might cost."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire.node_match import LONGEST, fits


@pytest.mark.parametrize(
    ("pattern", "matcher", "expected"),
    [
        ("w*@*", "glob", True),
        ("w[0-9]@*", "glob", True),
        ("w[!0-9]@*", "glob", False),
        ("w[01x]@*", "glob", True),
        ("w[!x1-]@*", "glob", False),
        ("w?@host", "glob", True),
        ("w1", "glob", False),
        ("zzz*", "glob", False),
        ("w[0-9]@.*", "pcre", True),
        ("w1", "pcre", True),
        ("1@", "pcre", False),
        ("^(?:w|x)1@(host|other)$", "pcre", True),
        (r"\w+?@.{2,9}", "pcre", True),
        (r"w\d+@[*+?|(]*host", "pcre", True),
        (r"w1}?}?@", "pcre", True),
        (r"w1@h\(", "pcre", False),
    ],
)
def test_fits(pattern, matcher, expected):
    assert fits("w1@host", pattern, matcher) is expected


_GLOBS = st.text(st.sampled_from("ab*?[]!-@\\"), max_size=12)


@given(st.text(st.sampled_from("ab!-]@"), max_size=8), _GLOBS)
def test_glob_is_pythons(name, pattern):
    assert fits(name, pattern, "glob") is fnmatchcase(name, pattern)


def test_every_range_of_a_glob():
    assert fits("\u0500", "[a-\uffff]", "glob") is False  # ranges end 1024 characters on: names are ASCII in practice
    assert fits("c", "[a-c]", "glob")
    assert not fits("c", "[c-a]", "glob")


_PATTERNS = st.lists(
    st.sampled_from(
        ["a", "b", ".", "*", "+", "?", "|", "(", ")", "[ab]", "[^a]", "\\d", "{1,2}", "^", "$", "\\*", "(?:"]
    ),
    max_size=8,
).map("".join)


@given(st.text(st.sampled_from("ab1*"), max_size=8), _PATTERNS)
def test_pcre_is_pythons_or_refused(name, pattern):
    with suppress(BadMessage):
        assert fits(name, pattern, "pcre") is (re.match(pattern, name) is not None)


@pytest.mark.parametrize(
    "pattern",
    [
        *("(a+)+$", "(a|a)*$", "(?:a*)*b", "(a){2}", "(?=a)a", "(?!b)a", "(?<=a)b", "(?P<x>a)", "(a)\\1", "(?i)a"),
        *(".*" * 30 + "x", "(a|a)" * 40 + "x", "a?" * 60 + "x", "[", "(", "*", "a**", "\\", "a{99999999999}"),
        *("x" * (LONGEST + 1), "(?#" + "a" * 90 + ")", "[[a]"),
    ],
)
def test_patterns_that_are_refused(pattern):
    with pytest.raises(BadMessage, match="control pattern"):
        fits("a" * 60, pattern, "pcre")


def test_names_and_matchers_that_are_refused():
    with pytest.raises(BadMessage, match="longer than"):
        fits("a" * (LONGEST + 1), "*", "glob")
    with pytest.raises(BadMessage, match="expected glob or pcre"):
        fits("a", "*", "perl")


def test_the_costliest_is_cheap():
    start = time.process_time()
    assert not fits("a" * LONGEST, "*a" * (LONGEST // 2 - 1) + "b", "glob")
    assert not fits("a" * 200, ".*.*.*x", "pcre")
    assert not fits("a" * 30, "a?" * 3 + "(aa|a.)(aa|a.)(aa|a.)x", "pcre")
    assert time.process_time() - start < 2
