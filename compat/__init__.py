"""Celery's names and shapes, no policy: this module is `celery` itself.

Law: importing it loads nothing; every name and every submodule comes when it is first asked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

from ..protocol.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._state import current_app as current_app
    from ._state import current_task as current_task
    from .app import bugreport as bugreport
    from .app import shared_task as shared_task
    from .app.base import Celery as Celery
    from .app.task import Task as Task
    from .canvas import Signature as Signature
    from .canvas import chain as chain
    from .canvas import chord as chord
    from .canvas import chunks as chunks
    from .canvas import group as group
    from .canvas import maybe_signature as maybe_signature
    from .canvas import signature as signature
    from .canvas import subtask as subtask
    from .canvas import xmap as xmap
    from .canvas import xstarmap as xstarmap
    from .utils import uuid as uuid

# gevent and eventlet replace it; a signal handler inside of their loop must not switch.
_original_os_write = os.write

SERIES = "collider"

__version__ = "5.7.0"
__author__ = "Ask Solem"
__contact__ = "auvipy@gmail.com"
__homepage__ = "https://docs.celeryq.dev/"
__docformat__ = "restructuredtext"
__keywords__ = "task job queue distributed messaging actor"

VERSION_BANNER = f"{__version__} ({SERIES})"

__all__ = (
    "Celery",
    "Task",
    "bugreport",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "group",
    "maybe_signature",
    "shared_task",
    "signature",
    "uuid",
    "xmap",
    "xstarmap",
)  # fmt: skip

_ORIGINS = {
    **dict.fromkeys(("Celery", "bugreport", "shared_task"), "app"),
    "Task": "app.task",
    **dict.fromkeys(("current_app", "current_task"), "_state"),
    **dict.fromkeys(
        ("Signature", "chain", "chord", "chunks", "group", "maybe_signature", "signature", "subtask"), "canvas"
    ),
    **dict.fromkeys(("xmap", "xstarmap"), "canvas"),
    "uuid": "utils",
}

# `import celery; celery.result.AsyncResult` has always worked, for Celery loads its modules before anybody asks.
_SUBMODULES = frozenset(
    [
        "_state",
        "app",
        "apps",
        "backends",
        "beat",
        "bin",
        "bootsteps",
        "canvas",
        "concurrency",
        "contrib",
        "events",
        "exceptions",
        "execute",
        "fixups",
        "loaders",
        "local",
        "log",
        "messaging",
        "platforms",
        "registry",
        "result",
        "schedules",
        "security",
        "signals",
        "states",
        "utils",
        "worker",
    ]
)


_VERSIONS = frozenset({"VERSION", "version_info", "version_info_t"})


def __getattr__(name: str) -> Any:
    if name in _ORIGINS:
        from ..worker.late import uncollected

        with uncollected():
            value = getattr(import_module(f"{__name__}.{_ORIGINS[name]}"), name)
    elif name in _SUBMODULES:
        value = import_module(f"{__name__}.{name}")
    elif name in _VERSIONS:
        _tell_version()
        value = globals()[name]
    else:
        raise AttributeError(f"module 'celery' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ORIGINS, *_SUBMODULES, *_VERSIONS})


def _tell_version() -> None:
    from collections import namedtuple  # a class of these takes 0.1 ms

    version_info_t = namedtuple("version_info_t", ("major", "minor", "micro", "releaselevel", "serial"))  # noqa: PYI024 - typing costs an import
    version = version_info_t(5, 7, 0, "", "")
    globals().update(version_info_t=version_info_t, VERSION=version, version_info=version)


def _find_option_with_arg(
    argv: Sequence[str], short_opts: Sequence[str] | None = None, long_opts: Sequence[str] | None = None
) -> str:
    """The value of an option on the command line; KeyError when it is not there."""
    for index, word in enumerate(argv):
        option, has_value, value = word.partition("=")
        if word.startswith("--") and option in (long_opts or ()):
            return value if has_value else argv[index + 1]
        if word in (short_opts or ()):
            return argv[index + 1]
    raise KeyError("|".join((*(short_opts or ()), *(long_opts or ()))))


def _patch_eventlet() -> None:
    eventlet: Any = import_module("eventlet")
    debug: Any = import_module("eventlet.debug")

    eventlet.monkey_patch()
    longest = float(os.environ.get("EVENTLET_NOBLOCK") or 0)
    if longest:
        debug.hub_blocking_detection(longest, longest)


def _patch_gevent() -> None:
    monkey: Any = import_module("gevent.monkey")
    import_module("gevent.signal")

    monkey.patch_all()


def maybe_patch_concurrency(
    argv: Sequence[str] | None = None,
    short_opts: Sequence[str] | None = None,
    long_opts: Sequence[str] | None = None,
    patches: Mapping[str, Callable[[], None]] | None = None,
) -> None:
    """Patches the standard library for the pool that the command line names, before anything else is loaded."""
    try:
        pool = _find_option_with_arg(argv or sys.argv, short_opts or ["-P"], long_opts or ["--pool"])
    except KeyError:
        return
    patch = (patches or {"eventlet": _patch_eventlet, "gevent": _patch_gevent}).get(pool)
    if patch is not None:
        patch()
    concurrency: Any = import_module(f"{__name__}.concurrency")
    if pool in concurrency.get_available_pool_names():
        concurrency.get_implementation(pool)


if TYPE_CHECKING:
    from . import local as local
else:
    from .alias import offer

    offer()
