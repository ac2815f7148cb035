"""Waiting for descriptors, with what the libraries of greenlets leave of the module `select`.

eventlet takes `poll` away, both take `epoll`. What waits must go through the former's `select`, so that others run
meanwhile; a descriptor that only stands for others may be the system's own.
"""

from __future__ import annotations

import select
from collections.abc import Sequence

from ..protocol.hints import Any, Protocol


class Poll(Protocol):
    """What is used of `select.poll`."""

    def register(self, what: Any, flags: int, /) -> None: ...

    def unregister(self, what: Any, /) -> None: ...

    def poll(self, milliseconds: float, /) -> Sequence[tuple[int, int]]: ...


def poll() -> Poll:
    return select.poll() if hasattr(select, "poll") else _Selecting()


class _Selecting:
    """The same by `select.select`."""

    def __init__(self) -> None:
        self._flags: dict[int, int] = {}

    def register(self, what: Any, flags: int, /) -> None:
        self._flags[_number(what)] = flags

    def unregister(self, what: Any, /) -> None:
        del self._flags[_number(what)]

    def poll(self, milliseconds: float, /) -> Sequence[tuple[int, int]]:
        reading = [each for each, flags in self._flags.items() if flags & select.POLLIN]
        writing = [each for each, flags in self._flags.items() if flags & select.POLLOUT]
        readable, writable, _ = select.select(reading, writing, [], max(milliseconds, 0) / 1000)
        found = dict.fromkeys(readable, select.POLLIN)
        for each in writable:
            found[each] = found.get(each, 0) | select.POLLOUT
        return list(found.items())


def _number(what: Any) -> int:
    return what if isinstance(what, int) else what.fileno()


def unpatched() -> Any:
    """The module `select` as the system has it. Nothing else can be done with it than what does not wait."""
    if hasattr(select, "epoll") or hasattr(select, "kqueue"):
        return select
    from importlib.util import find_spec, module_from_spec

    spec = find_spec("select")
    if spec is None or spec.loader is None:
        return select
    fresh = module_from_spec(spec)
    spec.loader.exec_module(fresh)
    return fresh
