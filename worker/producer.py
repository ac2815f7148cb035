"""Sends messages through a pool of brokers: declares what must be there, tries again as a policy says.

Law: whoever sends waits until the broker has the message, and gets `OperationalError` when it has not, after a bounded
time: each try ends by the deadlines of its connection, and their number is the policy's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice

from ..protocol.hints import Any
from ..protocol.values import dataclass
from ..protocol.wire.template import Particulars, Template
from .brokers import connect, failover
from .brokers.base import Broker, Parcel, Queue
from .brokers.pool import Pool

_AT_ONCE = 500  # parcels of a bulk in one send


@dataclass(frozen=True, slots=True)
class Patience:
    """How often, and after which pauses, a send that failed is tried again. `retries` None: for as long as it takes."""

    retries: int | None = 3
    first_pause: float = 0.0
    longer_by: float = 0.2
    longest_pause: float = 1.0
    errors: tuple[type[BaseException], ...] = ()
    tell: Callable[[BaseException, float], Any] | None = None

    def pause(self, tries: int) -> float:
        """Before the try after so many."""
        from ..protocol.rules.retry import wait_before

        return wait_before(tries, self.first_pause, self.longer_by, self.longest_pause)


class Desk:
    """One broker, and which queues were declared through it: another connection may lead to another server."""

    __slots__ = ("_declared", "abandon", "broker", "close", "declared")

    def __init__(self, broker: Broker) -> None:
        self.broker: Any = broker
        self.close = broker.close
        self.abandon = getattr(broker, "abandon", None)
        self._declared: dict[tuple[str, str, str], Queue] = {}
        self.declared: Sequence[Queue] = ()  # the last time

    def declare(self, queues: Sequence[Queue]) -> None:
        """Those that were not yet. Whoever sends often keeps the sequence: `declared` is known by being the same."""
        missing = []
        for queue in queues:
            place = queue.name, queue.exchange, queue.routing_key
            if self._declared.get(place) != queue:
                missing.append((place, queue))
        if missing:
            self.broker.declare([queue for _, queue in missing])
            self._declared.update(missing)
        self.declared = queues


class Plan:
    """Messages that are alike but for their particulars, and where they go. `form` is what a broker made of it."""

    __slots__ = ("exchange", "exchange_type", "form", "routing_key", "template")

    def __init__(self, template: Template, routing_key: str, exchange: str = "", exchange_type: str = "direct") -> None:
        self.template = template
        self.routing_key = routing_key
        self.exchange = exchange
        self.exchange_type = exchange_type
        self.form: Any = None


class Producer:
    """For any number of threads. `connect` makes a broker; `wait` is how long a thread waits for a free one."""

    def __init__(self, connect: Callable[[], Broker], *, limit: int | None = 10, wait: float = 4.0) -> None:
        self._pool: Pool[Desk] = Pool(lambda: Desk(connect()), limit, wait)

    @classmethod
    def to(
        cls, url: str | Sequence[str], options: Mapping[str, Any], *, timeout: float, limit: int | None, wait: float
    ) -> Producer:
        """`url` may name several brokers, as kombu writes it. `timeout` is for connecting to one."""
        urls = failover.several(url)

        def one(each: str) -> Broker:
            return connect(each, options, timeout)

        def any_of_them() -> Broker:
            return failover.first_that_answers(urls, one, options.get("failover_strategy"))

        return cls(any_of_them, limit=limit, wait=wait)

    def send(
        self,
        parcels: Sequence[Parcel],
        queues: Sequence[Queue] = (),
        patience: Patience | None = None,
        within: float | None = None,
    ) -> None:
        """Publish all, in order, to queues that are there. Without patience there is one try.

        `within`: so many seconds may one try wait for the broker to confirm. For RabbitMQ alone, as in kombu: the
        other brokers keep the deadline of their connection.
        """
        tries = 0
        while True:
            try:
                with self._pool.lend() as desk:
                    desk.declare(queues)
                    own_time = getattr(desk.broker, "within", None) if within is not None else None
                    with nullcontext() if own_time is None else own_time(within):
                        desk.broker.send(parcels)
            except Exception as problem:  # noqa: BLE001, PERF203 - raised again, unless it is to be tried again
                self._await_another_try(problem, patience, tries)
                tries += 1
            else:
                return

    def post(
        self, plan: Plan, pieces: Sequence[Particulars], queues: Sequence[Queue], patience: Patience | None
    ) -> None:
        """`send`, of a plan with these particulars."""
        tries = 0
        while True:
            try:
                self._post(plan, pieces, queues)
            except Exception as problem:  # noqa: BLE001, PERF203 - raised again, unless it is to be tried again
                self._await_another_try(problem, patience, tries)
                tries += 1
            else:
                return

    def post_one(self, plan: Plan, given: Particulars, queues: Sequence[Queue], patience: Patience | None) -> None:
        """`post`, of one."""
        form = plan.form
        if form is None:
            self.post(plan, (given,), queues, patience)
        else:
            self.post_piece(plan, form.fill(given), queues, patience)

    def post_piece(self, plan: Plan, piece: Any, queues: Sequence[Queue], patience: Patience | None) -> None:
        """`post_filled`, of one; `_write` is spelled out."""
        filled = (piece,)
        pool = self._pool
        try:
            desk = pool.take()
            sound = False
            try:
                if queues is not desk.declared:
                    desk.declare(queues)
                desk.broker.send_filled(plan.form, filled)
                sound = True
            finally:
                pool.give_back(desk, sound=sound)
        except Exception as problem:  # noqa: BLE001 - raised again, unless it is to be tried again
            self._await_another_try(problem, patience, 0)
            self.post_filled(plan, filled, queues, patience, 1)

    def post_filled(
        self, plan: Plan, pieces: Sequence[Any], queues: Sequence[Queue], patience: Patience | None, tries: int = 0
    ) -> None:
        """The same of what the plan's form has filled, or other forms of the same place."""
        while True:
            try:
                self._write(plan.form, pieces, queues)
            except Exception as problem:  # noqa: BLE001, PERF203 - raised again, unless it is to be tried again
                self._await_another_try(problem, patience, tries)
                tries += 1
            else:
                return

    def _post(self, plan: Plan, pieces: Sequence[Particulars], queues: Sequence[Queue]) -> None:
        form = plan.form
        if form is None:
            return self._post_parcels(plan, pieces, queues)
        return self._write(form, [form.fill(piece) for piece in pieces], queues)

    def _write(self, form: Any, filled: Sequence[Any], queues: Sequence[Queue]) -> None:
        desk = self._pool.take()
        sound = False
        try:
            if queues is not desk.declared:
                desk.declare(queues)
            desk.broker.send_filled(form, filled)
            sound = True
        finally:
            self._pool.give_back(desk, sound=sound)

    def _post_parcels(self, plan: Plan, pieces: Sequence[Particulars], queues: Sequence[Queue]) -> None:
        """The first time, when no broker has made a form yet, and where none makes any."""
        with self._pool.lend() as desk:
            broker = desk.broker
            if "form" in broker.can:
                form = broker.form(plan.template, plan.routing_key, plan.exchange, plan.exchange_type)
                if form is not None:
                    filled = [form.fill(piece) for piece in pieces]
                    desk.declare(queues)
                    broker.send_filled(form, filled)
                    plan.form = form
                    return
            message = plan.template.message
            parcels = [Parcel(message(piece), plan.routing_key, plan.exchange, plan.exchange_type) for piece in pieces]
            desk.declare(queues)
            broker.send(parcels)

    def send_many(
        self, parcels: Iterable[Parcel], queues: Sequence[Queue] = (), patience: Patience | None = None
    ) -> None:
        """The same for a stream of any length, in pieces."""
        pieces = iter(parcels)
        while piece := list(islice(pieces, _AT_ONCE)):
            self.send(piece, queues, patience)

    def _await_another_try(self, problem: Exception, patience: Patience | None, tries: int) -> None:
        if patience is None or not _may_pass(problem, patience.errors):
            raise problem
        if patience.retries is not None and tries >= patience.retries:
            from .insisting import goes_on  # for who has failed

            if goes_on(problem):
                return
            raise problem
        pause = patience.pause(tries)
        if patience.tell is not None:
            patience.tell(problem, pause)
        if pause > 0:
            time.sleep(pause)

    def close(self) -> None:
        self._pool.close()


def _may_pass(problem: Exception, errors: tuple[type[BaseException], ...]) -> bool:
    from kombu.exceptions import OperationalError

    return isinstance(problem, (OperationalError, *errors))
