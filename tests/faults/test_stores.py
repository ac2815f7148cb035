"""A result store that goes away for a while, and a producer whose results nobody reads.

With patience (`result_backend_always_retry`) no outcome is lost; without it the caller is told, clearly and in time.
Who waits for a result goes on waiting, or is told. `--down` and `--sends` set the sizes.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.wire.message import Posting, Task
from celeriac.protocol.wire.result import Result
from celeriac.protocol.wire.template import Particulars, Template
from celeriac.worker import backends, brokers
from celeriac.worker.backends.base import Retry
from celeriac.worker.brokers.base import Parcel
from tests import servers
from tests.faults.mortal import Mortal

pytestmark = pytest.mark.real

IMPATIENT = {"retry_policy": {"max_retries": 0}}


@pytest.fixture
def mortal() -> Iterator[Mortal]:
    with servers._folder("mortal") as home:
        server = Mortal(home)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@pytest.fixture
def down(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--down"))


@pytest.fixture
def sends(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--sends"))


def frozen(server: Mortal, seconds: float) -> None:
    server.signal(signal.SIGSTOP)
    time.sleep(seconds)
    server.signal(signal.SIGCONT)


def killed(server: Mortal, seconds: float) -> None:
    server.kill()
    time.sleep(seconds)
    server.start()


OUTAGES: dict[str, Callable[[Mortal, float], None]] = {"frozen": frozen, "killed": killed}


@pytest.fixture(params=list(OUTAGES))
def outage(request: pytest.FixtureRequest) -> Callable[[Mortal, float], None]:
    return OUTAGES[request.param]


@pytest.mark.parametrize("policy", ["as it comes", "impatient"])
def test_with_patience_no_outcome_is_lost(
    mortal: Mortal, outage: Callable[[Mortal, float], None], policy: str, down: float, figures: list[str]
) -> None:
    """A worker stores result after result, the store goes away in the middle and comes back."""
    options = {"result_backend_transport_options": IMPATIENT} if policy == "impatient" else {}
    store = mortal.store(Retry(first=0.02, longest=0.2), **options)
    kept: list[str] = []
    over = threading.Event()
    longest = 0.0

    def work() -> None:
        nonlocal longest
        while not over.is_set():
            started = time.monotonic()
            task_id = f"task-{len(kept)}"
            assert store.store(Result(task_id, result=len(kept)))
            kept.append(task_id)
            longest = max(longest, time.monotonic() - started)

    worker = threading.Thread(target=work)
    worker.start()
    until(lambda: len(kept) > 20)
    outage(mortal, down)
    before = len(kept)
    until(lambda: len(kept) > before + 20)
    over.set()
    worker.join(20)
    found = store.fetch_many(kept)
    store.close()
    figures.append(f"store {outage.__name__} {down:g} s, {policy}: {len(kept)} stored, {len(found)} there, ")
    figures[-1] += f"the longest store took {longest:.1f} s"
    assert set(found) == set(kept)
    assert longest > down - 0.2


def test_without_patience_it_says_so(mortal: Mortal, outage: Callable[[Mortal, float], None]) -> None:
    store = mortal.store(result_backend_transport_options=IMPATIENT)
    assert store.store(Result("before", result=1))
    away = threading.Thread(target=outage, args=(mortal, 2.0))
    away.start()
    failures: list[str] = []

    def ask() -> None:
        started = time.monotonic()
        try:
            store.store(Result("during", result=2))
        except OperationalError as problem:
            assert time.monotonic() - started < 2.0
            failures.append(str(problem))

    until(lambda: ask() or failures)
    away.join(20)
    assert f"127.0.0.1:{mortal.port}" in failures[0], "it does not say where"
    assert store.store(Result("after", result=3)), "the store does not come back"
    assert set(store.fetch_many(["before", "after"])) == {"before", "after"}
    store.close()


@pytest.mark.parametrize("retry", [None, Retry(math.inf, 0.02, 0.2)], ids=["as it comes", "patient"])
def test_who_waits_goes_on_or_is_told(
    mortal: Mortal, outage: Callable[[Mortal, float], None], retry: Retry | None, down: float
) -> None:
    """It waits before the store goes away; the result is stored only when the store is back."""
    waiter, store = mortal.store(retry), mortal.store(Retry(math.inf, 0.02, 0.2))
    arrived: list[Any] = []

    def wait() -> None:
        try:
            arrived.extend(waiter.wait(["late"], 60))
        except OperationalError as problem:
            arrived.append(problem)

    thread = threading.Thread(target=wait)
    thread.start()
    probe = servers.RespClient(mortal.port)
    until(lambda: probe.call("PUBSUB", "NUMSUB", "celery-task-meta-late")[1] == 1)
    probe.close()
    outage(mortal, down)
    assert store.store(Result("late", result=42))
    thread.join(15)
    assert not thread.is_alive(), "it hangs"
    assert arrived
    if isinstance(arrived[0], OperationalError):
        assert retry is None, "patience ran out"
    else:
        assert arrived[0][1].result == 42
    waiter.close()
    store.close()


def until(true: Callable[[], Any], within: float = 30.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it has not come to be"
        time.sleep(0.005)


# --- nobody reads


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def commands(server: servers.RedisServer) -> set[str]:
    """Which commands this Redis was given since CONFIG RESETSTAT."""
    lines = server.call("INFO", "commandstats").decode().splitlines()
    return {line.partition(":")[0].removeprefix("cmdstat_").partition("|")[0] for line in lines if ":" in line}


GROWTH = 4 << 20  # bytes: what an allocator keeps, and far less than a thing per message


def test_who_never_reads_results_never_stalls(
    redis_server: servers.RedisServer, sends: int, figures: list[str]
) -> None:
    """Celery's producer subscribes at each send, and stands still after some 175,000 (PROBLEMS.md, row 10)."""
    redis_server.call("FLUSHALL")
    redis_server.call("CONFIG", "RESETSTAT")
    template = Template.of(Task("t", ""), Posting(reply_to="me"))
    broker, store = brokers.connect(redis_server.url), backends.connect(redis_server.url)
    longest, warm, growth = 0.0, sends // 10, 0
    for number in range(sends):
        if number == warm:
            growth = -resident()
        started = time.monotonic()
        task_id = f"id-{number}"
        broker.send([Parcel(template.message(Particulars(task_id, (number,))), "unread")])
        store.store(Result(task_id, result=number))  # as a worker elsewhere does
        longest = max(longest, time.monotonic() - started)
        if number % 10_000 == 9_999:
            assert broker.size("unread") == 10_000
            redis_server.call("FLUSHALL")
    growth += resident()
    used = commands(redis_server)
    broker.close()
    store.close()
    figures.append(
        f"{sends} sends with a result backend, nobody reads: the longest took {longest * 1000:.0f} ms, "
        f"the process grew by {growth / 1024:.0f} KB after the first {warm}"
    )
    assert longest < 2.0
    assert growth < GROWTH
    assert not used & {"subscribe", "psubscribe", "ssubscribe"}
