"""Header tables on the hot path: read by a layout learned from the ones before, written from a template.

Law: speed only. `HeaderReader` never decides what is valid: a table that does not match a learned layout goes to
`read_table`, and what both can read they read alike. `TableTemplate` writes what `write_table` would write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import error

from ...errors import BadCall, BadMessage
from ...hints import Any
from .table import LENGTH, READERS, Reader, entries, read_length, read_table, text, write_key, write_value


class TableTemplate:
    """A table whose values are the same every time but for a few: those are filled in.

    >>> template = TableTemplate({"lang": "py", "id": None}, ["id"])
    >>> template.fill("1f") == write_table({"lang": "py", "id": "1f"})
    True
    """

    __slots__ = ("_parts", "_slots")

    def __init__(self, table: Mapping[str, Any], slots: Iterable[str]) -> None:
        wanted = set(slots)
        if not wanted <= table.keys():
            raise BadCall(f"template: the table has no {', '.join(sorted(wanted - table.keys()))}")
        self._parts: list[bytes] = [b""]
        self._slots = 0
        for key, value in table.items():
            if key in wanted:
                self._parts[-1] += write_key(key)
                self._slots += 1
                self._parts += [b"", b""]
            else:
                self._parts[-1] += b"".join(entries([(key, value)], 0))

    @property
    def constant(self) -> list[bytes]:
        """What stands before the first slot, between two, and behind the last."""
        return self._parts[::2]

    def fill(self, *values: Any) -> bytes:
        """The table with these values, which come in the order of its keys."""
        if len(values) != self._slots:
            raise BadCall(f"template: one value per slot, of which there are {self._slots}; got {len(values)}")
        return self.fill_written([write_value(value) for value in values])

    def fill_written(self, values: Sequence[bytes]) -> bytes:
        """The same of values that are bytes already, as `write_value` gives them: as many as there are slots."""
        parts = self._parts.copy()
        parts[1::2] = values
        table = b"".join(parts)
        return LENGTH.pack(len(table)) + table


class HeaderWriter:
    """Writes tables like `write_table`, faster when most keys and values are those of the table before."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: list[tuple[Any, Any, bytes]] = []

    def write(self, table: Mapping[Any, Any]) -> bytes:
        last = self._last
        if len(last) != len(table):
            last = self._last = [(None, _NOTHING, b"")] * len(table)
        parts: list[bytes] = []
        for place, (key, value) in enumerate(table.items()):
            last_key, last_value, entry = last[place]
            # The very same object: equal ones may be written differently (1, True and 1.0).
            if value is not last_value or key is not last_key:
                entry = b"".join(entries(((key, value),), 0))
                if type(value) in _UNCHANGING:
                    last[place] = (key, value, entry)
            parts.append(entry)
        body = b"".join(parts)
        return LENGTH.pack(len(body)) + body


_NOTHING = object()
_UNCHANGING = {str, int, float, bool, type(None)}
_SHAPES = 8  # layouts a reader remembers: a fleet has few kinds of senders


class HeaderReader:
    """Reads tables like `read_table`, faster when they are laid out like one it has read before."""

    __slots__ = ("_shapes",)

    def __init__(self) -> None:
        self._shapes: list[_Shape] = []

    def read(self, data: bytes, at: int = 0) -> tuple[dict[Any, Any], int]:
        for place, shape in enumerate(self._shapes):
            found = shape.match(data, at)
            if found is not None:
                if place:
                    self._shapes.insert(0, self._shapes.pop(place))
                return found
        table, end = read_table(data, at)
        learned = _Shape.of(data, at, end)
        if learned is not None:
            self._shapes.insert(0, learned)
            del self._shapes[_SHAPES:]
        return table, end


class _Shape:
    """One layout: runs of bytes that are always the same (keys, type letters, nulls) and the values between them."""

    __slots__ = ("fresh", "steps", "tail", "template")

    def __init__(self) -> None:
        self.steps: list[tuple[bytes, int, Any, Reader | None, int]] = []
        self.tail = b""
        self.template: dict[Any, Any] = {}
        self.fresh: list[tuple[Any, Any]] = []

    @classmethod
    def of(cls, data: bytes, at: int, end: int) -> _Shape | None:
        """The layout of a table that was read from these bytes; None when a key occurs twice."""
        shape = cls()
        run = at = at + 4
        while at < end:
            stop = at + 1 + data[at]
            key, letter = text(data[at + 1 : stop]), data[stop]
            reader = READERS[letter]
            value, at = reader(data, stop + 1, 1)
            if key in shape.template:
                return None
            shape.template[key] = None
            if letter in _SETTLED:
                shape.template[key] = value
            elif letter in _CONTAINERS and not any(item is not None for item in value):
                shape.fresh.append((key, value))  # [null, null], {} and []: a copy for each reading
            else:
                is_text = letter == _LONG_STRING
                # A text's run takes in the high bytes of its length: up to 255 bytes they are the same.
                shape.step(data[run : stop + 4 if is_text else stop + 1], key, None if is_text else reader)
                run = at
        shape.tail = data[run:end]
        return shape

    def step(self, run: bytes, key: Any, reader: Reader | None) -> None:
        high = int.from_bytes(run[-3:], "big") << 8 if reader is None else 0
        self.steps.append((run, len(run), key, reader, high))

    def match(self, data: bytes, at: int) -> tuple[dict[Any, Any], int] | None:
        """The table, if it has this layout. Whatever looks wrong is for the careful reader to judge."""
        table = self.template.copy()
        try:
            end = at + 4 + read_length(data, at)[0]
            at += 4
            for run, width, key, reader, high in self.steps:
                if not data.startswith(run, at):
                    return None
                at += width
                if reader is None:
                    stop = at + 1 + data[at] + high
                    table[key] = data[at + 1 : stop].decode()
                    at = stop
                else:
                    table[key], at = reader(data, at, 1)
        except (error, IndexError, UnicodeDecodeError, BadMessage):
            return None
        if at + len(self.tail) != end or not data.startswith(self.tail, at):
            return None
        for key, value in self.fresh:
            table[key] = value.copy()
        return table, end


_LONG_STRING = ord("S")
_SETTLED = {ord("V"), ord("t")}
_CONTAINERS = {ord("A"), ord("F")}
