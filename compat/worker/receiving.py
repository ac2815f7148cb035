"""How messages reach strategies that are not ours: a task's own, or ours in somebody's wrapping.

Law: a strategy is called when its message arrives, in the worker's thread, as Celery's is. Ours hands the delivery
back to the worker, which treats it as any other; whoever keeps it has it until he acknowledges or rejects it.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from ...protocol.rules.outcome import Fate


class Strategies(dict[str, Any]):
    """By the name of the task. The worker is told when one is replaced: it keeps what it knows of a task."""

    consumer: Any = None

    def __setitem__(self, name: str, strategy: Any) -> None:
        before = self.get(name)
        super().__setitem__(name, strategy)
        core = None if self.consumer is None else self.consumer.core
        if core is not None and before is not None and before is not strategy:
            core.changed(name, time.time())


class Handler:
    """Our strategy for one task."""

    def __init__(self, consumer: Any, task: Any) -> None:
        self.consumer = consumer
        self.task = task

    def __call__(
        self, message: Any, body: Any = None, ack: Any = None, reject: Any = None, callbacks: Any = (), **_: Any
    ) -> Any:
        request = message.request
        core = self.consumer.core
        core.take_in(request.number, time.time())
        for callback in callbacks or ():
            callback(core.owner.request(request))
        return self


class Message:
    """A delivery as kombu shows one to a strategy."""

    def __init__(self, consumer: Any, request: Any) -> None:
        self._consumer = consumer
        self.request = request
        delivery = request.delivery
        message = delivery.message
        self.body = message.body
        self.content_type = message.content_type
        self.content_encoding = message.content_encoding
        self.headers = message.headers
        self.properties = message.properties
        self.delivery_tag = delivery.tag
        self.delivery_info = {
            "exchange": delivery.exchange,
            "routing_key": delivery.routing_key,
            "redelivered": delivery.redelivered,
            "priority": delivery.priority,
        }
        self.acknowledged = False

    @property
    def payload(self) -> Any:
        return self.decode()

    def decode(self) -> Any:
        """As the worker reads: within its bounds, and BadMessage for whatever it does not accept."""
        if "_decoded" not in self.__dict__:
            self._decoded = self._consumer.core.reader.decode(self.request.delivery.message)
        return self._decoded

    def _over(self, fate: Fate) -> None:
        """From any thread."""
        if self.acknowledged:
            return
        self.acknowledged = True
        consumer, number = self._consumer, self.request.number

        def settle() -> None:
            consumer.core.own_over(number, fate, time.time())

        if threading.get_ident() == consumer.controller.thread:
            settle()
            consumer.controller.wake()
        else:
            consumer.call_soon(settle)

    def ack(self, multiple: bool = False) -> None:
        self._over(Fate.DONE)

    def reject(self, requeue: bool = False) -> None:
        self._over(Fate.REQUEUED if requeue else Fate.REJECTED)

    def requeue(self) -> None:
        self._over(Fate.REQUEUED)

    def ack_log_error(self, logger: Any = None, errors: Any = (), multiple: bool = False) -> None:
        self.ack()

    def reject_log_error(self, logger: Any = None, errors: Any = (), requeue: bool = False) -> None:
        self.reject(requeue)


def own_ways(consumer: Any, task: Any) -> tuple[Any, Any]:
    """For `worker.ports.Owner`: how requests for this task are received and run, where that is not our affair."""
    from .request import Request
    from .running import own_class, run_own

    strategy = consumer.strategy_of(task)

    def receive(request: Any) -> None:
        message = Message(consumer, request)

        def ack(*_: Any) -> None:
            message.ack()

        def reject(*args: Any) -> None:
            message.reject(requeue=bool(args and args[-1] is True))

        body = None if "task" in (message.headers or {}) else message.decode()
        strategy(message, body, ack, reject, consumer.on_task_message)

    plain = type(strategy) is Handler and strategy.consumer is consumer and not consumer.on_task_message
    cls = own_class(task)
    runner = None if cls is Request else run_own(consumer, cls)
    return (None if plain else receive), runner
