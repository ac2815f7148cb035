"""Moving tasks from queue to queue and from broker to broker.

Law: a message goes on with the bytes that it came with. Its task and id are read from the headers of protocol 2 or
from the body of protocol 1.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..utils.nodenames import worker_direct
from ..utils.text import str_to_list

__all__ = (
    "State",
    "StopFiltering",
    "migrate_task",
    "migrate_tasks",
    "move",
    "move_by_idmap",
    "move_by_taskmap",
    "move_direct",
    "move_direct_by_id",
    "move_task_by_id",
    "republish",
    "start_filter",
    "task_id_eq",
    "task_id_in",
)  # fmt: skip

MOVING_PROGRESS_FMT = "Moving task {state.filtered}/{state.strtotal}: {task}[{id}]"


class StopFiltering(Exception):
    """A filter has seen enough."""


class State:
    """How far it has come."""

    count = 0
    filtered = 0
    total_apx = 0

    @property
    def strtotal(self) -> str:
        """How many there are, as far as is known."""
        return str(self.total_apx) if self.total_apx else "?"

    def __repr__(self) -> str:
        return f"^{self.filtered}" if self.filtered else f"{self.count}/{self.strtotal}"


def _of(name: str, body: Any, message: Any) -> Any:
    """The task or the id of a message of either protocol."""
    if isinstance(body, Mapping):
        return body.get(name)
    return (message.headers or {}).get(name)


def republish(
    producer: Any, message: Any, exchange: Any = None, routing_key: Any = None, remove_props: Any = None
) -> None:
    """Sends the message on, as it is."""
    info, headers, properties = message.delivery_info, dict(message.headers or {}), dict(message.properties or {})
    compression = headers.pop("compression", None)
    expiration = properties.pop("expiration", None)
    for name in remove_props or ("application_headers", "content_type", "content_encoding", "headers"):
        properties.pop(name, None)
    body = message.body.encode() if isinstance(message.body, str) else message.body
    producer.publish(
        body,
        exchange=info["exchange"] if exchange is None else exchange,
        routing_key=info["routing_key"] if routing_key is None else routing_key,
        compression=compression,
        headers=headers,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        expiration=None if expiration is None else float(expiration),
        **properties,
    )


def migrate_task(producer: Any, body_: Any, message: Any, queues: Any = None) -> None:
    """Sends the message on, to the queue that its own is mapped to."""
    info, queues = message.delivery_info, queues or {}
    republish(producer, message, queues.get(info["exchange"]), queues.get(info["routing_key"]))


def filter_callback(callback: Callable[..., Any], tasks: Any) -> Callable[..., Any]:
    """The callback, for these tasks alone."""

    def filtered(body: Any, message: Any) -> Any:
        if tasks and _of("task", body, message) not in tasks:
            return None
        return callback(body, message)

    return filtered


def migrate_tasks(
    source: Any,
    dest: Any,
    migrate: Callable[..., Any] = migrate_task,
    app: Any = None,
    queues: Any = None,
    **kwargs: Any,
) -> State:
    """Sends what is in the queues of one broker to another."""
    from ..app import app_or_default

    app = app_or_default(app)
    queues = prepare_queues(queues)
    producer = app.amqp.Producer(dest, auto_declare=False)

    def declare(queue: Any) -> None:
        new = queue(producer.channel)
        new.name = queues.get(queue.name, queue.name)
        if new.routing_key == queue.name:
            new.routing_key = queues.get(queue.name, new.routing_key)
        if new.exchange.name == queue.name:
            new.exchange.name = queues.get(queue.name, queue.name)
        new.declare()

    send = partial(migrate, producer, queues=queues)
    return start_filter(app, source, send, queues=queues, on_declare_queue=declare, **kwargs)


def _maybe_queue(app: Any, q: Any) -> Any:
    return app.amqp.queues[q] if isinstance(q, str) else q


def move(
    predicate: Callable[..., Any],
    connection: Any = None,
    exchange: Any = None,
    routing_key: Any = None,
    source: Any = None,
    app: Any = None,
    callback: Callable[..., Any] | None = None,
    limit: int | None = None,
    transform: Callable[..., Any] | None = None,
    state: State | None = None,
    **kwargs: Any,
) -> State:
    """Moves the messages for which `predicate(body, message)` is true.

    To the queue, or the exchange and routing key, that it returns (after `transform`), else to those given.
    """
    from kombu.common import maybe_declare
    from kombu.entity import Queue

    from ..app import app_or_default

    app = app_or_default(app)
    queues = [_maybe_queue(app, queue) for queue in source or []] or None
    with app.connection_or_acquire(connection, pool=False) as link:
        producer = app.amqp.Producer(link)
        progress = state or State()

        def on_task(body: Any, message: Any) -> None:
            target = predicate(body, message)
            if not target:
                return
            if transform:
                target = transform(target)
            if isinstance(target, Queue):
                maybe_declare(target, link.default_channel)
                place = target.exchange.name, target.routing_key
            else:
                place = expand_dest(target, exchange, routing_key)
            republish(producer, message, *place)
            message.ack()
            progress.filtered += 1
            if callback:
                callback(progress, body, message)
            if limit and progress.filtered >= limit:
                raise StopFiltering

        return start_filter(app, link, on_task, consume_from=queues, state=progress, **kwargs)


def expand_dest(ret: Any, exchange: Any, routing_key: Any) -> tuple[Any, Any]:
    """The pair that was returned, or these."""
    if isinstance(ret, (tuple, list)) and len(ret) == 2:
        return ret[0], ret[1]
    return exchange, routing_key


def task_id_eq(task_id: str, body: Any, message: Any) -> bool:
    """Whether it is the task of this id."""
    return bool(_of("id", body, message) == task_id)


def task_id_in(ids: Any, body: Any, message: Any) -> bool:
    """Whether it is a task of one of these ids."""
    return _of("id", body, message) in ids


def prepare_queues(queues: Any) -> dict[str, str]:
    """`a:b,c` as a mapping: what is in a goes to b, what is in c stays in a queue of that name."""
    if isinstance(queues, str):
        queues = queues.split(",")
    if isinstance(queues, list):
        pairs = (entry.partition(":") for entry in queues)
        return {name: target or name for name, _, target in pairs}
    return queues or {}


class Filterer:
    """Takes from the queues and has the filter look at each message."""

    def __init__(
        self,
        app: Any,
        conn: Any,
        filter: Callable[..., Any],
        limit: int | None = None,
        timeout: float = 1.0,
        ack_messages: bool = False,
        tasks: Any = None,
        queues: Any = None,
        callback: Callable[..., Any] | None = None,
        forever: bool = False,
        on_declare_queue: Callable[[Any], Any] | None = None,
        consume_from: Any = None,
        state: State | None = None,
        accept: Any = None,
        **kwargs: Any,
    ) -> None:
        self.app = app
        self.conn = conn
        self.filter = filter
        self.limit = limit
        self.timeout = timeout
        self.ack_messages = ack_messages
        self.tasks = set(str_to_list(tasks) or [])
        self.queues = prepare_queues(queues)
        self.callback = callback
        self.forever = forever
        self.on_declare_queue = on_declare_queue
        self.consume_from = [_maybe_queue(app, queue) for queue in consume_from or list(self.queues)]
        self.state = state or State()
        self.accept = accept

    def start(self) -> State:
        """Runs until the queues have been silent for the timeout, or the limit is reached."""
        from kombu.common import eventloop

        consumer = self.app.amqp.TaskConsumer(self.conn, queues=self.consume_from, accept=self.accept)
        with self.prepare_consumer(consumer):
            try:
                for _ in eventloop(self.conn, timeout=self.timeout, ignore_timeouts=self.forever):
                    pass
            except (socket.timeout, StopFiltering):  # noqa: UP041 - two classes on Python 3.9, one since
                pass
        return self.state

    def update_state(self, body: Any, message: Any) -> None:
        self.state.count += 1
        if self.limit and self.state.count >= self.limit:
            raise StopFiltering

    def ack_message(self, body: Any, message: Any) -> None:
        message.ack()

    def prepare_consumer(self, consumer: Any) -> Any:
        """Has the consumer call the filter, and declares the queues."""
        steps: list[Callable[..., Any]] = [self.filter, self.update_state]
        if self.ack_messages:
            steps.append(self.ack_message)
        if self.callback is not None:
            steps.append(partial(self.callback, self.state))
        for step in steps:
            consumer.register_callback(filter_callback(step, self.tasks) if self.tasks else step)
        self.declare_queues(consumer)
        return consumer

    def declare_queues(self, consumer: Any) -> None:
        """Declares them elsewhere, if that is wanted, and counts what is in them."""
        for queue in consumer.queues:
            if self.queues and queue.name not in self.queues:
                continue
            if self.on_declare_queue is not None:
                self.on_declare_queue(queue)
            try:
                _, count, _ = queue(consumer.channel).queue_declare(passive=True)
            except self.conn.channel_errors:
                continue
            self.state.total_apx += count or 0


def start_filter(
    app: Any,
    conn: Any,
    filter: Callable[..., Any],
    limit: int | None = None,
    timeout: float = 1.0,
    ack_messages: bool = False,
    tasks: Any = None,
    queues: Any = None,
    callback: Callable[..., Any] | None = None,
    forever: bool = False,
    on_declare_queue: Callable[[Any], Any] | None = None,
    consume_from: Any = None,
    state: State | None = None,
    accept: Any = None,
    **kwargs: Any,
) -> State:
    """Has the filter look at each message in the queues."""
    return Filterer(
        app,
        conn,
        filter,
        limit,
        timeout,
        ack_messages,
        tasks,
        queues,
        callback,
        forever,
        on_declare_queue,
        consume_from,
        state,
        accept,
        **kwargs,
    ).start()


def move_task_by_id(task_id: str, dest: Any, **kwargs: Any) -> State:
    """Moves one task."""
    return move_by_idmap({task_id: dest}, **kwargs)


def move_by_idmap(map: Mapping[str, Any], **kwargs: Any) -> State:
    """Moves tasks by their ids to the queues that these are mapped to."""

    def target(body: Any, message: Any) -> Any:
        return map.get(message.properties.get("correlation_id") or _of("id", body, message))

    return move(target, limit=len(map), **kwargs)


def move_by_taskmap(map: Mapping[str, Any], **kwargs: Any) -> State:
    """Moves tasks by their names to the queues that these are mapped to."""

    def target(body: Any, message: Any) -> Any:
        return map.get(_of("task", body, message))

    return move(target, **kwargs)


def filter_status(state: State, body: Any, message: Any, **kwargs: Any) -> None:
    """Prints how far it has come."""
    task, task_id = _of("task", body, message), _of("id", body, message)
    print(MOVING_PROGRESS_FMT.format(state=state, task=task, id=task_id, **kwargs))  # noqa: T201 - it is a command's output


move_direct = partial(move, transform=worker_direct)
move_direct_by_id = partial(move_task_by_id, transform=worker_direct)
move_direct_by_idmap = partial(move_by_idmap, transform=worker_direct)
move_direct_by_taskmap = partial(move_by_taskmap, transform=worker_direct)
