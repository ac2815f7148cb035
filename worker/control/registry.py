"""The registry of remote-control commands, and the desk at which they are answered.

Law: a command is a function `(worker, **arguments) -> reply`. What it raises is its reply too; no request stops the
worker. Names, arguments and texts are those of `wire.commands`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ...protocol.wire import commands as wire

if TYPE_CHECKING:
    from ..worker import Worker

log = logging.getLogger("celery.worker.control")

Answer = Callable[..., Any]

COMMANDS: dict[str, Answer] = {}
"""By name and by alias."""

NO_REPLY: Any = object()
"""What a command returns that must not be answered at all."""


def command(answer: Answer) -> Answer:
    """Register the function under its own name, which `wire.commands` knows, and that command's alias."""
    known = wire.COMMANDS[answer.__name__]
    COMMANDS[known.name] = answer
    if known.alias is not None:
        COMMANDS[known.alias] = answer
    return answer


def listed(value: Any) -> list[Any]:
    """What may be given alone or as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)


class Desk:
    """Answers commands for one worker. `others` are users' own: name -> function of the worker's Celery state."""

    def __init__(self, worker: Worker, others: Mapping[str, Answer]) -> None:
        self.worker = worker
        self.others = others

    def answer(self, method: str, arguments: Mapping[str, Any]) -> Any:
        try:
            other = self.others.get(method)
            if other is not None:
                return other(**arguments)
            found = COMMANDS.get(method)
            if found is None:
                log.error("No such control command: %s", method)
                return wire.unknown(method)
            known = wire.BY_NAME[method]
            complaint = known.complaint(arguments)
            if complaint is not None:
                raise complaint  # noqa: TRY301 - it is answered like any other
            names = {*known.needs, *known.takes}
            given = arguments if known.open else {key: value for key, value in arguments.items() if key in names}
            return found(self.worker, **given)
        except SystemExit:
            raise
        except Exception as exc:
            log.exception("Control command error: %r", exc)  # noqa: TRY401 - this is the line that people look for
            return wire.raised(exc)
