"""Messages to and from AMQP's properties."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.wire.amqp.contents import read_message, write_message
from celeriac.protocol.wire.amqp.headers import HeaderReader
from celeriac.protocol.wire.amqp.properties import read_properties, write_properties
from celeriac.protocol.wire.message import Message
from tests.protocol.wire.amqp.strategies import properties, tables, texts

OWN_FIELDS = {"content_type", "content_encoding", "application_headers"}
messages = st.builds(
    Message,
    body=st.binary(max_size=50),
    content_type=st.none() | texts,
    content_encoding=st.none() | texts,
    headers=tables,
    properties=properties.map(lambda all_: {name: value for name, value in all_.items() if name not in OWN_FIELDS}),
)


@given(messages)
def test_what_is_written_is_read(message: Message) -> None:
    assert read_message(write_message(message), message.body) == message


@given(messages)
def test_the_learned_reader_gives_the_same_message(message: Message) -> None:
    reader = HeaderReader()
    for _ in range(2):
        assert read_message(write_message(message), message.body, reader.read) == message


def test_own_fields_are_written_over_properties_of_their_names() -> None:
    message = Message(b"", "application/json", "utf-8", {"task": "a"}, {"priority": 3, "content_type": "text/plain"})
    assert read_properties(write_message(message)) == {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "application_headers": {"task": "a"},
        "priority": 3,
    }


def test_a_bare_message() -> None:
    bare: dict[str, Any] = {}
    assert read_message(write_properties(bare), b"hi") == Message(b"hi", None, None, {}, {})
