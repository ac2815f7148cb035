"""JSON as kombu writes and reads it: Python's json, and objects of exactly `__type__` and `__value__` for other types.

Law: the text is kombu's, byte for byte; what is read is what kombu reads, or `Undecodable`.
Nesting is bounded by Python's own limit, integers by its limit on digits; the rest takes time linear in the text.
"""

from __future__ import annotations

import sys
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping
from types import MappingProxyType

from ..errors import BadCall, Undecodable, shown
from ..hints import TYPE_CHECKING, Any
from ..moments import date, datetime, time
from ..values import dataclass, field
from .quoting import make_encoder, quoted

if TYPE_CHECKING:
    from json import JSONDecoder, JSONEncoder
    from uuid import UUID

_DIGITS = 4300  # sys.int_info.default_max_str_digits, for the first releases of 3.10 that have no limit
_SAID = 200
_TYPED = {"__type__", "__value__"}
# An escape that may spell a letter of "__type__": only then can a text without the word hold a typed value.
_HIDDEN = r"\\u00(?:5[fF]|6[5]|7[049])"


class Unencodable(BadCall):
    """The caller's value has no form in this serializer. `cause` is what the encoder said."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


Encoder = Callable[[Any], Any]
Decoder = Callable[[Any], Any]


@dataclass(frozen=True)
class JsonTypes:
    """Which Python types JSON carries beyond its own, in order: the first type that the value is an instance of wins.

    A marker of None means that the encoder's result stands alone, and nothing turns it back.
    """

    encoders: Mapping[type, tuple[str | None, Encoder]]
    decoders: Mapping[str, Decoder]
    encode: Callable[[Any], str] = field(init=False, repr=False, compare=False)
    chunks: Callable[[Any, int], Iterable[str]] = field(init=False, repr=False, compare=False)
    """The quick half of `encode`, for who joins its pieces (the second argument is 0) and asks `encode` if it fails."""
    decode: Callable[[str], Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        chunks = _chunker(self.reduce)
        object.__setattr__(self, "chunks", chunks)
        object.__setattr__(self, "encode", _encoder(self.reduce, chunks))
        object.__setattr__(self, "decode", self._decode_first)

    def _decode_first(self, text: str) -> Any:
        """Makes the function that is `decode` from then on: who reads nothing does without `json`."""
        object.__setattr__(self, "decode", _reader(object_hook=self.restore).decode)
        return self.decode(text)

    def with_type(
        self, kind: type, marker: str | None, encoder: Encoder, decoder: Decoder = lambda value: value
    ) -> JsonTypes:
        """This table and one type more, as `kombu.utils.json.register_type` has it."""
        decoders = dict(self.decoders)
        if marker is not None:
            decoders[marker] = decoder
        return JsonTypes(MappingProxyType({**self.encoders, kind: (marker, encoder)}), MappingProxyType(decoders))

    def reduce(self, value: Any) -> Any:
        """A value that JSON does not know, in terms of values that it may know."""
        reducer = getattr(value, "__json__", None)
        if reducer is not None:
            return reducer()
        if _is_lazy_text(value):
            return str(value)
        for kind, (marker, encoder) in self.encoders.items():
            if isinstance(value, kind):
                return encoder(value) if marker is None else _typed(marker, encoder(value))
        if isinstance(value, bytes):
            return _bytes(value)
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

    def restore(self, found: dict[str, Any]) -> Any:
        """An object of the text, or the typed value that it stands for."""
        if found.keys() != _TYPED:
            return found
        marker, value = found["__type__"], found["__value__"]
        decoder = self.decoders.get(marker) if isinstance(marker, str) else None
        if decoder is None:
            raise Undecodable("JSON", f"unsupported type {shown(marker)}", field="__type__")
        try:
            return decoder(value)
        except Exception as problem:
            raise Undecodable(
                "JSON", f"{shown(value)} is no {marker}: {reason(problem)}", field="__value__"
            ) from problem


def reason(problem: Exception) -> str:
    """What somebody else's exception says, never long: some of them quote the whole of what they were given."""
    try:
        return str(problem)[:_SAID] or type(problem).__name__
    except Exception:  # noqa: BLE001 - the exception is a stranger's, and so is its __str__
        return type(problem).__name__


def dumps(value: Any, types: JsonTypes | None = None) -> str:
    """The text that kombu writes for this value."""
    return _written((types or BUILTIN_TYPES).encode, value)


def loads(data: bytes | str, what: str = "JSON", types: JsonTypes | None = None) -> Any:
    """What kombu reads from this text, typed values restored."""
    text = _text(data, what)
    if "__type__" in text or ("\\u00" in text and _is_hidden(text)):
        return _read((types or BUILTIN_TYPES).decode, text, what)
    return _read(_plain_decode, text, what)


def _is_hidden(text: str) -> bool:
    import re

    return re.search(_HIDDEN, text) is not None


def plain_dumps(value: Any) -> str:
    """JSON's own types alone."""
    return _written(_plain_encode, value)


def plain_loads(data: bytes | str, what: str = "JSON") -> Any:
    """JSON's own types alone: an object of `__type__` and `__value__` stays an object."""
    return _read(_plain_decode, _text(data, what), what)


def _written(encode: Callable[[Any], str], value: Any) -> str:
    try:
        return encode(value)
    except Exception as problem:
        raise Unencodable(problem) from problem


def _read(decode: Callable[[str], Any], text: str, what: str) -> Any:
    try:
        return decode(text)
    except Undecodable as problem:
        raise Undecodable(what, problem.why, field=problem.field) from problem
    except RecursionError:
        raise Undecodable(what, "nested too deep") from None
    except ValueError as problem:
        raise Undecodable(what, f"not JSON: {reason(problem)}") from None


def _text(data: bytes | str, what: str) -> str:
    if isinstance(data, str):
        return data
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as problem:
        raise Undecodable(what, f"not UTF-8: {problem.reason} at byte {problem.start}") from None


def _typed(marker: str, value: Any) -> dict[str, Any]:
    return {"__type__": marker, "__value__": value}


def _bytes(value: bytes) -> dict[str, Any]:
    try:
        return _typed("bytes", value.decode())
    except UnicodeDecodeError:
        return _typed("base64", b2a_base64(value, newline=False).decode())


def _is_lazy_text(value: Any) -> bool:
    """Django's lazy strings. While nobody has imported Django's module there are none."""
    module = sys.modules.get("django.utils.functional")
    return module is not None and isinstance(value, module.Promise)


def _uuid(value: Any) -> UUID:
    from uuid import UUID, SafeUUID

    found = UUID(**value)
    if type(found.int) is not int or not isinstance(found.is_safe, SafeUUID):
        raise TypeError("its parts are of the wrong types")
    return found


def _datetime(value: Any) -> datetime:
    from .isoformat import read_datetime

    return read_datetime(value)


def _time(value: Any) -> time:
    from .isoformat import read_time

    return read_time(value)


def _decimal(value: Any) -> Any:
    from decimal import Decimal

    return Decimal(value)


class _OnDemand(Mapping[type, tuple[str | None, Encoder]]):
    """What kombu writes beyond JSON's own, put together when such a value comes: `uuid` and `decimal` cost 3 ms."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: Mapping[type, tuple[str | None, Encoder]] = {}

    def _all(self) -> Mapping[type, tuple[str | None, Encoder]]:
        if not self._made:
            from decimal import Decimal
            from uuid import UUID

            self._made = {
                datetime: ("datetime", datetime.isoformat),
                date: ("date", lambda value: value.isoformat()),
                time: ("time", lambda value: value.isoformat()),
                Decimal: ("decimal", str),
                UUID: ("uuid", lambda value: {"hex": value.hex}),
            }
        return self._made

    def __getitem__(self, kind: type) -> tuple[str | None, Encoder]:
        return self._all()[kind]

    def __iter__(self) -> Iterator[type]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def items(self) -> ItemsView[type, tuple[str | None, Encoder]]:
        return self._all().items()


def _bounded_int(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits exceeds the limit of {_DIGITS}")
    return int(digits)


def _writer(default: Callable[[Any], Any] | None) -> JSONEncoder:
    from json import JSONEncoder

    return JSONEncoder(default=default)


def _reader(**told: Any) -> JSONDecoder:
    from json import JSONDecoder

    return JSONDecoder(parse_int=_PARSE_INT, **told)


def _chunker(default: Callable[[Any], Any] | None) -> Callable[[Any, int], Iterable[str]]:
    """The C encoder that `json.JSONEncoder(default=default).encode` makes anew for every value.

    Here it is made once, without its check for circular references.
    """
    if make_encoder is None:
        plain = _writer(default)
        return lambda value, _: (plain.encode(value),)
    made: Callable[[Any, int], Iterable[str]] = make_encoder(
        None, default or _refuse, quoted, None, ": ", ", ", False, False, True
    )
    return made


def _encoder(default: Callable[[Any], Any] | None, chunks: Callable[[Any, int], Iterable[str]]) -> Callable[[Any], str]:
    """What fails is written again by the plain encoder, which then says what is wrong."""

    def encode(value: Any) -> str:
        try:
            return "".join(chunks(value, 0))
        except Exception:  # noqa: BLE001 - whatever it is, the plain encoder raises it again or better
            return _writer(default).encode(value)

    return encode


def _refuse(_value: Any) -> Any:
    raise TypeError


def _decoder() -> Callable[[str], Any]:
    """`decode` without its steps for blanks around a value; where there are any, or an error, that tells."""
    plain = _reader()
    scan = vars(plain)["scan_once"]  # which type stubs do not know

    def decode(text: str) -> Any:
        try:
            value, end = scan(text, 0)
        except StopIteration:
            return plain.decode(text)
        return value if end == len(text) else plain.decode(text)

    return decode


def _plain_decode(text: str) -> Any:
    """As `JsonTypes.decode`: the first call puts what it makes in its own place."""
    globals()["_plain_decode"] = decode = _decoder()
    return decode(text)


_PARSE_INT = None if hasattr(sys, "get_int_max_str_digits") else _bounded_int
_plain_encode = _encoder(None, _chunker(None))

BUILTIN_TYPES = JsonTypes(
    _OnDemand(),
    MappingProxyType(
        {
            "bytes": lambda value: value.encode(),
            "base64": lambda value: a2b_base64(value.encode()),
            "datetime": _datetime,
            "date": lambda value: _datetime(value).date(),
            "time": _time,
            "decimal": _decimal,
            "uuid": _uuid,
        }
    ),
)
