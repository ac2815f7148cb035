"""Which serializer wrote a body, and whether this reader wants to know what it says.

Law: the content type is judged before a single byte is decoded (`Refused`); bytes that are not of their type are
`Undecodable`. What is not of a registered type is text or bytes, and stays that.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from encodings import normalize_encoding
from encodings.aliases import aliases

from ..errors import BadCall, BadMessage, Refused, Undecodable, shown
from ..hints import Any, NamedTuple
from ..values import dataclass
from .json import BUILTIN_TYPES, JsonTypes, Unencodable, dumps, loads, reason

DATA = "application/data"
#: Never refused, since it is never decoded (unless somebody registers a serializer for it, as `auth` does).
TRUSTED = frozenset({DATA, "application/text"})
_BINARY = frozenset({"binary", "ascii-8bit"})
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
# By name, so that a sender can neither make Python import a codec nor remember every name that it tried.
_CHARSETS = frozenset(aliases) | frozenset(aliases.values()) | {"utf_8_sig"}


class NoSerializer(BadCall):
    """No serializer of this name can do what was asked."""


@dataclass(frozen=True)
class Serializer:
    """A name, what it writes, and how. Without `encode` it only reads, without `decode` it only writes."""

    name: str
    content_type: str
    content_encoding: str
    encode: Callable[[Any], bytes | str] | None
    decode: Callable[[bytes], Any] | None
    composes: bool = False
    """It writes JSON, in which what holds a value holds the text of that value."""


class Encoded(NamedTuple):
    """A body, and what the message says about it."""

    content_type: str
    content_encoding: str
    body: bytes


class Serializers(Mapping[str, Serializer]):
    """An immutable table of serializers by name; for each content type the one that came last reads it."""

    def __init__(self, rows: Iterable[Serializer] = ()) -> None:
        self._by_name = {row.name: row for row in rows}
        self._by_type = {row.content_type: row for row in self._by_name.values()}

    def __getitem__(self, name: str) -> Serializer:
        return self._by_name[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self._by_name.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def of_type(self, content_type: str) -> Serializer | None:
        return self._by_type.get(content_type)

    def with_(self, row: Serializer) -> Serializers:
        """This table with one more; a row of the same name gives way."""
        return Serializers([*self.without(row.name).values(), row])

    def without(self, name: str) -> Serializers:
        return Serializers(row for row in self.values() if row.name != name)


class _Everything:
    """What refuses nothing: for content whose sender has proved who he is."""

    def __contains__(self, content_type: object) -> bool:
        return True


EVERYTHING: Container[str] = _Everything()


def json_serializer(types: JsonTypes = BUILTIN_TYPES) -> Serializer:
    """The row of JSON, for a table of types of one's own."""

    def encode(value: Any) -> str:
        return dumps(value, types)

    def decode(data: bytes) -> Any:
        return loads(data, "JSON", types)

    return Serializer("json", "application/json", "utf-8", encode, decode, True)


def _format(name: str) -> tuple[Callable[[Any], bytes | str], Callable[[bytes], Any]]:
    """To it and from it. The formats are loaded with the first value in one of them."""

    def encode(value: Any) -> Any:
        from . import formats

        return getattr(formats, f"{name}_encode")(value)

    def decode(data: bytes) -> Any:
        from . import formats

        return getattr(formats, f"{name}_decode")(data)

    return encode, decode


BUILTIN = Serializers(
    [
        json_serializer(),
        Serializer("pickle", "application/x-python-serialize", "binary", *_format("pickle")),
        Serializer("yaml", "application/x-yaml", "utf-8", *_format("yaml")),
        Serializer("msgpack", "application/x-msgpack", "binary", *_format("msgpack")),
    ]
)


def accepted(names: Iterable[str], table: Serializers = BUILTIN) -> frozenset[str]:
    """The content types meant by `accept_content`, which may hold names of serializers and content types alike."""
    return frozenset(name if "/" in name else named(name, table).content_type for name in names)


JSON_ONLY = frozenset({"application/json"})


def encode(value: Any, serializer: str | None = None, table: Serializers = BUILTIN) -> Encoded:
    """A value as a body. Without a serializer bytes and texts go as they are, and all else as JSON."""
    if serializer == "raw":
        return _as_is(value, DATA)
    if serializer is None and isinstance(value, (bytes, str)):
        return _as_is(value, "text/plain" if isinstance(value, str) else DATA)
    row = named(serializer or "json", table)
    if row.encode is None:
        raise NoSerializer(f"No encoder installed for {row.name}")
    return Encoded(row.content_type, row.content_encoding, _encoded(row.encode, value))


def decode(
    body: bytes,
    content_type: str | None,
    content_encoding: str | None,
    accept: Container[str] = JSON_ONLY,
    table: Serializers = BUILTIN,
) -> Any:
    """The value of a body. An empty body is nobody's value, and is given back as it came."""
    kind = _label(content_type, "content-type") or DATA
    row = table.of_type(kind)
    if kind not in TRUSTED and kind not in accept:
        name = row.name if row else kind
        raise Refused("content", f"Refusing to deserialize untrusted content of type {name} ({kind})")
    encoding = (_label(content_encoding, "content-encoding") or "utf-8").lower()
    if not body:
        return body
    if row is None or row.decode is None:
        return body if encoding in _BINARY else _characters(body, encoding)
    if encoding not in _UTF8 and row.content_encoding not in _BINARY:
        body = _utf8(body, encoding)
    return _decoded(row.decode, body, row.name)


def named(name: str, table: Serializers = BUILTIN) -> Serializer:
    """The row of this name, or NoSerializer."""
    row: Serializer | None = table.get(name)
    if row is None:
        raise NoSerializer(f"No encoder/decoder installed for {name}; there are {', '.join(sorted(table))}")
    return row


def _label(value: Any, field: str) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if value is None or isinstance(value, str):
        return value
    raise Undecodable("content", f"expected a text, got {shown(value)}", field=field)


def _as_is(value: Any, content_type: str) -> Encoded:
    if isinstance(value, str):
        return Encoded(content_type, "utf-8", _encoded(str, value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Encoded(content_type, "binary", bytes(value))
    raise Unencodable(TypeError(f"raw content is bytes or a text, not {type(value).__name__}"))


def _encoded(write: Callable[[Any], bytes | str], value: Any) -> bytes:
    try:
        payload = write(value)
        return payload.encode() if isinstance(payload, str) else bytes(payload)
    except BadCall:
        raise
    except Exception as problem:
        from .formats import NotInstalled

        raise (NoSerializer(str(problem)) if isinstance(problem, NotInstalled) else Unencodable(problem)) from problem


def _decoded(read: Callable[[bytes], Any], body: bytes, name: str) -> Any:
    try:
        return read(body)
    except BadMessage:
        raise
    except RecursionError:
        raise Undecodable(name, "nested too deep") from None
    except Exception as problem:
        raise Undecodable(name, f"{type(problem).__name__}: {reason(problem)}") from problem


def _characters(body: bytes, encoding: str) -> str:
    """Text of no particular type. Codecs that are no charsets (zlib, hex...) are not for senders to choose."""
    if encoding not in _UTF8 and normalize_encoding(encoding) not in _CHARSETS:
        raise Undecodable("content", f"unknown encoding {shown(encoding)}", field="content-encoding")
    try:
        return body.decode(encoding)
    except (LookupError, ValueError) as problem:
        raise Undecodable("content", f"not of that encoding: {reason(problem)}", field="content-encoding") from None


def _utf8(body: bytes, encoding: str) -> bytes:
    """A serializer's text from another charset; as it came where it is not of that charset, as kombu has it."""
    try:
        return _characters(body, encoding).encode()
    except ValueError:
        return body
