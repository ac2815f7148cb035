"""HTTP/1.1 as values: bytes become a `Request`, a `Response` becomes bytes.

Law: no sockets and no clock. What a client may send is little: GET and POST, a head of 16 kB, a body of 64 kB with its
length. Everything else is refused with its status, and nothing that was refused is read on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

_HEAD, _BODY = 16 * 1024, 64 * 1024
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
_TARGET = re.compile(rb"/[\x21-\x7e]*\Z")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_ALWAYS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """The client's fault: a status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass(frozen=True)
class Request:
    """What a client asks for. Header names are in lower case; each stands once."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    stays: bool = True
    """The connection is used on."""


@dataclass(frozen=True)
class Response:
    """What it gets."""

    status: int = 200
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    def bytes(self, *, head_only: bool = False, stays: bool = True) -> bytes:
        phrase = HTTPStatus(self.status).phrase
        headers = {**_ALWAYS, "Content-Type": self.kind, "Content-Length": str(len(self.body)), **self.headers}
        headers["Connection"] = "keep-alive" if stays else "close"
        lines = [f"HTTP/1.1 {self.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (b"" if head_only else self.body)


def document(value: Any, status: int = 200) -> Response:
    """JSON. What it cannot say (a NaN) was kept out before."""
    body = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":")).encode()
    return Response(status, body, "application/json")


def refusal(problem: Refused) -> Response:
    return document({"error": problem.why}, problem.status)


class Reader:
    """Bytes in, requests out, one at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._head: tuple[Request, int] | None = None

    @property
    def idle(self) -> bool:
        """Nothing of a request has come."""
        return not self._buffer and self._head is None

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Request | None:
        """The next request when all of it has come. Raises Refused; the connection is then at its end."""
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n", 0, _HEAD)
            if end < 0:
                if len(self._buffer) >= _HEAD:
                    raise Refused(431, "The head of the request is too long.")
                return None
            self._head = _head(self._buffer[:end])
            self._buffer = self._buffer[end + 4 :]
        request, length = self._head
        if len(self._buffer) < length:
            return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        self._head = None
        return Request(request.method, request.path, request.query, request.headers, body, request.stays)


def _head(head: bytes) -> tuple[Request, int]:
    first, *lines = head.split(b"\r\n")
    words = first.split(b" ")
    if len(words) != 3 or words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Refused(400, "This is no request of HTTP/1.1.")
    method, target, version = words
    if method not in (b"GET", b"HEAD", b"POST"):
        raise Refused(405, "GET and POST are what is understood here.")
    if not _TARGET.match(target):
        raise Refused(400, "The path of the request is none.")
    headers = _headers(lines)
    if "transfer-encoding" in headers:
        raise Refused(411, "Say the length of the body.")
    said = headers.get("content-length", "0")
    if not (said.isascii() and said.isdigit() and len(said) < 10):
        raise Refused(400, "The length of the body is no number.")
    if int(said) > _BODY:
        raise Refused(413, "The body is too long.")
    if version == b"HTTP/1.1" and "host" not in headers:
        raise Refused(400, "The request names no host.")
    stays = version == b"HTTP/1.1" and headers.get("connection", "").lower() != "close"
    path, query = _target(target.decode("ascii"))
    return Request(method.decode(), path, query, headers, b"", stays), int(said)


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.match(name) or not _VALUE.match(value):
            raise Refused(400, "A header cannot be read.")
        key = name.decode("ascii").lower()
        if key in headers and key in ("host", "content-length", "authorization", "origin", "transfer-encoding"):
            raise Refused(400, f"The header {key} stands twice.")
        headers[key] = value.strip(b" \t").decode("latin-1")
    return headers


def _target(target: str) -> tuple[str, dict[str, str]]:
    try:
        parts = urlsplit("//host" + target)
        query = parse_qsl(parts.query, max_num_fields=20, errors="replace")
    except ValueError:
        raise Refused(400, "The path of the request is none.") from None
    return unquote(parts.path, errors="replace"), dict(query)
