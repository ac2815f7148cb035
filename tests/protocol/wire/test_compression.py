"""Compression: kombu's names, exact round trips, and bounds on what arrives small and unfolds large."""

from __future__ import annotations

import gzip
import inspect
import sys
import types
import zlib
from typing import Any

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage, Undecodable
from celeriac.protocol.wire.compression import BUILTIN, LIMIT, Compression, UnknownCompression, compress, decompress
from celeriac.protocol.wire.message_reading import Reader
from celeriac.protocol.wire.stored import Codec

NAMES = [label for label in BUILTIN if "/" not in label]
ONE_OF_EACH = [row.names[0] for row in BUILTIN.rows]


@given(st.binary() | st.binary(max_size=20).map(lambda data: data * 500), st.sampled_from(NAMES))
def test_what_is_compressed_unfolds(body: bytes, name: str) -> None:
    packed, label = compress(body, name)
    assert label == BUILTIN[name].content_type
    assert decompress(packed, label) == decompress(packed, name) == body
    assert decompress(packed, label, limit=len(body)) == body


@given(st.binary(max_size=300), st.sampled_from(NAMES), st.integers(0, 400), st.binary(max_size=3))
def test_any_bytes_unfold_or_are_a_bad_message(body: bytes, name: str, at: int, noise: bytes) -> None:
    packed, label = compress(body, name)
    for data in (body, packed[:at] + noise + packed[at + len(noise) :], packed[:at]):
        outcome(data, label)


def outcome(data: bytes, label: str) -> bytes | None:
    try:
        return decompress(data, label, limit=100_000)
    except BadMessage:
        return None


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_bomb_is_not_unfolded(name: str) -> None:
    packed, label = compress(bytes(20_000_000), name)
    assert len(packed) < 30_000
    with pytest.raises(
        Undecodable, match=f"compression: cannot decompress {label}: it unfolds to more than 1000 bytes"
    ):
        decompress(packed, label, limit=1000)
    with pytest.raises(Undecodable, match="more than 19999999 bytes"):
        decompress(packed, label, limit=19_999_999)
    assert len(decompress(packed, label, limit=20_000_000)) == 20_000_000


def test_the_bound_that_everybody_has() -> None:
    assert LIMIT == 512 * 1024 * 1024, "as docs/trust.md says"
    assert inspect.signature(decompress).parameters["limit"].default == LIMIT
    assert Reader().limit == Codec().limit == LIMIT


@pytest.mark.parametrize("name", ONE_OF_EACH)
@pytest.mark.parametrize("body", [b"", b"x", bytes(range(256)) * 40])
def test_a_stream_ends_where_the_body_ends(name: str, body: bytes) -> None:
    packed, label = compress(body, name)
    for cut in (packed[:-1], packed[: len(packed) // 2], b""):
        with pytest.raises(Undecodable, match="cannot decompress"):
            decompress(cut, label)
    for longer in (packed + b"x", packed + packed):
        with pytest.raises(Undecodable, match="cannot decompress"):
            decompress(longer, label)


def test_reasons() -> None:
    packed, label = compress(b"x" * 100, "gzip")
    with pytest.raises(Undecodable, match="it ends too early"):
        decompress(packed[:-1], label)
    with pytest.raises(Undecodable, match="3 bytes follow its end"):
        decompress(packed + b"abc", label)
    with pytest.raises(Undecodable, match="incorrect header check"):
        decompress(b"nonsense", label)


def test_gzip_is_zlib_and_real_gzip_is_read() -> None:
    assert compress(b"x", "gzip") == (zlib.compress(b"x"), "application/x-gzip")
    assert decompress(gzip.compress(b"x"), "application/x-gzip") == b"x"


def test_unknown_names() -> None:
    known = "brotli, bzip, bzip2, gzip, lzma, xz, zlib, zstandard, zstd"
    with pytest.raises(BadCall, match=f"no compression 'rar'; there are {known}"):
        compress(b"x", "rar")
    with pytest.raises(Undecodable, match=f"content: compression: unknown compression 'rar'; known: {known}"):
        decompress(b"x", "rar")
    for label in (5, None, [], {}):
        with pytest.raises(Undecodable, match="unknown compression"):
            decompress(b"x", label)


def test_a_compression_of_ones_own() -> None:
    table = BUILTIN.with_(
        Compression("x/back", ("back",), lambda body: body[::-1], lambda body, limit: body[:limit][::-1])
    )
    assert compress(b"abc", "back", table) == (b"cba", "x/back")
    assert decompress(b"cba", "x/back", table=table) == b"abc"
    assert len(table) == len(BUILTIN) + 2


@pytest.mark.parametrize(
    ("name", "modules", "need"),
    [
        ("brotli", ["brotli", "brotlicffi"], r"celeriac\[brotli\]"),
        ("zstd", ["compression.zstd", "backports.zstd"], r"Python 3.14 or celeriac\[zstd\]"),
        ("lzma", ["lzma"], "a Python that was built with it"),
    ],
)
def test_a_library_may_be_missing(name: str, modules: list[str], need: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packed, label = compress(b"x", name)
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnknownCompression, match=f"is not installed: it needs {need}"):
        compress(b"x", name)
    with pytest.raises(Undecodable, match=f"is not installed: it needs {need}"):
        decompress(packed, label)


class OldBrotli:
    """The decompressor before 1.2: its `process` knows no limit."""

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()
        self.is_finished = self._stream.is_finished

    def process(self, data: bytes) -> Any:
        return self._stream.process(data)


class TestOldBrotli:
    @pytest.fixture(autouse=True)
    def _old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        old = types.ModuleType("brotli")
        old.Decompressor = OldBrotli  # type: ignore[attr-defined]
        old.compress = brotli.compress  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "brotli", old)

    def test_unfolds(self) -> None:
        body = bytes(range(256)) * 40
        assert decompress(brotli.compress(body), "brotli") == body

    def test_is_bounded(self) -> None:
        with pytest.raises(Undecodable, match="more than 1000 bytes"):
            decompress(brotli.compress(bytes(20_000_000)), "brotli", limit=1000)

    def test_ends(self) -> None:
        packed = brotli.compress(b"x" * 100)
        with pytest.raises(Undecodable, match="it ends too early"):
            decompress(packed[:-1], "brotli")
        with pytest.raises(Undecodable, match="bytes follow its end"):
            decompress(_at_a_piece() + b"x" * 65, "brotli")


def _at_a_piece() -> bytes:
    """A stream that ends where a piece ends."""
    for size in range(1, 200):
        packed = brotli.compress(bytes(i * i % 251 for i in range(size)))
        if len(packed) % 64 == 0:
            return packed
    raise AssertionError("none found")
