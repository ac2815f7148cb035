"""What can be done from the page: each action with its fields, how they are checked, and what it does.

Law: a table. An action's fields are checked to the last before anything is sent; who asked is in the log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..bin.top import call_of, said
from .http import Refused
from .records import Record

_RATE = re.compile(r"\d{1,9}(\.\d{1,6})?(/[smh])?\Z")
_SIGNALS = frozenset({"SIGTERM", "SIGKILL", "SIGINT", "SIGUSR1"})


def _name(value: Any) -> str:
    if isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable():
        return value
    raise ValueError("is a name")


def _rate(value: Any) -> str:
    if isinstance(value, str) and _RATE.match(value):
        return value
    raise ValueError("looks like 100/m, 5/s or 0 for no limit")


def _few(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 100:
        return value
    raise ValueError("is a number from 1 to 100")


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 31_536_000:
        return value
    raise ValueError("is a number of seconds, or null")


def _signal(value: Any) -> str:
    if value in _SIGNALS:
        return str(value)
    raise ValueError(f"is one of {', '.join(sorted(_SIGNALS))}")


class Acting:
    """What actions work on. `takers`: queue -> workers that take from it, as they last said. `nodes`: all of them."""

    def __init__(
        self,
        app: Any,
        record: Callable[[str], Record | None],
        takers: Callable[[str], list[str]],
        nodes: Callable[[], int],
    ) -> None:
        self.app = app
        self.record = record
        self.takers = takers
        self.nodes = nodes
        self.paused: dict[str, list[str]] = {}

    def told(self, command: str, *args: Any, to: list[str] | None = None, **kwargs: Any) -> str:
        """Have workers do it; their replies in a line. It is waited for no longer than until all have replied."""
        expected = self.nodes() if to is None else len(to)
        limit = {"limit": expected} if expected else {}
        tell = getattr(self.app.control, command)
        return said(tell(*args, destination=to, reply=True, timeout=2.0, **limit, **kwargs))

    def revoke(self, id: str) -> str:
        return self.told("revoke", id)

    def terminate(self, id: str, signal: str) -> str:
        return self.told("revoke", id, terminate=True, signal=signal)

    def retry(self, id: str) -> str:
        name, args, kwargs = call_of(self.app, self.record(id), id)
        return f"sent {name} again as {self.app.send_task(name, args, kwargs).id}"

    def rate_limit(self, name: str, rate: str) -> str:
        return self.told("rate_limit", name, rate)

    def time_limit(self, name: str, soft: float | None, hard: float | None) -> str:
        return self.told("time_limit", name, soft=soft, hard=hard)

    def pool_grow(self, worker: str, n: int) -> str:
        return self.told("pool_grow", n, to=[worker])

    def pool_shrink(self, worker: str, n: int) -> str:
        return self.told("pool_shrink", n, to=[worker])

    def shutdown(self, worker: str) -> str:
        self.app.control.shutdown(destination=[worker])  # it replies to nobody any more
        return f"{worker} was told to finish what it runs, and to leave"

    def add_consumer(self, worker: str, queue: str) -> str:
        return self.told("add_consumer", queue, to=[worker])

    def cancel_consumer(self, worker: str, queue: str) -> str:
        return self.told("cancel_consumer", queue, to=[worker])

    def pause(self, queue: str) -> str:
        """Let the workers that take from the queue do so no more, and remember which they were."""
        takers = self.takers(queue)
        if not takers:
            raise Refused(409, f"nobody takes from {queue}")
        self.paused[queue] = takers
        return self.told("cancel_consumer", queue, to=takers)

    def resume(self, queue: str) -> str:
        takers = self.paused.pop(queue, None)
        if takers is None:
            raise Refused(409, f"{queue} was not paused from here: let a worker take from it, on its page")
        return self.told("add_consumer", queue, to=takers)


@dataclass(frozen=True)
class Act:
    """`fields`: name -> what checks it. `grave`: it is asked for in a second, louder way."""

    do: Callable[..., str]
    fields: Mapping[str, Callable[[Any], Any]]
    grave: bool = False


ACTS: Mapping[str, Act] = {
    "revoke": Act(Acting.revoke, {"id": _name}),
    "terminate": Act(Acting.terminate, {"id": _name, "signal": _signal}, grave=True),
    "retry": Act(Acting.retry, {"id": _name}),
    "rate_limit": Act(Acting.rate_limit, {"name": _name, "rate": _rate}),
    "time_limit": Act(Acting.time_limit, {"name": _name, "soft": _seconds, "hard": _seconds}),
    "pool_grow": Act(Acting.pool_grow, {"worker": _name, "n": _few}),
    "pool_shrink": Act(Acting.pool_shrink, {"worker": _name, "n": _few}),
    "shutdown": Act(Acting.shutdown, {"worker": _name}, grave=True),
    "add_consumer": Act(Acting.add_consumer, {"worker": _name, "queue": _name}),
    "cancel_consumer": Act(Acting.cancel_consumer, {"worker": _name, "queue": _name}),
    "pause": Act(Acting.pause, {"queue": _name}),
    "resume": Act(Acting.resume, {"queue": _name}),
}


def checked(asked: Mapping[str, Any]) -> tuple[Act, dict[str, Any]]:
    """The action that is asked for, with its fields. Raises Refused."""
    act = ACTS.get(asked.get("action", "")) if isinstance(asked.get("action"), str) else None
    if act is None:
        raise Refused(400, f"There is no such action. There are {', '.join(ACTS)}.")
    fields = {}
    for name, check in act.fields.items():
        try:
            fields[name] = check(asked.get(name))
        except ValueError as problem:  # noqa: PERF203 - once a field
            raise Refused(400, f"{name} {problem}") from None
    unknown = set(asked) - {"action", *act.fields}
    if unknown:
        raise Refused(400, f"{asked['action']} knows no {', '.join(sorted(unknown))[:100]}")
    return act, fields
