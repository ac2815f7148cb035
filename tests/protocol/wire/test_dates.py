"""Dates of task messages, against dateutil, which stock workers read them with."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from itertools import product
from random import Random

import pytest
from dateutil.parser import isoparse
from hypothesis import example, given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire.dates import isoformat, parse_iso

OLD_DATEUTIL = int(version("python-dateutil").split(".")[0]) < 4

DATES = (
    *("2024", "2024-02", "202402", "2024-02-29", "20240229", "2023-02-29", "2024-13-01", "0000-01-01", "9999-12-31"),
    *("2024-W09-4", "2024W094", "2024-W09", "2024W09", "2020-W53-7", "2021-W53-7", "2021-W54-1", "2021-W00-1"),
    *("2021-W01-0", "2021-W01-8", "9999-W53-7", "2024-060", "2024060", "2024-366", "2023-366", "2024-000", "2024W0"),
    *("0001-W01-1", "24-01-01", "2024-1-1", "2024-02-291", "202402291", "2024-W09-41"),
)
TIMES = (
    *(
        "",
        "T",
        " ",
        "T1",
        "T12",
        "T12:3",
        "T12:30",
        "T123",
        "T1230",
        "T12:30:1",
        "T12:30:15",
        "T12301",
        "T123015",
        "t12",
    ),
    *("T12:30:15.1", "T12:30:15,123456", "T123015.1234567890", "T12:30:15.", "T12:30.5", "T24", "T24:00", "T24:00:00"),
    *(
        "T24:00:01",
        "T2400",
        "T25:00",
        "T12:60",
        "T12:30:60",
        "T12:3015",
        "T1230:15",
        "_12:30",
        "\n12:30",
        "T12:30:15.x",
    ),
    *("TZ", "T12:30:15x", "T24:00:00.000001"),
)
ZONES = (
    *(
        "",
        "Z",
        "z",
        "+01",
        "-0130",
        "+01:30",
        "+00:00",
        "-00:00",
        "+1",
        "+24:00",
        "+23:59",
        "-23:59",
        "+01:60",
        "+0160",
    ),
    *("+01:5", "+012", "+01234", "+01023", "+01:30:00", "ZZ", "+", "-", "+aa", "+00:99"),
)


def by_dateutil(text: str) -> datetime | None:
    try:
        moment = isoparse(text)
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment


def by_us(text: str) -> datetime | None:
    try:
        return parse_iso(text)
    except BadMessage:
        return None


def agree(text: str) -> None:
    ours, theirs = by_us(text), by_dateutil(text)
    if OLD_DATEUTIL and (ours is None or theirs is None):
        return  # it takes signs, blanks and lacking digits
    assert ours == theirs, text
    if ours is not None and theirs is not None:
        assert ours.utcoffset() == theirs.utcoffset(), text


def test_every_form_agrees_with_dateutil() -> None:
    combinations = list(product(DATES, TIMES, ZONES))
    for parts in Random(7).sample(combinations, 6000):
        agree("".join(parts))
    for date, time in product(DATES, TIMES):
        agree(date + time)
    for zone in ZONES:
        agree(f"2024-02-29T12:30:15{zone}")
        agree(f"2024-02-29T12:30{zone}")
        agree(f"2024-02-29T{zone}")


@given(st.datetimes(timezones=st.sampled_from([None, timezone.utc, timezone(timedelta(hours=-9, minutes=-30))])))
@example(datetime(2024, 1, 1))
def test_what_isoformat_writes_is_read_back(moment: datetime) -> None:
    text = isoformat(moment)
    assert text is not None
    assert parse_iso(text) == (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc))
    agree(text)


@given(st.text("0123456789-:TWZ+.,", max_size=30))
def test_any_text_of_a_date_s_characters_agrees(text: str) -> None:
    agree(text)


@given(st.text(max_size=40))
def test_any_text_is_a_date_or_a_bad_message(text: str) -> None:
    by_us(text)


def test_naive_dates_get_the_zone_that_was_asked_for() -> None:
    zone = timezone(timedelta(hours=2))
    assert parse_iso("2024-01-01T00:00:00", zone) == datetime(2024, 1, 1, tzinfo=zone)
    assert parse_iso("2024-01-01T00:00:00Z", zone) == datetime(2024, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize("value", [5, None, 1.5, b"2024", [], datetime(2024, 1, 1)])
def test_what_is_no_text_is_no_date(value: object) -> None:
    with pytest.raises(BadMessage, match="eta: expected an ISO-8601 text"):
        parse_iso(value, field="eta")


def test_a_long_text_is_refused_unread() -> None:
    with pytest.raises(BadMessage, match="no known form"):
        parse_iso("2024-01-01T00:00:00." + "0" * 10_000_000)


def test_texts_and_nothing_are_written_as_they_are() -> None:
    assert isoformat(None) is None
    assert isoformat("whatever") == "whatever"
