"""`celery.beat`: entries, schedulers that packages subclass, and the service that runs one.

Law: what is decided is decided in `protocol/rules/beat`; a method that a package overrides is called where Celery calls
it, with what Celery gives it. Before a task is sent its run is written down and saved, so that no tick is sent twice:
who is killed in between loses the one tick that was in his hands.
"""

from __future__ import annotations

import copy
import errno
import heapq
import logging
import os
import signal
import sys
import threading
import time
import traceback
from calendar import timegm
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, total_ordering
from typing import TYPE_CHECKING, Any

from ..protocol.rules import beat as rules
from ..worker import beat as looping
from ..worker import schedule_file
from . import __version__, platforms, signals
from .exceptions import reraise
from .schedules import crontab, maybe_schedule
from .utils.functional import is_numeric_value, maybe_evaluate
from .utils.imports import load_extension_class_names, symbol_by_name
from .utils.log import get_logger
from .utils.time import humanize_seconds, maybe_make_aware

if TYPE_CHECKING:
    from .beat_control import BeatPidbox, beat_nodename
    from .beat_leased import LeasedScheduler

__all__ = (
    "BeatPidbox",
    "EmbeddedService",
    "LeasedScheduler",
    "PersistentScheduler",
    "ScheduleEntry",
    "Scheduler",
    "SchedulingError",
    "Service",
    "beat_nodename",
)

_ELSEWHERE = {
    "BeatPidbox": "beat_control",
    "NODENAME_DEFAULT": "beat_control",
    "beat_nodename": "beat_control",
    "LeasedScheduler": "beat_leased",
}

event_t = namedtuple("event_t", ("time", "priority", "entry"), module="celery.beat")  # noqa: PYI024 - packages unpack it untyped

logger = get_logger("celery.beat")
debug, info, error, warning = logger.debug, logger.info, logger.error, logger.warning

DEFAULT_MAX_INTERVAL = 300  # 5 minutes

_CLEANUP = "celery.backend_cleanup"
_EDITABLE = ("task", "args", "kwargs", "options", "schedule")
_BROKER_PAUSES = (2.0, 30.0)  # after the first failure, and at most: kombu's


def __getattr__(name: str) -> Any:
    """What only some programs of beat need."""
    if name in _ELSEWHERE:
        from importlib import import_module

        return getattr(import_module(f".{_ELSEWHERE[name]}", __package__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class SchedulingError(Exception):
    """A task could not be sent by its schedule."""

    __module__ = "celery.beat"


class BeatLazyFunc:
    """An argument in `beat_schedule` that is computed anew for each send: `BeatLazyFunc(datetime.now)`."""

    __module__ = "celery.beat"

    def __init__(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._func = func
        self._func_params: dict[str, Any] = {"args": args, "kwargs": kwargs}

    def __call__(self) -> Any:
        return self.delay()

    def delay(self) -> Any:
        return self._func(*self._func_params["args"], **self._func_params["kwargs"])


@total_ordering
class ScheduleEntry:  # noqa: PLW1641 - an entry changes, and has no hash in Celery
    """A task, when it is to run and when it last ran."""

    __module__ = "celery.beat"

    name: Any = None
    task: Any = None
    schedule: Any = None
    args: Any = None
    kwargs: Any = None
    options: Any = None
    last_run_at: Any = None
    total_run_count: int = 0

    def __init__(
        self,
        name: Any = None,
        task: Any = None,
        last_run_at: Any = None,
        total_run_count: int | None = None,
        schedule: Any = None,
        args: Any = (),
        kwargs: Any = None,
        options: Any = None,
        relative: bool = False,
        app: Any = None,
    ) -> None:
        self.app = app
        self.name = name
        self.task = task
        self.args = args
        self.kwargs = kwargs or {}
        self.options = options or {}
        self.schedule = maybe_schedule(schedule, relative, app=self.app)
        self.last_run_at = last_run_at or self.default_now()
        self.total_run_count = total_run_count or 0

    def default_now(self) -> Any:
        return self.schedule.now() if self.schedule else self.app.now()

    _default_now = default_now

    def _next_instance(self, last_run_at: Any = None) -> Any:
        """The entry as it is after a run."""
        changed = {
            "last_run_at": last_run_at or self.default_now(),
            "total_run_count": self.total_run_count + 1,
        }
        return self.__class__(**{**dict(self), **changed})

    __next__ = next = _next_instance

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (
            self.name,
            self.task,
            self.last_run_at,
            self.total_run_count,
            self.schedule,
            self.args,
            self.kwargs,
            self.options,
        )

    def update(self, other: Any) -> None:
        """Take what can be edited from another one: task, schedule, args, kwargs, options."""
        self.__dict__.update({name: getattr(other, name) for name in _EDITABLE})

    def is_due(self) -> Any:
        return self.schedule.is_due(self.last_run_at)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())

    def __repr__(self) -> str:
        parts = [repr(value) for value in self.args or ()]
        parts += [f"{name}={value!r}" for name, value in (self.kwargs or {}).items()]
        return f"<{type(self).__name__}: {self.name} {self.task}({', '.join(parts)}) {self.schedule}"

    def __lt__(self, other: Any) -> Any:
        # Only the heap asks, of two events for one moment: any order will do that stays the same.
        return id(self) < id(other) if isinstance(other, ScheduleEntry) else NotImplemented

    def editable_fields_equal(self, other: Any) -> bool:
        return all(getattr(self, name) == getattr(other, name) for name in _EDITABLE)

    def __eq__(self, other: object) -> bool:
        return self.editable_fields_equal(other)


def _evaluated(value: Any) -> Any:
    return value() if isinstance(value, BeatLazyFunc) else value


def _evaluate_entry_args(entry_args: Any) -> list[Any]:
    return [_evaluated(value) for value in entry_args or ()]


def _evaluate_entry_kwargs(entry_kwargs: Any) -> dict[str, Any]:
    return {name: _evaluated(value) for name, value in (entry_kwargs or {}).items()}


class Scheduler:
    """Entries in memory. `lazy` makes one that is only looked at."""

    __module__ = "celery.beat"

    Entry: Any = ScheduleEntry
    max_interval: float = DEFAULT_MAX_INTERVAL
    sync_every: float = 3 * 60
    sync_every_tasks: int | None = None
    _last_sync: float | None = None
    _tasks_since_sync = 0
    _is_waiting = False  # for the broker: nothing is under way
    logger: logging.Logger = logger

    def __init__(
        self,
        app: Any,
        schedule: Any = None,
        max_interval: float | None = None,
        Producer: Any = None,
        lazy: bool = False,
        sync_every_tasks: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.app = app
        self.data = maybe_evaluate({} if schedule is None else schedule)
        self.max_interval = max_interval or app.conf.beat_max_loop_interval or self.max_interval
        self.Producer = Producer or app.amqp.Producer
        self._heap: list[Any] | None = None
        self.old_schedulers: Any = None
        self.sync_every_tasks = app.conf.beat_sync_every if sync_every_tasks is None else sync_every_tasks
        if not lazy:
            self.setup_schedule()

    # --- the schedule

    def setup_schedule(self) -> None:
        self.merge_inplace(self.app.conf.beat_schedule)
        self.install_default_entries(self.data)

    def install_default_entries(self, data: Any) -> None:
        """Results that do not expire by themselves are cleaned up at 4 in the morning."""
        entries = {}
        if self.app.conf.result_expires and not self.app.backend.supports_autoexpire and _CLEANUP not in data:
            entries[_CLEANUP] = {
                "task": _CLEANUP,
                "schedule": crontab("0", "4", "*"),
                "options": {"expires": 12 * 3600},
            }
        self.update_from_dict(entries)

    def add(self, **kwargs: Any) -> Any:
        entry = self.Entry(app=self.app, **kwargs)
        self.schedule[entry.name] = entry
        return entry

    def _maybe_entry(self, name: str, entry: Any) -> Any:
        if isinstance(entry, self.Entry):
            entry.app = self.app
            return entry
        return self.Entry(**dict(entry, name=name, app=self.app))

    def update_from_dict(self, dict_: Mapping[str, Any]) -> None:
        self.schedule.update({name: self._maybe_entry(name, entry) for name, entry in dict_.items()})

    def merge_inplace(self, b: Mapping[str, Any]) -> None:
        """Make the schedule what is configured; entries that it already has keep their last run."""
        schedule = self.schedule
        gone, stay, new = rules.merge(schedule, b)
        for name in gone:
            schedule.pop(name, None)
        for name in (*stay, *new):
            entry = self.Entry(**dict(b[name], name=name, app=self.app))
            if schedule.get(name):
                schedule[name].update(entry)
            else:
                schedule[name] = entry

    def schedules_equal(self, old_schedules: Any, new_schedules: Any) -> bool:
        return rules.same(old_schedules, new_schedules)

    def get_schedule(self) -> Any:
        return self.data

    def set_schedule(self, schedule: Any) -> None:
        self.data = schedule

    @property
    def schedule(self) -> Any:
        return self.get_schedule()

    @schedule.setter
    def schedule(self, schedule: Any) -> None:
        self.set_schedule(schedule)

    # --- ticks

    def tick(
        self,
        event_t: Any = event_t,
        min: Any = min,
        heappop: Any = heapq.heappop,
        heappush: Any = heapq.heappush,
    ) -> float:
        """Send one task if one is due; how long to sleep before the next tick."""
        if self._heap is None or not self.schedules_equal(self.old_schedulers, self.schedule):
            self.old_schedulers = copy.copy(self.schedule)
            self.populate_heap()
        heap: list[Any] = self._heap  # type: ignore[assignment] # it is populated
        if not heap:
            return self.max_interval
        found = rules.look(heap, self._when(heap[0][2], 0), self.max_interval)
        if found.event is None:
            return found.wait
        event = found.event
        entry = event[2]
        try:
            is_due, delay = self.is_due(entry)
        except Exception:  # noqa: BLE001 - one entry must not end beat; it is logged
            is_due, delay = self._is_due_failed(entry)
        producer = self.producer if is_due else None  # waits for the broker, before the run is written down
        if not rules.take(heap, event, heappop, heappush):
            return rules.wait(heap[0][0], self._when(heap[0][2], 0), self.max_interval)
        if is_due:
            following = self.reserve(entry)
            self.apply_entry(entry, producer=producer)
            heappush(heap, event_t(self._when(following, self._delay(following, delay)), event[1], following))
            return 0
        later = delay if is_numeric_value(delay) else self.max_interval
        heappush(heap, event_t(self._when(entry, later), event[1], entry))
        return rules.put_off(heap, entry, later, self.max_interval)

    def _delay(self, following: Any, delay: Any) -> Any:
        """Until an entry that has just run is asked again."""
        return delay

    def populate_heap(self, event_t: Any = event_t, heapify: Any = heapq.heapify) -> None:
        heap = self._heap = []
        for entry in self.schedule.values():
            try:
                is_due, delay = entry.is_due()
            except Exception:  # noqa: BLE001 - as in `tick`
                is_due, delay = self._is_due_failed(entry)
            heap.append(event_t(self._when(entry, 0 if is_due else delay) or 0, 5, entry))
        heapify(heap)

    def adjust(self, n: Any, drift: float = rules.DRIFT) -> Any:
        return rules.adjusted(n, drift)

    def is_due(self, entry: Any) -> Any:
        return entry.is_due()

    def _is_due_failed(self, entry: Any) -> tuple[bool, float]:
        error(
            "beat: Cannot calculate the next run of %r, trying again in %s.",
            entry.name,
            humanize_seconds(self.max_interval),
            exc_info=True,
        )
        return False, self.max_interval

    def _when(self, entry: Any, next_time_to_run: Any, mktime: Callable[..., float] = timegm) -> float:
        """The moment so many seconds from now, as the heap has it."""
        as_now = maybe_make_aware(entry.default_now())
        moment: float = mktime(as_now.utctimetuple()) + as_now.microsecond / 1e6
        return moment + (self.adjust(next_time_to_run) or 0)

    # --- sending

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        info("Scheduler: Sending due task %s (%s)", entry.name, entry.task)
        try:
            result = self.apply_async(entry, producer=producer, advance=False)
        except Exception as exc:  # noqa: BLE001 - beat goes on
            error("Message Error: %s\n%s", exc, traceback.format_stack(), exc_info=True)
        else:
            if result and hasattr(result, "id"):
                debug("%s sent. id->%s", entry.task, result.id)
            else:
                debug("%s sent.", entry.task)

    def reserve(self, entry: Any) -> Any:
        """Write its run down; the entry as it is afterwards."""
        new_entry = self.schedule[entry.name] = next(entry)
        return new_entry

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        entry = self.reserve(entry) if advance else entry
        task = self.app.tasks.get(entry.task)
        try:
            args, kwargs = _evaluate_entry_args(entry.args), _evaluate_entry_kwargs(entry.kwargs)
            options = {**entry.options, "headers": {**(entry.options.get("headers") or {}), "celery_beat_task": True}}
            if task:
                return task.apply_async(args, kwargs, producer=producer, **options)
            return self.send_task(entry.task, args, kwargs, producer=producer, **options)
        except Exception as exc:  # noqa: BLE001 - raised again, as Celery's own
            problem = SchedulingError(f"Couldn't apply scheduled task {entry.name}: {exc}")
            reraise(SchedulingError, problem, sys.exc_info()[2])
        finally:
            self._tasks_since_sync += 1
            if self.should_sync():
                self._do_sync()

    def send_task(self, *args: Any, **kwargs: Any) -> Any:
        return self.app.send_task(*args, **kwargs)

    def _ensure_connected(self) -> Any:
        def _error_handler(exc: BaseException, interval: float) -> None:
            error("beat: Connection error: %s. Trying again in %s seconds...", exc, interval)

        return self.connection.ensure_connection(_error_handler, self.app.conf.broker_connection_max_retries)

    @cached_property
    def connection(self) -> Any:
        return self.app.connection_for_write()

    @cached_property
    def producer(self) -> Any:
        """What tasks are sent through; it waits for the broker."""
        from kombu.messaging import Producer

        if self.Producer is not Producer:
            return self.Producer(self._ensure_connected(), auto_declare=False)
        self._await_broker()
        return self.app.amqp.outlet

    def _await_broker(self) -> None:
        from kombu.exceptions import OperationalError

        pause, longest = _BROKER_PAUSES
        tries = 0
        while True:
            try:
                return self.app.amqp.outlet.producer.send(())  # type: ignore[no-any-return] # None: it connects
            except OperationalError as exc:  # noqa: PERF203 - a loop of tries
                tries += 1
                most = self.app.conf.broker_connection_max_retries
                if most and tries > most:
                    raise
                error("beat: Connection error: %s. Trying again in %s seconds...", exc, pause)
                self._is_waiting = True
                try:
                    time.sleep(pause)
                finally:
                    self._is_waiting = False
                pause = min(pause + _BROKER_PAUSES[0], longest)

    # --- saving

    def should_sync(self) -> bool:
        return rules.is_sync_due(
            time.monotonic(), self._last_sync, self.sync_every, self._tasks_since_sync, self.sync_every_tasks
        )

    def _do_sync(self) -> None:
        try:
            debug("beat: Synchronizing schedule...")
            self.sync()
        finally:
            self._last_sync = time.monotonic()
            self._tasks_since_sync = 0

    def sync(self) -> None:
        """Save the schedule."""

    def close(self) -> None:
        """Save, and let go of the broker; both are taken up again when they are needed."""
        try:
            self.sync()
        finally:
            self.__dict__.pop("producer", None)
            connection = self.__dict__.pop("connection", None)
            if connection is not None:
                try:
                    connection.release()
                except Exception:  # noqa: BLE001 - nobody needs it any more
                    debug("beat: Connection cleanup failed", exc_info=True)

    @property
    def info(self) -> str:
        """Lines for the banner."""
        return ""


class _Files:
    """Where `PersistentScheduler` opens its schedule: `shelve`, with files that no kill tears."""

    open = staticmethod(lambda filename, writeback=True: schedule_file.ScheduleFile(filename))


#: What says nothing about what the file holds: it stays where it is.
_NOT_THE_FILE = frozenset(
    {errno.EISDIR, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}
)


class PersistentScheduler(Scheduler):
    """Entries that are kept in a file, see `worker.schedule_file`."""

    __module__ = "celery.beat"

    persistence: Any = _Files
    known_suffixes = schedule_file.SUFFIXES
    _store: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.schedule_filename = kwargs.get("schedule_filename")
        super().__init__(*args, **kwargs)

    def _open_schedule(self) -> Any:
        return self.persistence.open(self.schedule_filename, writeback=True)

    def _remove_db(self) -> None:
        """Give its files other names. Nothing is removed: whoever wants it can still look what was there."""
        for there in schedule_file.set_aside(os.fspath(self.schedule_filename or "")):
            warning("The old schedule file is now %s", there)

    def _destroy_open_corrupted_schedule(self, exc: BaseException) -> Any:
        text = "The schedule file %r cannot be read and is set aside, all entries begin anew: %s: %s"
        error(text, self.schedule_filename, type(exc).__name__, exc)
        if self._store is not None:
            self._discard()
        self._remove_db()
        return self._open_schedule()

    def _discard(self) -> None:
        store, self._store = self._store, None
        try:
            getattr(store, "discard", store.close)()
        except Exception:  # noqa: BLE001 - it is broken, and another one is made
            debug("beat: The broken schedule file could not be closed", exc_info=True)

    def setup_schedule(self) -> None:
        try:
            self._store = self._open_schedule()
            self._store.keys()
            self._create_schedule()
        except schedule_file.InUse:
            raise
        except Exception as exc:
            if isinstance(exc, OSError) and exc.errno in _NOT_THE_FILE:
                raise
            self._store = self._destroy_open_corrupted_schedule(exc)
            self._create_schedule()

        conf = self.app.conf
        tz, utc = conf.timezone, conf.enable_utc
        stored_tz, stored_utc = self._store.get("tz"), self._store.get("utc_enabled")
        if stored_tz is not None and stored_tz != tz:
            warning("Reset: Timezone changed from %r to %r", stored_tz, tz)
            self._store.clear()
        if stored_utc is not None and stored_utc != utc:
            choices = {True: "enabled", False: "disabled"}
            warning("Reset: UTC changed from %s to %s", choices[stored_utc], choices[utc])
            self._store.clear()
        entries = self._store.setdefault("entries", {})
        cleanup = entries.get(_CLEANUP)
        self.merge_inplace(conf.beat_schedule)
        self.install_default_entries(self.schedule)
        if cleanup is not None and _CLEANUP in entries and _CLEANUP not in conf.beat_schedule:
            entries[_CLEANUP].last_run_at = cleanup.last_run_at
        self._store.update({"__version__": __version__, "tz": tz, "utc_enabled": utc})
        self.sync()
        debug("Current schedule:\n%s", "\n".join(repr(entry) for entry in entries.values()))

    def _create_schedule(self) -> None:
        """See to it that there are entries; what a very old Celery wrote is begun anew."""
        if "entries" not in self._store:
            self._store["entries"] = {}
            return
        self._store["entries"]
        for field in ("__version__", "tz", "utc_enabled"):
            if field not in self._store:
                warning("DB Reset: Account for new %s field", field)
                self._store.clear()
                return

    def reserve(self, entry: Any) -> Any:
        new_entry = super().reserve(entry)
        try:
            self.sync()
        except schedule_file.InUse:
            raise
        except OSError as exc:
            error("beat: The schedule cannot be saved, a restart may send again what is sent now: %s", exc)
        return new_entry

    def get_schedule(self) -> Any:
        return self._store["entries"]

    def set_schedule(self, schedule: Any) -> None:
        self._store["entries"] = schedule

    def sync(self) -> None:
        if self._store is not None:
            self._store.sync()

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self._store is not None:
                self._store.close()

    @property
    def info(self) -> str:
        return f"    . db -> {self.schedule_filename}"


def scheduler_class(name: Any, extension_namespace: str = "celery.beat_schedulers") -> Any:
    """The class of this name; packages add names by entry points."""
    return symbol_by_name(name, aliases=dict(load_extension_class_names(extension_namespace)))


class Service:
    """A scheduler that ticks."""

    __module__ = "celery.beat"

    scheduler_cls: Any = PersistentScheduler

    def __init__(
        self,
        app: Any,
        max_interval: float | None = None,
        schedule_filename: Any = None,
        scheduler_cls: Any = None,
        remote_control: bool | None = None,
        hostname: str | None = None,
    ) -> None:
        self.app = app
        self.max_interval = max_interval or app.conf.beat_max_loop_interval
        self.scheduler_cls = scheduler_cls or self.scheduler_cls
        self.schedule_filename = schedule_filename or app.conf.beat_schedule_filename
        self.remote_control = app.conf.beat_enable_remote_control if remote_control is None else remote_control
        self.hostname = hostname
        #: What the scheduler settled on, once there is one.
        self.effective_max_interval: float | None = None
        self._pidbox: Any = None
        self._is_shutdown = threading.Event()
        self._is_stopped = threading.Event()
        self._loop = looping.Service(
            lambda: self.scheduler.tick(),  # noqa: PLW0108 - looked up anew each time: tools replace it
            slept=self._after_sleep,
            sleeps=lambda seconds: debug("beat: Waking up %s.", humanize_seconds(seconds, prefix="in ")),
            stopping=self._is_shutdown,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (
            self.app,
            self.max_interval,
            self.schedule_filename,
            self.scheduler_cls,
            self.remote_control,
            self.hostname,
        )

    @property
    def _last_tick(self) -> float | None:
        return self._loop.ticked_at

    @property
    def ticking(self) -> bool:
        """Whether a tick is under way: something may be half sent."""
        return self._loop.ticking and not getattr(self.scheduler, "_is_waiting", False)

    def start(self, embedded_process: bool = False) -> None:
        info("beat: Starting...")
        debug("beat: Ticking with max interval->%s", humanize_seconds(self.scheduler.max_interval))
        signals.beat_init.send(sender=self)
        if embedded_process:
            signals.beat_embedded_init.send(sender=self)
            platforms.set_process_title("celery beat")
        self.effective_max_interval = self.scheduler.max_interval
        if self.remote_control:
            from .beat_control import BeatPidbox

            self._pidbox = BeatPidbox(self)
            self._pidbox.start()
        try:
            self._loop.run()
        except (KeyboardInterrupt, SystemExit):
            self._is_shutdown.set()
        finally:
            self.sync()
            if self._pidbox is not None:
                self._pidbox.stop()

    def _after_sleep(self) -> None:
        if self.scheduler.should_sync():
            self.scheduler._do_sync()

    def sync(self) -> None:
        """Save and close the schedule."""
        self.scheduler.close()
        self._is_stopped.set()

    def stop(self, wait: bool = False) -> None:
        info("beat: Shutting down...")
        self._is_shutdown.set()
        if wait:
            self._is_stopped.wait()

    def get_scheduler(self, lazy: bool = False, extension_namespace: str = "celery.beat_schedulers") -> Any:
        return scheduler_class(self.scheduler_cls, extension_namespace)(
            app=self.app,
            schedule_filename=self.schedule_filename,
            max_interval=self.max_interval,
            lazy=lazy,
        )

    @cached_property
    def scheduler(self) -> Any:
        return self.get_scheduler()


# --- inside a worker


class _Threaded(threading.Thread):
    """Beat as a thread."""

    def __init__(self, app: Any, **kwargs: Any) -> None:
        super().__init__(name="Beat", daemon=True)
        self.app = app
        self.service = Service(app, **kwargs)

    def run(self) -> None:
        self.app.set_current()
        self.service.start()

    def stop(self) -> None:
        self.service.stop(wait=self.is_alive())


def _process_class() -> Any:
    """Beat as a process that is forked; None where processes cannot be."""
    import multiprocessing

    if "fork" not in multiprocessing.get_all_start_methods():
        return None

    class _Process(multiprocessing.get_context("fork").Process):  # type: ignore[misc] # made at run time
        def __init__(self, app: Any, **kwargs: Any) -> None:
            super().__init__(name="Beat", daemon=True)
            self.app = app
            self.service = Service(app, **kwargs)
            self._parent = os.getpid()

        def run(self) -> None:
            for name in ("SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGINT"):
                platforms.signals.reset(name)
            platforms.signals.ignore("SIGINT")  # Ctrl+C is for the worker, which then stops us
            signal.signal(signal.SIGTERM, lambda *_: stop_gently(self.service))
            platforms.set_pdeathsig("SIGTERM")
            if os.getppid() != self._parent:
                return
            self.app.set_default()
            self.app.set_current()
            try:
                self.service.start(embedded_process=True)
            except Exception:
                logger.critical("beat: The embedded beat ended", exc_info=True)
                raise

        def stop(self) -> None:
            self.service.stop()
            if self._parent == os.getpid() and self._popen is not None:
                self.terminate()
                self.join(10)

    return _Process


def stop_gently(service: Service) -> None:
    """From a signal handler: end a sleep at once, and a tick when it is through; whoever asks twice is in a hurry."""
    if getattr(service, "ticking", False) and not service._is_shutdown.is_set():
        service._is_shutdown.set()
        return
    service._is_shutdown.set()
    raise SystemExit


def EmbeddedService(app: Any, max_interval: float | None = None, **kwargs: Any) -> Any:
    """Beat inside a worker: a process, or a thread where `thread` says so or there are no processes."""
    kwargs.setdefault("remote_control", False)
    process = None if kwargs.pop("thread", False) else _process_class()
    if process is None:
        return _Threaded(app, max_interval=1, **kwargs)
    return process(app, max_interval=max_interval, **kwargs)
