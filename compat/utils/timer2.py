"""A thread that calls functions at their times, over kombu's schedule."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from threading import TIMEOUT_MAX as THREAD_TIMEOUT_MAX
from time import sleep
from typing import Any

from kombu.asynchronous.timer import Entry, logger, to_timestamp
from kombu.asynchronous.timer import Timer as Schedule

__all__ = ("Entry", "Schedule", "Timer", "to_timestamp")

TIMER_DEBUG = os.environ.get("TIMER_DEBUG")


class Timer(threading.Thread):
    """Starts with the first entry; an error that the schedule does not handle ends the process."""

    Entry = Entry
    Schedule: Any = Schedule

    running: bool = False
    on_tick: Callable[[float], None] | None = None

    _timer_count = 0

    def __init__(
        self,
        schedule: Any = None,
        on_error: Callable[[Exception], None] | None = None,
        on_tick: Callable[[float], None] | None = None,
        on_start: Callable[[Timer], None] | None = None,
        max_interval: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.schedule = schedule or self.Schedule(on_error=on_error, max_interval=max_interval)
        self.on_start = on_start
        self.on_tick = on_tick or self.on_tick
        super().__init__(daemon=True)
        self.__is_shutdown = threading.Event()
        self.__is_stopped = threading.Event()
        self.mutex = threading.Lock()
        self.not_empty = threading.Condition(self.mutex)
        Timer._timer_count += 1
        self.name = f"Timer-{Timer._timer_count}"

    def _next_entry(self) -> Any:
        with self.not_empty:
            delay, entry = next(self.scheduler)
            if entry is None:
                if delay is None:
                    self.not_empty.wait(1.0)
                return delay
        return self.schedule.apply_entry(entry)

    __next__ = next = _next_entry

    def run(self) -> None:
        try:
            self.running = True
            self.scheduler = iter(self.schedule)
            while not self.__is_shutdown.is_set():
                delay = self._next_entry()
                if delay:
                    if self.on_tick:
                        self.on_tick(delay)
                    sleep(delay)
            self.__is_stopped.set()
        except Exception as exc:  # noqa: BLE001 - a thread that the process cannot do without
            logger.error("Thread Timer crashed: %r", exc, exc_info=True)
            sys.stderr.flush()
            os._exit(1)

    def stop(self) -> None:
        """Stops it, and waits until it has stopped."""
        self.__is_shutdown.set()
        if self.running:
            self.__is_stopped.wait()
            self.join(THREAD_TIMEOUT_MAX)
            self.running = False

    def ensure_started(self) -> None:
        """Starts it, once."""
        if not self.running and not self.is_alive():
            if self.on_start:
                self.on_start(self)
            self.start()

    def _do_enter(self, meth: str, *args: Any, **kwargs: Any) -> Any:
        self.ensure_started()
        with self.mutex:
            entry = getattr(self.schedule, meth)(*args, **kwargs)
            self.not_empty.notify()
            return entry

    def enter(self, entry: Any, eta: float, priority: int | None = None) -> Any:
        return self._do_enter("enter_at", entry, eta, priority=priority)

    def call_at(self, *args: Any, **kwargs: Any) -> Any:
        return self._do_enter("call_at", *args, **kwargs)

    def enter_after(self, *args: Any, **kwargs: Any) -> Any:
        return self._do_enter("enter_after", *args, **kwargs)

    def call_after(self, *args: Any, **kwargs: Any) -> Any:
        return self._do_enter("call_after", *args, **kwargs)

    def call_repeatedly(self, *args: Any, **kwargs: Any) -> Any:
        return self._do_enter("call_repeatedly", *args, **kwargs)

    def exit_after(self, secs: float, priority: int = 10) -> None:
        self.call_after(secs, sys.exit, priority)

    def cancel(self, tref: Any) -> None:
        tref.cancel()

    def clear(self) -> None:
        self.schedule.clear()

    def empty(self) -> bool:
        return not len(self)

    def __len__(self) -> int:
        return len(self.schedule)

    def __bool__(self) -> bool:
        return True

    @property
    def queue(self) -> Any:
        """The entries, in order."""
        return self.schedule.queue
