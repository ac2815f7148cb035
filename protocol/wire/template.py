"""A task message of which almost all is known: what stays the same is written once, what changes is filled in.

Law: the same bytes as `message.build` makes of the same task. The constant part is taken from that builder with
placeholders in it, so whatever overrides a field there overrides it here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter

from ..errors import BadCall
from ..hints import Any, NamedTuple
from ..values import dataclass, replace
from .json import BUILTIN_TYPES, Unencodable, dumps
from .message import CODECS, Codecs, Headers, Message, Posting, Task, properties_of, shape_v2
from .quoting import quoted
from .reprs import FLAT, SAFE_INT, Shown, saferepr
from .serializers import BUILTIN, encode


class Particulars(NamedTuple):
    """What differs from one message of a template to the next."""

    id: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = {}
    argsrepr: str = "()"
    kwargsrepr: str = "{}"
    root_id: str | None = None
    parent_id: str | None = None
    eta: str | None = None
    group: str | None = None
    group_index: int | None = None


Writer = Callable[[Any, Any], "tuple[bytes, str, str]"]
"""From args and kwargs to the body and the texts of both."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """A message for an envelope: the properties lack the priority, which the envelope places itself."""

    body: bytes
    headers: str
    properties: str


class _Slot(str):
    """Holds the place of a field that is filled in later."""

    __slots__ = ()


_SLOTS: dict[str, Any] = {name: _Slot(name) for name in Particulars._fields if name not in ("args", "kwargs")}
_PLACES = {name: place for place, name in enumerate(_SLOTS)}


@dataclass(frozen=True, slots=True)
class Text:
    """A text with holes (`%s`), which of the particulars' texts go into them, and what picks those."""

    text: str
    places: tuple[int, ...]
    pick: Callable[[tuple[str, ...]], Any]


def fill(task: Task, given: Particulars) -> Task:
    """The task that a message filled with these carries; for the builder that makes everything anew."""
    return replace(task, **given._asdict())


@dataclass(frozen=True, slots=True)
class Template:
    """Compiled once for a task and its options; protocol 2 only.

    `headers` and `properties` hold placeholders in the fields that the slots name: which field, which particular.
    """

    task: Task
    posting: Posting
    content_type: str
    content_encoding: str
    _codecs: Codecs
    headers: Headers
    header_slots: tuple[tuple[str, str], ...]
    headers_text: Text
    properties: dict[str, Any]
    property_slots: tuple[tuple[str, str], ...]
    properties_text: Text
    body: Callable[[Any, Any], bytes]
    tail: str | None
    """What follows args and kwargs in a body that is plain JSON."""

    @classmethod
    def of(cls, task: Task, posting: Posting | None = None, codecs: Codecs | None = None) -> Template:
        if task.protocol != 2:  # noqa: PLR2004 - protocol 2
            raise BadCall(f"a template is of protocol 2, not {task.protocol!r}")
        posting, codecs = posting or Posting(), codecs or CODECS
        blank = replace(task, **_SLOTS)
        headers, (_, _, embed) = shape_v2(blank)
        content_type, content_encoding, _ = encode(((), {}, embed), posting.serializer, codecs.serializers)
        if posting.compression:
            from .compression import compress

            headers["compression"] = compress(b"", posting.compression, codecs.compressions)[1]
        properties = properties_of(_SLOTS["id"], posting)
        unplaced = {name: value for name, value in properties.items() if name != "priority"}
        return cls(
            task,
            posting,
            content_type,
            content_encoding,
            codecs,
            headers,
            _slots_in(headers),
            _text_of(headers),
            properties,
            _slots_in(properties),
            _text_of(unplaced),
            *_body_writer(embed, posting, codecs),
        )

    def message(self, given: Particulars) -> Message:
        """As a value, for transports that carry headers as a table."""
        values = values_of(given)
        headers, properties = self.headers.copy(), self.properties.copy()
        for name, slot in self.header_slots:
            headers[name] = values[slot]
        for name, slot in self.property_slots:
            properties[name] = values[slot]
        body = self.body(given.args, given.kwargs)
        return Message(body, self.content_type, self.content_encoding, headers, properties)

    def pieces(self, given: Particulars) -> Pieces:
        """As JSON, for `envelope.Frame`."""
        texts = texts_of(given)
        body = self.body(given.args, given.kwargs)
        headers, properties = self.headers_text, self.properties_text
        return Pieces(body, headers.text % headers.pick(texts), properties.text % properties.pick(texts))

    def writer(self, shown: Shown) -> Writer:
        """Bodies with the texts of their arguments, which cost less together."""
        body, tail = self.body, self.tail
        most_args, most_kwargs, levels = shown
        room = SAFE_INT if most_args is None else most_args
        low, high = -SAFE_INT, SAFE_INT

        def write(args: Any, kwargs: Any) -> tuple[bytes, str, str]:
            kind = type(args)
            if tail is not None and type(kwargs) is dict and not kwargs and (kind is tuple or kind is list):
                for item in args:
                    if type(item) is not int or not low < item < high:
                        break
                else:  # integers alone, as most arguments are: Python's text of them is Celery's, and inside JSON's
                    text = repr(args)
                    if len(text) <= room and len(args) <= FLAT:
                        inside = text[1:-2] if text[-2] == "," else text[1:-1]
                        return f"[[{inside}], {{}}{tail}".encode(), text, "{}"
            named = saferepr(kwargs, most_kwargs, levels) if kwargs else "{}"
            return body(args, kwargs), saferepr(args, most_args, levels), named

        return write


def values_of(given: Particulars) -> dict[str, Any]:
    """What goes into the slots, by name."""
    task_id, _, _, argsrepr, kwargsrepr, root_id, parent_id, eta, group, group_index = given
    return {
        "id": task_id,
        "argsrepr": argsrepr,
        "kwargsrepr": kwargsrepr,
        "root_id": root_id or task_id,
        "parent_id": parent_id,
        "eta": eta,
        "group": group,
        "group_index": group_index,
    }


def texts_of(given: Particulars) -> tuple[str, ...]:
    """The same as JSON in the order of `_SLOTS`, spelled out because this is where a producer's time goes."""
    task_id, _, _, argsrepr, kwargsrepr, root_id, parent_id, eta, group, group_index = given
    own = quoted(task_id)
    return (
        own,
        quoted(argsrepr),
        quoted(kwargsrepr),
        quoted(root_id) if root_id else own,
        "null" if parent_id is None else quoted(parent_id),
        "null" if eta is None else quoted(eta),
        "null" if group is None else quoted(group),
        "null" if group_index is None else str(group_index) if type(group_index) is int else dumps(group_index),
    )


# Where the particulars of calls of one kin stand: their id, which is the root's too if no other is, both texts, the
# place in the group. The rest they have in common.
_KIN = {_PLACES[name]: place for place, name in enumerate(("id", "argsrepr", "kwargsrepr", "group_index"))}


def kin_places(places: Iterable[int], root_id: str | None) -> Iterator[int]:
    """For each slot which of (id, argsrepr, kwargsrepr, group_index) goes there; what is in common as `~place`."""
    for place in places:
        found = 0 if place == _PLACES["root_id"] and not root_id else _KIN.get(place)
        yield ~place if found is None else found


def _slots_in(fields: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in fields.items() if type(value) is _Slot)


def _text_of(fields: Mapping[str, Any]) -> Text:
    """A JSON object with `%s` where a field is to be filled in."""
    places = [_PLACES[value] for value in fields.values() if type(value) is _Slot]
    members = (
        (quoted(name).replace("%", "%%"), "%s" if type(value) is _Slot else dumps(value).replace("%", "%%"))
        for name, value in fields.items()
    )
    text = "{" + ", ".join(f"{name}: {value}" for name, value in members) + "}"
    return Text(text, tuple(places), itemgetter(*places) if places else _nothing)


def _nothing(_texts: tuple[str, ...]) -> tuple[str, ...]:
    return ()


def _body_writer(embed: Any, posting: Posting, codecs: Codecs) -> tuple[Callable[[Any, Any], bytes], str | None]:
    """And the tail, see `Template`."""

    def whole(args: Any, kwargs: Any) -> bytes:
        return encode((args, kwargs, embed), posting.serializer, codecs.serializers).body

    plain = posting.serializer == "json" and codecs.serializers.get("json") is BUILTIN["json"]
    tail = f", {dumps(embed)}]" if plain else None
    write = whole if tail is None else _json_writer(tail)
    return (_packed(write, posting.compression, codecs), None) if posting.compression else (write, tail)


def _packed(write: Callable[[Any, Any], bytes], name: str, codecs: Codecs) -> Callable[[Any, Any], bytes]:
    from .compression import compress

    def packed(args: Any, kwargs: Any) -> bytes:
        return compress(write(args, kwargs), name, codecs.compressions)[0]

    return packed


def _json_writer(tail: str) -> Callable[[Any, Any], bytes]:
    """The last part of the body stays the same, so only the first two are written again."""

    chunks, encode = BUILTIN_TYPES.chunks, BUILTIN_TYPES.encode

    def written(args: Any, kwargs: Any) -> bytes:
        try:
            if type(kwargs) is dict and not kwargs and (type(args) is tuple or type(args) is list):
                for item in args:
                    if type(item) is not int:
                        break
                else:  # integers alone, as most arguments are: Python's text of a list is JSON's
                    return f"[{[*args]}, {{}}{tail}".encode()
            return f"{''.join(chunks((args, kwargs), 0))[:-1]}{tail}".encode()
        except Exception:  # noqa: BLE001 - whatever it is, the careful encoder raises it again or better
            return careful(args, kwargs)

    def careful(args: Any, kwargs: Any) -> bytes:
        try:
            return f"{encode((args, kwargs))[:-1]}{tail}".encode()
        except Exception as problem:
            raise Unencodable(problem) from problem

    return written
