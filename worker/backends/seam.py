"""Where a store meets somebody else's library: loaded late, one client per process, its errors told in one way.

Law: what a library or the system raises within `Seam.client` leaves as kombu's `OperationalError`, with the server,
what was being done and how long it took, and never a password. What the caller did wrong passes as it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from types import ModuleType
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from ...protocol.errors import BadCall, ProtocolError, shown
from ...protocol.values import dataclass, field
from . import unknown

C = TypeVar("C")
Errors = Callable[[], tuple[type[BaseException], ...]]

_LONGEST = 1000


def load(module: str, extra: str) -> ModuleType:
    """A library that is an extra of ours, with a clear word when it is missing."""
    try:
        return import_module(module)
    except ImportError as problem:
        raise BadCall(
            f"this result store needs {module.partition('.')[0]}: pip install 'celeriac[{extra}]' ({problem})"
        ) from problem


@dataclass(frozen=True)
class Server:
    """What the URL of a store says. `path` comes without its first slash."""

    scheme: str
    host: str | None = None
    port: int | None = None
    user: str | None = None
    password: str | None = None
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        where = f"{self.host or ''}:{self.port}" if self.port else self.host or ""
        return f"{self.scheme}://{where}/{self.path}".rstrip("/")


def server(url: str) -> Server:
    """The parts of a URL, each unquoted; a bare name of a kind of store is a URL without them."""
    try:
        parts = urlsplit(url if "://" in url else f"{url}://")
        port = parts.port
    except ValueError as problem:
        raise BadCall(f"the URL of the result store cannot be read: {problem}") from None
    user, password = (None if part is None else unquote(part) for part in (parts.username, parts.password))
    query = dict(parse_qsl(parts.query))
    return Server(
        parts.scheme, parts.hostname, port, user or None, password or None, unquote(parts.path).strip("/"), query
    )


def section(options: Mapping[str, Any], name: str, known: Collection[str] = ()) -> dict[str, Any]:
    """A setting that is a group of settings, `mongodb_backend_settings` for instance. What is not `known` is named."""
    found = options.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise BadCall(f"{name} is a mapping of settings, not {shown(found)}")
    if known:
        unknown.name(name, found, known)
    return dict(found)


def text(value: bytes, where: str) -> str:
    """The value, for a server that keeps texts."""
    try:
        return value.decode()
    except UnicodeDecodeError as problem:
        raise BadCall(
            f"{where} keeps results as text: result_serializer is json or yaml there, and result_compression is off"
        ) from problem


class Seam(Generic[C]):
    """One client of one library, made when it is first used and anew in a forked child.

    `errors` names what the library raises, `say` puts it into words; `leave` closes a client. `secrets` never appear.
    """

    def __init__(
        self,
        where: object,
        make: Callable[[], C],
        errors: Errors = lambda: (),
        leave: Callable[[C], object] = lambda _client: None,
        secrets: tuple[str | None, ...] = (),
        say: Callable[[BaseException], str] = str,
    ) -> None:
        self._where = where
        self._make = make
        self._errors = errors
        self._leave = leave
        self._say = say
        self._secrets = tuple(secret for secret in secrets if secret)
        self._client: C | None = None
        self._pid = 0

    @contextmanager
    def client(self, doing: str) -> Iterator[C]:
        """The client, while something is done with it that an error should name: `store a result`."""
        started = time.monotonic()
        try:
            yield self._held()
        except ProtocolError:
            raise
        except Exception as problem:
            if not isinstance(problem, (OSError, *self._errors())):
                raise
            raise self._told(doing, problem, time.monotonic() - started) from problem

    def _held(self) -> C:
        if self._client is None or self._pid != os.getpid():
            self._client = None  # a parent's: neither used nor closed here
            self._client = self._make()
            self._pid = os.getpid()
        return self._client

    def _told(self, doing: str, problem: BaseException, seconds: float) -> Exception:
        from kombu.exceptions import OperationalError

        said = " ".join(self._say(problem).split())[:_LONGEST]
        for secret in self._secrets:
            said = said.replace(secret, "***")
        error: Exception = OperationalError(
            f"{self._where}: could not {doing}, after {seconds:.1f} s: {type(problem).__name__}: {said}"
        )
        return error

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            with suppress(Exception):
                self._leave(client)
