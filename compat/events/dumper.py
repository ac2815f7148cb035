"""`celery events --dump`: every event as a line on the screen, or down a pipe.

Law: the lines are Celery's, since people grep them. An event that lacks something is shown all the same.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import Any

from ..app import app_or_default
from ..utils.functional import LRUCache
from ..utils.term import harmless
from ..utils.time import humanize_seconds

__all__ = ("Dumper", "evdump")

#: Task id -> what its task-received said of it.
TASK_NAMES: Any = LRUCache(limit=0xFFF)

HUMAN_TYPES = {"worker-offline": "shutdown", "worker-online": "started", "worker-heartbeat": "heartbeat"}

CONNECTION_ERROR = """\
-> Cannot connect to %s: %s.
Trying again %s
"""

_NAMED = ("task-received", "task-sent")
_PAUSE = 2.0
_LONGEST_PAUSE = 32.0


def humanize_type(type: str) -> str:
    """The type of an event in words."""
    type = type.lower()
    return HUMAN_TYPES.get(type) or type.replace("-", " ")


class Dumper:
    """Writes events to a file."""

    def __init__(self, out: Any = sys.stdout) -> None:
        self.out = out

    def say(self, msg: str) -> None:
        """A line, at once."""
        print(msg, file=self.out)
        if hasattr(self.out, "flush"):
            self.out.flush()

    def on_event(self, ev: dict[str, Any]) -> None:
        """A line for this event; its fields are taken out of it."""
        timestamp = _time(ev.pop("timestamp", None))
        type = ev.pop("type").lower()
        hostname = ev.pop("hostname", None)
        task = ""
        if type.startswith("task-"):
            uuid = str(ev.pop("uuid", None))  # whoever told it may have sent anything
            if type in _NAMED:
                name, args, kwargs = (ev.pop(field, None) for field in ("name", "args", "kwargs"))
                TASK_NAMES[uuid] = f"{name}({uuid}) args={args} kwargs={kwargs}"
            task = TASK_NAMES.get(uuid, "")
            self.format_task_event(hostname, timestamp, type, task, ev)
            return
        fields = _fields(ev)
        self.say(harmless(f"{hostname} [{timestamp}] {humanize_type(type)}{':' if fields else ''} {fields}"))

    def format_task_event(self, hostname: Any, timestamp: Any, type: str, task: str, event: dict[str, Any]) -> None:
        """A line for an event of a task."""
        fields = _fields(event)
        self.say(harmless(f"{hostname} [{timestamp}] {humanize_type(type)}{':' if fields else ''} {task} {fields}"))


def _fields(event: dict[str, Any]) -> str:
    return ", ".join(f"{name}={event[name]}" for name in sorted(event))


def _time(timestamp: Any) -> Any:
    try:
        return datetime.fromtimestamp(timestamp, timezone.utc)
    except (TypeError, ValueError, OverflowError, OSError):
        return timestamp


def evdump(app: Any = None, out: Any = sys.stdout) -> None:
    """Show events until interrupted. A broker that is away is waited for."""
    import time

    from kombu.exceptions import OperationalError

    app = app_or_default(app)
    dumper = Dumper(out=out)
    dumper.say("-> evdump: starting capture...")
    receiver = app.events.Receiver(None, handlers={"*": dumper.on_event})
    begin = receiver.on_consume_ready
    pause, connected = _PAUSE, False

    def ready(*args: Any, **kwargs: Any) -> None:
        nonlocal pause, connected
        begin(*args, **kwargs)
        pause, connected = _PAUSE, True

    receiver.on_consume_ready = ready
    while True:
        try:
            receiver.capture()
        except (KeyboardInterrupt, SystemExit):  # noqa: PERF203 - once a connection
            return
        except OperationalError as problem:
            if connected:
                connected = False
                dumper.say("-> Connection lost, attempting reconnect")
                continue
            where = app.connection_for_read().as_uri()
            dumper.say(CONNECTION_ERROR % (where, problem, humanize_seconds(pause, "in", " ")))
            try:
                time.sleep(pause)
            except (KeyboardInterrupt, SystemExit):
                return
            pause = min(pause + _PAUSE, _LONGEST_PAUSE)


if __name__ == "__main__":
    evdump()
