"""Compression of bodies, under the names and content types of kombu.

Law: nothing unfolds beyond the limit (`Undecodable`), however small it arrives; a stream ends where the body ends.
kombu's gzip is zlib. What is really gzip is read too, and nothing else is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module

from ..errors import BadCall, Undecodable, shown
from ..hints import Any, Protocol
from ..values import dataclass
from .json import reason

#: What Redis takes as one value: no message that could have been sent plainly is larger.
LIMIT = 512 * 1024 * 1024
# A dictionary that xz may ask for before it has written anything; its strongest preset asks for 65 MiB.
_XZ_MEMORY = 256 * 1024 * 1024
_ZLIB_OR_GZIP = 15 | 32  # zlib.MAX_WBITS, and: whichever of both
_PIECE = 64  # bytes, where the library cannot bound its output: one of brotli's commands in it yields 16 MiB


class UnknownCompression(BadCall):
    """No compression of this name, or its library is not installed."""


@dataclass(frozen=True)
class Compression:
    """`decompress` takes the body and the limit. It may raise anything, and `TooLarge` beyond the limit."""

    content_type: str
    names: tuple[str, ...]
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes, int], bytes]


class TooLarge(ValueError):
    """The content unfolds beyond the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"it unfolds to more than {limit} bytes")


class NotInstalled(RuntimeError):
    """The compression needs a library that is not installed here."""


class Compressions(Mapping[str, Compression]):
    """An immutable table; a row is found by its content type and by each of its names."""

    def __init__(self, rows: Iterable[Compression] = ()) -> None:
        self.rows = tuple(rows)
        self._by_label = {label: row for row in self.rows for label in (row.content_type, *row.names)}

    def __getitem__(self, label: str) -> Compression:
        return self._by_label[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_label)

    def __len__(self) -> int:
        return len(self._by_label)

    def with_(self, row: Compression) -> Compressions:
        """This table with one more, which wins its labels."""
        return Compressions([*self.rows, row])

    @property
    def names(self) -> str:
        return ", ".join(sorted(label for label in self if "/" not in label))


class _Stream(Protocol):
    """What the decompressors of zlib, bz2, lzma and zstd have in common."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...


def _unfold(stream: _Stream, body: bytes, limit: int) -> bytes:
    found = stream.decompress(body, limit + 1)
    _bound(len(found), limit)
    if not stream.eof:
        raise ValueError("it ends too early")
    if stream.unused_data:
        raise ValueError(f"{len(stream.unused_data)} bytes follow its end")
    return found


def _bound(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(limit)


def _library(need: str, *names: str) -> Any:
    """The first of these modules that is installed: some are extras, some are left out of some builds of Python."""
    for name in names:
        with suppress(ImportError):
            return import_module(name)
    raise NotInstalled(f"{names[0]} is not installed: it needs {need}")


_zlib = partial(_library, "a Python that was built with it", "zlib")
_bz2 = partial(_library, "a Python that was built with it", "bz2")
_lzma = partial(_library, "a Python that was built with it", "lzma")
_brotli = partial(_library, "celeriac[brotli]", "brotli", "brotlicffi")
_zstd = partial(_library, "Python 3.14 or celeriac[zstd]", "compression.zstd", "backports.zstd")


def _through(library: Callable[[], Any]) -> Callable[[bytes], bytes]:
    def compress_all(body: bytes) -> bytes:
        found: bytes = library().compress(body)
        return found

    return compress_all


def _zlib_decompress(body: bytes, limit: int) -> bytes:
    return _unfold(_zlib().decompressobj(_ZLIB_OR_GZIP), body, limit)


def _bz2_decompress(body: bytes, limit: int) -> bytes:
    return _unfold(_bz2().BZ2Decompressor(), body, limit)


def _lzma_decompress(body: bytes, limit: int) -> bytes:
    return _unfold(_lzma().LZMADecompressor(memlimit=_XZ_MEMORY), body, limit)


def _zstd_decompress(body: bytes, limit: int) -> bytes:
    return _unfold(_zstd().ZstdDecompressor(), body, limit)


def _brotli_decompress(body: bytes, limit: int) -> bytes:
    stream = _brotli().Decompressor()
    try:
        found: bytes = stream.process(body, output_buffer_limit=limit + 1)
    except TypeError:
        found = _brotli_in_pieces(stream, body, limit)
    _bound(len(found), limit)
    if not stream.is_finished():
        raise ValueError("it ends too early")
    return found


def _brotli_in_pieces(stream: Any, body: bytes, limit: int) -> bytes:
    """Before 1.2 the library cannot bound what it gives back: so it is given little."""
    found = bytearray()
    for start in range(0, len(body), _PIECE):
        if stream.is_finished():
            raise ValueError(f"{len(body) - start} bytes follow its end")
        found += stream.process(body[start : start + _PIECE])
        _bound(len(found), limit)
    return bytes(found)


BUILTIN = Compressions(
    [
        Compression("application/x-gzip", ("gzip", "zlib"), _through(_zlib), _zlib_decompress),
        Compression("application/x-bz2", ("bzip2", "bzip"), _through(_bz2), _bz2_decompress),
        Compression("application/x-lzma", ("lzma", "xz"), _through(_lzma), _lzma_decompress),
        Compression("application/x-brotli", ("brotli",), _through(_brotli), _brotli_decompress),
        Compression("application/zstd", ("zstd", "zstandard"), _through(_zstd), _zstd_decompress),
    ]
)


def compress(body: bytes, name: str, table: Compressions | None = None) -> tuple[bytes, str]:
    """The body under this compression, and the content type that the `compression` header says of it."""
    table = BUILTIN if table is None else table
    row = table.get(name)
    if row is None:
        raise UnknownCompression(f"no compression {name!r}; there are {table.names}")
    try:
        return row.compress(body), row.content_type
    except NotInstalled as problem:
        raise UnknownCompression(str(problem)) from problem


def decompress(body: bytes, label: object, limit: int = LIMIT, table: Compressions | None = None) -> bytes:
    """What the body was. The label is the `compression` header: a content type, or a name."""
    table = BUILTIN if table is None else table
    row = table.get(label) if isinstance(label, str) else None
    if row is None:
        raise Undecodable("content", f"unknown compression {shown(label)}; known: {table.names}", field="compression")
    try:
        return row.decompress(body, limit)
    except Exception as problem:
        raise Undecodable(
            "content", f"cannot decompress {row.content_type}: {reason(problem)}", field="compression"
        ) from problem
