"""The parts of a URL, as `urllib.parse` reads them. That costs 2.5 ms of CPU to import, and few URLs need it.

Law: what is not as plain as nearly all are is left to `urllib`; of a plain one, both say the same.
"""

from __future__ import annotations

from ..protocol.values import dataclass

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$*+@:/")
_SCHEME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+")
_PORT_DIGITS = 5
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Parts:
    """By the names of `urllib.parse.SplitResult`."""

    scheme: str
    username: str | None
    password: str | None
    hostname: str | None
    port: int | None
    path: str
    query: str


def split(url: str) -> Parts:
    """ValueError for what is no URL."""
    return _plainly(url) or _by_urllib(url)


def _plainly(url: str) -> Parts | None:
    scheme, separator, rest = url.partition("://")
    if not separator or not _PLAIN.issuperset(rest) or not _SCHEME.issuperset(scheme) or not scheme[:1].isalpha():
        return None
    authority, slash, path = rest.partition("/")
    who, at, where = authority.rpartition("@")
    name, asked, password = who.partition(":")
    host, _, port = where.partition(":")
    if port and not (port.isdecimal() and len(port) <= _PORT_DIGITS and int(port) <= _LAST_PORT):
        return None
    return Parts(
        scheme,
        name if at else None,
        password if asked else None,
        host.lower() or None,
        int(port) if port else None,
        slash + path,
        "",
    )


def _by_urllib(url: str) -> Parts:
    from urllib.parse import urlsplit

    found = urlsplit(url)
    return Parts(
        found.scheme, found.username, found.password, found.hostname, found.port, found.path, found.query
    )  # fmt: skip


def unquote(text: str) -> str:
    """Without percent signs."""
    if "%" not in text:
        return text
    from urllib.parse import unquote as unquoted

    return unquoted(text)


def pairs(query: str) -> dict[str, str]:
    """What stands behind the question mark."""
    if not query:
        return {}
    from urllib.parse import parse_qsl

    return dict(parse_qsl(query))
