"""The kombu broker where it is more than the contract: beside stock kombu, with a hostile store, when things fail."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Any, ClassVar

import kombu as stock
import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire.message import Message
from celeriac.worker import brokers
from celeriac.worker.brokers import kombu, kombu_transports
from celeriac.worker.brokers.base import Delivery, Parcel, Park, Queue, Verdict
from tests.conformance.brokers import SOON, acked, bodies, message, numbered, take_all, to

Open = Callable[[], kombu.KombuBroker]
QUEUE = Queue("q")
HOSTILE = [
    b"",
    b"\xff\xfe\x00",
    b"{",
    b"null",
    b"[]",
    b"{}",
    b'{"properties": null}',
    b'{"properties": {"delivery_tag": {}}, "body": 5}',
    b'{"properties": {"delivery_info": "x", "body_encoding": "base64"}, "body": "\xc3\xa4"}',
    b'{"body": "", "properties": {"delivery_info": {"exchange": 5}}}',
    b'{"body": "", "properties": {}, "headers": {"__type__": "datetime", "__value__": "never"}}',
    b"[" * 100_000,
]


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Any]:
    data = str(tmp_path / "data")
    control = str(tmp_path / "control")
    return {"data_folder_in": data, "data_folder_out": data, "control_folder": control, "polling_interval": 0.02}


@pytest.fixture
def open_files(folders: dict[str, Any]) -> Iterator[Open]:
    opened: list[kombu.KombuBroker] = []

    def connect() -> kombu.KombuBroker:
        opened.append(kombu.connect("filesystem://", folders))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    from celeriac.worker.brokers import kombu_sql

    yield f"sqla+sqlite:///{tmp_path}/broker.sqlite"
    for engine, _ in kombu_sql.Channel._engines.values():
        engine.dispose()
    kombu_sql.Channel._engines.clear()


def compressed() -> Message:
    return message(b"not really compressed", compression="application/x-gzip")


def test_stock_kombu_reads_what_we_send(open_files: Open, folders: dict[str, Any]) -> None:
    sent = message(b"[1]", custom="header")
    open_files().send([Parcel(sent, "q")])
    with stock.Connection("filesystem://", transport_options=folders) as connection:
        got = connection.default_channel.basic_get("q", no_ack=True)
    assert (got.body, got.content_type, got.content_encoding) == (sent.body, sent.content_type, sent.content_encoding)
    assert got.headers == sent.headers
    assert got.delivery_info == {"exchange": "", "routing_key": "q"}
    assert {name: got.properties[name] for name in sent.properties} == sent.properties


def test_we_read_what_stock_kombu_sends(open_files: Open, folders: dict[str, Any]) -> None:
    broker = open_files()  # makes the folders, which kombu does not
    with stock.Connection("filesystem://", transport_options=folders) as connection:
        producer = connection.Producer()
        producer.publish([2], routing_key="q", exchange="", headers={"custom": 1}, compression="zlib", priority=3)
    broker.listen([QUEUE], credit=1)
    (taken,) = take_all(broker, 1)
    assert taken.message.headers == {"custom": 1, "compression": "application/x-gzip"}
    assert taken.message.body.startswith(b"\x78\x9c")
    assert taken.priority == 3


def test_nothing_is_decompressed_on_the_way_nor_when_put_back(open_files: Open) -> None:
    broker = open_files()
    broker.send([Parcel(compressed(), "q")])
    for _ in range(3):
        broker.listen([QUEUE], credit=1)
        (taken,) = take_all(broker, 1)
        assert (taken.message.body, taken.message.headers) == (compressed().body, compressed().headers)
        broker.close()
        broker = open_files()


def test_who_ends_without_closing_is_put_back_by_kombu_unharmed(open_files: Open) -> None:
    broker = open_files()
    queue = Queue("bound", "exchange", "topic", "key")
    broker.declare([queue, Queue("bound too", "exchange", "topic", "#")])
    broker.send([Parcel(compressed(), "key", "exchange", "topic")])
    broker.listen([queue], credit=1)
    take_all(broker, 1)
    broker._connection.release()
    after = open_files()
    assert (after.size("bound"), after.size("bound too")) == (1, 1)
    after.listen([queue], credit=1)
    (back,) = take_all(after, 1)
    assert (back.message.body, back.message.headers) == (compressed().body, compressed().headers)
    assert (back.exchange, back.routing_key, back.redelivered) == ("exchange", "key", True)


def test_a_message_is_not_changed_by_sending_it(open_files: Open) -> None:
    sent = message()
    open_files().send([Parcel(sent, "q")])
    assert sent == message()


def test_restoring_goes_to_the_queue_it_came_from_alone(open_files: Open) -> None:
    broker = open_files()
    first, second = Queue("first", "fan", "fanout"), Queue("second", "fan", "fanout")
    broker.declare([first, second])
    broker.send([Parcel(message(), "", "fan", "fanout")])
    broker.listen([first], credit=1)
    broker.settle([(each, Verdict.RESTORE) for each in take_all(broker, 1)])
    assert (broker.size("first"), broker.size("second")) == (1, 1)


@pytest.mark.parametrize("acks", [True, False])
@pytest.mark.parametrize("position", ["first", "last"])
def test_a_hostile_file_costs_no_other_message(
    open_files: Open, folders: dict[str, Any], position: str, acks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    broker = open_files()
    broker.send(to(QUEUE, numbered(3)))
    old = time.time() - 60
    for number, content in enumerate(HOSTILE):
        path = Path(folders["data_folder_in"], f"{'0' if position == 'first' else '9' * 20}_{number}.q.msg")
        path.write_bytes(content)
        os.utime(path, (old, old))
    broker.listen([QUEUE], credit=2, acks=acks)
    served: list[Delivery] = []
    end = time.monotonic() + SOON
    while broker.size("q") and time.monotonic() < end:
        served += broker.take(1, 0.05)
        broker.settle(acked(served))
    readable = [each for each in served if each.message.body]
    assert sorted(bodies(readable)) == [b"0", b"1", b"2"]
    assert broker.take(5, 0) == []
    assert broker.size("q") == 0
    dropped = [record for record in caplog.records if "dropped an unreadable message" in record.message]
    assert len(dropped) + len(served) - len(readable) == len(HOSTILE)
    assert all(len(record.getMessage()) < 4000 for record in dropped)


@pytest.mark.filterwarnings("ignore:.*noload")  # kombu's models, on SQLAlchemy 2.1
def test_a_hostile_row_costs_no_other_message(database: str, caplog: pytest.LogCaptureFixture) -> None:
    from sqlalchemy import text

    broker = kombu.connect(database)
    broker.send(to(QUEUE, numbered(3)))
    session = broker._channel.session
    for content in (b"\xff\xfe", b"{", b"[]"):
        session.execute(
            text(
                "UPDATE kombu_message SET payload = CAST(:bytes AS TEXT) WHERE id = (SELECT min(id) FROM kombu_message WHERE visible)"
            ),
            {"bytes": content},
        )
        session.commit()
        broker.listen([QUEUE], credit=5)
        broker.send(to(QUEUE, numbered(1)))
        assert len(take_all(broker, 3)) == 3
        broker.listen([], credit=5)
        broker.settle([])
        broker.close()
        broker = kombu.connect(database)
        session = broker._channel.session
    broker.close()
    assert sum("dropped an unreadable message" in record.message for record in caplog.records) == 3


def test_a_file_that_is_being_written_is_left_alone(open_files: Open, folders: dict[str, Any]) -> None:
    import fcntl

    broker = open_files()
    broker.listen([QUEUE], credit=1)
    path = Path(folders["data_folder_in"], "1_x.q.msg")
    with path.open("wb", buffering=0) as file:
        assert broker.take(1, 0.05) == []  # opened, not yet locked
        fcntl.flock(file, fcntl.LOCK_EX)
        assert broker.take(1, 0.05) == []
        file.write(json.dumps({"body": "", "properties": {}}).encode())
        assert broker.take(1, 0.05) == []
    assert len(take_all(broker, 1)) == 1


def test_processed_files_are_kept_where_the_user_wants_them(folders: dict[str, Any], tmp_path: Path) -> None:
    broker = kombu.connect(
        "filesystem://", folders | {"store_processed": True, "processed_folder": str(tmp_path / "kept")}
    )
    broker.send(to(QUEUE, numbered(1)))
    broker.listen([QUEUE], credit=1)
    broker.settle(acked(take_all(broker, 1)))
    broker.close()
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_what_can_never_be_written_is_the_callers_fault(open_files: Open) -> None:
    broker = open_files()
    for bad in (
        Parcel(message(header=object()), "q"),
        Parcel(message(), "a/b"),
        Parcel(message(), "k", "e", "headers"),
    ):
        with pytest.raises(BadCall):
            broker.send([bad])
    broker.send(to(QUEUE, numbered(1)))
    assert broker.size("q") == 1


def test_a_body_without_base64(folders: dict[str, Any]) -> None:
    broker = kombu.connect("filesystem://", folders | {"body_encoding": "utf-8"})
    broker.send([Parcel(message("é".encode()), "q")])
    with pytest.raises(BadCall, match="needs body_encoding base64"):
        broker.send([Parcel(message(b"\xff"), "q")])
    broker.listen([QUEUE], credit=1)
    assert bodies(take_all(broker, 1)) == ["é".encode()]
    broker.close()


def test_private_queues_go_with_their_listener(open_files: Open) -> None:
    mine = Queue("mine", "fan", "fanout", auto_delete=True)
    shared = Queue("shared", auto_delete=True)
    broker, sender = open_files(), open_files()
    broker.listen([mine, shared], credit=5)
    sender.send([Parcel(message(), "", "fan", "fanout"), *to(shared, numbered(1))])
    broker.listen([mine], credit=5)
    assert broker.size("mine") == 1
    broker.close()
    sender.send([Parcel(message(), "", "fan", "fanout")])
    assert (sender.size("mine"), sender.size("shared")) == (0, 1)


def test_parking_is_refused(open_files: Open) -> None:
    broker = open_files()
    broker.send(to(QUEUE, numbered(1)))
    broker.listen([QUEUE], credit=1)
    (taken,) = take_all(broker, 1)
    with pytest.raises(BadCall, match="keeps no message until a time"):
        broker.settle([(taken, Park(time.time()))])
    broker.close()
    assert open_files().size("q") == 1


def test_what_it_cannot_do_is_said_once(open_files: Open, caplog: pytest.LogCaptureFixture) -> None:
    kombu.say_once.cache_clear()
    open_files()
    open_files().declare([Queue("q", arguments={"x-max-length": 5})])
    lines = [record.getMessage() for record in caplog.records if record.name == "celeriac.broker"]
    assert len(lines) == 2
    assert "no priority (" in lines[0]
    assert "no fanout" not in lines[0]
    assert "kill -9 loses it" in lines[0]
    assert "x-max-length mean nothing" in lines[1]


def test_an_exchange_declared_otherwise_stays_as_it_was(open_files: Open, caplog: pytest.LogCaptureFixture) -> None:
    broker = open_files()
    broker.declare([Queue("q", "exchange", "direct", "key")])
    broker.declare([Queue("r", "exchange", "topic", "key")])
    assert "was declared otherwise before" in caplog.text


@pytest.mark.filterwarnings("ignore:.*noload")  # kombu's models, on SQLAlchemy 2.1
def test_what_a_library_raises_is_an_operational_error(database: str, caplog: pytest.LogCaptureFixture) -> None:
    from sqlalchemy import text

    broker = kombu.connect(database)
    broker.send(to(QUEUE, numbered(2)))
    broker.listen([QUEUE], credit=1)
    (taken,) = take_all(broker, 1)
    session = broker._channel.session
    session.execute(text("ALTER TABLE kombu_message RENAME TO elsewhere"))
    session.commit()
    for call in (
        lambda: broker.send(to(QUEUE, numbered(1))),
        lambda: broker.take(1, 0) or broker.settle([(taken, Verdict.RESTORE)]),
        lambda: broker.size("q"),
        lambda: broker.purge("q"),
    ):
        session.rollback()
        with pytest.raises(OperationalError, match=r"sqla\+sqlite:.*: could not .*, after 0\.. s: .*no such table"):
            call()
    session.rollback()
    caplog.clear()
    broker.close()
    assert "1 messages could not be put back" in caplog.text


def test_a_database_that_cannot_be_reached(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match=r"could not connect, after .*unable to open database file"):
        kombu.connect(f"sqla+sqlite:///{tmp_path}/not/there.sqlite")


def test_options_that_nobody_knows_are_the_callers_fault(tmp_path: Path) -> None:
    with pytest.raises(BadCall, match=r"transport options are not right: .*no_such_option"):
        kombu.connect(f"sqla+sqlite:///{tmp_path}/x.sqlite", {"no_such_option": 1})


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kazoo", None)
    monkeypatch.delitem(sys.modules, "kombu.transport.zookeeper", raising=False)
    with pytest.raises(BadCall, match=r"kazoo.*pip install 'celeriac\[zookeeper\]'"):
        kombu.connect("zookeeper://user:secret@localhost:1")


def test_no_password_is_shown() -> None:
    assert kombu_transports.place("sqs://key:se/cr@et@region?x=secret") == "sqs://region"
    problem = ValueError("cannot use sqs://key:secret@")
    shown = kombu.failure("sqs://", "send", 1.0, problem, stock.Connection("memory://u:secret@h"))
    assert "secret" not in str(shown)


def test_deadlines_are_set_where_the_user_sets_none() -> None:
    options = kombu_transports.options
    assert options("sqla+postgresql://h/db", {}, 4.0) == {"connect_args": {"connect_timeout": 4}}
    assert options("sqla+postgresql://h/db", {"connect_args": {}}, 4.0) == {"connect_args": {}}
    assert options("sqla+sqlite:///x", {}, 4.0) == {}
    assert options("sqs://", {"region": "x"}, 4.0) == {"region": "x", "wait_time_seconds": 1}
    assert options("gcpubsub://projects/x", {"wait_time_seconds": 9}, 4.0)["wait_time_seconds"] == 9
    assert options("mongodb://h", {}, 2.5) == {"connect_timeout": 2.5}


@pytest.mark.filterwarnings("ignore:.*noload")  # kombu's models, on SQLAlchemy 2.1
def test_a_forked_child_has_none_of_its_parents_connections(database: str) -> None:
    from celeriac.worker.brokers import kombu_sql

    broker = kombu.connect(database)
    broker.send(to(QUEUE, numbered(1)))
    child = os.fork()
    if not child:
        os._exit(len(kombu_sql.Channel._engines))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(kombu_sql.Channel._engines) == 1
    broker.close()


def test_a_store_that_keeps_what_was_taken_is_told_from_one_that_does_not() -> None:
    from kombu.transport import filesystem, virtual

    class Keeping(virtual.Channel):
        def basic_ack(self, delivery_tag: Any, multiple: bool = False) -> None: ...

    assert kombu_transports.keeps(object.__new__(Keeping))
    assert not kombu_transports.keeps(object.__new__(filesystem.Channel))


@pytest.fixture
def bulk(monkeypatch: pytest.MonkeyPatch) -> str:
    """As SQS and Pub/Sub: what there is comes at once, whatever `take` asked for, and the store keeps it until acked."""
    from kombu.transport import TRANSPORT_ALIASES, memory, virtual

    class Channel(memory.Channel):
        acked: ClassVar[list[Any]] = []

        def drain_events(self, timeout: float | None = None, callback: Any = None) -> None:
            room = self.qos.can_consume_max_estimate()
            for name in self._active_queues:
                for _ in range(min(self._size(name), 10 if room is None else room)):
                    payload = self._get(name)
                    payload["properties"]["delivery_info"]["sqs_message"] = object()
                    self.connection._deliver(payload, name)
                    timeout = None if timeout is None else -1
            if timeout != -1:
                raise Empty

        def basic_ack(self, delivery_tag: Any, multiple: bool = False) -> None:
            assert "sqs_message" in self.qos.get(delivery_tag).delivery_info
            self.acked.append(delivery_tag)
            super().basic_ack(delivery_tag)

    class Transport(virtual.Transport):
        pass

    Transport.Channel = Channel
    monkeypatch.setitem(TRANSPORT_ALIASES, "bulk", lambda: Transport)
    return "bulk://"


@pytest.mark.parametrize("acks", [True, False])
def test_what_came_at_once_and_was_not_asked_for_is_put_back(bulk: str, acks: bool) -> None:
    broker = kombu.connect(bulk)
    queue = Queue(f"bulk-{uuid.uuid4()}")
    broker.send(to(queue, numbered(6)))
    broker.listen([queue], credit=4, acks=acks)
    (first,) = broker.take(1, SOON)
    assert broker.size(queue.name) == (2 if acks else 0)
    assert len(broker.take(10, SOON)) == (3 if acks else 5)
    assert broker.take(10, 0.01) == []
    broker.settle(acked([first]))
    (next_one,) = broker.take(1, SOON) if acks else (None,)
    assert (next_one is None) != acks
    broker.send(to(queue, numbered(3)))
    if not acks:
        assert len(broker.take(1, SOON)) == 1  # two more came with it
    broker.close()
    after = kombu.connect(bulk)
    assert after.size(queue.name) == (8 if acks else 2)
    after.purge(queue.name)
    after.close()


def test_a_store_that_keeps_says_nothing_of_kill(bulk: str, caplog: pytest.LogCaptureFixture) -> None:
    kombu.say_once.cache_clear()
    kombu.connect(bulk).close()
    assert "no park (" in caplog.text
    assert "kill -9" not in caplog.text


def test_a_take_does_not_ask_more_often_than_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = kombu.connect("memory://", {"polling_interval": 0.2})
    broker.listen([Queue("idle")], credit=1)
    asked: list[float] = []
    monkeypatch.setattr(
        broker._connection, "drain_events", lambda **_: asked.append(1) or (_ for _ in ()).throw(TimeoutError)
    )
    broker.take(1, 0.5)
    first = len(asked)
    broker.take(1, 0.6)
    assert first < 12
    assert len(asked) - first <= 5  # the pause has grown to what was told
    broker.close()


@pytest.fixture(autouse=True)
def _levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "celeriac.broker")


def test_the_table_leads_here(folders: dict[str, Any]) -> None:
    broker = brokers.connect("filesystem://", folders)
    assert isinstance(broker, kombu.KombuBroker)
    broker.close()
