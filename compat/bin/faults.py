"""What a person did wrong, or finds away: one line and an exit code for it, in the place of a traceback.

Law: only what says by itself what is wrong is told so. Anything else keeps its traceback, for it is our fault or that
of the user's own code.
"""

from __future__ import annotations

import click

from ...protocol.errors import BadCall
from ..exceptions import CeleryCommandException, ImproperlyConfigured, SecurityError
from ..platforms import EX_CANTCREAT, EX_FAILURE, EX_UNAVAILABLE, LockFailed

UNREACHABLE = (
    "Could not connect to the message broker. Please make sure your broker (e.g., RabbitMQ or Redis) is "
    "running and the connection settings are correct. Reason: {0}"
)
_NO_TRANSPORT = "No such transport: "  # kombu's KeyError


def told(problem: BaseException) -> click.ClickException | None:
    """The problem as a person is told of it; None where only a traceback could."""
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


def is_operational(problem: BaseException) -> bool:
    """Any of the errors of that name: kombu's, and our brokers'."""
    named = any(cls.__name__ == "OperationalError" for cls in type(problem).__mro__)
    return named or isinstance(problem, ConnectionError)
