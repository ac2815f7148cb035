"""The handshake: py-amqp's answers, and what cannot be answered."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import amqp
import pytest
from amqp import sasl, spec
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire.amqp import handshake

START = {
    "version_major": 0,
    "version_minor": 9,
    "server_properties": {"product": "RabbitMQ", "capabilities": dict.fromkeys(handshake.CAPABILITIES, True)},
    "mechanisms": "AMQPLAIN PLAIN EXTERNAL",
    "locales": "en_US",
}


class Answering(amqp.Connection):
    """py-amqp, asked what it would send."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent: list[Any] = []

    def send_method(self, *what: Any, **_: Any) -> None:
        sig, _layout, args = what
        self.sent.append((sig, args))


@pytest.mark.parametrize("method", ["PLAIN", "AMQPLAIN", "EXTERNAL"])
@pytest.mark.parametrize("able", [handshake.CAPABILITIES, handshake.CAPABILITIES[1:2], ()])
def test_py_amqp_starts_the_same(method: str, able: tuple[str, ...]) -> None:
    start = START | {"server_properties": {"capabilities": {**dict.fromkeys(able, True), "basic.nack": True}}}
    theirs = Answering(userid="me", password="sécret", login_method=method)
    theirs._on_start(0, 9, start["server_properties"], start["mechanisms"], "en_US")
    ours = handshake.start_ok(
        start, "me", "sécret", login_methods=(method,), product="py-amqp", version=amqp.__version__
    )
    sig, (client_properties, mechanism, response, locale) = theirs.sent[0]
    assert sig == spec.Connection.StartOk
    assert ours == {
        "client_properties": client_properties, "mechanism": mechanism.decode(), "response": response or b"", "locale": locale,
    }  # fmt: skip


def test_responses_are_py_amqps() -> None:
    assert handshake.plain("u", "p") == sasl.PLAIN("u", "p").start(None)
    assert handshake.amqplain("u", "p") == sasl.AMQPLAIN("u", "p").start(None)
    assert handshake.external("u", "p") == sasl.EXTERNAL().start(None)


def test_the_first_login_method_that_both_know() -> None:
    chosen = handshake.start_ok(START, "u", "p")
    assert (chosen["mechanism"], chosen["response"]) == ("PLAIN", b"\0u\0p")
    assert chosen["client_properties"]["product"] == "celeriac"
    assert handshake.start_ok(START | {"mechanisms": "AMQPLAIN"}, "u", "p")["mechanism"] == "AMQPLAIN"


def test_own_client_properties() -> None:
    answer = handshake.start_ok(START, "u", "p", version="1", properties={"connection_name": "w1"}, locale="de_DE")
    assert answer["locale"] == "de_DE"
    assert answer["client_properties"] == {
        "product": "celeriac", "product_version": "1", "connection_name": "w1",
        "capabilities": dict.fromkeys(handshake.CAPABILITIES, True),
    }  # fmt: skip


@pytest.mark.parametrize("properties", [{}, {"capabilities": None}, {"capabilities": [1]}, [1], None])
def test_odd_server_properties_offer_nothing(properties: object) -> None:
    answer = handshake.start_ok(START | {"server_properties": properties}, "u", "p")
    assert "capabilities" not in answer["client_properties"]


def test_what_cannot_be_answered() -> None:
    with pytest.raises(BadMessage, match="mechanisms: the server offers GSSAPI, we can PLAIN AMQPLAIN"):
        handshake.start_ok(START | {"mechanisms": "GSSAPI"}, "u", "p")
    with pytest.raises(BadMessage, match="offers nothing"):
        handshake.start_ok(START | {"mechanisms": ""}, "u", "p")
    with pytest.raises(BadCall, match="unknown login method KERBEROS; there are PLAIN, AMQPLAIN, EXTERNAL"):
        handshake.start_ok(START, "u", "p", login_methods=("PLAIN", "KERBEROS"))


@given(
    st.integers(0, 0xFFFF),
    st.just(0) | st.integers(handshake.FRAME_MIN, handshake.FRAME_LIMIT),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
)
def test_py_amqp_tunes_the_same(channel_max: int, frame_max: int, server: int, client: int) -> None:
    theirs = Answering(heartbeat=client)
    theirs.transport = Mock()
    theirs._on_tune(channel_max, frame_max, server)
    ours = handshake.tune_ok({"channel_max": channel_max, "frame_max": frame_max, "heartbeat": server}, client)
    assert tuple(ours.values()) == theirs.sent[0][1]


def test_frames_that_are_too_small_or_too_large() -> None:
    tune = {"channel_max": 0, "frame_max": 4095, "heartbeat": 0}
    with pytest.raises(BadMessage, match="frame_max: 4096 at least, got 4095"):
        handshake.tune_ok(tune)
    assert handshake.tune_ok(tune | {"frame_max": 1 << 31})["frame_max"] == handshake.FRAME_LIMIT


def test_closes() -> None:
    closed = handshake.read_close(
        {"reply_code": 404, "reply_text": "NOT_FOUND - no queue 'q'", "class_id": 50, "method_id": 10}
    )
    assert closed == (404, "not-found", "NOT_FOUND - no queue 'q'", "queue.declare")
    assert str(closed) == "404 not-found (NOT_FOUND - no queue 'q') queue.declare"
    assert not handshake.is_orderly(closed)
    assert str(handshake.read_close(handshake.orderly_close())) == "0"
    assert handshake.read_close({"reply_code": 999, "reply_text": "", "class_id": 0, "method_id": 0}).name == ""
    assert handshake.is_orderly(handshake.Closed(200, "reply-success", "Goodbye", ""))


def test_open() -> None:
    assert handshake.open_connection("/") == {"virtual_host": "/", "capabilities": "", "insist": False}
