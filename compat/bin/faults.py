"""What a person did wrong, or finds away: one line and an exit code for it, in the place of a traceback.

Law: only what says by itself what is wrong is told so. Anything else keeps its traceback, for it is our fault or that
of the user's own code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from ...protocol.errors import BadCall
from ..exceptions import CeleryCommandException, ImproperlyConfigured, SecurityError
from ..platforms import EX_CANTCREAT, EX_FAILURE, EX_UNAVAILABLE, LockFailed
from .imports import told_of_import

UNREACHABLE = (
    "Could not connect to the message broker. Please make sure your broker (e.g., RabbitMQ or Redis) is "
    "running and the connection settings are correct. Reason: {0}"
)
_OF_CONNECTIONS = (f"{__name__.partition('.')[0]}.worker.", "amqp.", "kombu.", "redis.", "socket", "ssl")
_NO_TRANSPORT = "No such transport: "  # kombu's KeyError


def told(problem: BaseException, app: Any = None, include: Iterable[str] = ()) -> click.ClickException | None:
    """The problem as a person is told of it; None where only a traceback could."""
    if is_of_output(problem):
        return None
    if (of_import := told_of_import(problem)) is not None:
        return of_import
    if isinstance(problem, ModuleNotFoundError) and app is not None:
        return _missing(problem, app, include)
    first = str(problem.args[0]) if problem.args else str(problem)
    if isinstance(problem, (SecurityError, ImproperlyConfigured, BadCall)):
        return CeleryCommandException(first, EX_FAILURE)
    if isinstance(problem, KeyError) and first.startswith(_NO_TRANSPORT):
        scheme = first[len(_NO_TRANSPORT) :]
        return CeleryCommandException(f"no broker for {scheme!r}: look at broker_url, or at -b", EX_FAILURE)
    if isinstance(problem, LockFailed) or (isinstance(problem, OSError) and problem.filename):
        return CeleryCommandException(str(problem), EX_CANTCREAT)
    if is_operational(problem):
        return CeleryCommandException(UNREACHABLE.format(problem), EX_UNAVAILABLE)
    return None


def _missing(problem: ModuleNotFoundError, app: Any, include: Iterable[str]) -> click.ClickException | None:
    """A module that the app or the command line names; one that a module of the user's names has its traceback."""
    if isinstance(problem, ImproperlyConfigured):
        return CeleryCommandException(str(problem), EX_FAILURE)
    for where, module in _named(app, include):
        if problem.name and f"{module.replace(':', '.')}.".startswith(f"{problem.name}."):
            text = (
                f"{where} names the module {module!r}, and there is no {problem.name!r} in {Path.cwd()} or on the path"
            )
            return CeleryCommandException(text, EX_FAILURE)
    return None


def _named(app: Any, include: Iterable[str]) -> Iterator[tuple[str, str]]:
    yield from (("--include", module) for module in include)
    if isinstance(app._config_source, str):
        yield "config_from_object", app._config_source
    try:
        conf = app.conf
    except Exception:  # noqa: BLE001 - it is what cannot be read
        return
    for key in ("include", "imports", "task_annotations", "task_routes"):
        value = conf.get(key) or ()
        several = value if isinstance(value, (list, tuple, set, frozenset)) else (value,)
        yield from ((key, module) for module in several if isinstance(module, str))


def is_of_output(problem: BaseException) -> bool:
    """Who read what we print has gone (`| head`): no connection was written to. click leaves without a word."""
    if not isinstance(problem, BrokenPipeError):
        return False
    step = problem.__traceback__
    while step is not None:
        name = step.tb_frame.f_globals.get("__name__", "")
        if name.startswith(_OF_CONNECTIONS):
            return False
        step = step.tb_next
    return True


def is_operational(problem: BaseException) -> bool:
    """Any of the errors of that name: kombu's, and our brokers'."""
    named = any(cls.__name__ == "OperationalError" for cls in type(problem).__mro__)
    return named or isinstance(problem, ConnectionError)
