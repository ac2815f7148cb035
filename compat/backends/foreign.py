"""What users registered with kombu: serializers of their own, and types that its JSON carries.

Law: ours come first, and kombu is asked for nothing that ours can do; it is loaded only if somebody loaded it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

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
        return kombu.loads(data)
    return ours(data)


_JSON = BUILTIN["json"]
OURS = BUILTIN.with_(Serializer("json", _JSON.content_type, _JSON.content_encoding, _encode, _decode, True))
"""Our serializers, the JSON among them with the types that were registered with kombu."""


def table(names: Iterable[str]) -> Serializers:
    """Ours, and those of these names that kombu knows."""
    wanted = frozenset(name for name in names if name not in OURS and "/" not in name)
    return _with(wanted) if wanted else OURS


@lru_cache(maxsize=32)
def _with(names: frozenset[str]) -> Serializers:
    from kombu.serialization import registry

    found = OURS
    for name in sorted(names):
        known = registry._encoders.get(name)
        if known is not None:
            content_type, encoding, encode = known
            found = found.with_(Serializer(name, content_type, encoding, encode, registry._decoders.get(content_type)))
    return found
