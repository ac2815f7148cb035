"""Sending tasks: what `Celery.send_task` does, one call or many.

Law: what a message says is decided in `protocol/rules/calling`, how it leaves in `producing`. Here stands the order of
things that Celery's users can see: options, route, message, signals, result.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from ...protocol.hints import Any
from ...protocol.rules.calling import Call
from ...protocol.wire.amqp import delayed
from ...protocol.wire.dates import parse_iso
from ...worker import late
from ...worker.ids import new_id

logger = late.logger(__name__)

_OMITTED: Any = object()


def send_task(
    app: Any,
    name: str,
    args: Any = None,
    kwargs: Any = None,
    countdown: float | None = None,
    eta: Any = None,
    task_id: str | None = None,
    producer: Any = None,
    connection: Any = None,
    router: Any = None,
    result_cls: Any = None,
    expires: Any = _OMITTED,
    publisher: Any = None,
    link: Any = None,
    link_error: Any = None,
    add_to_parent: bool = True,
    group_id: str | None = None,
    group_index: int | None = None,
    retries: int = 0,
    chord: Any = None,
    reply_to: str | None = None,
    time_limit: Any = _OMITTED,
    soft_time_limit: Any = _OMITTED,
    root_id: str | None = None,
    parent_id: str | None = None,
    route_name: str | None = None,
    shadow: str | None = None,
    chain: Any = None,
    task_type: Any = None,
    replaced_task_nesting: int = 0,
    **options: Any,
) -> Any:
    """Send one task, and give its result."""
    amqp, conf = app.amqp, app.conf
    if conf.task_always_eager:
        from ..exceptions import AlwaysEagerIgnored

        warnings.warn(AlwaysEagerIgnored("task_always_eager has no effect on send_task"), stacklevel=3)
    task_id = task_id or new_id()
    producer = producer or publisher
    if task_type is None:
        task_type, options = _by_name(app, name, options)
    time_limit = _told(time_limit, options.pop("time_limit", None))
    soft_time_limit = _told(soft_time_limit, options.pop("soft_time_limit", None))
    expires = _told(expires, options.pop("expires", None))
    ignore_result = options.pop("ignore_result", None)

    router = router or (amqp.light_router if amqp.is_plain else amqp.router)
    options = router.route(options, route_name or name, args, kwargs, task_type)
    if eta or countdown:
        options = _delayed_by_broker(app, options, eta, countdown)
    if expires is not None:
        options["expiration"] = _seconds_left(app, task_id, expires)
    parent = app.current_worker_task
    if parent and not (root_id and parent_id):
        request = parent.request
        root_id = root_id or request.root_id or request.id
        parent_id = parent_id or request.id
        if conf.task_inherit_parent_priority:
            options.setdefault("priority", (request.delivery_info or {}).get("priority"))

    message = _create(app, options)(
        task_id,
        name,
        args,
        kwargs,
        countdown,
        eta,
        group_id,
        group_index,
        expires,
        retries,
        chord,
        _listed(link),
        _listed(link_error),
        reply_to or app.thread_oid,
        time_limit,
        soft_time_limit,
        conf.task_send_sent_event,
        root_id,
        parent_id,
        shadow,
        chain=chain,  # protocol 1 has no place for it among these
        ignore_result=ignore_result,
        replaced_task_nesting=replaced_task_nesting,
        **options,
    )
    for stamp in options.pop("stamped_headers", None) or ():
        options.pop(stamp)
    _publish(app, connection, producer, task_id, name, message, options, ignore_result)

    result = (result_cls or app.AsyncResult)(task_id)
    result.ignored = ignore_result
    if add_to_parent and parent:
        parent.add_trail(result)
    return result


def _publish(
    app: Any,
    connection: Any,
    producer: Any,
    task_id: str,
    name: str,
    message: Any,
    options: dict[str, Any],
    ignore_result: Any,
) -> None:
    amqp = app.amqp
    if connection:
        producer = amqp.Producer(connection, auto_declare=False)
    if producer is None or producer is amqp.outlet:
        if not (ignore_result or app._backend_is_silent):
            app.backend.on_task_call(amqp.outlet, task_id)
        amqp.send_task_message(amqp.outlet, name, message, **options)
        return
    with app.producer_or_acquire(producer) as lent, lent.connection._reraise_as_library_errors():
        if not (ignore_result or app._backend_is_silent):
            app.backend.on_task_call(lent, task_id)
        amqp.send_task_message(lent, name, message, **options)


def _by_name(app: Any, name: str, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A task that this app happens to know, and its own options below those of the call."""
    task_type = app._tasks.get(name)
    own = getattr(task_type, "_get_exec_options", None)
    if own is None:
        return task_type, options
    return task_type, {**{key: value for key, value in own().items() if value is not None}, **options}


def _create(app: Any, options: Mapping[str, Any]) -> Any:
    """What makes the message: of the protocol that the readers of its queue know."""
    queue_protocols = app.conf.get("task_queue_protocols")
    if queue_protocols:
        queue = options.get("queue")
        protocol = queue_protocols.get(getattr(queue, "name", queue))
        if protocol is not None:
            return app.amqp.task_protocols[protocol]
    return app.amqp.create_task_message


def _told(given: Any, own: Any) -> Any:
    """What the call says, None included, else the task's own."""
    return own if given is _OMITTED else given


def _listed(link: Any) -> Any:
    if link is None or isinstance(link, (list, tuple)):
        return link
    return [link] if isinstance(link, (Mapping, str)) or not isinstance(link, Iterable) else link


def _seconds_left(app: Any, task_id: str, expires: Any) -> Any:
    """Until it expires, for the broker."""
    if isinstance(expires, (datetime, str)):
        moment = parse_iso(expires, what="expires") if isinstance(expires, str) else expires
        expires = (_aware(app, moment) - app.now()).total_seconds()
    if expires >= 0:
        return expires
    logger.warning(
        "%s expired %s s ago, before it was sent: RabbitMQ drops it unless a consumer is free at once, "
        "and a worker that gets it revokes it. If that is not meant, look at the code that sent it.",
        task_id,
        -expires,
    )
    return 0


def _aware(app: Any, moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=app.timezone)


def _delayed_by_broker(app: Any, options: dict[str, Any], eta: Any, countdown: Any) -> dict[str, Any]:
    """RabbitMQ keeps what is not due yet, where a quorum queue is among the queues, as workers on them arrange it."""
    amqp = app.amqp
    if amqp.is_plain or amqp.outlet.kind != ".amqp" or not _any_quorum(amqp.queues):
        return options
    queue = options.get("queue")
    kind = queue.exchange.type if queue else options["exchange_type"]
    routing_key = queue.routing_key if queue else options["routing_key"]
    if kind == "direct":
        logger.warning(
            "%s is a direct exchange, and messages to those cannot be delayed by the broker: "
            "the worker holds this task until it is due. Make it a topic exchange.",
            queue.exchange.name if queue else options["exchange"],
        )
        return options
    if eta:
        moment = parse_iso(eta, what="eta") if isinstance(eta, str) else eta
        countdown = (_aware(app, moment) - app.now()).total_seconds()
    if not countdown or countdown < 1:
        return options
    from kombu.entity import Exchange

    options.pop("queue", None)
    options["routing_key"] = delayed.delayed_routing_key(int(countdown), routing_key)
    options["exchange"] = Exchange(delayed.entry_exchange(), type="topic")
    return options


def _any_quorum(queues: Mapping[str, Any]) -> bool:
    return any((queue.queue_arguments or {}).get("x-queue-type") == "quorum" for queue in queues.values())


# --- many


def send_calls(app: Any, calls: Iterable[Call], producer: Any = None) -> Iterator[str]:
    """Send them in order, many at once where they are alike; gives their ids when all are sent.

    What is registered is called as its task is (`Task.apply_async`), what is not by its name.
    """
    from .bulk import Batch

    batch = Batch(app, producer)
    try:
        ids = [batch.call(call) for call in calls]
    finally:
        batch.flush()  # what came before an error has been called, and is sent
    return iter(ids)


def send_many(app: Any, calls: Iterable[Any], producer: Any) -> list[Any]:
    """Signatures, or `(task, args, kwargs, options)` as far as needed; gives their results."""
    from ..result import quick
    from .bulk import Batch

    batch, tasks, promised = Batch(app, producer), app._tasks, quick(app.AsyncResult)
    results = []
    try:
        for one in calls:
            if isinstance(one, dict) and one.get("subtask_type"):
                batch.flush()
                results.append(one.apply_async())  # type: ignore[attr-defined]  # it knows itself how it is sent
                continue
            name, args, kwargs, options = _parts(one)
            task_id = None if options else batch.add(tasks.get(name), args, kwargs)
            results.append(promised(task_id or batch.call(Call(name, args, kwargs, options))))
    finally:
        batch.flush()
    return results


def _parts(given: Any) -> tuple[Any, Any, Any, Any]:
    if isinstance(given, Call):
        return given.name, given.args or (), given.kwargs or {}, given.options
    if isinstance(given, dict):
        return given["task"], given.get("args") or (), given.get("kwargs") or {}, given.get("options") or {}
    parts: tuple[Any, ...] = tuple(given)
    task, args, kwargs, options = parts + ((), {}, {})[len(parts) - 1 :]
    return getattr(task, "name", task), args or (), kwargs or {}, options or {}


def starmap(app: Any, task: Any, it: Iterable[Any], options: Mapping[str, Any]) -> list[Any]:
    """Call a task once for each tuple of arguments; gives the results."""
    from ..result import quick
    from .bulk import Batch

    promised = quick(app.AsyncResult)
    batch = Batch(app, options.get("producer"), {key: value for key, value in options.items() if key != "producer"})
    known = app._tasks.get(task.name)
    check = getattr(task, "__header__", None) if task.typing else None
    results = []
    try:
        for args in it:
            task_id = batch.add(known, args, {})
            if task_id is None:
                if check is not None:
                    check(*args)
                task_id = batch.call(Call(task.name, args, None, batch.options))
            results.append(promised(task_id))
    finally:
        batch.flush()
    return results


def close(app: Any) -> None:
    """Leave the broker."""
    amqp = app.__dict__.get("amqp")
    if amqp is not None and hasattr(amqp, "outlet"):
        amqp.outlet.close()
