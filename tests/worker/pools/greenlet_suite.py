"""Collected by test_greenlets.py in a process that has patched its library in."""

from __future__ import annotations

from celeriac.worker.pools.base import Pool, Program
from celeriac.worker.pools.greenlets import Greenlets
from tests.conformance.pools import PoolSuite


class Test_gevent(PoolSuite):
    @staticmethod
    def make(program: Program, size: int) -> Pool:
        return Greenlets(program, size, "gevent")


class Test_eventlet(PoolSuite):
    @staticmethod
    def make(program: Program, size: int) -> Pool:
        return Greenlets(program, size, "eventlet")
