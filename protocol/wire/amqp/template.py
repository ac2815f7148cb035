"""The AMQP properties of a task message of which almost all is known: the bytes that stay the same are kept.

Law: the same bytes as `contents.write_message` makes of `template.message`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from struct import Struct

from ...hints import Any
from ..template import Particulars, Template, kin_places, values_of
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

    __slots__ = ("_before", "_behind", "_line", "_pick", "_steps")

    def __init__(
        self,
        before: bytes,
        constant: Sequence[bytes],
        holes: Sequence[int],
        behind: list[bytes],
        steps: list[tuple[Callable[[Any], bytes], int]],
    ) -> None:
        self._before = before
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

    def publisher(self, call: bytes, channel: int, write_body: Callable[[Any, Any], bytes]) -> Publisher:
        """Writes whole messages to one place, `call` (`frames.publish_call`) in front.

        They are as `frames.write_publish` makes them, in frames that any connection takes. Those that need more get
        their properties and their body, for that function. All in one step: on cold caches each call counts.
        """
        fill, join, texts, shorts = self.fill, b"".join, _TEXTS, _SHORTS
        copy, pick = self._line.copy, self._pick
        if len(self._steps) != 1:  # not the usual message

            def in_two(
                task_id: str, args: Any, kwargs: Any, argsrepr: str, kwargsrepr: str, group_index: int | None
            ) -> tuple[bytes, bytes]:
                return fill(task_id, argsrepr, kwargsrepr, group_index), write_body(args, kwargs)

            return in_two
        place = self._steps[0][1]
        front, back = b"".join(self._behind[:place]), b"".join(self._behind[place:])
        start = call + prefix_of(HEADER, channel)
        # The header frame's size; class, weight, size of the body; flags and what stands before the table; its size.
        head = Struct(f">IHHQ{len(self._before)}sI").pack
        before, constant = self._before, 16 + len(self._before) + len(front) + len(back)
        back += b"\xce" + prefix_of(BODY, channel)

        def whole(
            task_id: str, args: Any, kwargs: Any, argsrepr: str, kwargsrepr: str, group_index: int | None
        ) -> bytes | tuple[bytes, bytes]:
            body = write_body(args, kwargs)
            size = len(body)
            try:
                own, shown, named = task_id.encode(), argsrepr.encode(), kwargsrepr.encode()
                short = shorts[len(own)] + own
                values = (
                    texts[len(own)] + own,
                    texts[len(shown)] + shown,
                    texts[len(named)] + named,
                    _VOID if group_index is None else write_value(group_index),
                )
            except (AttributeError, UnicodeEncodeError, IndexError):  # longer, or written in a way of their own
                return fill(task_id, argsrepr, kwargsrepr, group_index), body
            line = copy()
            line[1::2] = pick(values)[:-2]
            table = join(line)
            header = constant + len(table) + len(short)
            if header > _ROOM or not 0 < size <= _ROOM:
                return fill(task_id, argsrepr, kwargsrepr, group_index), body
            opening = head(header, BASIC, 0, size, before, len(table))
            return join((start, opening, table, front, short, back, _pack_length(size), body, b"\xce"))

        return whole


Publisher = Callable[[str, Any, Any, str, str, "int | None"], "bytes | tuple[bytes, bytes]"]
"""From id, args, kwargs, the texts of both and the place in the group."""

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
_SHORTS = tuple(bytes((size,)) for size in range(256))  # what stands before a text of so many bytes
_TEXTS = tuple(b"S" + _pack_length(size) for size in range(256))
