"""Entries that are made while beat runs: as JSON beside the lease, and the doors for who lists, adds, pauses, removes.

Law: a schedule is a text that a person can read: a number of seconds, a cron line, or a solar event with its place.
What cannot be read is refused here, before it is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..protocol.errors import BadCall
from ..protocol.wire.json import dumps, loads
from ..worker.beat_lease import RedisLease
from ..worker.redis_place import Place, parse
from .app.producing import Outlet
from .app.settings_for_broker import broker_options
from .beat import ScheduleEntry
from .exceptions import ImproperlyConfigured
from .schedules import crontab, schedule, solar

if TYPE_CHECKING:
    from ..worker.beat_lease_database import DatabaseLease

__all__ = ("Listed", "add", "entry_of", "lease_of", "listed", "pause", "remove", "resume", "schedule_of", "text_of")

_CRON_FIELDS = 5
_SOLAR_FIELDS = 3
_NO_REDIS = (
    "The leased scheduler needs a Redis or a database: set beat_lease_url to its URL, as db+postgresql://... "
    "(The broker is used when it is a Redis; this one is {0}.)"
)
_SEVERAL = (
    "The leased scheduler needs one place where all beats agree, and broker_url names several {0}:// brokers, each of "
    "which would have a leader of its own: set beat_lease_url to one Redis or database"
)


def lease_of(app: Any) -> RedisLease | DatabaseLease:
    """The lease that this app's beats share."""
    url, options = app.conf.beat_lease_url, {}
    if url and url.startswith("db+"):
        return _database(app, url)
    place = None if url else place_of(app)
    if place is None and not url:
        told = broker_options(app.conf, write=True)
        scheme = told.urls[0].partition("://")[0]
        raise ImproperlyConfigured((_SEVERAL if len(told.urls) > 1 else _NO_REDIS).format(scheme))
    # What is answered after the lease has ended is too late for anybody.
    options = {"socket_timeout": app.conf.beat_lease_ttl}
    return RedisLease(place or parse(url, options), app.conf.beat_lease_name)


def place_of(app: Any) -> Place | None:
    """The one Redis that the queues are in; None if they are elsewhere, or may be in another one tomorrow."""
    outlet: Outlet = app.amqp.outlet
    if outlet.kind != ".redis":
        return None
    urls = outlet.told.urls
    if len(urls) > 1 and not all(url.startswith("sentinel://") for url in urls):
        return None
    given = {name: value for name, value in outlet.told.options.items() if value}
    return parse(";".join(urls), {"socket_timeout": app.conf.beat_lease_ttl, **given})


def _database(app: Any, url: str) -> DatabaseLease:
    try:
        from ..worker.beat_lease_database import DatabaseLease

        return DatabaseLease(url, app.conf.beat_lease_name, place_of(app))
    except ImportError as problem:
        raise ImproperlyConfigured(
            f"beat_lease_url names a database, which needs SQLAlchemy: pip install 'celeriac[sqlalchemy]' ({problem})"
        ) from None
    except BadCall as problem:
        raise ImproperlyConfigured(str(problem)) from None


# --- schedules as text


def schedule_of(text: str | float, app: Any = None) -> Any:
    """`30`, `"30"`, `"0 4 * * *"`, `"sunset -37.8 144.96"`; `"~30"` keeps to the round times of its unit."""
    fields = str(text).split()
    try:
        if len(fields) == 1:
            seconds = float(fields[0].lstrip("~"))
            if not seconds > 0:
                raise ValueError("seconds between two tasks are more than 0")  # noqa: TRY301 - it is told below
            return schedule(timedelta(seconds=seconds), fields[0].startswith("~"), app=app)
        if len(fields) == _CRON_FIELDS:
            minute, hour, day_of_month, month_of_year, day_of_week = fields
            return crontab(minute, hour, day_of_week, day_of_month, month_of_year, app=app)
        if len(fields) == _SOLAR_FIELDS:
            return solar(fields[0], float(fields[1]), float(fields[2]), app=app)
    except Exception as problem:  # noqa: BLE001 - schedules refuse in many ways
        raise ValueError(f"{text!r} is no schedule: {problem}") from None
    raise ValueError(
        f"{text!r} is no schedule: write seconds (30), a cron line (0 4 * * mon), or an event of the sun with latitude "
        "and longitude (sunset -37.8 144.96)"
    )


def text_of(when: Any) -> str:
    """The text of a schedule, as `schedule_of` reads it."""
    if isinstance(when, crontab):
        fields = (
            when._orig_minute,
            when._orig_hour,
            when._orig_day_of_month,
            when._orig_month_of_year,
            when._orig_day_of_week,
        )
        return " ".join(
            str(each).replace(" ", "") if isinstance(each, (str, int)) else ",".join(map(str, each)) for each in fields
        )
    if isinstance(when, solar):
        return f"{when.event} {when.lat} {when.lon}"
    return f"{'~' if when.relative else ''}{when.seconds:g}" if isinstance(when, schedule) else repr(when)


def entry_of(name: str, text: str, app: Any, make: Any = ScheduleEntry) -> Any:
    """The entry of a stored definition."""
    told = loads(text)
    return make(
        name=name,
        task=told["task"],
        schedule=schedule_of(told["schedule"], app),
        args=told.get("args") or (),
        kwargs=told.get("kwargs"),
        options=told.get("options"),
        app=app,
    )


# --- the doors


@dataclass(frozen=True)
class Listed:
    """An entry, as `celeriac schedule list` shows it."""

    name: str
    task: str
    schedule: str
    configured: bool
    paused: bool
    last_run_at: datetime | None = None
    total_run_count: int = 0


def add(
    app: Any,
    name: str,
    task: str,
    when: str | float,
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> Listed | None:
    """Have beat send it from now on; an entry of this name is replaced, and returned as it was."""
    schedule_of(when, app)
    if name in app.conf.beat_schedule:
        raise ValueError(f"{name!r} is configured in beat_schedule: change it there")
    definition = {"task": task, "schedule": when, "args": list(args), "kwargs": dict(kwargs or {}), "options": options}
    return _once(app, lambda store: _put(app, store, name, dumps(definition)))  # type: ignore[no-any-return] # what `_put` gives


def remove(app: Any, name: str) -> None:
    """KeyError when there is none."""
    if name in app.conf.beat_schedule:
        raise ValueError(f"{name!r} is configured in beat_schedule: remove it there, or pause it")
    if not _once(app, lambda store: store.remove(name)):
        raise KeyError(name)


def pause(app: Any, name: str) -> None:
    """It is not sent until it is resumed. KeyError when there is none."""
    _known(app, name)
    _once(app, lambda store: store.pause(name))


def resume(app: Any, name: str) -> None:
    """It is sent again; what it missed meanwhile is not."""
    _known(app, name)
    _once(app, lambda store: store.resume(name))


def listed(app: Any) -> list[Listed]:
    """All entries: those that are configured, and those that were added."""
    kept = _once(app, lambda store: store.load())
    found = []
    for name, given in app.conf.beat_schedule.items():
        entry = ScheduleEntry(**dict(given, name=name, app=app))
        found.append((name, entry, True))
    found += [(name, entry_of(name, text, app), False) for name, text in kept.entries.items()]
    return [
        Listed(name, entry.task, text_of(entry.schedule), configured, name in kept.paused, *ran(kept.state.get(name)))
        for name, entry, configured in found
    ]


def ran(text: str | None) -> tuple[datetime, int] | tuple[None, int]:
    """The last run and the number of runs in a stored state."""
    if text is None:
        return None, 0
    told = loads(text)
    return datetime.fromisoformat(told["last_run_at"]), int(told["total_run_count"])


def is_read(app: Any) -> bool:
    """Whether a beat takes its entries from here: by the settings, or because one holds the lease now."""
    named = app.conf.beat_scheduler
    if (named if isinstance(named, str) else named.__name__).endswith("LeasedScheduler"):
        return True
    return bool(_once(app, lambda store: store.is_held()))


def _put(app: Any, store: Any, name: str, definition: str) -> Listed | None:
    kept = store.load()
    store.put(name, definition)
    old = kept.entries.get(name)
    if old is None or old == definition:
        return None
    try:
        entry = entry_of(name, old, app)
    except Exception:  # noqa: BLE001 - it could not be read, and is gone now
        return Listed(name, "an entry that could not be read", old, configured=False, paused=False)
    paused = name in kept.paused
    return Listed(name, entry.task, text_of(entry.schedule), False, paused, *ran(kept.state.get(name)))


def _known(app: Any, name: str) -> None:
    if name not in app.conf.beat_schedule and name not in _once(app, lambda store: store.load()).entries:
        raise KeyError(name)


def _once(app: Any, ask: Any) -> Any:
    store = lease_of(app)
    try:
        return ask(store)
    finally:
        store.close()
