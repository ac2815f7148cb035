"""An envelope of which almost all is known: from particulars to the bytes that go into a Redis list, in one step.

Law: the same bytes as `envelope.Frame.fill` makes of `template.Template.pieces`.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Sequence
from operator import itemgetter

from ..hints import Any
from .envelope import Frame
from .quoting import quoted
from .template import Particulars, Template, Writer, kin_places, texts_of


class EnvelopeTemplate:
    """One `Template` to one queue. Bodies travel in base64."""

    __slots__ = ("_body", "_constant", "_line", "_pick", "_places", "writer")

    def __init__(self, template: Template, routing_key: str, priority: int) -> None:
        frame = Frame.of(template.content_type, template.content_encoding, "", routing_key, priority)
        headers, properties = template.headers_text, template.properties_text
        comma = "" if properties.text == "{}" else ", "
        text = (
            f'{{"body": "%s"{_literal(frame.before_headers)}{headers.text}'
            f', "properties": {properties.text[:-1]}{comma}{_literal(frame.before_tag)}"%s"}}}}'
        )
        # The texts of the particulars stand between the body and the tag.
        self._places = (*headers.places, *properties.places)
        self._constant = (text % ((_HOLE,) * (len(self._places) + 2))).split(_HOLE)
        self._line = _with_holes(self._constant)
        self._pick: Callable[[tuple[str, ...]], Any] = itemgetter(0, *(place + 1 for place in self._places), -1)
        self.writer = template.writer
        self._body = template.body

    def fill(self, given: Particulars, delivery_tag: str) -> bytes:
        """`delivery_tag` is plain: an id, nothing that JSON would write otherwise."""
        body = b2a_base64(self._body(given[1], given[2]), newline=False).decode("ascii")
        line = self._line.copy()
        line[1::2] = self._pick((body, *texts_of(given), delivery_tag))
        return "".join(line).encode()

    def kin(self, root_id: str | None = None, parent_id: str | None = None, group: str | None = None) -> EnvelopeKin:
        """For the messages that have these in common, and no eta."""
        common = texts_of(Particulars("", root_id=root_id, parent_id=parent_id, group=group))
        known = self._constant
        constant, holes = [known[0], known[1]], [0]
        for place, behind in zip(kin_places(self._places, root_id), known[2:-1], strict=True):
            if place < 0:
                constant[-1] += common[~place] + behind
            else:
                holes.append(place + 1)
                constant.append(behind)
        return EnvelopeKin([*constant, known[-1]], (*holes, -1))


class EnvelopeKin:
    """An `EnvelopeTemplate` of which more is known."""

    __slots__ = ("_constant", "_holes")

    def __init__(self, constant: Sequence[str], holes: tuple[int, ...]) -> None:
        self._constant = constant
        self._holes = holes

    def filler(self, write: Writer, new_tag: Callable[[], str]) -> Callable[[str, Any, Any, int | None], bytes]:
        """From id, args, kwargs and the place in the group to what `EnvelopeTemplate.fill` writes of these and of what
        `write` makes of them. All in one step: this is where a producer's time goes."""
        if self._holes == _USUAL:
            a, b, c, d, e, f, g, h, i = self._constant

            def usual(task_id: str, args: Any, kwargs: Any, group_index: int | None) -> bytes:
                body, argsrepr, kwargsrepr = write(args, kwargs)
                written = b2a_base64(body, newline=False).decode("ascii")
                own, index = quoted(task_id), "null" if group_index is None else group_index
                return (
                    f"{a}{written}{b}{own}{c}{index}{d}{own}{e}{quoted(argsrepr)}{f}{quoted(kwargsrepr)}"
                    f"{g}{own}{h}{new_tag()}{i}"
                ).encode()

            return usual
        copy, join, pick = _with_holes(self._constant).copy, "".join, itemgetter(*self._holes)

        def fill(task_id: str, args: Any, kwargs: Any, group_index: int | None) -> bytes:
            body, argsrepr, kwargsrepr = write(args, kwargs)
            written = b2a_base64(body, newline=False).decode("ascii")
            index = "null" if group_index is None else str(group_index)
            line = copy()
            line[1::2] = pick((written, quoted(task_id), quoted(argsrepr), quoted(kwargsrepr), index, new_tag()))
            return join(line).encode()

        return fill


# The body, then the id, the place in the group, the root's id, both texts, the id as correlation_id, the tag.
_USUAL = (0, 1, 4, 1, 2, 3, 1, -1)
_HOLE = "\0"  # which JSON writes otherwise


def _with_holes(constant: Sequence[str]) -> list[str]:
    """What is constant stands in every second place; joining is three times as quick as formatting."""
    return [part for each in constant for part in (each, "")][:-1]


def _literal(text: str) -> str:
    return text.replace("%", "%%")
