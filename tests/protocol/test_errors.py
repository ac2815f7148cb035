"""The errors of protocol/: what they say, how long, and that they survive being sent to another process."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from celeriac.protocol.errors import BadMessage, Refused, shown


def test_it_says_what_was_read_which_field_and_why() -> None:
    assert str(BadMessage("task message", "expected a text, got 5", field="id")) == (
        "task message: id: expected a text, got 5"
    )
    assert str(BadMessage("envelope", "not JSON")) == "envelope: not JSON"


def test_a_reason_that_quotes_the_sender_stays_short() -> None:
    bad = BadMessage("content", "x" * 10_000)
    assert len(bad.why) < 600
    assert bad.why.endswith("...")


def test_it_survives_a_pickle() -> None:
    there = pickle.loads(pickle.dumps(Refused("content", "untrusted", field="content-type")))
    assert type(there) is Refused
    assert (there.what, there.why, there.field) == ("content", "untrusted", "content-type")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (float("nan"), "nan"),
        (7, "7"),
        (10**5000, "an integer of 16610 bits"),
        (-(10**5000), "an integer of 16610 bits"),
        ("abc", "'abc'"),
        (b"abc", "b'abc'"),
        ("x" * 100, "'" + "x" * 80 + "'... (100 long)"),
        ([1, 2], "list of 2"),
        ({"a": 1}, "dict of 1"),
        ((), "tuple of 0"),
        (object(), "object"),
    ],
    ids=range(13),
)
def test_a_value_is_shown_by_its_type_and_its_start(value: Any, text: str) -> None:
    assert shown(value) == text
