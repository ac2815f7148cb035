"""Pools by name: where tasks run. A row is the module that serves it, imported when it is asked for.

A user's own pool is a path, `package.module:Class`; it is made like ours: `Class(program, size)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from ...protocol.errors import BadCall
from ..options import PoolOptions
from .base import Pool, Program


def _prefork(program: Program, options: PoolOptions) -> Pool:
    from .prefork import Prefork

    return Prefork(
        program,
        options.concurrency,
        max_tasks=options.max_tasks,
        max_memory=options.max_memory,
        alive_timeout=options.alive_timeout,
        spawn=options.start_method == "spawn",
    )


def _greenlets(library: str) -> Callable[[Program, PoolOptions], Pool]:
    def make(program: Program, options: PoolOptions) -> Pool:
        from .greenlets import Greenlets

        return Greenlets(program, options.concurrency, library)

    return make


def _class(path: str) -> Callable[[Program, PoolOptions], Pool]:
    def make(program: Program, options: PoolOptions) -> Pool:
        module, _, name = path.replace(":", ".").rpartition(".")
        made: Pool = getattr(import_module(module, __name__), name)(program, options.concurrency)
        return made

    return make


TABLE: Mapping[str, Callable[[Program, PoolOptions], Pool]] = {
    "prefork": _prefork,
    "processes": _prefork,
    "threads": _class(".threads.Threads"),
    "solo": _class(".solo.Solo"),
    "asyncio": _class(".asyncio.Asyncio"),
    "gevent": _greenlets("gevent"),
    "eventlet": _greenlets("eventlet"),
}


def make(program: Program, options: PoolOptions) -> Pool:
    """The pool that the options name, stopped."""
    kind: Any = options.kind
    if not isinstance(kind, str):
        pool: Pool = kind(program, options.concurrency)
        return pool
    row = TABLE.get(kind)
    if row is None and "." in kind.replace(":", "."):
        row = _class(kind)
    if row is None:
        near = get_close_matches(kind, TABLE, 1)
        hint = (
            f": did you mean {near[0]}?" if near else f"; there are {', '.join(TABLE)}, or a path package.module:Class"
        )
        raise BadCall(f"no pool is called {kind!r}{hint}")
    return row(program, options)
