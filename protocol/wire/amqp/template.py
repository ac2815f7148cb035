"""The AMQP properties of a task message of which almost all is known: the bytes that stay the same are kept.

Law: the same bytes as `contents.write_message` makes of `template.message`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from struct import Struct

from ...hints import Any
from ..template import Particulars, Template, Writer, kin_places, values_of
from .frames import BODY, HEADER, OVERHEAD, prefix_of
from .handshake import FRAME_MIN
from .headers import TableTemplate
from .properties import BASIC, WRITERS, pack_flags
from .table import LENGTH, write_value

_HEADERS = "application_headers"


class ContentTemplate:
    """One `wire.template.Template` as a RabbitMQ producer needs it: `Parcel.content`."""

    __slots__ = ("_before", "_behind", "_pick", "_places", "_steps", "_table")

    def __init__(self, template: Template) -> None:
        self._table = TableTemplate(template.headers, [name for name, _ in template.header_slots])
        places = self._places = [_PLACES[slot] for _, slot in template.header_slots]
        self._pick: Callable[[tuple[bytes, ...]], Any] = itemgetter(*places, places[0])  # two at least: a tuple
        known = {
            **template.properties,
            "content_type": template.content_type,
            "content_encoding": template.content_encoding,
            _HEADERS: template.headers,
        }
        holes = dict(template.property_slots)  # the id alone
        flags = 0
        runs = [b""]
        self._steps: list[tuple[Callable[[Any], bytes], int]] = []
        for flag, name, write in WRITERS:
            if known.get(name) is None:
                continue
            flags |= flag
            if name == _HEADERS:
                runs.append(b"")
            elif name in holes:
                self._steps.append((write, len(runs) - 1))
                runs += [b"", b""]
            else:
                runs[-1] += write(known[name])
        self._before = pack_flags(flags) + runs[0]
        self._behind = runs[1:]

    def fill(self, given: Particulars) -> bytes:
        """The properties, headers among them, of a message with these particulars."""
        behind = self._behind.copy()
        for write, place in self._steps:
            behind[place] = write(given[0])
        headers = self._table.fill_written(self._pick(_written(given))[:-1])
        return b"".join((self._before, headers, *behind))

    def kin(self, root_id: str | None = None, parent_id: str | None = None, group: str | None = None) -> ContentKin:
        """For the messages that have these in common, and no eta."""
        common = _written(Particulars("", root_id=root_id, parent_id=parent_id, group=group))
        first, *known = self._table.constant
        constant, holes = [first], []
        for place, behind in zip(kin_places(self._places, root_id), known, strict=True):
            if place < 0:
                constant[-1] += common[~place] + behind
            else:
                holes.append(place)
                constant.append(behind)
        return ContentKin(self._before, constant, holes, self._behind, self._steps)


class ContentKin:
    """A `ContentTemplate` of which more is known."""

    __slots__ = ("_before", "_behind", "_holes", "_line", "_pick", "_steps")

    def __init__(
        self,
        before: bytes,
        constant: Sequence[bytes],
        holes: Sequence[int],
        behind: list[bytes],
        steps: list[tuple[Callable[[Any], bytes], int]],
    ) -> None:
        self._before = before
        self._holes = tuple(holes)
        self._line = [part for each in constant for part in (each, b"")][:-1]
        self._pick: Callable[[tuple[bytes, ...]], Any] = itemgetter(*holes, 0, 0)  # two at least: a tuple
        self._behind = behind
        self._steps = steps

    def fill(self, task_id: str, argsrepr: str, kwargsrepr: str, group_index: int | None) -> bytes:
        """What `ContentTemplate.fill` writes of these."""
        own = _text(task_id)
        index = _VOID if group_index is None else write_value(group_index)
        line = self._line.copy()
        line[1::2] = self._pick((own, _text(argsrepr), _text(kwargsrepr), index))[:-2]
        table = b"".join(line)
        behind = self._behind.copy()
        for write, place in self._steps:
            behind[place] = write(task_id)
        return b"".join((self._before, LENGTH.pack(len(table)), table, *behind))

    def publisher(self, call: bytes, channel: int, write: Writer) -> Publisher:
        """Writes whole messages to one place, `call` (`frames.publish_call`) in front, of ids and what `write` makes.

        They are as `frames.write_publish` makes them, in frames that any connection takes. Those that need more get
        their properties and their body, for that function. All in one step: on cold caches each call counts.
        """
        fill, join, texts, end = self.fill, b"".join, _TEXTS, b"\xce"

        def in_two(task_id: str, args: Any, kwargs: Any, group_index: int | None) -> tuple[bytes, bytes]:
            body, argsrepr, kwargsrepr = write(args, kwargs)
            return fill(task_id, argsrepr, kwargsrepr, group_index), body

        own_root = self._holes == _OWN_ROOT
        if len(self._steps) != 1 or not (own_root or self._holes == _OTHER_ROOT):  # not the usual message
            return in_two
        # An id is as long as ids are, so what tells its length is constant, too.
        a, b, *root, d, e, f = self._line[::2]
        a, c = a + _TEXT_OF_ID, root[0] + _TEXT_OF_ID if own_root else b""
        before, place = self._before, self._steps[0][1]
        front, back = b"".join(self._behind[:place]) + _SHORT_OF_ID, b"".join(self._behind[place:])
        # Without the texts and the place in the group; of the header frame without its size.
        table = len(a + b + c + d + e + f) + (2 if own_root else 1) * _ID
        header = 16 + len(before) + table + len(front) + _ID + len(back)
        # The header frame's size; class, weight, size of the body; flags and what stands before the table; its size.
        head = Struct(f">IHHQ{len(before)}sI").pack
        start, f, back = call + prefix_of(HEADER, channel), f + front, back + end + prefix_of(BODY, channel)

        def whole(task_id: str, args: Any, kwargs: Any, group_index: int | None) -> bytes | tuple[bytes, bytes]:
            body, argsrepr, kwargsrepr = write(args, kwargs)
            try:
                own, shown, named = task_id.encode(), argsrepr.encode(), kwargsrepr.encode()
                shown, named = texts[len(shown)] + shown, texts[len(named)] + named
            except (AttributeError, UnicodeEncodeError, IndexError):  # longer, or written in a way of their own
                return fill(task_id, argsrepr, kwargsrepr, group_index), body
            index = _VOID if group_index is None else write_value(group_index)
            size, more = len(body), len(shown) + len(named) + len(index)
            if len(own) != _ID or header + more > _ROOM or not 0 < size <= _ROOM:
                return fill(task_id, argsrepr, kwargsrepr, group_index), body
            opening = head(header + more, BASIC, 0, size, before, table + more)
            root_id = own if own_root else b""
            line = a, own, b, index, c, root_id, d, shown, e, named, f, own, back
            return join((start, opening, *line, _pack_length(size), body, end))

        return whole


Publisher = Callable[[str, Any, Any, "int | None"], "bytes | tuple[bytes, bytes]"]
"""From id, args, kwargs and the place in the group."""

_ID = 36  # characters of an id
_ROOM = FRAME_MIN - OVERHEAD  # of a frame on any connection
_PLACES = {name: place for place, name in enumerate(values_of(Particulars("")))}
_VOID = write_value(None)


def _written(given: Particulars) -> tuple[bytes, ...]:
    """What goes into the slots, in their order, spelled out because this is where a producer's time goes."""
    task_id, _, _, argsrepr, kwargsrepr, root_id, parent_id, eta, group, group_index = given
    own = _text(task_id)
    return (
        own,
        _text(argsrepr),
        _text(kwargsrepr),
        _text(root_id) if root_id else own,
        _VOID if parent_id is None else _text(parent_id),
        _VOID if eta is None else _text(eta),
        _VOID if group is None else _text(group),
        _VOID if group_index is None else write_value(group_index),
    )


def _text(value: Any) -> bytes:
    try:
        raw = value.encode()
    except (AttributeError, UnicodeEncodeError):  # no text, or one that is written in a way of its own
        return write_value(value)
    return b"S%b%b" % (_pack_length(len(raw)), raw)


_pack_length = LENGTH.pack
_TEXTS = tuple(b"S" + _pack_length(size) for size in range(256))  # what stands before a text of so many bytes
_TEXT_OF_ID, _SHORT_OF_ID = _TEXTS[_ID], bytes((_ID,))
# Which of (id, argsrepr, kwargsrepr, group_index) go where, with the id as the root's and without.
_OWN_ROOT, _OTHER_ROOT = (0, 3, 0, 1, 2), (0, 3, 1, 2)
