"""Values as result stores hold them: in the configured serializer, which the bytes do not name, compressed or not.

Law: what is compressed says so itself, with which compression too; the serializer must be known, and is refused
before a byte is decoded when it is not accepted.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final

from ..errors import BadMessage, Refused, Undecodable, shown
from ..values import dataclass, field, replace
from . import compression, serializers
from .serializers import BUILTIN, JSON_ONLY, Serializers

MAGIC: Final = b"\x00celery-compressed\x00"
"""What compressed bytes begin with; the compression's MIME name, a NUL and the compressed value follow."""

LIMIT: Final = 512 * 1024 * 1024
"""The longest value that is inflated, in bytes: Redis holds no longer one either."""

_LONGEST_MIME = 100
_WHAT = "result"


@dataclass(frozen=True, slots=True)
class Codec:
    """How one application writes and reads results.

    `accept` holds content types, as `serializers.accepted` gives them; `compress` is a name that `compression` knows.
    """

    serializer: str = "json"
    accept: Container[str] = JSON_ONLY
    compress: str | None = None
    table: Serializers = field(default_factory=lambda: BUILTIN)
    limit: int = LIMIT

    def encode(self, value: Any) -> bytes:
        body = serializers.encode(value, self.serializer, self.table).body
        if self.compress is None:
            return body
        packed, mime = compression.compress(body, self.compress)
        return b"%b%b\x00%b" % (MAGIC, mime.encode(), packed)

    def decode(self, data: bytes) -> Any:
        """The value. The reason of a BadMessage shows how the bytes begin: nobody knows who wrote them."""
        row = serializers.named(self.serializer, self.table)
        try:
            plain = self._inflated(data) if data.startswith(MAGIC) else data
            return serializers.decode(plain, row.content_type, row.content_encoding, self.accept, self.table)
        except Refused:
            raise
        except BadMessage as bad:
            raise Undecodable(_WHAT, f"{bad}; it begins {shown(data)}") from bad

    def of_pickle(self) -> Codec:
        """The same for a value of old that was pickled whatever was configured. Accepted it need not be."""
        return replace(self, serializer="pickle", table=self.table if "pickle" in self.table else BUILTIN)

    def _inflated(self, data: bytes) -> bytes:
        start = len(MAGIC)
        end = data.find(b"\x00", start, start + _LONGEST_MIME)
        if end < 0:
            raise Undecodable("compression", "its name has no end")
        return compression.decompress(data[end + 1 :], data[start:end].decode("ascii", "replace"), self.limit)


JSON: Final = Codec()
