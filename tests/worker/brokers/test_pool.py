"""The pool: threads take turns, a fork starts anew, what is broken is gone."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.errors import BadCall
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Broker, Queue
from celeriac.worker.brokers.pool import Pool
from tests import servers
from tests.conformance.brokers import numbered, to


class Counted:
    """A broker that only counts what is done to it."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def pool_of(made: list[Any], **options: Any) -> Pool:
    def connect() -> Any:
        made.append(Counted())
        return made[-1]

    return Pool(connect, **options)


def test_a_broker_is_lent_again() -> None:
    made: list[Any] = []
    pool = pool_of(made)
    with pool.lend() as first:
        pass
    with pool.lend() as second:
        assert second is first
    pool.close()
    pool.close()
    assert [each.closed for each in made] == [1]
    with pytest.raises(BadCall, match="closed"), pool.lend():
        pass


def test_what_is_broken_is_closed_and_a_callers_mistake_breaks_nothing() -> None:
    made: list[Any] = []
    pool = pool_of(made)
    with pytest.raises(OperationalError), pool.lend():
        raise OperationalError
    with pytest.raises(BadCall), pool.lend():
        raise BadCall("no such thing")
    with pytest.raises(KeyboardInterrupt), pool.lend():
        raise KeyboardInterrupt
    assert [each.closed for each in made] == [1, 1]


def test_no_more_are_lent_than_the_limit() -> None:
    made: list[Any] = []
    pool = pool_of(made, limit=2, wait=0.1)
    told = r"all 2 broker connections of this process were in use for 0\.1 s"
    with pool.lend(), pool.lend(), pytest.raises(OperationalError, match=told), pool.lend():
        pass
    assert len(made) == 2


def test_a_thread_waits_for_its_turn() -> None:
    made: list[Any] = []
    pool = pool_of(made, limit=3, wait=10)
    together = threading.Barrier(3)
    seen: list[int] = []

    def work() -> None:
        for _ in range(50):
            with pool.lend():
                seen.append(1)

    def first() -> None:
        with pool.lend():
            together.wait(5)
        work()

    threads = [threading.Thread(target=first) for _ in range(3)] + [threading.Thread(target=work) for _ in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(made), len(seen)) == (3, 400)


@pytest.mark.parametrize(("limit", "closed"), [(0, 1), (None, 0)])
def test_nothing_is_kept_or_everything(limit: int | None, closed: int) -> None:
    made: list[Any] = []
    pool = pool_of(made, limit=limit)
    with pool.lend():
        pass
    assert made[0].closed == closed
    with pytest.raises(BadCall):
        pool_of(made, limit=-1)


def test_what_cannot_connect_holds_no_place() -> None:
    def connect() -> Broker:
        raise OperationalError("down")

    pool = Pool(connect, limit=1, wait=0.1)
    for _ in range(3):
        with pytest.raises(OperationalError, match="down"), pool.lend():
            pass


def test_a_broker_comes_back_to_a_closed_pool() -> None:
    made: list[Any] = []
    pool = pool_of(made)
    with pool.lend():
        pool.close()
    assert made[0].closed == 1


def in_a_fork(work: Callable[[], Any]) -> Any:
    """What `work` returns in a forked child, by way of JSON."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writer, json.dumps(work()).encode())
        except BaseException as problem:
            os.write(writer, json.dumps(f"{type(problem).__name__}: {problem}").encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader, "rb") as answer:
        return json.loads(answer.read())


def sockets() -> dict[str, Any]:
    """This process's TCP connections: descriptor's inode -> own and the other address."""
    found = {}
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            inode = str(path.readlink())
            if inode.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(path.name))) as each:
                    found[inode] = [each.getsockname(), each.getpeername()]
    return found


@pytest.mark.real
def test_a_forked_child_never_uses_its_parents_connection(redis_server: servers.RedisServer) -> None:
    redis_server.call("FLUSHALL")
    pool = Pool(lambda: brokers.connect(redis_server.url))
    queue = Queue("forked")
    before = set(sockets())
    with pool.lend() as broker:
        broker.send(to(queue, numbered(1)))
    (parents,) = set(sockets()) - before

    def child() -> Any:
        with pool.lend() as broker:
            broker.send(to(queue, numbered(1)))
        mine = sockets()
        new = set(mine) - before
        pool.close()
        return parents in mine, len(new), [mine[each][0] for each in new]

    kept, new, (own,) = in_a_fork(child)
    assert not kept, "the child still had its parent's connection"
    assert new == 1
    assert own != list(sockets()[parents][0])
    with pool.lend() as broker:
        broker.send(to(queue, numbered(1)))
    assert set(sockets()) - before == {parents}, "the parent lost its connection"
    with pool.lend() as broker:
        assert broker.size("forked") == 3
    pool.close()


@pytest.mark.real
def test_a_broker_lent_over_a_fork_is_refused_there(redis_server: servers.RedisServer) -> None:
    pool = Pool(lambda: brokers.connect(redis_server.url))
    with pool.lend() as broker:
        told = in_a_fork(lambda: broker.send(to(Queue("forked"), numbered(1))))
        assert "belongs to the parent process" in told
        broker.size("forked")
    pool.close()


def test_what_cannot_be_abandoned_is_kept_unused() -> None:
    made: list[Any] = []
    pool = pool_of(made)
    with pool.lend():
        pass

    def child() -> Any:
        with pool.lend() as broker:
            fresh = broker is not made[0]
        pool.close()
        return fresh, made[0].closed

    assert in_a_fork(child) == [True, 0]
    pool.close()
