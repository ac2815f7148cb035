"""What the doctor looks for: each rule takes the app and what its sources say, and yields findings.

Law: a finding names what it is about as the user wrote it, says why, and what to do. A rule that is not sure is silent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ...worker.redis_place import SCHEMES
from ..app import checking
from . import doctor_start
from .doctor_finding import FAULT, NOTE, RISK, Finding
from .doctor_patches import patches
from .doctor_sources import Sources, modules_of, read

Rule = Callable[[Any, Sources], Iterable[Finding]]


def examine(app: Any) -> Iterator[Finding]:
    sources = read(modules_of(app))
    for rule in _RULES:
        try:
            yield from rule(app, sources)
        except Exception as problem:  # noqa: BLE001, PERF203 - what one rule stumbles over stops a worker as well
            text = f"the app cannot be read: {type(problem).__name__}: {problem}"
            yield Finding(FAULT, "app", rule.__name__.strip("_"), text, "correct the setting that this comes from")


# --- settings

_ADVICE = {
    checking.UNKNOWN: "correct the name, or remove it; `celeriac settings` lists all",
    checking.WRONG: "correct the value",
    checking.CONTRADICTION: "correct it, or what it contradicts",
    checking.UNSUPPORTED: "remove it, or do as it says",
    checking.IGNORED: "it may be removed",
}


def _settings(app: Any, _: Sources) -> Iterator[Finding]:
    for remark in checking.remarks(app.conf):
        level = NOTE if remark.kind == checking.IGNORED else FAULT
        yield Finding(level, remark.kind, remark.setting, remark.text, _ADVICE[remark.kind])


def _pickle(app: Any, _: Sources) -> Iterator[Finding]:
    conf = app.conf
    for key in ("accept_content", "result_accept_content"):
        if any(each in {"pickle", "application/x-python-serialize"} for each in conf[key] or ()):
            text = "takes pickle: whoever can write to the broker can run any code in the workers"
            yield Finding(RISK, "pickle", key, text, "use json, or sign messages with the auth serializer")
            return


# --- what is lost or comes twice


def _is_redis(url: Any) -> bool:
    return isinstance(url, str) and url.partition("://")[0] in {"redis", "rediss", "sentinel", "valkey", "unix"}


def _visibility(app: Any, sources: Sources) -> Iterator[Finding]:
    conf = app.conf
    if not _is_redis(conf.broker_url):
        return
    hidden = (conf.broker_transport_options or {}).get("visibility_timeout", 3600)
    waits = [*sources.delays, *_schedule_delays(conf)]
    longest = max(waits, default=None)
    advice = "stock workers run such a task again and again: raise visibility_timeout above it"
    if longest is not None and longest.seconds > hidden:
        text = f"{hidden:g} s is less than {longest.what} ({longest.seconds:g} s, {longest.where})"
        yield Finding(RISK, "visibility_timeout", "broker_transport_options", text, advice)
        return
    for task in _own(app):
        limit = getattr(task, "time_limit", None) or conf.task_time_limit
        if _late(app, task) and isinstance(limit, (int, float)) and limit > hidden:
            text = (
                f"visibility_timeout {hidden:g} s is less than the time limit of {task.name} ({limit:g} s), acked late"
            )
            yield Finding(RISK, "visibility_timeout", "broker_transport_options", text, advice)
            return


def _schedule_delays(conf: Any) -> Iterator[Any]:
    from .doctor_sources import Delay

    for name, entry in (conf.beat_schedule or {}).items():
        options = entry.get("options") if isinstance(entry, Mapping) else None
        countdown = options.get("countdown") if isinstance(options, Mapping) else None
        if isinstance(countdown, (int, float)):
            yield Delay(float(countdown), "a countdown", f"beat_schedule {name!r}")


_ONCE = re.compile(
    r"(?:^|_)(charge|pay|payout|payment|refund|transfer|withdraw|deposit|invoice|bill|send|email|mail|sms|notify|ship)"
    r"(?:_|$)"
)


def _twice(app: Any, _: Sources) -> Iterator[Finding]:
    """Acked late, it runs again when its worker dies; acked early, it is lost. For some names either is costly."""
    conf = app.conf
    for task in _own(app):
        word = _ONCE.search(task.name.rpartition(".")[2].lower())
        if word is None:
            continue
        if _late(app, task):
            text = f"is acked late, so it may run twice, and its name says that it does something once ({word[1]})"
            yield Finding(RISK, "acks_late", task.name, text, "make it idempotent, or set acks_late=False for it")
        elif not getattr(task, "autoretry_for", None) and not conf.task_acks_late:
            text = f"is acked before it runs: killed in the middle, it is lost ({word[1]})"
            advice = "if that must not be, make it idempotent and set acks_late=True"
            yield Finding(NOTE, "acks_early", task.name, text, advice)


def _late(app: Any, task: Any) -> bool:
    told = getattr(task, "acks_late", None)
    return bool(app.conf.task_acks_late if told is None else told)


def _for_ever(app: Any, _: Sources) -> Iterator[Finding]:
    conf = app.conf
    lost = conf.task_reject_on_worker_lost or any(getattr(task, "reject_on_worker_lost", None) for task in _own(app))
    if lost and conf.worker_max_deliveries is None:
        text = "None, with task_reject_on_worker_lost: a task that kills its worker comes back for ever"
        yield Finding(RISK, "max_deliveries", "worker_max_deliveries", text, "set it, to 10 for example")


# --- results


def _results(app: Any, sources: Sources) -> Iterator[Finding]:
    backend = app.conf.result_backend
    if not backend or str(backend).startswith("disabled"):
        for use in (sources.chords or sources.waits)[:1]:
            text = f"is not set, and {use.what} needs it ({use.where})"
            yield Finding(FAULT, "result_backend", "result_backend", text, "set it, to redis://... for example")
    elif str(backend).startswith("rpc") and sources.chords:
        use = sources.chords[0]
        text = f"rpc cannot keep chords, and {use.what} needs that ({use.where})"
        yield Finding(FAULT, "result_backend", "result_backend", text, "use redis, a database or another store")


# --- queues, routes, schedule


def _routes(app: Any, _: Sources) -> Iterator[Finding]:
    conf = app.conf
    if conf.task_create_missing_queues or not conf.task_queues:
        return
    known = set(app.amqp.queues.keys())
    routes = conf.task_routes
    for table in routes if isinstance(routes, (list, tuple)) else [routes]:
        for pattern, route in table.items() if isinstance(table, Mapping) else ():
            queue = route.get("queue") if isinstance(route, Mapping) else route
            name = getattr(queue, "name", queue)
            if isinstance(name, str) and name not in known:
                text = f"sends {pattern!r} to the queue {name!r}, which is not in task_queues"
                advice = "add the queue, or turn task_create_missing_queues on"
                yield Finding(FAULT, "route", "task_routes", text, advice)


def _schedule(app: Any, _: Sources) -> Iterator[Finding]:
    from difflib import get_close_matches

    names = [name for name in app.tasks if not name.startswith("celery.")]
    for name, entry in (app.conf.beat_schedule or {}).items():
        task = entry.get("task") if isinstance(entry, Mapping) else None
        if not isinstance(task, str):
            continue
        subject = f"beat_schedule {name!r}"
        if task in app.tasks:
            wrong = _misfit(app.tasks[task], entry.get("args"), entry.get("kwargs"))
            if wrong:
                yield Finding(FAULT, "schedule", subject, wrong, f"give what {task} takes, in args and kwargs")
        elif names:
            near = get_close_matches(task, names, n=1)
            advice = f"did you mean {near[0]}?" if near else "import its module: settings `imports` or `include`"
            yield Finding(FAULT, "schedule", subject, f"the app has no task {task!r}", advice)


def _misfit(task: Any, args: Any, kwargs: Any) -> str | None:
    """Why the task cannot be called with what its entry gives."""
    if args is not None and not isinstance(args, (list, tuple)):
        hint = "" if isinstance(args, (Mapping, set)) else f"; one argument is written ({args!r},)"
        return f"args is a list or a tuple, not {args!r}{hint}"
    if kwargs is not None and not isinstance(kwargs, Mapping):
        return f"kwargs is a mapping, not {kwargs!r}"
    check = getattr(task, "__header__", None) if task.typing else None
    try:
        if check is not None:
            check(*(args or ()), **(kwargs or {}))
    except TypeError as problem:
        return f"its arguments do not fit: {problem}"
    return None


def _task_limits(app: Any, _: Sources) -> Iterator[Finding]:
    """What the tasks themselves say of their time and rate; what the settings say is `checking`'s."""
    for task in _own(app):
        soft, hard = task.soft_time_limit, task.time_limit
        for name, value in (("soft_time_limit", soft), ("time_limit", hard)):
            if isinstance(value, (int, float)) and value < 0 and value != getattr(app.conf, f"task_{name}"):
                text = f"{name} cannot be less than 0, and is {value!r}"
                yield Finding(FAULT, "time_limit", task.name, text, "correct it where the task is defined")
        wrong = checking.rate_fault(task.rate_limit)
        if wrong and task.rate_limit != app.conf.task_default_rate_limit:
            text = f"its rate_limit {wrong}"
            yield Finding(FAULT, "rate_limit", task.name, text, "correct it at the task, or in task_annotations")
        both = [value for value in (soft, hard) if isinstance(value, (int, float)) and value > 0]
        settings = (app.conf.task_soft_time_limit, app.conf.task_time_limit)
        if len(both) == 2 and soft >= hard and (soft, hard) != settings:
            text = f"its soft_time_limit ({soft!r}) is never reached: its time_limit is {hard!r}"
            yield Finding(FAULT, "time_limit", task.name, text, "make the soft one smaller")


def _one_process(app: Any, _: Sources) -> Iterator[Finding]:
    if str(app.conf.broker_url or "").startswith("memory"):
        text = "memory:// reaches nobody outside of this process"
        yield Finding(RISK, "broker", "broker_url", text, "use redis:// or amqp://; memory:// is for tests")


# --- what the program relies on


def _imports(_: Any, sources: Sources) -> Iterator[Finding]:
    for use in sources.missing:
        text = f"celeriac has no such name ({use.where})"
        yield Finding(FAULT, "import", use.what, text, "use a documented name instead")


def _patched(app: Any, _: Sources) -> Iterator[Finding]:
    """Names that somebody else's code stands in."""
    url = str(app.conf.broker_url or "amqp://").partition("://")[0]
    for patch in patches(is_own_broker=url in _OWN_BROKERS):
        text = f"is replaced by {patch.by}"
        if patch.instead:
            level = NOTE if patch.is_watching else RISK
            yield Finding(level, "patched", patch.name, f"{text}, and celeriac does not call it", patch.instead)
        elif patch.instead is None:
            yield Finding(NOTE, "patched", patch.name, text, "whether it is called as in Celery, nobody has tried")
        else:
            yield Finding(NOTE, "patched", patch.name, text, "it is called as in Celery")


_OWN_BROKERS = frozenset({"amqp", "amqps", "pyamqp", "rabbitmq", "memory", "embedded"}) | SCHEMES


def _hooks(app: Any, _: Sources) -> Iterator[Finding]:
    """Signals that somebody listens to, and methods of tasks that the program has of its own."""
    from .. import signals

    listened = sorted(
        name
        for name, signal in vars(signals).items()
        if hasattr(signal, "receivers") and any(map(_foreign, signal.receivers or ()))
    )
    if listened:
        yield Finding(NOTE, "hooks", "signals", f"listened to: {', '.join(listened)}", "they are sent as in Celery")
    steps = {f"{kind}: {getattr(step, '__name__', step)}" for kind, found in app.steps.items() for step in found}
    if steps:
        yield Finding(NOTE, "hooks", "bootsteps", f"has {', '.join(sorted(steps))}", "they start with the worker")


def _foreign(receiver: Any) -> bool:
    found = receiver[1] if isinstance(receiver, tuple) else receiver
    live = found() if hasattr(found, "__callback__") else found
    module: Any = getattr(live, "__module__", None) or getattr(getattr(live, "__func__", None), "__module__", "")
    return bool(module) and module.partition(".")[0] not in {"celeriac", "celery"}


def _own(app: Any) -> list[Any]:
    return [task for name, task in sorted(app.tasks.items()) if not name.startswith("celery.")]


_RULES: tuple[Rule, ...] = (
    _settings,
    *doctor_start.RULES,
    _pickle,
    _visibility,
    _twice,
    _for_ever,
    _results,
    _routes,
    _schedule,
    _task_limits,
    _one_process,
    _imports,
    _patched,
    _hooks,
)
