"""Sending through a pool of brokers: what is declared, what is tried again, and when it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire.message import Message, Task
from celeriac.protocol.wire.template import Particulars, Template
from celeriac.worker import ids
from celeriac.worker.brokers.base import Parcel, Queue
from celeriac.worker.producer import Patience, Plan, Producer
from tests import servers

QUEUE = (Queue("q", "q", routing_key="q"),)
PARCEL = Parcel(Message(b"body"), "q")


class Form:
    def __init__(self, place: str) -> None:
        self.place = place

    def fill(self, given: Particulars) -> str:
        return given.id


class Broker:
    """Says what it is told, and fails as often as it should."""

    can = frozenset(["form"])

    def __init__(self, log: list[Any], failures: list[Exception]) -> None:
        self.log = log
        self.failures = failures

    def declare(self, queues: Sequence[Queue]) -> None:
        self.log.append(("declare", [queue.name for queue in queues]))

    def send(self, parcels: Sequence[Parcel]) -> None:
        self._fail()
        self.log.append(("send", len(parcels)))

    def form(self, _template: Template, routing_key: str, _exchange: str, _type: str) -> Form | None:
        return Form(routing_key) if routing_key != "formless" else None

    def send_filled(self, form: Form, pieces: Sequence[str]) -> None:
        self._fail()
        self.log.append((form.place, list(pieces)))

    def close(self) -> None:
        self.log.append("close")

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


@pytest.fixture
def log() -> list[Any]:
    return []


@pytest.fixture
def failures() -> list[Exception]:
    return []


@pytest.fixture
def producer(log: list[Any], failures: list[Exception]) -> Producer:
    def one() -> Any:
        log.append("connect")
        return Broker(log, failures)

    return Producer(one)


def test_a_queue_is_declared_once_for_each_connection(
    producer: Producer, log: list[Any], failures: list[Exception]
) -> None:
    producer.send([PARCEL], QUEUE)
    producer.send([PARCEL], (Queue("q", "q", routing_key="q"),))
    producer.send([PARCEL], (*QUEUE, Queue("r")))
    failures.append(OperationalError("gone"))
    producer.send([PARCEL], QUEUE, Patience())
    assert log == [
        *("connect", ("declare", ["q"]), ("send", 1), ("send", 1), ("declare", ["r"]), ("send", 1)),
        *("close", "connect", ("declare", ["q"]), ("send", 1)),
    ]


def test_what_may_pass_is_tried_again_as_the_policy_says(producer: Producer, failures: list[Exception]) -> None:
    told: list[Any] = []
    failures += [OperationalError("a"), OSError("b"), OperationalError("c")]
    patience = Patience(3, 0, 0.01, 0.025, (OSError,), lambda problem, pause: told.append((str(problem), pause)))
    producer.send([PARCEL], (), patience)
    assert told == [("a", 0.0), ("b", 0.01), ("c", 0.02)]


@pytest.mark.parametrize(
    ("patience", "left"), [(None, 2), (Patience(retries=0), 2), (Patience(retries=2, longest_pause=0), 0)]
)
def test_it_gives_up(producer: Producer, failures: list[Exception], patience: Patience | None, left: int) -> None:
    failures += [OperationalError("x")] * 3
    with pytest.raises(OperationalError):
        producer.send([PARCEL], (), patience)
    assert len(failures) == left


def test_a_mistake_is_not_tried_again_and_costs_no_connection(
    producer: Producer, log: list[Any], failures: list[Exception]
) -> None:
    failures.append(BadCall("no"))
    with pytest.raises(BadCall):
        producer.send([PARCEL], (), Patience())
    assert log == ["connect"]


def test_without_a_number_of_retries_there_is_no_end(producer: Producer, failures: list[Exception]) -> None:
    failures += [OperationalError("x")] * 30
    producer.send([PARCEL], (), Patience(retries=None, longest_pause=0))
    assert not failures


def plan(key: str) -> Plan:
    return Plan(Template.of(Task("add", "")), key)


def given_ones(*names: str) -> list[Particulars]:
    return [Particulars(name) for name in names]


def test_plans_are_posted_by_forms_where_there_are_any(producer: Producer, log: list[Any]) -> None:
    formed, formless = plan("q"), plan("formless")
    producer.post(formed, given_ones("1"), QUEUE, None)
    producer.post(formed, given_ones("2", "3"), QUEUE, None)
    producer.post(formless, given_ones("4"), QUEUE, None)
    assert log == ["connect", ("declare", ["q"]), ("q", ["1"]), ("q", ["2", "3"]), ("send", 1)]


def test_what_is_filled_is_sent_as_it_is_until_it_arrives(
    producer: Producer, log: list[Any], failures: list[Exception]
) -> None:
    first = plan("q")
    producer.post(first, given_ones("0"), (), None)
    log.clear()
    failures.append(OperationalError("once"))
    producer.post_filled(first, [first.form.fill(each) for each in given_ones("1", "2")], (), Patience(longest_pause=0))
    assert log == ["close", "connect", ("q", ["1", "2"])]


def test_a_stream_is_sent_in_pieces(producer: Producer, log: list[Any]) -> None:
    producer.send_many(PARCEL for _ in range(1200))
    assert log == ["connect", ("send", 500), ("send", 500), ("send", 200)]


def test_nobody_there_is_said_in_time() -> None:
    port = servers.free_port()
    told: list[float] = []
    sender = Producer.to(f"redis://127.0.0.1:{port}", {}, timeout=0.5, limit=2, wait=1)
    patience = Patience(2, 0, 0.01, 0.02, (), lambda _problem, pause: told.append(pause))
    started = time.monotonic()
    with pytest.raises(OperationalError):
        sender.send([PARCEL], (), patience)
    assert (told, time.monotonic() - started < 2) == ([0.0, 0.01], True)


def test_the_second_of_two_urls_answers(redis_server: servers.RedisServer) -> None:
    redis_server.call("FLUSHALL")
    sender = Producer.to(f"redis://127.0.0.1:{servers.free_port()};{redis_server.url}", {}, timeout=1, limit=1, wait=1)
    sender.send([PARCEL], QUEUE)
    sender.post(plan("q"), given_ones("1"), QUEUE, None)
    sender.post(plan("q"), given_ones("2"), QUEUE, None)
    assert redis_server.call("LLEN", "q") == 3
    sender.close()


def test_a_server_that_came_back_gets_the_next_message(redis_server: servers.RedisServer) -> None:
    sender = Producer.to(redis_server.url, {}, timeout=1, limit=1, wait=1)
    formed = plan("back")
    sender.post(formed, given_ones("1"), (), None)
    redis_server.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    with pytest.raises(OperationalError):
        sender.post(formed, given_ones("2"), (), None)
    redis_server.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    sender.post(formed, given_ones("3"), (), Patience())
    assert redis_server.call("LLEN", "back") == 2
    sender.close()


def test_ids_are_random_uuids_and_not_a_parents() -> None:
    import uuid

    mine = {ids.new_id() for _ in range(1000)}
    assert len(mine) == 1000
    assert {(uuid.UUID(each).version, uuid.UUID(each).variant) for each in mine} == {(4, uuid.RFC_4122)}
    assert all(str(uuid.UUID(each)) == each for each in mine)
    # Every digit that is free takes all its values, and none is another's.
    columns = ["".join(column) for column in zip(*mine, strict=True)]
    assert sorted(len(set(column)) for column in columns) == [1] * 5 + [4] + [16] * 30
    free = [column for column in columns if len(set(column)) == 16]
    assert len({column[:40] for column in free}) == 30
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, ids.new_id().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 100).decode() != ids.new_id()
    os.close(read)
    os.close(write)
