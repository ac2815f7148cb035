"""The sockets that links are made of: the standard library's, or what of it is in C.

Law: whoever has put something into `socket` or in its place (gevent, eventlet, a proxy, a test) is asked for every
socket, name and address. To do that he has loaded it. In a program that has not, what is in C does all that a link
needs, and spares the 3 ms of CPU that `socket` costs with `selectors`, `enum` and `array`.
"""

from __future__ import annotations

import _socket
import sys

from ..protocol.hints import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import socket

# wrapt lets others wait for the import of a module in order to patch it.
_PATCHERS = frozenset({"socket", "wrapt"})


class _Bare(_socket.socket):
    """As far as a link goes it is a `socket.socket`."""

    __slots__ = ("__weakref__",)


def library() -> Any:
    """`socket`, if anybody can have patched it."""
    if _PATCHERS.isdisjoint(sys.modules):
        return None
    import socket

    return socket


def make(family: int, kind: int = _socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
    patched = library()
    return cast("socket.socket", (_Bare if patched is None else patched.socket)(family, kind, protocol))


def addresses(host: str, port: int) -> list[Any]:
    """What `getaddrinfo` says of them."""
    patched = library()
    resolve = _socket.getaddrinfo if patched is None else patched.getaddrinfo
    return list(resolve(plain_host(host), port, 0, _socket.SOCK_STREAM))


def plain_host(host: str) -> str | bytes:
    """What is ASCII spares the codec of IDNA, 1 ms. Who has put a resolver in the place of Python's gets texts."""
    patched = library()
    if host.isascii() and (patched is None or patched.getaddrinfo.__module__ == "socket"):
        return host.encode()
    return host


def dial(host: str, port: int, timeout: float) -> socket.socket:
    """Connected to the first of the host's addresses that answers; each of them has that time."""
    patched = library()
    if patched is not None:
        return cast("socket.socket", patched.create_connection((plain_host(host), port), timeout))
    last = OSError("the name stands for no address")
    for family, kind, protocol, _, address in addresses(host, port):
        made = make(family, kind, protocol)
        try:
            made.settimeout(timeout)
            made.connect(address)
        except OSError as problem:
            made.close()
            last = problem
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise last


def hostname() -> str:
    return str((library() or _socket).gethostname())
