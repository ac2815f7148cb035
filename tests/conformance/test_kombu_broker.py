"""The kombu broker against the contract, through three of kombu's transports, and where each of them falls short."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac.worker import brokers
from celeriac.worker.brokers import kombu
from celeriac.worker.brokers.base import Broker, Delivery, Queue, Verdict
from tests.conformance.brokers import BrokerContract, Connect, acked, bodies, numbered, take_all, to

QUICK = {"polling_interval": 0.05}


class BehindAll(BrokerContract):
    """For stores that only append: what is put back, goes behind what waits."""

    def test_requeued_goes_behind_and_restored_in_front(self, broker: Broker, queue: Queue) -> None:
        broker.send(to(queue, numbered(3)))
        broker.listen([queue], credit=1)
        for verdict in (Verdict.RESTORE, Verdict.REQUEUE):
            broker.settle([(each, verdict) for each in take_all(broker, 1)])
        order: list[Delivery] = []
        for _ in range(3):
            order += take_all(broker, 1)
            broker.settle(acked(order[-1:]))
        assert bodies(order) == [b"2", b"0", b"1"]
        assert [each.redelivered for each in order] == [False, True, True]

    def test_restored_last_to_first_all_stand_where_they_stood(self, broker: Broker, queue: Queue) -> None:
        broker.send(to(queue, numbered(5)))
        broker.listen([queue], credit=3)
        held = take_all(broker, 3)
        broker.settle([(each, Verdict.RESTORE) for each in held])
        served: list[Delivery] = []
        while taken := broker.take(3, 0.3):
            served += taken
            broker.settle(acked(taken))
        assert bodies(served) == [b"3", b"4", b"0", b"1", b"2"]


class TestFilesystem(BehindAll):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Connect:
        folders = {"data_folder_in": "data", "data_folder_out": "data", "control_folder": "control"}
        options = QUICK | {name: str(tmp_path / folder) for name, folder in folders.items()}
        return lambda: brokers.connect("filesystem://", options)


@pytest.mark.filterwarnings("ignore:.*noload")  # kombu's models, on SQLAlchemy 2.1
class TestSQLAlchemy(BehindAll):
    @pytest.fixture
    def connect(self, tmp_path: Path) -> Iterator[Connect]:
        from celeriac.worker.brokers import kombu_sql

        yield lambda: brokers.connect(f"sqla+sqlite:///{tmp_path}/broker.sqlite", QUICK)
        for engine, _ in kombu_sql.Channel._engines.values():
            engine.dispose()
        kombu_sql.Channel._engines.clear()


class TestMemory(BehindAll):
    """kombu's own, which has no URL here: our memory broker has it."""

    @pytest.fixture
    def connect(self) -> Connect:
        return lambda: kombu.connect("memory://", QUICK)
