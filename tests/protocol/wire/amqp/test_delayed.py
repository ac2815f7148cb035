"""Native delayed delivery: kombu's topology call by call, and routing keys there and back."""

from __future__ import annotations

import math

import kombu
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport import native_delayed_delivery as theirs

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire.amqp import delayed
from celeriac.protocol.wire.amqp.delayed import Delayed
from celeriac.protocol.wire.amqp.topology import Exchange
from tests.protocol.wire.amqp.test_topology import Recorder, calls


class Connection:
    def __init__(self) -> None:
        self.recorder = Recorder()

    def channel(self) -> Recorder:
        return self.recorder


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
@pytest.mark.parametrize("prefix", ["", "mine"])
def test_kombu_declares_the_same(queue_type: str, prefix: str) -> None:
    connection = Connection()
    theirs.declare_native_delayed_delivery_exchanges_and_queues(connection, queue_type, prefix)
    assert calls(delayed.delayed_topology(queue_type, prefix)) == connection.recorder.calls
    assert len(connection.recorder.calls) == 28 * 4 + 1


@pytest.mark.parametrize("kind", ["topic", "fanout", "headers", "direct"])
@pytest.mark.parametrize("key", ["rk", "#.rk", "#"])
@pytest.mark.parametrize("prefix", ["", "mine"])
def test_kombu_binds_task_queues_the_same(kind: str, key: str, prefix: str) -> None:
    connection = Connection()
    queue = kombu.Queue("q", kombu.Exchange("x", kind), key)
    theirs.bind_queue_to_native_delayed_delivery_exchange(connection, queue, prefix)
    assert calls(delayed.delayed_bindings("q", Exchange("x", kind), key, prefix)) == connection.recorder.calls
    assert bool(connection.recorder.calls) is (kind != "direct")


def test_names() -> None:
    assert delayed.entry_exchange() == "celery_delayed_27" == theirs.level_name(theirs.MAX_LEVEL)
    assert delayed.delivery_exchange() == theirs.CELERY_DELAYED_DELIVERY_EXCHANGE
    assert delayed.level_name(3, "mine") == theirs.level_name(3, "mine")


def test_a_queue_type_that_is_none() -> None:
    with pytest.raises(BadCall, match="quorum or classic, not 'stream'"):
        delayed.delayed_topology("stream")


keys = st.text("ab01.", min_size=1, max_size=12)


@given(st.integers(1, delayed.MAX_DELAY), keys)
def test_routing_keys_are_kombus_and_read_back(seconds: int, key: str) -> None:
    written = delayed.delayed_routing_key(seconds, key)
    assert written == theirs.calculate_routing_key(seconds, key)
    assert delayed.parse_delayed_routing_key(written) == Delayed(seconds, key)
    again = delayed.delayed_routing_key(seconds, written)
    assert again == written == theirs.calculate_routing_key(seconds, written)


@pytest.mark.parametrize(
    "key",
    ["", "rk", "0." * 27 + "rk", "0." * 27 + "2.rk", "0" * 56, "0." * 27 + "0", "0." * 27 + "0;rk", "0," * 28 + "rk"],
)
def test_a_key_without_a_delay(key: str) -> None:
    assert delayed.parse_delayed_routing_key(key) is None


def test_a_delay_of_zero_is_read() -> None:
    assert delayed.parse_delayed_routing_key("0." * 28) == Delayed(0, "")


@pytest.mark.parametrize(
    ("seconds", "key", "why"),
    [(0, "rk", "a whole second at least, got 0"), (-5, "rk", "got -5"), (1, "", "a routing key")],
)
def test_what_kombu_refuses_too(seconds: int, key: str, why: str) -> None:
    with pytest.raises(BadCall, match=why):
        delayed.delayed_routing_key(seconds, key)
    with pytest.raises(ValueError, match="must be"):
        theirs.calculate_routing_key(seconds, key)


def test_a_delay_beyond_the_levels_waits_as_long_as_they_reach() -> None:
    # kombu writes 29 digits here, and the message comes back after half the time under a key nobody bound
    assert delayed.delayed_routing_key(1 << 28, "rk") == "1." * 28 + "rk"
    assert delayed.delayed_routing_key(9, "rk", levels=3) == "1.1.1.rk"


@pytest.mark.parametrize(
    ("seconds", "exchange_type", "expected"),
    [
        (5.9, "topic", Delayed(5, "rk")),
        (1, "headers", Delayed(1, "rk")),
        (1e300, "topic", Delayed(delayed.MAX_DELAY, "rk")),
        (math.inf, "topic", Delayed(delayed.MAX_DELAY, "rk")),
        (0.99, "topic", None),
        (-5, "topic", None),
        (math.nan, "topic", None),
        (5, "direct", None),
    ],
)
def test_routes(seconds: float, exchange_type: str, expected: Delayed | None) -> None:
    route = delayed.delayed_route(seconds, exchange_type, "rk")
    if expected is None:
        assert route is None
    else:
        assert route is not None
        assert route[0] == "celery_delayed_27"
        assert delayed.parse_delayed_routing_key(route[1]) == expected


def test_a_route_with_a_prefix() -> None:
    assert delayed.delayed_route(1, "topic", "rk", "mine") == ("mine_celery_delayed_27", "0." * 27 + "1.rk")
