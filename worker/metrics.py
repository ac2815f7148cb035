"""What a worker counts while somebody may ask, and how Prometheus reads it.

Law: names that celery-exporter has mean what they mean there (`celery_...`, its labels, `hostname` without the node's
name); what is only ours is `celeriac_...`. Only the worker's thread counts; another may read, and sees whole figures.
Labels are bounded: tasks by the names that are registered, exceptions by the first `_MOST` classes.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..protocol.rules import decisions as decided
from ..protocol.rules.outcome import Fate, Report
from .announcing import Announcer
from .request import Request

_MOST = 100
_OTHER = "other"
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds: the buckets of celery-exporter, which are those of Prometheus' client."""
KIND = "text/plain; version=0.0.4; charset=utf-8"

_HELP = {
    "celery_task_received_total": "Task messages received.",
    "celery_task_started_total": "Tasks begun.",
    "celery_task_succeeded_total": "Tasks that succeeded.",
    "celery_task_failed_total": "Tasks that failed, by exception.",
    "celery_task_retried_total": "Tasks that failed and are to run again.",
    "celery_task_revoked_total": "Tasks revoked or expired.",
    "celery_task_rejected_total": "Tasks whose message was rejected.",
    "celeriac_task_lost_total": "Tasks lost with the process that ran them.",
    "celeriac_task_timeout_total": "Tasks over a time limit, soft or hard.",
    "celeriac_messages_dead_total": "Messages that went to a dead queue.",
}
_CLASS = re.compile(r"[A-Za-z_][\w.]*")

Labels = tuple[tuple[str, str], ...]


class Counts:
    """Counters by name and labels, and how long tasks ran. Every sample bears the `hostname`."""

    def __init__(self, hostname: str) -> None:
        self._own: Labels = (("hostname", hostname),)
        self._counters: dict[str, dict[Labels, int]] = {name: defaultdict(int) for name in _HELP}
        self._runtimes: dict[Labels, list[float]] = {}
        self._exceptions: set[str] = set()

    def add(self, name: str, labels: Labels) -> None:
        self._counters[name][labels] += 1

    def ran(self, labels: Labels, seconds: float) -> None:
        """Its bucket, and the sum at the end."""
        found = self._runtimes.get(labels)
        if found is None:
            found = self._runtimes[labels] = [0.0] * (len(BOUNDS) + 2)
        found[next((place for place, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))] += 1
        found[-1] += seconds

    def exception(self, shown: str | None) -> str:
        """The class of the exception of which this is the repr."""
        found = _CLASS.match(shown or "")
        name = found.group().rpartition(".")[2] if found else "Unknown"
        if name not in self._exceptions:
            if len(self._exceptions) >= _MOST:
                return _OTHER
            self._exceptions.add(name)
        return name

    def text(self, gauges: Iterable[Gauge]) -> str:
        """As Prometheus reads it."""
        return "".join(self._lines(gauges))

    def _lines(self, gauges: Iterable[Gauge]) -> Iterator[str]:
        for name, samples in self._counters.items():
            yield _head(name, "counter", _HELP[name])
            for labels, count in samples.copy().items():
                yield _line(name, labels + self._own, count)
        yield _head("celery_task_runtime", "histogram", "Seconds that tasks ran which succeeded.")
        for labels, found in self._runtimes.copy().items():
            yield from _histogram("celery_task_runtime", labels + self._own, list(found))
        for name, kind, about, values in gauges:
            yield _head(name, kind, about)
            for more, value in values.items():
                yield _line(name, (() if name.startswith("process_") else self._own) + more, value)


Gauge = tuple[str, str, str, Mapping[Labels, float]]
"""Name, type, meaning, and the value for each set of labels."""


class Meter(Announcer):
    """Counts what it announces."""

    counts: Counts

    def started(self, request: Request) -> None:
        self.counts.add("celery_task_started_total", _of(request))
        super().started(request)

    def ended(self, request: Request, report: Report) -> None:
        labels = _of(request)
        if report.state == "SUCCESS":
            self.counts.add("celery_task_succeeded_total", labels)
            self.counts.ran(labels, report.runtime)
        elif report.fate is Fate.RETRIED:
            self.counts.add("celery_task_retried_total", labels)
        elif report.fate is Fate.FAILED:
            self._failed(labels, report.error)
        super().ended(request, report)

    def overdue(self, request: Request, seconds: float) -> None:
        self.counts.add("celeriac_task_timeout_total", (*_of(request), ("limit", "soft")))
        super().overdue(request, seconds)

    def received(self, request: Request, each: decided.Received) -> None:
        self.counts.add("celery_task_received_total", _of(request))
        super().received(request, each)

    def revoked(self, request: Request, each: decided.Revoked) -> None:
        self.counts.add("celery_task_revoked_total", _of(request))
        super().revoked(request, each)

    def timed_out(self, request: Request, each: decided.TimedOut) -> None:
        labels = _of(request)
        self.counts.add("celeriac_task_timeout_total", (*labels, ("limit", "hard")))
        self._failed(labels, "TimeLimitExceeded")
        super().timed_out(request, each)

    def lost(self, request: Request, each: decided.WorkerLost) -> None:
        labels = _of(request)
        self.counts.add("celeriac_task_lost_total", labels)
        self._failed(labels, "WorkerLostError")
        super().lost(request, each)

    def unregistered(self, request: Request, each: decided.Unregistered) -> None:
        self._failed(_of(request), "NotRegistered")
        super().unregistered(request, each)

    def resent(self, request: Request, why: str) -> None:
        self.counts.add("celery_task_retried_total", _of(request))
        super().resent(request, why)

    def rejected(self, request: Request, *, requeue: bool) -> None:
        self.counts.add("celery_task_rejected_total", _of(request))
        super().rejected(request, requeue=requeue)

    def buried(self, queue: str) -> None:
        self.counts.add("celeriac_messages_dead_total", (("queue_name", queue),))

    def _failed(self, labels: Labels, error: str | None) -> None:
        self.counts.add("celery_task_failed_total", (*labels, ("exception", self.counts.exception(error))))


def _of(request: Request) -> Labels:
    """Whoever sends may call an unknown task anything."""
    name = request.name if request.kind is not None else _OTHER
    return ("name", name), ("queue_name", request.delivery.queue)


def _head(name: str, kind: str, about: str) -> str:
    return f"# HELP {name} {about}\n# TYPE {name} {kind}\n"


def _line(name: str, labels: Labels, value: Any) -> str:
    shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{shown}}} {value}\n" if shown else f"{name} {value}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _histogram(name: str, labels: Labels, found: list[float]) -> Iterator[str]:
    total = 0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), found[:-1], strict=True):
        total += int(count)
        yield _line(f"{name}_bucket", (*labels, ("le", bound)), total)
    yield _line(f"{name}_sum", labels, found[-1])
    yield _line(f"{name}_count", labels, total)


def process_gauges(started: float) -> Iterator[Gauge]:
    """What Prometheus' clients tell of a process, where the system says it."""
    used = time.process_time()
    yield "process_cpu_seconds_total", "counter", "CPU time of the worker's parent.", {(): used}
    yield "process_start_time_seconds", "gauge", "When the worker was started.", {(): started}
