"""What is wrong with a configuration, each thing by its name: for the start of a worker and for `celeriac doctor`.

Law: a setting is judged by its row in the table of defaults; here are only the rules that need more than one row.
Nothing is changed, and nothing but the configuration is looked at.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta, tzinfo
from types import ModuleType
from typing import Any

from ...protocol.errors import BadCall
from ...protocol.values import dataclass
from ...worker.brokers import check
from .._state import _told_on_command_line
from ..exceptions import ImproperlyConfigured
from .defaults import _OLD_SETTING_KEYS, _OPTIONS, _TO_NEW_KEY, DEFAULTS, NAMESPACES, PROFILES, SETTING_KEYS, Option

UNKNOWN, WRONG, CONTRADICTION, UNSUPPORTED, IGNORED = "unknown", "wrong", "contradiction", "unsupported", "ignored"
HONOURED, DIFFERENT = "honoured", "different"
STOPS = frozenset({UNKNOWN, WRONG, CONTRADICTION, UNSUPPORTED})
"""What a program with `celeriac_strict_settings` does not start with."""

# Settings of packages that stand beside Celery's own; a name that begins so is theirs.
_OTHERS = (
    *("redbeat_", "once", "singleton_", "flower_", "mongodb_scheduler_", "beat_dburi", "beat_schema", "beat_engine_"),
    *("task_tenant_", "db_reuse_max", "results_", "email_", "dead_letter_", "heimdall_", "batches_"),
)
# What Celery itself leaves among the settings, and what is read without being one.
_INNER = frozenset({"deprecated_settings", "override_backends", "TIME_ZONE"})
_OLD_BEGINNINGS = ("CELERY", "BROKER_")
_SURE, _LIKELY = 0.85, 0.6


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that is to be said of a setting, named as the user wrote it."""

    kind: str
    setting: str
    text: str

    def __str__(self) -> str:
        return f"{self.setting}: {self.text}"


def remarks(conf: Any) -> list[Remark]:
    """All there is to say of what has been set, in the order in which it stands."""
    conf.finalize()
    given = list(_given(conf))
    found = [remark for name, key, value in given for remark in _judged(name, key, value, conf.prefix)]
    names = {key: name for name, key, _ in given if key}
    for rule in _RULES:
        found += [Remark(CONTRADICTION, names.get(key, key), text) for key, text in rule(conf)]
    return found


def standing(conf: Any) -> list[Remark]:
    """Each setting that has been set, by what becomes of it: honoured, different (what celeriac does instead of it, or
    why it has no use for it), unsupported, unknown or wrong."""
    conf.finalize()
    found = []
    for name, key, value in _given(conf):
        judged = next(_judged(name, key, value, conf.prefix), None)
        if judged is not None and judged.kind != IGNORED:
            found.append(judged)
        elif key is not None:
            option = _OPTIONS[key]
            found.append(Remark(DIFFERENT if option.ignored else HONOURED, name, option.ignored or ""))
    return found


def announce(conf: Any, say: Callable[[str], Any]) -> None:
    """Say each remark in a line of its own, or stop, where the configuration is to be strict."""
    found = remarks(conf)
    if conf.celeriac_strict_settings:
        stops = [remark for remark in found if remark.kind in STOPS]
        if stops:
            raise ImproperlyConfigured("\n".join(map(str, stops)))
    for remark in found:
        say(str(remark))


def _given(conf: Any) -> Iterator[tuple[str, str | None, Any]]:
    """What has been set: the name as it was written, the setting that it is if it is one, and the value."""
    seen = set()
    for layer in conf.maps[:-1]:
        for name in list(layer.keys()):
            if not isinstance(name, str) or name in seen or name.startswith("_") or name in _INNER:
                continue
            key = _setting(name, conf.prefix)
            try:
                value = layer[name]
            except Exception as problem:
                if key is None:  # Django raises for a setting of its own that nobody needs here
                    continue
                raise ImproperlyConfigured(f"{name} cannot be read: {problem}") from problem
            if key is not None or not _no_value(value):
                seen.add(name)
                yield name, key, value


def _setting(name: str, prefix: str | None) -> str | None:
    if prefix and name.startswith(prefix):
        rest = name[len(prefix) :].lower()
        return rest if rest in SETTING_KEYS else _TO_NEW_KEY.get(name)
    return name if name in SETTING_KEYS else _TO_NEW_KEY.get(name)


def _no_value(value: Any) -> bool:
    """It stands in a module of settings without being one."""
    return isinstance(value, (ModuleType, type)) or callable(value)


def _judged(name: str, key: str | None, value: Any, prefix: str | None) -> Iterator[Remark]:
    if key is None:
        text = _unknown(name, prefix)
        if text:
            yield Remark(UNKNOWN, name, text)
        return
    option = _OPTIONS[key]
    if value is None or value is DEFAULTS[key]:
        return
    if option.choices and value not in option.choices:
        yield Remark(WRONG, name, f"is {' or '.join(map(repr, option.choices))}, not {value!r}")
    elif wrong := _wrong_type(key, option, value):
        yield Remark(WRONG, name, wrong)
    elif value != DEFAULTS[key] and option.unsupported:
        yield Remark(UNSUPPORTED, name, f"is not supported: {option.unsupported}")
    elif value != DEFAULTS[key] and option.ignored:
        yield Remark(IGNORED, name, f"has no effect: {option.ignored}")


# --- names


def _unknown(name: str, prefix: str | None) -> str | None:
    """Why a name that is no setting looks as if it were meant to be one. None: it is somebody else's."""
    if prefix and name.startswith(prefix):
        rest, sure = name[len(prefix) :], True
        names = {key: prefix + key for key in (map(str.upper, SETTING_KEYS) if prefix.isupper() else SETTING_KEYS)}
    elif prefix:
        return None  # the settings of something bigger, such as Django's
    elif name.isupper():
        rest, sure = name.removeprefix("CELERY_"), name.startswith(_OLD_BEGINNINGS)
        names = {key.removeprefix("CELERY_"): key for key in _OLD_SETTING_KEYS}
    else:
        rest, sure, names = name, name.startswith(_BEGINNINGS), {key: key for key in SETTING_KEYS}
    if rest.lower().startswith(_OTHERS):
        return None
    place = _TRANSPORT.get(rest.lower().removeprefix("broker_"))
    if place:
        home = next((full for full in names.values() if full.lower().endswith(place)), place)
        return f"is no setting: it belongs into {home}"
    near = _nearest(rest, names, _LIKELY if sure else _SURE)
    if near is None:
        return "is no setting" if sure else None
    return f"is no setting; did you mean {names[near]}?"


# Options of transports that are often taken for settings; of names that a program may well have of its own, none.
_TRANSPORT = {
    **dict.fromkeys(
        (
            *("visibility_timeout", "global_keyprefix", "queue_order_strategy", "priority_steps", "fanout_prefix"),
            *("fanout_patterns", "unacked_mutex_expire", "predefined_queues", "queue_name_prefix", "wait_time_seconds"),
            "confirm_publish",
        ),
        "broker_transport_options",
    ),
    "result_chord_ordered": "result_backend_transport_options",
}
_BEGINNINGS = tuple(f"{name}_" for name, options in NAMESPACES.items() if isinstance(options, dict))


def _nearest(name: str, names: Iterable[str], likeness: float) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, sorted(names), n=1, cutoff=likeness)), None)


# --- types


def _wrong_type(key: str, option: Option, value: Any) -> str | None:
    if option.also and isinstance(value, option.also):
        return None
    if key in _BY_KEY:
        return _BY_KEY[key](value)
    check = _TYPES.get(option.type)
    if check is None or check[0](value):
        counts = option.type in _NUMBERS and not option.signed
        return f"cannot be less than 0, and is {_shown(value)}" if counts and _below_zero(value) else None
    if option.type == "bool" and isinstance(value, str):
        return f"is True or False; the text {value!r} counts as true in Celery"
    return f"is {check[1]}, not {_shown(value)}"


def _below_zero(value: Any) -> bool:
    return value < timedelta() if isinstance(value, timedelta) else bool(value < 0)


def _concurrency(value: Any) -> str | None:
    named = isinstance(value, str) and (value.lower() == "auto" or value.isdecimal())
    fits = named or (_is_whole(value) and value >= 0)
    return None if fits else f"is a whole number or 'auto', not {value!r}"


def _zone(value: Any) -> str | None:
    if not isinstance(value, str):
        return None if isinstance(value, tzinfo) else f"is the name of a time zone, not {_shown(value)}"
    from ..utils.time import timezone

    try:
        timezone.get_timezone(value)
    except (LookupError, ValueError, OSError):
        from zoneinfo import available_timezones

        near = _nearest(value, available_timezones(), _LIKELY)
        return f"there is no time zone {value!r}{f'; did you mean {near}?' if near else ''}"
    return None


def rate_fault(value: Any) -> str | None:
    """What is wrong with a rate limit."""
    from ...protocol.errors import BadCall
    from ...protocol.rules.limits import read_rate

    try:
        read_rate(value)
    except BadCall:
        return f"is no rate: {_shown(value)}; rates are 10/s, 100/m, 1000/h, or a number a second"
    return None


_BY_KEY: Mapping[str, Callable[[Any], str | None]] = {
    "worker_concurrency": _concurrency,
    "timezone": _zone,
    "task_default_rate_limit": rate_fault,
}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or value in {0, 1} if isinstance(value, (int, float)) else False


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and value == value // 1


def _is_number(value: Any) -> bool:
    return isinstance(value, timedelta) or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _is_text(value: Any) -> bool:
    return not isinstance(value, (bool, Mapping, list, tuple, set, frozenset))


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset))


_TYPES: Mapping[Any, tuple[Callable[[Any], bool], str]] = {
    "bool": (_is_bool, "True or False"),
    "int": (_is_whole, "a whole number"),
    int: (_is_whole, "a whole number"),
    "float": (_is_number, "a number"),
    "dict": (lambda value: isinstance(value, Mapping), "a mapping"),
    "list": (_is_list, "a list"),
    "tuple": (lambda value: _is_list(value) or isinstance(value, str), "a list"),
    "string": (_is_text, "a text"),
}


_NUMBERS = frozenset({"int", "float", int})


# --- settings that do not go together: each rule yields a setting, and what is wrong with it beside another

Rule = Callable[[Any], Iterator[tuple[str, str]]]


def _limits(conf: Any) -> Iterator[tuple[str, str]]:
    soft, hard = conf.task_soft_time_limit, conf.task_time_limit
    if _is_number(soft) and _is_number(hard) and hard and soft >= hard:
        yield "task_soft_time_limit", f"{soft!r} is never reached: task_time_limit is {hard!r}"


def _serializers(conf: Any) -> Iterator[tuple[str, str]]:
    """A name may be accepted by its content type; what is no name at all is not judged here.

    Who hears events accepts `event_serializer` whatever else is accepted.
    """
    accept, results = conf.accept_content, conf.result_accept_content
    of_results = ("result_accept_content", results) if results else ("accept_content", accept)
    for key, place, accepted in (("task_serializer", "accept_content", accept), ("result_serializer", *of_results)):
        if _is_list(accepted) and isinstance(conf[key], str) and not _accepts(accepted, conf[key]):
            yield key, f"{conf[key]!r} is not in {place}: our own workers and clients refuse it"


def _accepts(accepted: Iterable[Any], serializer: str) -> bool:
    return any(isinstance(each, str) and (each == serializer or serializer in each) for each in accepted)


def _default_queue(conf: Any) -> Iterator[tuple[str, str]]:
    queues, default = conf.task_queues, conf.task_default_queue
    if not queues or conf.task_create_missing_queues:
        return
    names = {queue if isinstance(queue, str) else getattr(queue, "name", queue) for queue in queues}
    if default and default not in names:
        yield "task_default_queue", f"{default!r} is not in task_queues, and task_create_missing_queues is off"


def _schedule(conf: Any) -> Iterator[tuple[str, str]]:
    schedule = conf.beat_schedule
    for name, entry in schedule.items() if isinstance(schedule, Mapping) else ():
        if isinstance(entry, (str, bytes, int, float, list, tuple, set)) or entry is None:
            yield "beat_schedule", f"the entry {name!r} is {_shown(entry)}, not a mapping with a task and a schedule"
            continue
        if not isinstance(entry, Mapping):
            continue
        missing = [part for part in ("task", "schedule") if not entry.get(part)]
        if missing:
            yield "beat_schedule", f"the entry {name!r} has no {' and no '.join(missing)}"
            continue
        when = entry["schedule"]
        if isinstance(when, (str, bytes, Mapping, list, tuple)) or (_is_number(when) and _below_zero(when)):
            text = f"the schedule of the entry {name!r} is {_shown(when)}"
            yield "beat_schedule", f"{text}, not seconds, a timedelta, a crontab or another schedule"


def _environment(conf: Any) -> Iterator[tuple[str, str]]:
    for key in ("broker_url", "broker_read_url", "broker_write_url", "result_backend"):
        variable = f"CELERY_{key.upper()}"
        told = os.environ.get(variable)
        if told and told != _told_on_command_line.get(variable) and conf.get(key) not in {None, told}:
            yield key, f"the environment variable {variable} says otherwise, and wins"


def _brokers(conf: Any) -> Iterator[tuple[str, str]]:
    urls = [
        url
        for told in (conf.broker_read_url, conf.broker_write_url)
        if isinstance(told, str)
        for url in told.split(";")
    ]
    for url in dict.fromkeys(urls):
        try:
            check(url)
        except BadCall as problem:  # noqa: PERF203 - one or two URLs
            yield "broker_url", str(problem)


def _profile(conf: Any) -> Iterator[tuple[str, str]]:
    wanted = PROFILES.get(conf.celeriac_profile, {})
    if any(not conf.maps[-1].get(key, conf.maps[-1].get(_TO_OLD.get(key, key))) for key in wanted):
        yield "celeriac_profile", "was set after the configuration had been read: it has no effect"


_TO_OLD = {new: old for old, new in _TO_NEW_KEY.items()}


def _transport_options(conf: Any) -> Iterator[tuple[str, str]]:
    """Transports pass over what they do not know: only what is nearly one of their best known options is judged."""
    for place in ("broker_transport_options", "result_backend_transport_options"):
        known = [name for name, home in _TRANSPORT.items() if home == place]
        given = conf[place]
        for name in given if isinstance(given, Mapping) else ():
            near = None if not isinstance(name, str) or name in known else _nearest(name, known, _SURE)
            if near:
                yield place, f"has {name!r}, which no transport knows; did you mean {near!r}?"


def _lost_workers(conf: Any) -> Iterator[tuple[str, str]]:
    if conf.task_retry_on_worker_lost and conf.task_reject_on_worker_lost:
        yield "task_reject_on_worker_lost", "has no effect: task_retry_on_worker_lost retries the task instead"


def _alone(conf: Any) -> Iterator[tuple[str, str]]:
    if conf.worker_deduplicate_successful_tasks and not conf.result_backend:
        yield "worker_deduplicate_successful_tasks", "needs a result_backend that remembers what has succeeded"


_RULES: tuple[Rule, ...] = (
    _limits,
    _serializers,
    _default_queue,
    _schedule,
    _environment,
    _brokers,
    _profile,
    _transport_options,
    _lost_workers,
    _alone,
)


# --- what a setting names


def imported(load: Any, name: Any, what: str) -> Any:
    """What `load` gives; a name that is nothing is told in a line, a module that fails at import with its traceback."""
    try:
        return load()
    except Exception as problem:
        module = str(name).replace(":", ".")
        missing = getattr(problem, "name", None) or ""
        is_name = isinstance(problem, (AttributeError, ValueError)) or module.startswith(missing or "\0")
        detail = str(problem) if is_name and not _is_inside(problem, module) else traceback.format_exc().strip()
        raise ImproperlyConfigured(f"{what} {name!r} cannot be imported: {detail}") from problem


def _is_inside(problem: BaseException, module: str) -> bool:
    """Whether it was raised by the code of the module that was to be imported."""
    step, root = problem.__traceback__, module.partition(".")[0]
    while step is not None:
        if str(step.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == root != __name__.partition(".")[0]:
            return True
        step = step.tb_next
    return False
