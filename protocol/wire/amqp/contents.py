"""A message as AMQP's content carries it: properties, headers and body to and from `Message`.

Law: `Message.properties` never holds what has a field of its own (content type, content encoding, headers).
"""

from __future__ import annotations

from ..message import Message
from .properties import TableReader, read_properties, write_properties
from .table import read_table


def read_message(properties: bytes, body: bytes, table_reader: TableReader = read_table) -> Message:
    """What the transport carried. No headers and empty headers are the same to a reader."""
    found = read_properties(properties, table_reader)
    return Message(
        body=body,
        content_type=found.pop("content_type", None),
        content_encoding=found.pop("content_encoding", None),
        headers=found.pop("application_headers", {}),
        properties=found,
    )


def write_message(message: Message) -> bytes:
    """The message's properties. Headers are always there, if only as an empty table."""
    return write_properties(
        {
            **message.properties,
            "content_type": message.content_type,
            "content_encoding": message.content_encoding,
            "application_headers": message.headers,
        }
    )
