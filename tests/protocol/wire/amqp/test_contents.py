"""Messages to and from AMQP's properties."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire.amqp.contents import _PLANS, ContentWriter, read_message, write_message
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


@given(st.lists(messages, max_size=5))
def test_the_quick_writer_writes_the_same(several: list[Message]) -> None:
    writer = ContentWriter()
    for message in several + several:
        assert writer.write(message) == write_message(message)
        assert writer.write(message) == write_message(message)


def test_the_quick_writer_knows_a_message_by_what_it_holds_now() -> None:
    writer = ContentWriter()
    headers: dict[str, Any] = {"limits": [None, 1], "n": 1}
    message = Message(b"", "a", None, headers, {"priority": 1, "unheard of": 2, "content_type": "b"})
    writer.write(message)
    headers["limits"][0] = 5
    assert writer.write(message) == write_message(message)
    for equal in (True, 1.0, 1):
        changed = Message(b"", "a", "b", {"limits": [], "n": equal}, {"priority": None, "reply_to": b"r"})
        assert writer.write(changed) == write_message(changed)


def test_the_quick_writer_remembers_only_so_many_sets_of_properties() -> None:
    writer = ContentWriter()
    for number in range(_PLANS + 2):
        writer.write(Message(b"", properties={f"p{number}": 1}))
    assert len(writer._plans) == 2


def test_the_quick_writer_refuses_what_the_other_refuses() -> None:
    for message in (
        Message(b"", properties={"priority": 300}),
        Message(b"", properties={"reply_to": "x" * 300}),
        Message(b"", headers={"x": object()}),
        Message(b"", headers=[]),  # type: ignore[arg-type]
    ):
        refusals = []
        for write in (ContentWriter().write, write_message):
            with pytest.raises(BadCall) as caught:
                write(message)
            refusals.append(str(caught.value))
        assert refusals[0].removeprefix("property application_headers: ") == refusals[1].removeprefix(
            "property application_headers: "
        )
