"""RESP, the bytes between us and Redis: commands out (`pack`), replies in (`Parser`), RESP2 and RESP3 alike.

Law: no socket. Replies are values, errors among them; what is not RESP is `BadMessage`, and after it the stream
is lost. Memory follows what arrived: a length that is announced costs nothing until its bytes are there.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import BadCall, BadMessage, shown
from ..hints import Any
from ..values import dataclass

Argument = bytes | str | int | float
Command = tuple[Argument, ...]

MAX_LINE = 65_536
MAX_BULK = 512 * 1024 * 1024  # Redis' own default bound, proto-max-bulk-len
MAX_ITEMS = 2**31 - 1
MAX_DEPTH = 64
_MAX_INTEGER = 20  # digits and sign of 64 bits
_FEW_DIGITS = 8  # of a length that need not be looked at
_MAX_DIGITS = 4_300  # what Python converts without being asked twice
_WHAT = "RESP"


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error that the server answered: its first word, and the whole line."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Push:
    """What a RESP3 server sends unasked: pub/sub messages, invalidations."""

    items: tuple[Any, ...]


def pack(*commands: Command | bytes) -> bytes:
    """Commands as one run of bytes; one that is bytes is packed already. Floats are written as Python shows them,
    which is how kombu scores deliveries."""
    parts: list[bytes] = []
    add = parts.append
    for command in commands:
        if not command:
            raise BadCall("a Redis command has at least a name")
        if type(command) is bytes:
            add(command)
            continue
        add(b"*%d\r\n" % len(command))
        for argument in command:
            data = argument if type(argument) is bytes else _argument(argument)
            parts += (b"$%d\r\n" % len(data), data, b"\r\n")  # and not one text of them: messages are copied once
    return b"".join(parts)


def _argument(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as problem:
            raise BadCall(f"not text that UTF-8 can hold: {shown(value)}") from problem
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value).encode()
    raise BadCall(f"not an argument of a Redis command: {shown(value)}")


class _Frame:
    """An aggregate whose items are still arriving."""

    __slots__ = ("finish", "items", "left")

    def __init__(self, left: int, finish: Callable[[list[Any]], Any]) -> None:
        self.left = left
        self.finish = finish
        self.items: list[Any] = []


class Parser:
    """Bytes in, split anywhere; complete replies out.

    Replies before the first wrong byte are still handed out; the call after them raises, and so does every later one.
    """

    __slots__ = ("_broken", "_chunks", "_have", "_need", "_stack")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = 0
        self._stack: list[_Frame] = []
        self._broken: BadMessage | None = None

    @property
    def broken(self) -> BadMessage | None:
        """Why nothing more can be read from this stream, or None."""
        return self._broken

    @property
    def idle(self) -> bool:
        """No reply is half read: the stream may end or be left alone here."""
        return not (self._chunks or self._stack)

    def feed(self, data: bytes) -> list[Any]:
        """The replies that these bytes complete."""
        if self._broken is not None:
            raise self._broken
        if data[:1] == b":" and data[-2:] == b"\r\n" and len(data) < _MAX_INTEGER and self.idle:
            number = data[1:-2]
            if number.isdigit():  # a whole reply, and what most commands of a producer are answered with
                return [int(number)]
        self._have += len(data)
        if self._chunks:
            self._chunks.append(data)
            if self._have < self._need:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
        ready: list[Any] = []
        try:
            used = self._read(data, ready)
        except BadMessage as problem:
            self._broken = problem
            if not ready:
                raise
            return ready
        if used < len(data):
            self._chunks.append(data[used:])
        self._have = len(data) - used
        return ready

    def _read(self, data: bytes, ready: list[Any]) -> int:  # noqa: PLR0915 - one loop over every byte that Redis says
        """Reads what is complete, says how many bytes that was, and leaves in `_need` how many the rest must become."""
        stack = self._stack
        find, add = data.find, ready.append
        position, size = 0, len(data)
        while position < size:
            end = find(b"\r\n", position, position + MAX_LINE)
            if end < 0:
                if size - position >= MAX_LINE:
                    raise BadMessage(_WHAT, f"a line longer than {MAX_LINE} bytes")
                self._need = size - position + 1
                return position
            kind = data[position : position + 1]
            line = data[position + 1 : end]
            after = end + 2
            value: Any
            if kind == b"+":  # the usual kinds first
                value = line
            elif kind == b":":
                value = int(line) if line.isdigit() and end - position < _MAX_INTEGER else _integer(line)
            elif kind in _BULK:
                length = int(line) if line.isdigit() and end - position < _FEW_DIGITS else _length(line, MAX_BULK)
                if length < 0:
                    value = None
                else:
                    stop = after + length
                    if stop + 2 > size:
                        self._need = stop + 2 - position
                        return position
                    if data[stop : stop + 2] != b"\r\n":
                        raise BadMessage(_WHAT, "a bulk string that does not end where its length says")
                    value, decode = data[after:stop], _BULK[kind]
                    if decode is not None:
                        value = decode(value)
                    after = stop + 2
            elif kind in _LINES:
                value = _LINES[kind](line)
            elif kind in _AGGREGATES:
                each, finish = _AGGREGATES[kind]
                length = _length(line, MAX_ITEMS)
                if length > 0:
                    if len(stack) >= MAX_DEPTH:
                        raise BadMessage(_WHAT, f"replies nested deeper than {MAX_DEPTH}")
                    stack.append(_Frame(length * each, finish))
                    position = after
                    continue
                value = None if length < 0 else finish([])
            else:
                raise BadMessage(_WHAT, f"no reply begins with {shown(kind)}")
            position = after
            if stack:
                if value is not _NOTHING and (frame := stack[-1]).left > 1:
                    frame.items.append(value)
                    frame.left -= 1
                    continue
                value = self._finished(value)
                if value is _UNFINISHED:
                    continue
            if value is not _NOTHING:
                add(value)
        return position

    def _finished(self, value: Any) -> Any:
        """Puts a value into the aggregates that wait for it; the outermost one, if that completes it."""
        stack = self._stack
        while stack:
            if value is _NOTHING:
                return _UNFINISHED
            frame = stack[-1]
            frame.items.append(value)
            frame.left -= 1
            if frame.left:
                return _UNFINISHED
            stack.pop()
            value = frame.finish(frame.items)
        return value


_UNFINISHED = object()
_NOTHING = object()  # an attribute: it says something about the next reply, and is none itself


def _length(line: bytes, most: int) -> int:
    if line == b"-1":
        return -1
    if line.isdigit() and len(line) <= _MAX_INTEGER:
        length = int(line)
        if length <= most:
            return length
    raise BadMessage(_WHAT, f"not a length up to {most}: {shown(line)}")


def _integer(line: bytes, most: int = _MAX_INTEGER) -> int:
    digits = line[1:] if line[:1] in (b"-", b"+") else line
    if not digits.isdigit() or len(line) > most:
        raise BadMessage(_WHAT, f"not an integer: {shown(line)}")
    return int(line)


def _big(line: bytes) -> int:
    return _integer(line, _MAX_DIGITS)


def _double(line: bytes) -> float:
    try:
        return float(line)
    except ValueError:
        raise BadMessage(_WHAT, f"not a number: {shown(line)}") from None


def _boolean(line: bytes) -> bool:
    if line in (b"t", b"f"):
        return line == b"t"
    raise BadMessage(_WHAT, f"not a boolean: {shown(line)}")


def _null(line: bytes) -> None:
    if line:
        raise BadMessage(_WHAT, f"null with something in it: {shown(line)}")


def _error(line: bytes) -> ErrorReply:
    text = line.decode(errors="replace")
    return ErrorReply(text.partition(" ")[0], text)


def _verbatim(data: bytes) -> bytes:
    if data[3:4] != b":":
        raise BadMessage(_WHAT, f"a verbatim string without its format: {shown(data)}")
    return data[4:]


def _array(items: list[Any]) -> list[Any]:
    return items


def _map(items: list[Any]) -> dict[Any, Any]:
    try:
        return dict(zip(items[::2], items[1::2], strict=True))
    except TypeError:
        raise BadMessage(_WHAT, "a map with a key that is itself a list or a map") from None


def _push(items: list[Any]) -> Push:
    return Push(tuple(items))


def _attribute(_: list[Any]) -> object:
    return _NOTHING


_BULK: dict[bytes, Callable[[bytes], Any] | None] = {b"$": None, b"=": _verbatim, b"!": _error}
_LINES: dict[bytes, Callable[[bytes], Any]] = {
    b"-": _error,
    b",": _double,
    b"#": _boolean,
    b"_": _null,
    b"(": _big,
}
# Kind of aggregate -> values per announced item, and what becomes of them.
_AGGREGATES: dict[bytes, tuple[int, Callable[[list[Any]], Any]]] = {
    b"*": (1, _array),
    b"~": (1, _array),
    b">": (1, _push),
    b"%": (2, _map),
    b"|": (2, _attribute),
}


def exec_values(reply: Any) -> list[Any]:
    """What the commands between MULTI and EXEC answered; `BadMessage` when the transaction did not run."""
    if isinstance(reply, ErrorReply):
        raise BadMessage("EXEC", reply.text)
    if not isinstance(reply, list):
        raise BadMessage("EXEC", f"not run, a watched key has changed: {shown(reply)}")
    for value in reply:
        if isinstance(value, ErrorReply):
            raise BadMessage("EXEC", value.text)
    return reply
