"""Children that do not move: noticed, told to the person on call, and ended where that costs no task.

Law: what runs is never ended for standing still; only its hard time limit does that. What a child was given and has
not begun is not its own: it is ended for that, and others do it.
"""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING

from .processes import STOPPED, send, state

if TYPE_CHECKING:
    from .prefork import Child

EVERY = 5.0
"""Seconds between two looks at a child."""
FROZEN = 60.0
"""A child that has a job and has not begun it for so long is not there any more, whatever the system says."""
STILLBORN = 10
"""A new child that is not up after so many times as long as it may take is replaced."""

_log = logging.getLogger("celery.concurrency.prefork")


def look_at(child: Child, now: float, alive_timeout: float) -> None:
    """Is it stopped? Seen twice, so that a profiler's moment does not count. And is it up, if it is new?"""
    child.looked = now
    if not child.mark.up:
        _await_birth(child, now, alive_timeout)
    if state(child.pid) not in STOPPED:
        if child.stopped and child.warned:
            _log.warning("Child process %s moves again", child.pid)
        child.stopped, child.warned = 0.0, child.warned and not child.mark.up
        return
    if not child.stopped:
        child.stopped = now
        return
    running = child.mark.running
    if not child.warned:
        child.warned = True
        _, job = child.given.get(running, (0, None))
        _log.error(
            "Child process %s is stopped (SIGSTOP, or a debugger) %s. SIGCONT lets it go on, SIGKILL replaces it.",
            child.pid,
            f"in {job.task}[{job.id}], and only a hard time limit would end that" if job else "between tasks",
        )
    if child.given and not running:
        _end(child, "is stopped", now - child.stopped)


def unmoved(child: Child, now: float) -> None:
    """It has jobs: has it begun one? One that writes what it has done stands still for as long as the store, or the
    broker of a chord's body, is away: to end it would give what waits for them to who has no such patience."""
    if child.mark.running or now - child.handed <= FROZEN or now - child.born <= FROZEN:
        return
    if child.mark.done <= child.told:
        _end(child, "has begun nothing", now - child.handed)
    elif child.delayed != child.told:
        child.delayed = child.told
        _log.error(
            "Child process %s has been writing what it has done for %.0f s, of %s: its result store or the broker is "
            "away, or a hook hangs that hears of what is sent. It is left alone, since it may have a chord's body to "
            "send. SIGKILL replaces it, and the worker writes and sends what it had to.",
            child.pid,
            now - child.handed,
            _named(child),
        )


def _end(child: Child, what: str, seconds: float) -> None:
    if child.ended_by is None:
        child.ended_by = (0, None, None)
        _log.error(
            "Child process %s %s for %.0f s: it is killed, and what it has not begun goes to others: %s",
            child.pid,
            what,
            seconds,
            _named(child),
        )
    send(child.pid, signal.SIGKILL)


def _named(child: Child) -> str:
    jobs = ", ".join(f"{job.task}[{job.id}]" for _, job in list(child.given.values())[:3])
    return jobs + (f" and {len(child.given) - 3} more" if len(child.given) > 3 else "")  # noqa: PLR2004 - those just named


def _await_birth(child: Child, now: float, may: float) -> None:
    waited = now - child.born
    if waited > may * STILLBORN:
        _log.error(
            "Child process %s is not up after %.0f s (worker_proc_alive_timeout): it is killed and replaced",
            child.pid,
            waited,
        )
        send(child.pid, signal.SIGKILL)
    elif waited > may and not child.warned:
        child.warned = True
        _log.warning(
            "Child process %s is not up after %.0f s (worker_proc_alive_timeout): what it imports, or a receiver of "
            "worker_process_init, takes that long. It is replaced after %.0f s",
            child.pid,
            waited,
            may * STILLBORN,
        )
