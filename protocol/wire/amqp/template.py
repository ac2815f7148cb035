"""The AMQP properties of a task message of which almost all is known: the bytes that stay the same are kept.

Law: the same bytes as `contents.write_message` makes of `template.message`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..template import Particulars, Template, values_of
from .headers import TableTemplate
from .properties import WRITERS, pack_flags

_HEADERS = "application_headers"


class ContentTemplate:
    """One `wire.template.Template` as a RabbitMQ producer needs it: `Parcel.content`."""

    __slots__ = ("_before", "_behind", "_slots", "_steps", "_table")

    def __init__(self, template: Template) -> None:
        self._table = TableTemplate(template.headers, [name for name, _ in template.header_slots])
        self._slots = [slot for _, slot in template.header_slots]
        known = {
            **template.properties,
            "content_type": template.content_type,
            "content_encoding": template.content_encoding,
            _HEADERS: template.headers,
        }
        holes = dict(template.property_slots)
        flags = 0
        runs = [b""]
        steps: list[tuple[str, Callable[[Any], bytes], int]] = []
        for flag, name, write in WRITERS:
            if known.get(name) is None:
                continue
            flags |= flag
            if name == _HEADERS:
                runs.append(b"")
            elif name in holes:
                steps.append((holes[name], write, len(runs)))
                runs += [b"", b""]
            else:
                runs[-1] += write(known[name])
        self._before = pack_flags(flags) + runs[0]
        self._behind = runs[1:]
        self._steps = [(slot, write, place - 1) for slot, write, place in steps]

    def fill(self, given: Particulars) -> bytes:
        """The properties, headers among them, of a message with these particulars."""
        values = values_of(given)
        behind = self._behind.copy()
        for slot, write, place in self._steps:
            behind[place] = write(values[slot])
        return b"".join((self._before, self._table.fill(*[values[slot] for slot in self._slots]), *behind))
