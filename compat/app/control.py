"""Remote control of workers: `app.control` tells, `app.control.inspect()` asks.

Law: a command's arguments are written down here as Celery writes them; who gives a kombu connection or channel is
served by kombu's mailbox, everybody else by `mailing`.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

from ..exceptions import DuplicateNodenameWarning, ImproperlyConfigured

__all__ = ("Control", "Inspect", "flatten_reply")

_TERM = "SIGTERM"


def flatten_reply(reply: Any) -> dict[str, Any]:
    """Replies, each `{node: reply}`, as one dict. Warns of nodes that share a name."""
    nodes: dict[str, Any] = {}
    twice: set[str] = set()
    for item in reply:
        twice.update(name for name in item if name in nodes)
        nodes.update(item)
    if twice:
        names = ", ".join(sorted(twice))
        warnings.warn(
            DuplicateNodenameWarning(
                f"Received multiple replies from node {'names' if len(twice) > 1 else 'name'}: {names}. "
                "Give each worker a name of its own, with -n."
            ),
            stacklevel=2,
        )
    return nodes


class Inspect:
    """Asks workers. Each method gives `{node: reply}`, or None when nobody replied."""

    app: Any = None

    def __init__(
        self,
        destination: Any = None,
        timeout: float = 1.0,
        callback: Any = None,
        connection: Any = None,
        app: Any = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        self.app = app or self.app
        self.destination = destination
        self.timeout = timeout
        self.callback = callback
        self.connection = connection
        self.limit = limit
        self.pattern = pattern
        self.matcher = matcher

    def _prepare(self, reply: Any) -> Any:
        if not reply:
            return None
        by_node = flatten_reply(reply)
        if self.destination and not isinstance(self.destination, (list, tuple)):
            return by_node.get(self.destination)
        if self.pattern:
            from ...protocol.wire.node_match import fits

            matcher = self.matcher or "glob"
            return {node: value for node, value in by_node.items() if fits(node, self.pattern, matcher)}
        return by_node

    def _request(self, command: str, **kwargs: Any) -> Any:
        return self._prepare(
            self.app.control.broadcast(
                command,
                arguments=kwargs,
                destination=self.destination,
                callback=self.callback,
                connection=self.connection,
                limit=self.limit,
                timeout=self.timeout,
                reply=True,
                pattern=self.pattern,
                matcher=self.matcher,
            )
        )

    def report(self) -> Any:
        return self._request("report")

    def clock(self) -> Any:
        return self._request("clock")

    def active(self, safe: Any = None) -> Any:
        """The tasks that are running."""
        return self._request("active", safe=safe)

    def scheduled(self, safe: Any = None) -> Any:
        """The tasks that wait for their time."""
        return self._request("scheduled")

    def reserved(self, safe: Any = None) -> Any:
        """The tasks that a worker has taken and not started."""
        return self._request("reserved")

    def stats(self) -> Any:
        return self._request("stats")

    def revoked(self) -> Any:
        return self._request("revoked")

    def registered(self, *taskinfoitems: str) -> Any:
        """The tasks that a worker knows, with these of their attributes."""
        return self._request("registered", taskinfoitems=taskinfoitems)

    registered_tasks = registered

    def ping(self, destination: Any = None) -> Any:
        if destination:
            self.destination = destination
        return self._request("ping")

    def active_queues(self) -> Any:
        """The queues that a worker takes from."""
        return self._request("active_queues")

    def query_task(self, *ids: Any) -> Any:
        """What a worker knows of these tasks; the ids may come as one list."""
        if len(ids) == 1 and isinstance(ids[0], (list, tuple)):
            ids = tuple(ids[0])
        return self._request("query_task", ids=ids)

    def conf(self, with_defaults: bool = False) -> Any:
        return self._request("conf", with_defaults=with_defaults)

    def hello(self, from_node: str, revoked: Any = None) -> Any:
        return self._request("hello", from_node=from_node, revoked=revoked)

    def memsample(self) -> Any:
        return self._request("memsample")

    def memdump(self, samples: int = 10) -> Any:
        return self._request("memdump", samples=samples)

    def objgraph(self, type: str = "Request", n: int = 200, max_depth: int = 10) -> Any:
        return self._request("objgraph", num=n, max_depth=max_depth, type=type)


class _Mailbox:
    """kombu's class, loaded when it is asked for."""

    def __get__(self, control: Any, owner: Any = None) -> Any:
        from kombu.pidbox import Mailbox

        return Mailbox


class Control:
    """Tells workers. Every method takes what `broadcast` takes, too."""

    Mailbox: Any = _Mailbox()

    def __init__(self, app: Any = None) -> None:
        self.app = app
        if app.conf.control_queue_durable and app.conf.control_queue_exclusive:
            raise ImproperlyConfigured(
                "control_queue_durable and control_queue_exclusive cannot both be True "
                "(exclusive queues are automatically deleted and cannot be durable)."
            )

    @cached_property
    def mailbox(self) -> Any:
        """kombu's mailbox with the settings of the app."""
        conf = self.app.conf
        return self.Mailbox(
            conf.control_exchange,
            type="fanout",
            accept=conf.accept_content,
            serializer=conf.task_serializer,
            producer_pool=None,
            queue_ttl=conf.control_queue_ttl,
            reply_queue_ttl=conf.control_queue_ttl,
            queue_expires=conf.control_queue_expires,
            queue_exclusive=conf.control_queue_exclusive,
            queue_durable=conf.control_queue_durable,
            reply_queue_expires=conf.control_queue_expires,
        )

    @cached_property
    def inspect(self) -> Any:
        """The class `Inspect` of this app."""
        return self.app.subclass_with_self(Inspect, reverse="control.inspect")

    def purge(self, connection: Any = None) -> int:
        """Delete every task that waits, and say how many there were."""
        if connection is not None:
            return self.app.amqp.TaskConsumer(connection).purge()  # type: ignore[no-any-return]  # an app is Any to its tasks
        from .mailing import purge

        return purge(self.app, list(self.app.amqp.queues.consume_from))

    discard_all = purge

    def election(self, id: str, topic: str, action: Any = None, connection: Any = None) -> None:
        self.broadcast(
            "election", connection=connection, destination=None, arguments={"id": id, "topic": topic, "action": action}
        )

    def revoke(
        self, task_id: Any, destination: Any = None, terminate: bool = False, signal: str = _TERM, **kwargs: Any
    ) -> Any:
        """Have this task, or these, not run; `terminate`: nor go on running."""
        arguments = {"task_id": task_id, "terminate": terminate, "signal": signal}
        if not destination:
            self._keep_revoked([task_id] if isinstance(task_id, str) else list(task_id), {})
        return self.broadcast("revoke", destination=destination, arguments=arguments, **kwargs)

    def _keep_revoked(self, ids: list[Any], stamps: Any) -> None:
        """For workers that run later (`worker_lasting_revokes`)."""
        if not self.app.conf.worker_lasting_revokes:
            return
        import time

        from ...protocol.wire.commands import stamp_headers
        from ...worker import lasting
        from .settings_for_broker import broker_options

        now = time.time()
        what = lasting.dumped([str(each) for each in ids], stamp_headers(stamps), now)
        lasting.keep_at(broker_options(self.app.conf), what, now)

    def revoke_by_stamped_headers(
        self, headers: Any, destination: Any = None, terminate: bool = False, signal: str = _TERM, **kwargs: Any
    ) -> Any:
        """Have tasks with these stamps not run; `terminate`: nor go on running."""
        arguments = {"headers": headers, "terminate": terminate, "signal": signal}
        if not destination:
            self._keep_revoked([], headers)
        result = self.broadcast("revoke_by_stamped_headers", destination=destination, arguments=arguments, **kwargs)
        found: set[str] = set()
        for node in result or ():
            for response in node.values():
                told = response.get("ok")
                if isinstance(told, set):  # where the serializer knows sets
                    found.update(told)
        if found:
            return self.revoke(list(found), destination=destination, terminate=terminate, signal=signal, **kwargs)
        return result

    def terminate(self, task_id: Any, destination: Any = None, signal: str = _TERM, **kwargs: Any) -> Any:
        """`revoke` with `terminate`."""
        return self.revoke(task_id, destination=destination, terminate=True, signal=signal, **kwargs)

    def ping(self, destination: Any = None, timeout: float = 1.0, **kwargs: Any) -> Any:
        """Who is there: `[{node: {"ok": "pong"}}, ...]`."""
        return self.broadcast("ping", reply=True, arguments={}, destination=destination, timeout=timeout, **kwargs)

    def rate_limit(self, task_name: str, rate_limit: Any, destination: Any = None, **kwargs: Any) -> Any:
        """Let each worker run so many tasks of this name: 10 a second, or "100/m"; 0 is no limit."""
        arguments = {"task_name": task_name, "rate_limit": rate_limit}
        return self.broadcast("rate_limit", destination=destination, arguments=arguments, **kwargs)

    def add_consumer(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str = "direct",
        routing_key: str | None = None,
        options: Any = None,
        destination: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Have workers take from this queue too. Exchange and routing key are called as the queue is."""
        place = {"queue": queue, "exchange": exchange, "exchange_type": exchange_type, "routing_key": routing_key}
        return self.broadcast("add_consumer", destination=destination, arguments={**place, **(options or {})}, **kwargs)

    def cancel_consumer(self, queue: str, destination: Any = None, **kwargs: Any) -> Any:
        """Have workers take from this queue no more."""
        return self.broadcast("cancel_consumer", destination=destination, arguments={"queue": queue}, **kwargs)

    def time_limit(
        self, task_name: str, soft: Any = None, hard: Any = None, destination: Any = None, **kwargs: Any
    ) -> Any:
        """Give tasks of this name other time limits, in seconds."""
        arguments = {"task_name": task_name, "hard": hard, "soft": soft}
        return self.broadcast("time_limit", arguments=arguments, destination=destination, **kwargs)

    def enable_events(self, destination: Any = None, **kwargs: Any) -> Any:
        return self.broadcast("enable_events", arguments={}, destination=destination, **kwargs)

    def disable_events(self, destination: Any = None, **kwargs: Any) -> Any:
        return self.broadcast("disable_events", arguments={}, destination=destination, **kwargs)

    def pool_grow(self, n: int = 1, destination: Any = None, **kwargs: Any) -> Any:
        """Give workers n more processes or threads."""
        return self.broadcast("pool_grow", arguments={"n": n}, destination=destination, **kwargs)

    def pool_shrink(self, n: int = 1, destination: Any = None, **kwargs: Any) -> Any:
        """Give workers n processes or threads less."""
        return self.broadcast("pool_shrink", arguments={"n": n}, destination=destination, **kwargs)

    def autoscale(self, max: int, min: int, destination: Any = None, **kwargs: Any) -> Any:
        """Change the range in which workers scale."""
        return self.broadcast("autoscale", arguments={"max": max, "min": min}, destination=destination, **kwargs)

    def shutdown(self, destination: Any = None, **kwargs: Any) -> Any:
        """Have workers finish what they run, and end."""
        return self.broadcast("shutdown", arguments={}, destination=destination, **kwargs)

    def pool_restart(
        self, modules: Any = None, reload: bool = False, reloader: Any = None, destination: Any = None, **kwargs: Any
    ) -> Any:
        """Have workers start their pools anew, with these modules imported, or reloaded."""
        arguments = {"modules": modules, "reload": reload, "reloader": reloader}
        return self.broadcast("pool_restart", arguments=arguments, destination=destination, **kwargs)

    def heartbeat(self, destination: Any = None, **kwargs: Any) -> Any:
        """Have workers send a heartbeat now."""
        return self.broadcast("heartbeat", arguments={}, destination=destination, **kwargs)

    def broadcast(
        self,
        command: str,
        arguments: Any = None,
        destination: Any = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float = 1.0,
        limit: int | None = None,
        callback: Any = None,
        channel: Any = None,
        pattern: str | None = None,
        matcher: str | None = None,
        **extra_kwargs: Any,
    ) -> Any:
        """Send a command to all workers, to those of these names, or to those whose name fits.

        With `reply` it gives their replies as `[{node: reply}, ...]`, as many as `limit` says or as come before
        `timeout` seconds pass without one; `callback` gets each at once.
        """
        arguments = {**(arguments or {}), **extra_kwargs}
        if not (pattern and matcher):
            pattern = matcher = None
        if connection is not None or channel is not None:
            with self.app.connection_or_acquire(connection) as lent:
                return self.mailbox(lent)._broadcast(
                    command,
                    arguments,
                    destination,
                    reply,
                    timeout,
                    limit,
                    callback,
                    channel=channel,
                    **({"pattern": pattern, "matcher": matcher} if pattern else {}),
                )
        if destination is not None and not isinstance(destination, (list, tuple)):
            raise ValueError(f"destination must be a list/tuple not {type(destination)}")
        from ...protocol.wire.control import Request
        from .mailing import ask, cast

        request = Request(command, arguments, tuple(destination) if destination else None, pattern, matcher)
        if not reply:
            return cast(self.app, request)
        return ask(self.app, request, timeout, limit or len(destination or ()) or None, callback)
