"""Values that AMQP can carry, and bytes that nearly are AMQP."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st

EPOCH = datetime(1970, 1, 1)

texts = st.text(max_size=20)
names = st.text(st.characters(codec="utf-8"), max_size=20)
ints = st.integers(-(1 << 63), (1 << 63) - 1)
decimals = st.builds(
    lambda number, scale: Decimal(number).scaleb(-scale), st.integers(-(1 << 31), (1 << 31) - 1), st.integers(0, 255)
)
moments = st.integers(0, 253402300799).map(lambda seconds: EPOCH + timedelta(seconds=seconds))
scalars = st.one_of(
    st.none(), st.booleans(), ints, st.integers(-3, 300), st.floats(allow_nan=False), texts, decimals, moments
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
tables = st.dictionaries(texts, values, max_size=8)

# Headers as Celery's senders write them: the same keys, few kinds of values.
task_headers = st.fixed_dictionaries(
    {
        "lang": st.just("py"),
        "task": st.sampled_from(["wire.add", "wire.mul"]),
        "id": st.uuids().map(str),
        "eta": st.none() | st.just("2030-01-02T03:04:05+00:00"),
        "group_index": st.none() | st.integers(0, 70000),
        "retries": st.integers(0, 3),
        "timelimit": st.just([None, None]) | st.lists(st.integers(1, 9), min_size=2, max_size=2),
        "argsrepr": st.text(max_size=300),
        "ignore_result": st.booleans(),
        "stamps": st.just({}) | st.dictionaries(texts, texts, min_size=1, max_size=2),
    },
    optional={"user": values},
)

properties = st.fixed_dictionaries(
    {},
    optional={
        "content_type": names,
        "content_encoding": names,
        "application_headers": tables,
        "delivery_mode": st.integers(0, 255),
        "priority": st.integers(0, 255),
        "correlation_id": names,
        "reply_to": names,
        "expiration": names,
        "message_id": names,
        "timestamp": st.integers(0, (1 << 64) - 1),
        "type": names,
        "user_id": names,
        "app_id": names,
        "cluster_id": names,
    },
)


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes with something wrong: some changed, cut off, put in or left out."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 4))
        data[at : at + length] = draw(st.binary(max_size=4))
    return bytes(data)
