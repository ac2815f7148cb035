"""Stacks and values of one's own: each thread, greenlet and coroutine sees what it pushed itself.

Law: a coroutine that is started within a task sees that task, and what it pushes is not seen by its starter.
"""

from __future__ import annotations

import os
import sys
import threading
from _contextvars import ContextVar
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident

from ...protocol.hints import Any
from ..local import Proxy

__all__ = (
    "Local",
    "LocalManager",
    "LocalStack",
    "bgThread",
    "bound_open_broker_sockets",
    "default_socket_timeout",
    "get_ident",
)  # fmt: skip

USE_FAST_LOCALS = os.environ.get("USE_FAST_LOCALS")
TIMEOUT_MAX = threading.TIMEOUT_MAX


@contextmanager
def default_socket_timeout(timeout: float | None) -> Iterator[None]:
    """While this context lasts, new sockets have this timeout."""
    import socket

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def bound_open_broker_sockets(connection: Any, timeout: float | None) -> None:
    """Gives the sockets that a kombu connection has open this timeout. It is for closing down: it never raises."""
    try:
        for found in _open_sockets(connection):
            found.settimeout(timeout)
    except Exception:  # noqa: BLE001 - a socket that is gone needs no timeout
        return


def _open_sockets(connection: Any) -> Iterator[Any]:
    # Attributes that are there already: their properties would connect anew.
    for channel in list(getattr(connection.transport, "channels", None) or ()):
        for name in ("client", "subclient"):
            link: Any = getattr(vars(channel).get(name), "connection", None)
            if getattr(link, "_sock", None) is not None:
                yield link._sock
    transport: Any = getattr(getattr(connection, "_connection", None), "_transport", None)
    if getattr(transport, "sock", None) is not None:
        yield transport.sock


class bgThread(threading.Thread):
    """A thread that calls `body` again and again until it is stopped; an error in it ends the process."""

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        super().__init__()
        self.__is_shutdown = threading.Event()
        self.__is_stopped = threading.Event()
        self.daemon = True
        self.name = name or self.__class__.__name__

    def body(self) -> None:
        raise NotImplementedError

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Says what went wrong, on stderr."""
        print(msg.format(*fmt), file=sys.stderr)  # noqa: T201 - there may be no logging any more
        import traceback

        traceback.print_exc(None, sys.stderr)

    def run(self) -> None:
        shutdown = self.__is_shutdown
        try:
            while not shutdown.is_set():
                try:
                    self.body()
                except Exception as exc:  # noqa: BLE001, PERF203 - a thread that the process cannot do without
                    try:
                        self.on_crash("{0!r} crashed: {1!r}", self.name, exc)
                        self._set_stopped()
                    finally:
                        sys.stderr.flush()
                        os._exit(1)
        finally:
            self._set_stopped()

    def _set_stopped(self) -> None:
        try:
            self.__is_stopped.set()
        except TypeError:
            return  # the interpreter is on its way out

    def stop(self) -> None:
        """Asks it to stop, and waits until it has."""
        self.__is_shutdown.set()
        self.__is_stopped.wait()
        if self.is_alive():
            self.join(TIMEOUT_MAX)


def release_local(local: Any) -> None:
    """Forgets what the local holds here."""
    local.__release_local__()


class Local:
    """An object whose attributes belong to this thread or greenlet."""

    __slots__ = ("__ident_func__", "__storage__")

    __storage__: dict[Any, dict[str, Any]]
    __ident_func__: Callable[[], Any]

    def __init__(self) -> None:
        object.__setattr__(self, "__storage__", {})
        object.__setattr__(self, "__ident_func__", get_ident)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.__storage__.items())

    def __call__(self, proxy: str) -> Proxy:
        return Proxy(self, name=proxy)

    def __release_local__(self) -> None:
        self.__storage__.pop(self.__ident_func__(), None)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__storage__[self.__ident_func__()][name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.__storage__.setdefault(self.__ident_func__(), {})[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self.__storage__[self.__ident_func__()][name]
        except KeyError:
            raise AttributeError(name) from None


class LocalStack:
    """A stack of this thread, greenlet or coroutine."""

    __slots__ = ("_held", "held")

    def __init__(self) -> None:
        # Immutable tuples: contexts are copied, what is in them is not.
        self._held: ContextVar[tuple[Any, ...]] = ContextVar("celery.LocalStack", default=())
        self.held = self._held.get
        """`stack`, as it is kept."""

    def __release_local__(self) -> None:
        self._held.set(())

    def __call__(self) -> Proxy:
        def lookup() -> Any:
            if not self._held.get():
                raise RuntimeError("object unbound")
            return self.top

        return Proxy(lookup)

    def push(self, obj: Any) -> list[Any]:
        """Puts it on top."""
        held = (*self._held.get(), obj)
        self._held.set(held)
        return list(held)

    def put(self, obj: Any) -> None:
        """`push`, for who does not ask what is there now."""
        self._held.set((*self._held.get(), obj))

    def pop(self) -> Any:
        """Takes away what is on top, and returns it; None when nothing is."""
        held = self._held.get()
        if not held:
            return None
        self._held.set(held[:-1])
        return held[-1]

    def __len__(self) -> int:
        return len(self._held.get())

    @property
    def stack(self) -> list[Any]:
        """All of it, the top last."""
        return list(self._held.get())

    @property
    def top(self) -> Any:
        """What is on top; None when nothing is."""
        held = self._held.get()
        return held[-1] if held else None


_LocalStack = _FastLocalStack = LocalStack


class LocalManager:
    """Forgets several locals at once."""

    def __init__(self, locals: Any = None, ident_func: Callable[[], Any] | None = None) -> None:
        if locals is None:
            self.locals: list[Any] = []
        elif isinstance(locals, (Local, LocalStack)):
            self.locals = [locals]
        else:
            self.locals = list(locals)
        self.ident_func = ident_func or get_ident

    def get_ident(self) -> Any:
        """Who is asking."""
        return self.ident_func()

    def cleanup(self) -> None:
        """Forgets what all of them hold here."""
        for local in self.locals:
            release_local(local)

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} storages: {len(self.locals)}>"
