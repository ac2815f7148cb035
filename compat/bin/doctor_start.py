"""What would stop a worker, beat or a send as soon as it began: names that lead nowhere, and what is no such thing.

Law: nothing is connected and no pool is loaded. What is found here fails whenever it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from ...protocol.errors import BadCall
from ..exceptions import ImproperlyConfigured
from .doctor_finding import FAULT, NOTE, Finding

_ROUTE = "a route is a queue's name or a dictionary of options; a router is a function, an object or the path of one"
_ANNOTATION = "an annotation is a dictionary of names of tasks, an object with annotate(), or the path of its class"
_CODEC = "correct the name, or register it with kombu before it is used"


def _fault(subject: str, problem: object, advice: str) -> Finding:
    text = f"{type(problem).__name__}: {problem}" if isinstance(problem, Exception) else str(problem)
    return Finding(FAULT, "start", subject, text, advice)


def pool(app: Any, _: Any) -> Iterator[Finding]:
    from ...worker.pools import TABLE
    from ..concurrency import ALIASES

    name, names = app.conf.worker_pool, {*TABLE, *ALIASES}
    if name and isinstance(name, str) and name not in names and "." not in name.replace(":", "."):
        near = get_close_matches(name, names, 1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(names))}"
        yield _fault("worker_pool", f"no pool is called {name!r}", advice)


def result_store(app: Any, _: Any) -> Iterator[Finding]:
    try:
        app.backend  # noqa: B018 - made here, or not at all; it connects when it is used
    except (ImproperlyConfigured, BadCall, ImportError) as problem:
        yield _fault("result_backend", str(problem), "a worker does not start so: correct it, or install what it needs")


def beat(app: Any, _: Any) -> Iterator[Finding]:
    from ..beat_check import check_there
    from ..beat_entries import lease_of

    scheduler = app.conf.beat_scheduler
    try:
        check_there(scheduler)
    except ImproperlyConfigured as problem:  # beat may be elsewhere, with more installed
        yield Finding(NOTE, "start", "beat_scheduler", str(problem), "install it where beat runs")
        return
    if str(scheduler).endswith("LeasedScheduler"):
        try:
            lease_of(app).close()
        except (ImproperlyConfigured, BadCall) as problem:
            yield _fault("beat_scheduler", str(problem), "beat does not start so")


def codecs(app: Any, _: Any) -> Iterator[Finding]:
    """Serializers and compressions, by the settings and by each task that has its own."""
    from ..app.producing import compressed, serialized

    def writes(name: Any) -> object:
        return serialized([[], {}, {}], name)

    def packs(name: Any) -> object:
        return compressed(b"text", name)

    conf, tasks = app.conf, sorted(app.tasks.items())
    own = {"auth"}  # security.setup_security() makes it
    asked = [
        *((key, conf[key], writes) for key in ("task_serializer", "result_serializer", "event_serializer")),
        *((key, conf[key], packs) for key in ("task_compression", "result_compression")),
        *((name, task.serializer, writes) for name, task in tasks if task.serializer != conf.task_serializer),
        *((name, getattr(task, "compression", None), packs) for name, task in tasks),
    ]
    for subject, name, act in asked:
        if not name or (isinstance(name, str) and name in own):  # what is empty is as if unsaid
            continue
        try:
            act(name)
        except Exception as problem:  # noqa: BLE001 - whatever it is, each message would raise it
            yield _fault(subject, problem, _CODEC)


def routers(app: Any, _: Any) -> Iterator[Finding]:
    from ..app.routes import prepare

    try:
        for given in prepare(app.conf.task_routes):
            router = given() if type(given).__name__ == "mlazy" else given
            if not (callable(router) or hasattr(router, "route_for_task")):
                yield _fault("task_routes", f"{router!r} is no router", _ROUTE)
    except Exception as problem:  # noqa: BLE001 - each send would raise it
        yield _fault("task_routes", problem, _ROUTE)


def of_annotations(app: Any, _: Any) -> Iterator[Finding]:
    from ..app.annotations import prepare

    try:
        for given in prepare(app.conf.task_annotations):
            found = given() if type(given).__name__ == "mlazy" else given
            if not (hasattr(found, "annotate") or hasattr(found, "annotate_any")):
                yield _fault("task_annotations", f"{found!r} is no annotation", _ANNOTATION)
    except Exception as problem:  # noqa: BLE001 - binding a task raises it
        yield _fault("task_annotations", problem, _ANNOTATION)


def failover(app: Any, _: Any) -> Iterator[Finding]:
    from ...worker.brokers.failover import STRATEGIES

    name = app.conf.broker_failover_strategy
    if isinstance(name, str) and name not in STRATEGIES:
        yield _fault("broker_failover_strategy", f"{name!r} is no strategy", f"there are {', '.join(STRATEGIES)}")


def numbers(app: Any, _: Any) -> Iterator[Finding]:
    """Of tasks' retries and priorities, which are read when the task runs or is sent."""
    kinds: tuple[tuple[str, Any], ...] = (
        ("max_retries", (int, float)),
        ("default_retry_delay", (int, float)),
        ("priority", int),
    )
    for name, task in sorted(app.tasks.items()):
        for attribute, kind in kinds:
            value = getattr(task, attribute, None)
            if value is not None and not isinstance(value, kind):
                yield _fault(name, f"its {attribute} is a number, not {value!r}", "correct it at the task")


RULES: tuple[Callable[[Any, Any], Iterable[Finding]], ...] = (
    pool,
    result_store,
    beat,
    codecs,
    routers,
    of_annotations,
    failover,
    numbers,
)
