"""What happens to a task, told to the world: the log, events, Celery's signals, and the result of what nobody ran.

Law: lines in the log are those that people grep for in stock workers. Nothing is put together that nobody wants.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ..protocol.errors import shown
from ..protocol.rules import decisions as decided
from ..protocol.rules.outcome import Fate, Report
from ..protocol.wire.event import PARENT_REPORTED
from ..protocol.wire.failure import lost_text
from .events import Dispatcher
from .ports import Owner
from .request import Request

log = logging.getLogger("celery.worker.strategy")
request_log = logging.getLogger("celery.worker.request")
consumer_log = logging.getLogger("celery.worker.consumer.consumer")

UNKNOWN_TASK = """\
Received unregistered task of type %r.
The message has been ignored and discarded.

Did you remember to import the module containing this task?
Or maybe you're using relative imports?

The full contents of the message body was:
%s

The full contents of the message headers:
%s
"""


class Announcer:
    """One worker's voice."""

    def __init__(self, owner: Owner, events: Dispatcher, sender: Any) -> None:
        self.owner = owner
        self.events = events
        self._sender = sender
        self.announced: Mapping[type, Callable[[Request, Any], None]] = {
            decided.Received: self.received,
            decided.Revoked: self.revoked,
            decided.TimedOut: self.timed_out,
            decided.WorkerLost: self.lost,
            decided.Unregistered: self.unregistered,
            decided.Cancelled: self.cancelled,
        }
        """What is done about decisions that are announced, and no more is done about them."""

    def arrived(self, request: Request) -> None:
        """Logged of every task that there is, even if it is revoked or has expired."""
        if log.isEnabledFor(logging.INFO):
            headers = request.headers
            context = {
                "id": request.id,
                "name": request.shown_name,
                "args": headers.get("argsrepr"),
                "kwargs": headers.get("kwargsrepr"),
                "eta": headers.get("eta"),
                "root_id": headers.get("root_id"),
            }
            log.info(self.owner.received_format, context, extra={"data": context})

    # --- told by the pool

    def started(self, request: Request) -> None:
        if self.events.on:
            self._event(request, "task-started")

    def ended(self, request: Request, report: Report) -> None:
        if not self.events.on:
            return
        if report.state == "SUCCESS":
            self._event(request, "task-succeeded", result=report.result, runtime=report.runtime)
        elif report.fate is Fate.RETRIED:
            self._event(request, "task-retried", exception=report.error, traceback=report.traceback)
        elif report.fate in (Fate.FAILED, Fate.REJECTED):
            self._event(request, "task-failed", exception=report.error, traceback=report.traceback)

    def overdue(self, request: Request, seconds: float) -> None:
        limit, name = short(seconds), request.shown_name
        request_log.warning("Soft time limit (%ss) exceeded for %s[%s]", limit, name, request.id, extra=about(request))

    # --- decided

    @property
    def hushed(self) -> bool:
        """Whether nobody wants to hear what has `arrived` and is `received`."""
        return not (self.events.on or log.isEnabledFor(logging.INFO) or self.owner.listens("task_received"))

    def received(self, request: Request, _: decided.Received) -> None:
        if self.owner.listens("task_received"):
            self.owner.signal("task_received", self._sender, request=self.owner.request(request))
        if self.events.on:
            headers = request.headers
            self._event(
                request,
                "task-received",
                name=request.shown_name,
                args=headers.get("argsrepr"),
                kwargs=headers.get("kwargsrepr"),
                root_id=headers.get("root_id"),
                parent_id=headers.get("parent_id"),
                retries=headers.get("retries") or 0,
                eta=headers.get("eta"),
                expires=headers.get("expires"),
            )

    def revoked(self, request: Request, each: decided.Revoked) -> None:
        if not each.terminated:
            why = f" (revoked by header: {dict([each.stamp])})" if each.stamp else ""
            request_log.info(
                "Discarding revoked task: %s[%s]%s", request.shown_name, request.id, why, extra=about(request)
            )
        reason = "expired" if each.expired else "terminated" if each.terminated else "revoked"
        how = {"terminated": each.terminated, "signum": each.signum, "expired": each.expired}
        self._event(request, "task-revoked", **how)
        self.owner.revoked(request, reason, terminated=each.terminated, signum=each.signum, expired=each.expired)

    def timed_out(self, request: Request, each: decided.TimedOut) -> None:
        limit, name = short(each.limit), request.shown_name
        request_log.error("Hard time limit (%ss) exceeded for %s[%s]", limit, name, request.id, extra=about(request))
        self.owner.timed_out(request, limit)
        for _ in range(2):  # stock workers tell it twice
            self._event(request, "task-failed", exception=PARENT_REPORTED, traceback=f"TimeLimitExceeded({limit},)")

    def lost(self, request: Request, each: decided.WorkerLost) -> None:
        text = lost_text(each.why, request.number)
        line = "Task handler raised error: WorkerLostError(%r) in %s[%s]"
        request_log.error(line, text, request.shown_name, request.id, extra=about(request))
        self.owner.lost(request, each.why)
        self._event(request, "task-failed", exception=PARENT_REPORTED, traceback=text)

    def unregistered(self, request: Request, _: decided.Unregistered) -> None:
        message = request.delivery.message
        consumer_log.error(UNKNOWN_TASK, request.name, shown(message.body), message.headers, extra=about(request))
        if self.owner.listens("task_unknown"):
            error = KeyError(request.name)
            self.owner.signal(
                "task_unknown", self._sender, name=request.name, id=request.id, message=message, exc=error
            )
        self.owner.unregistered(request)
        self._event(request, "task-failed", exception=f"NotRegistered({request.name!r})")

    def cancelled(self, request: Request, _: decided.Cancelled) -> None:
        self.owner.cancelled(request)
        self._event(request, "task-cancelled")

    # --- done

    def resent(self, request: Request, why: str) -> None:
        text = lost_text(why, request.number)
        self._event(request, "task-retried", exception=f"WorkerLostError({text!r})", traceback=text)

    def rejected(self, request: Request, *, requeue: bool) -> None:
        self._event(request, "task-rejected", requeue=requeue)

    def buried(self, queue: str) -> None:
        """One more dead letter of this queue; the log has been told why."""

    def _event(self, request: Request, kind: str, **fields: Any) -> None:
        if self.events.on and (request.kind is None or request.kind.tells):
            self.events.task(kind, {"uuid": request.id, **fields})


def about(request: Request) -> dict[str, Any]:
    """For lines of the log whose reader is a machine: which task they tell of."""
    return {"data": {"id": request.id, "name": request.shown_name, "root_id": request.headers.get("root_id")}}


def short(seconds: float) -> float:
    """Without a fraction that says nothing."""
    return int(seconds) if seconds == int(seconds) else seconds


ANNOUNCED: frozenset[type] = frozenset(
    (
        *(decided.Received, decided.Revoked, decided.TimedOut),
        *(decided.WorkerLost, decided.Unregistered, decided.Cancelled),
    )
)
"""The decisions that are announced, and nothing else is done about them."""
