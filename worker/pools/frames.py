"""What goes through the socket between a parent and a child: batches of jobs one way, their reports the other.

Law: a frame is its length and then its content; the content is marshal's, the quickest there is for plain values, or
pickle's where a header holds more than those (a date of AMQP's). Both ends are the same program on the same machine,
and nobody else has the socket: what came off a broker is inside as data and is not executed by reading.
"""

from __future__ import annotations

import marshal
import pickle
import struct
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, cast

from ...protocol.rules.outcome import Fate, Report
from ...protocol.wire.message import Message
from ...protocol.wire.sealed import Sealed
from .base import Job

_HEAD = struct.Struct("=IqB")
_MARSHAL, _PICKLE = 0, 1
_FATES = tuple(Fate)
_FIRST = _FATES[0]
_PLACE_OF = {fate: place for place, fate in enumerate(_FATES)}

Done = tuple[int, float, Report]
"""A job's number, how long it took, what it came to. A job that is given back unbegun took -1."""


def pack(number: int, content: Any) -> bytes:
    """A frame. `number` is the batch's."""
    try:
        kind, data = _MARSHAL, marshal.dumps(content)
    except ValueError:
        kind, data = _PICKLE, pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
    return _HEAD.pack(len(data), number, kind) + data


class Reader:
    """Takes bytes as they come and gives the frames that are whole."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, Any]]:
        self._buffer += data
        return self._frames()

    def _frames(self) -> Iterator[tuple[int, Any]]:
        at, size = 0, len(self._buffer)
        try:
            while size - at >= _HEAD.size:
                length, number, kind = _HEAD.unpack_from(self._buffer, at)
                end = at + _HEAD.size + length
                if end > size:
                    break
                data = bytes(self._buffer[at + _HEAD.size : end])
                at = end
                # Only our own other half writes here.
                yield number, marshal.loads(data) if kind == _MARSHAL else pickle.loads(data)  # noqa: S301, S302
        finally:
            del self._buffer[:at]


def job_values(job: Job) -> tuple[Any, ...]:
    message: Any = job.message
    if type(message) is Sealed:
        return (message.parts, *job[:_MESSAGE], *job[_MESSAGE + 1 :])
    return (*_message_values(message), *job[:_MESSAGE], *job[_MESSAGE + 1 :])


_MESSAGE = Job._fields.index("message")
_SEALED = len(Job._fields)
_message_values = attrgetter("body", "content_type", "content_encoding", "headers", "properties")


def job_of(values: Sequence[Any]) -> Job:
    if len(values) == _SEALED:
        # As `Job(...)` makes it, without its dozen of arguments.
        return tuple.__new__(Job, (*values[1:4], cast("Message", Sealed(values[0])), *values[4:]))
    number, task, task_id, *rest = values[5:]
    return Job(number, task, task_id, Message(*values[:5]), *rest)


def done_values(done: Done) -> tuple[Any, ...]:
    number, took, report = done
    return number, took, report[0], 0 if report[1] is _FIRST else _PLACE_OF[report[1]], *report[2:]


def report_of(values: Sequence[Any]) -> Done:
    number, took, state, fate, *rest = values
    # As `Report(...)` makes it, without its arguments.
    return number, took, tuple.__new__(Report, (state, _FATES[fate], *rest))
