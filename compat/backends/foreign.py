"""What users registered with kombu: serializers and compressions of their own, and types that its JSON carries.

Law: ours come first, and kombu is asked for nothing that ours can do; it is loaded only if somebody loaded it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

from ...protocol.errors import BadMessage, Undecodable
from ...protocol.wire.compression import BUILTIN as COMPRESSIONS
from ...protocol.wire.compression import Compression, Compressions, TooLarge
from ...protocol.wire.json import reason
from ...protocol.wire.message import Codecs
from ...protocol.wire.serializers import BUILTIN, Serializer, Serializers

_MARKERS = frozenset({"datetime", "date", "time", "decimal", "uuid", "bytes", "base64"})


def _kombu_json() -> Any:
    return sys.modules.get("kombu.utils.json")


def _encode(value: Any) -> bytes | str:
    ours: Callable[[Any], bytes | str] = BUILTIN["json"].encode  # type: ignore[assignment]  # it has one
    try:
        return ours(value)
    except Exception:
        kombu = _kombu_json()
        if kombu is None:
            raise
        try:
            text: str = kombu.dumps(value)
        except Exception:  # noqa: BLE001 - then ours says better why not
            text = ""
        if not text:
            raise
        return text


def _decode(data: bytes) -> Any:
    ours: Callable[[bytes], Any] = BUILTIN["json"].decode  # type: ignore[assignment]  # it has one
    kombu = _kombu_json()
    if kombu is not None and b'"__type__"' in data and not _MARKERS.issuperset(kombu._decoders):
        try:
            return kombu.loads(data)
        except BadMessage:
            raise
        except Exception as problem:  # a decoder of somebody's own may raise anything
            raise Undecodable("JSON", f"{type(problem).__name__}: {reason(problem)}") from problem
    return ours(data)


_JSON = BUILTIN["json"]
OURS = BUILTIN.with_(Serializer("json", _JSON.content_type, _JSON.content_encoding, _encode, _decode, True))
"""Our serializers, the JSON among them with the types that were registered with kombu."""


def table(names: Iterable[str]) -> Serializers:
    """Ours, and those of these names or content types that kombu knows."""
    wanted = frozenset(name for name in names if name not in OURS and OURS.of_type(name) is None)
    return _with(wanted) if wanted else OURS


def codecs(names: Iterable[str]) -> Codecs:
    """What a reader of messages may meet."""
    return Codecs(table(names), _COMPRESSIONS)


@lru_cache(maxsize=32)
def _with(names: frozenset[str]) -> Serializers:
    from kombu.serialization import registry

    found = OURS
    for given in sorted(names):
        name = registry.type_to_name.get(given, given)
        known = registry._encoders.get(name)
        if known is not None:
            content_type, encoding, encode = known
            found = found.with_(Serializer(name, content_type, encoding, encode, registry._decoders.get(content_type)))
    return found


class _AndKombus(Compressions):
    """Ours, and what was registered with kombu, whenever it was."""

    def __getitem__(self, label: str) -> Compression:
        try:
            return super().__getitem__(label)
        except KeyError:
            kombu = sys.modules.get("kombu.compression")  # nothing is registered before somebody loaded it
            if kombu is None:
                raise
            content_type = kombu._aliases.get(label, label)
            decode = kombu._decoders[content_type]
            return Compression(content_type, (), kombu._encoders[content_type], partial(_unfold, decode))


def _unfold(decode: Callable[[bytes], bytes], data: bytes, limit: int) -> bytes:
    """Only when it is done can be seen how large it is: a codec of somebody's own has no bound to give it."""
    found = decode(data)
    if len(found) > limit:
        raise TooLarge(limit)
    return found


_COMPRESSIONS = _AndKombus(COMPRESSIONS.rows)
