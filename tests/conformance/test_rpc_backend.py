"""Results as messages, through each broker, against what of the contract holds for messages.

Each store here has a queue of its own, as each process has; what is stored is sent to all of them, by a worker.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator

import pytest

from celeriac.protocol.wire import states
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.result import Result
from celeriac.protocol.wire.serializers import accepted
from celeriac.protocol.wire.stored import Codec
from celeriac.worker.backends import rpc
from celeriac.worker.backends.base import Address, Found, Settings, Store
from celeriac.worker.backends.rpc import RpcStore
from celeriac.worker.brokers.base import Parcel
from tests.conformance.backends import SOON, Connect, StoreContract, done, failed, new_id

real = pytest.mark.real


class Everywhere(RpcStore):
    """A store that asks for results; what it is told to store, a worker sends to every store of the same place.

    It answers when it has seen what was sent to it: a message is on its way for a while.
    """

    place: list[Everywhere]
    sent = seen = 0

    def store(self, result: Result, address: Address | None = None) -> bool:
        for each in self.place:
            super().store(result, Address(each.answer_to(), result.task_id))
            each.sent += 1
        return True

    def fetch_many(self, task_ids: Iterable[str]) -> dict[str, Found]:
        end = time.monotonic() + SOON
        while self.seen < self.sent and time.monotonic() < end:
            self._take(0.1)
        return super().fetch_many(task_ids)

    def _keep(self, message: Message) -> None:
        super()._keep(message)
        self.seen += 1


def opened(url: str, settings: Settings | None = None, kind: type[RpcStore] = RpcStore) -> RpcStore:
    store = kind(rpc.sending(url, {}), rpc.listening(url, {}), settings)
    store.pause = 0.05
    return store


@pytest.fixture(params=["memory", pytest.param("redis", marks=real), pytest.param("amqp", marks=real)])
def broker_url(request: pytest.FixtureRequest) -> str:
    """Each broker joins by a line."""
    servers: dict[str, Callable[[], str]] = {
        "memory": lambda: f"memory://{uuid.uuid4()}",
        "redis": lambda: str(request.getfixturevalue("redis_server").url),
        "amqp": lambda: str(request.getfixturevalue("rabbitmq_server").url),
    }
    return servers[request.param]()


class TestRpc(StoreContract):
    thousands = 1000

    @pytest.fixture
    def connect(self, broker_url: str) -> Iterator[Connect]:
        place: list[Everywhere] = []

        def connect(settings: Settings | None = None) -> Store:
            made = opened(broker_url, settings, Everywhere)
            assert isinstance(made, Everywhere)
            made.place = place
            made.answer_to()
            place.append(made)
            return made

        yield connect
        for each in place:
            each.close()

    def spoil(self, store: Store, task_id: str) -> None:
        message = Message(b"\x80\x04 no JSON", "application/json", "utf-8", {}, {"correlation_id": task_id})
        assert isinstance(store, Everywhere)
        for each in store.place:
            queue = each.answer_to()
            store._sending(lambda broker, queue=queue: broker.send([Parcel(message, queue)]))
            each.sent += 1

    @pytest.mark.parametrize("status", [states.STARTED, states.FAILURE, states.SUCCESS])
    def test_a_success_is_not_written_over(self, store: Store, other: Store, status: str) -> None:
        """Whoever sends cannot know; whoever reads keeps what he has."""
        first = done(new_id(), "first")
        store.store(first)
        assert other.store(Result(first.task_id, status, "second"))
        assert list(store.wait([first.task_id], SOON)) == [(first.task_id, first)]
        assert store.fetch(first.task_id) == first

    def test_forgotten_is_gone(self, store: Store) -> None:
        """Here alone: nobody else holds what was sent to us."""
        task_id = new_id()
        store.store(done(task_id))
        assert list(store.wait([task_id], SOON))
        store.forget(task_id)
        assert store.fetch(task_id) is None
        store.forget(task_id)

    def test_results_are_forgotten_when_their_time_is_over(self, connect: Connect, store: Store) -> None:
        """The broker deletes a queue that nobody listens to; what was read is kept until it gives way."""
        assert store.expire(time.time() + 10**9) == 0

    def check_apart(self, store: Store, result: Result) -> None:
        """Every store has its own queue; this one was there, and got its copy."""
        assert store.fetch(result.task_id) == result

    @pytest.mark.parametrize("serializer", ["json", "pickle", "msgpack", "yaml"])
    @pytest.mark.parametrize("compress", [None])
    def test_any_serializer_and_compression(self, connect: Connect, serializer: str, compress: str | None) -> None:
        """A message says which serializer wrote it; it is never compressed, and not so by Celery."""
        store = connect(Settings(Codec(serializer, accepted([serializer]), compress)))
        sent = [done(new_id(), {"a": ["\u2603", 1, None]}), failed(new_id())]
        for each in sent:
            assert store.store(each)
        wanted = {each.task_id: each for each in sent}
        assert dict(store.wait(wanted, SOON)) == wanted
