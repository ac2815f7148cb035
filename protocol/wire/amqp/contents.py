"""A message as AMQP's content carries it: properties, headers and body to and from `Message`.

Law: `Message.properties` never holds what has a field of its own (content type, content encoding, headers).
"""

from __future__ import annotations

from collections.abc import Callable

from ...errors import BadCall
from ...hints import Any
from ..message import Message
from .headers import HeaderWriter
from .properties import WRITERS, TableReader, pack_flags, read_properties, write_properties
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


class _Field:
    """One property: how it is written, and how it was written last."""

    __slots__ = ("flag", "last", "name", "raw", "write")

    def __init__(self, flag: int, name: str, write: Callable[[Any], bytes]) -> None:
        self.flag = flag
        self.name = name
        self.write = write
        self.last: object = None
        self.raw = b""

    def fresh(self, value: Any) -> bytes:
        try:
            raw = self.write(value)
        except BadCall as why:
            raise BadCall(f"property {self.name}: {why}") from None
        if type(value) in _UNCHANGING:
            self.last, self.raw = value, raw
        return raw


class ContentWriter:
    """Writes messages like `write_message`, faster when most of one is as in the one before."""

    __slots__ = ("_fields", "_plans", "_write_headers")

    def __init__(self) -> None:
        self._fields = {name: _Field(flag, name, write) for flag, name, write in WRITERS}
        self._plans: dict[tuple[str, ...], list[_Field]] = {}
        self._write_headers = HeaderWriter().write

    def write(self, message: Message) -> bytes:
        properties, headers = message.properties, message.headers
        if type(headers) is not dict:
            return write_message(message)
        names = tuple(properties)
        plan = self._plans.get(names)
        if plan is None:
            plan = self._plan(names)
        flags = _HEADERS
        parts = [b""]
        fields = self._fields
        value: Any = message.content_type
        if value is not None:
            field = fields["content_type"]
            flags |= field.flag
            parts.append(field.raw if value is field.last else field.fresh(value))
        value = message.content_encoding
        if value is not None:
            field = fields["content_encoding"]
            flags |= field.flag
            parts.append(field.raw if value is field.last else field.fresh(value))
        parts.append(self._write_headers(headers))
        for field in plan:
            value = properties[field.name]
            if value is not None:
                flags |= field.flag
                parts.append(field.raw if value is field.last else field.fresh(value))
        parts[0] = pack_flags(flags)
        return b"".join(parts)

    def _plan(self, names: tuple[str, ...]) -> list[_Field]:
        """The fields of these properties in the order in which they are written."""
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        plan = [field for name, field in self._fields.items() if name in names and name not in _OWN]
        self._plans[names] = plan
        return plan


_OWN = frozenset({"content_type", "content_encoding", "application_headers"})
_HEADERS = 0x2000  # the flag of application_headers
_UNCHANGING = {str, int}
_PLANS = 64
