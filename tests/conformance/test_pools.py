"""Every pool through the one suite; gevent and eventlet in processes of their own (`tests/worker/pools`)."""

from __future__ import annotations

import pytest

from celeriac.worker.pools import asyncio, prefork, solo, threads
from celeriac.worker.pools.base import Pool, Program
from tests.conformance.pools import PoolSuite


class TestPrefork(PoolSuite):
    @staticmethod
    def make(program: Program, size: int) -> Pool:
        return prefork.Prefork(program, size)


class TestSpawned(PoolSuite):
    @staticmethod
    def make(program: Program, size: int) -> Pool:
        return prefork.Prefork(program, size, spawn=True)


class TestThreads(PoolSuite):
    sleep = "nap"  # a thread hears of its limit when it comes back from the system

    @staticmethod
    def make(program: Program, size: int) -> Pool:
        return threads.Threads(program, size)


class TestAsyncio(PoolSuite):
    @staticmethod
    def make(program: Program, size: int) -> Pool:
        return asyncio.Asyncio(program, size)


class TestSolo(PoolSuite):
    @staticmethod
    def make(program: Program, size: int) -> Pool:
        return solo.Solo(program, size)


@pytest.mark.parametrize("count", [10_000])
def test_thousands_of_coroutines_at_once(tmp_path, count: int) -> None:
    import time

    from tests.conformance.pools import Driven
    from tests.worker.pools.programs import Script, job

    pool = asyncio.Asyncio(Script(tmp_path / "ledger"), count)
    pool.start()
    driven = Driven(pool)
    began = time.monotonic()
    driven.run(*(job(number, "sleep 1") for number in range(count)))
    assert time.monotonic() - began < 15
    pool.close(1)
