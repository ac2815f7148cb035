"""Who insists, on what, and for how long."""

from __future__ import annotations

import math
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from celeriac.worker import insisting, kept
from celeriac.worker.brokers.base import Broker
from celeriac.worker.insisting import Insistence
from celeriac.worker.producer import Patience, Producer
from celeriac.worker.redis_link import operational


def away(text: str = "cannot connect") -> Exception:
    problem = operational(text)
    problem.__cause__ = ConnectionRefusedError(111, "refused")
    return problem


@pytest.mark.parametrize(
    ("problem", "gone"),
    [
        (away(), True),
        (operational("the queue is not what you say it is"), False),
        (operational("redis refused HELLO: LOADING Redis is loading the dataset in memory"), True),
        (ValueError("x"), False),
        (TimeoutError(), True),
    ],
)
def test_a_broker_that_says_no_is_there(problem: Exception, gone: bool) -> None:
    assert insisting.absent(problem) is gone


def in_a_thread(worker: Insistence | None, what: str | None, tries: list[float], fails: int) -> str:
    """Sends to a broker that is away so many times."""

    def connect() -> Broker:
        tries.append(time.monotonic())
        if len(tries) <= fails:
            raise away()
        raise ValueError("there it is")

    def send() -> str:
        if worker is not None:
            worker.here()
        producer = Producer(connect)
        try:
            if what is None:
                producer.send((), (), Patience(retries=0))
            else:
                with insisting.own(what):
                    producer.send((), (), Patience(retries=0))
        except Exception as problem:
            return type(problem).__name__
        return "sent"

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(send).result(30)


def test_what_a_worker_sends_by_itself_is_sent_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[float] = []
    assert in_a_thread(Insistence(), "The next step", tries, 3) == "ValueError"
    assert len(tries) == 4
    (line,) = caplog.messages
    assert line.startswith("The next step waits for the broker, and is sent when it is back: cannot connect.")


@pytest.mark.parametrize(("worker", "what"), [(Insistence(), None), (None, "it"), (Insistence(0.0), "it")])
def test_nothing_else_is(worker: Insistence | None, what: str | None) -> None:
    """What a task sends, what no worker sends, and where `broker_connection_retry` is off."""
    tries: list[float] = []
    assert in_a_thread(worker, what, tries, 1) == "OperationalError"
    assert len(tries) == 1


def test_it_ends_by_the_clock(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[float] = []
    assert in_a_thread(Insistence(0.3), "It", tries, 99) == "OperationalError"
    assert len(tries) > 1
    assert caplog.messages[-1] == "It is given up, unsent: cannot connect"


def test_it_ends_with_the_worker() -> None:
    worker, tries = Insistence(), list[float]()
    leaving = threading.Timer(0.3, worker.give_up)
    leaving.start()
    assert in_a_thread(worker, "It", tries, 10_000) == "OperationalError"
    leaving.join()
    assert len(tries) > 1


def test_a_process_that_is_not_forked_has_a_shorter_time() -> None:
    again = pickle.loads(pickle.dumps(Insistence()))
    assert (again.seconds, pickle.loads(pickle.dumps(Insistence(5.0))).seconds) == (60.0, 5.0)


def test_as_long_as_the_worker_itself_tries_to_connect() -> None:
    assert kept.held_out(None) == math.inf
    assert kept.held_out(0) == 0.0
    assert kept.held_out(3) == 12.0
