"""A parent that is killed while it acknowledges: what it had begun to tell arrives whole, and once, and runs once."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from celeriac.worker.pools.marks import Marks
from celeriac.worker.pools.prefork import Prefork
from celeriac.worker.veil import Veil
from tests.certificate import made
from tests.conformance.pools import runs
from tests.worker.pools.programs import Script, job

DATA = b"acknowledged" * 1000


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def broker() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


def killed(
    ledger: Path, broker: socket.socket, until: Callable[[Prefork, socket.socket], object], *, spawn: bool = False
) -> tuple[bytes, socket.socket]:
    """A parent with a held job, killed after `until`: what its broker heard to the end, in good order."""
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            pool = Prefork(Script(ledger), 1, spawn=spawn)
            pool.start()
            connection = socket.create_connection(broker.getsockname())
            pool.keep(connection)
            pool.submit([job(1, held=True)])
            os.read(ready, 1)
            until(pool, connection)
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(ready)
    heard, _ = broker.accept()
    heard.settimeout(10)
    heard.sendall(b"never read")
    os.write(go, b"!")
    os.close(go)
    os.waitpid(pid, 0)
    data = bytearray()
    while part := heard.recv(1 << 16):
        data += part
    return bytes(data), heard


@pytest.mark.parametrize("sent", [0, 3000, 1 << 20])
def test_over_tls_it_arrives_as_it_was_encrypted(
    sent: int, ledger: Path, broker: socket.socket, tmp_path: Path
) -> None:
    """The broker can read all of it, and nothing twice: who completes it knows no keys, and how much has gone."""
    pem = made(tmp_path, "DNS:localhost")
    ours, theirs = ssl.create_default_context(cafile=pem), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(pem)
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        with suppress(BaseException):
            pool = Prefork(Script(ledger), 1)
            pool.start()
            veil = Veil(socket.create_connection(broker.getsockname()), ours, "localhost")
            veil.do_handshake()
            pool.keep(veil.plain)
            pool.submit([job(1, held=True)])
            veil.sendall(b"before")
            os.read(ready, 1)
            pool.promise([1])
            sealed = veil.sealed(DATA)
            pool.telling(sealed)
            veil.plain.sendall(sealed[:sent])
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(ready)
    heard, _ = broker.accept()
    with theirs.wrap_socket(heard, server_side=True) as end:
        end.settimeout(10)
        os.write(go, b"!")
        os.close(go)
        os.waitpid(pid, 0)
        data = bytearray()
        while part := end.recv(1 << 16):
            data += part
    assert data == b"before" + DATA
    assert left(ledger)
    assert runs(ledger) == {1: 1}


def left(ledger: Path) -> bool:
    """Its child has gone."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if ledger.with_suffix(".ended").exists():
            return True
        time.sleep(0.01)
    return False


def promised(pool: Prefork) -> None:
    pool.promise([1])


def telling(pool: Prefork) -> None:
    pool.promise([1])
    pool.telling(DATA)


@pytest.mark.parametrize("sent", [0, 1, 4711, len(DATA)])
def test_what_was_begun_arrives_whole_and_once(sent: int, ledger: Path, broker: socket.socket) -> None:
    def until(pool: Prefork, connection: socket.socket) -> None:
        connection.sendall(b"before")
        telling(pool)
        connection.sendall(DATA[:sent])

    data, heard = killed(ledger, broker, until)
    heard.close()
    assert data == b"before" + DATA
    assert left(ledger)
    assert runs(ledger) == {1: 1}


def test_it_arrives_also_where_the_witness_and_the_child_begin_anew(ledger: Path, broker: socket.socket) -> None:
    """They come up when their parent is gone already."""

    def until(pool: Prefork, connection: socket.socket) -> None:
        telling(pool)
        connection.sendall(DATA[:100])

    data, heard = killed(ledger, broker, until, spawn=True)
    heard.close()
    assert data == DATA
    assert left(ledger)
    assert runs(ledger) == {1: 1}


def test_what_was_only_promised_does_not_run(ledger: Path, broker: socket.socket) -> None:
    data, heard = killed(ledger, broker, lambda pool, _: promised(pool))
    heard.close()
    assert data == b""
    assert left(ledger)
    assert not runs(ledger)


def test_what_was_told_before_is_not_told_again(ledger: Path, broker: socket.socket) -> None:
    def until(pool: Prefork, connection: socket.socket) -> None:
        telling(pool)
        connection.sendall(DATA)
        pool.release([1])
        pool.told()

    data, heard = killed(ledger, broker, until)
    heard.close()
    assert data == DATA
    assert left(ledger)
    assert runs(ledger) == {1: 1}


def test_the_broker_hears_at_once_that_it_is_gone(ledger: Path, broker: socket.socket) -> None:
    """Though a child that was born when there was a connection has it, and still runs."""

    def until(pool: Prefork, _: socket.socket) -> None:
        pool.recall()
        pool.resize(2)
        pool.submit([job(2, "sleep 3"), job(3, "sleep 3")])
        time.sleep(0.2)

    began = time.monotonic()
    _, heard = killed(ledger, broker, until)
    heard.close()
    assert time.monotonic() - began < 2.5


def taken_back(pool: Prefork) -> None:
    """Three jobs are in one child's hands, released; it runs the first, and the others have been taken from it."""
    (child,) = pool._children.values()
    pool.promise([1])
    pool.release([1])
    while child.given:
        pool.collect()
    for name in ("sleep 0.3", "nothing"):
        pool._pace._seconds[name] = 1e-5
    pool.submit([job(2, "sleep 0.3", held=True), job(3, held=True), job(4, held=True)])
    pool.promise([2, 3, 4])
    pool.telling(DATA)
    pool.release([2, 3, 4])
    pool.told()
    end = time.monotonic() + 5
    while child.mark.running != 2:
        assert time.monotonic() < end
        time.sleep(0.001)
    child.mark.recall(pool._batch)
    time.sleep(0.01)
    pool._take_back(child, pool._batch)
    assert [each.number for each in pool._waiting] == [3, 4]


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("later", [0.0, 0.6])
def test_what_was_taken_from_one_child_for_another_runs_once(
    given: bool, later: float, ledger: Path, broker: socket.socket
) -> None:
    """Before and after the other has it; before and after the one has seen that it was taken."""

    def until(pool: Prefork, _: socket.socket) -> None:
        taken_back(pool)
        if given:
            pool.resize(2)
            pool._hand_out()
        time.sleep(later)

    _, heard = killed(ledger, broker, until)
    heard.close()
    end = time.monotonic() + 10
    while len(ledger.with_suffix(".ended").read_text().split("\n") if left(ledger) else []) < 2 + given:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert runs(ledger) == {1: 1, 2: 1, 3: 1, 4: 1}


def test_a_witness_that_dies_is_replaced(ledger: Path, broker: socket.socket) -> None:
    def until(pool: Prefork, _: socket.socket) -> None:
        before = pool._witness.pid
        os.kill(before, signal.SIGKILL)
        while pool._witness.pid == before:
            pool.collect()
        telling(pool)

    data, heard = killed(ledger, broker, until)
    heard.close()
    assert data == DATA
    assert left(ledger)
    assert runs(ledger) == {1: 1}


def test_a_worker_that_leaves_takes_its_witness_along(ledger: Path, broker: socket.socket) -> None:
    pool = Prefork(Script(ledger), 1)
    pool.start()
    witness = pool._witness.pid
    with socket.create_connection(broker.getsockname()) as connection:
        heard, _ = broker.accept()
        pool.keep(connection)
        pool.close(1)
        with pytest.raises(ProcessLookupError):
            os.kill(witness, 0)
        connection.sendall(b"it is still ours")
        heard.settimeout(10)
        assert heard.recv(100) == b"it is still ours"
        heard.close()


@pytest.mark.parametrize("kind", ["redis", "amqp"])
def test_a_connection_that_is_ended_is_ended_for_all(kind: str, ledger: Path, request: pytest.FixtureRequest) -> None:
    """A dropped one too: the broker is not left with a connection that nobody serves."""
    from celeriac.worker import brokers
    from celeriac.worker.brokers.abilities import Entrusting
    from tests import proxy

    server = request.getfixturevalue({"redis": "redis_server", "amqp": "rabbitmq_server"}[kind])
    pool = Prefork(Script(ledger), 1)
    pool.start()
    with proxy.to(server.port) as wire:
        broker = brokers.connect(server.url.replace(f":{server.port}/", f":{wire.port}/"), {}, 5)
        assert isinstance(broker, Entrusting)
        broker.entrust(pool.keep, pool.telling)
        broker._link.close() if kind == "redis" else broker._link.lose("for the test")  # type: ignore[attr-defined]
        end = time.monotonic() + 10
        while wire._wires and time.monotonic() < end:
            time.sleep(0.01)
        assert not wire._wires
    broker.close()
    pool.close(1)


def test_all_that_a_broker_may_give_at_once_can_be_told() -> None:
    marks = Marks(1)
    data = b"*4 an acknowledgement at Redis is about so long, with its tag and commands" * 0xFFFF
    marks.tell(data, 17)
    assert marks.untold() == (data, 17)
    marks.at(0).clear()
    assert marks.untold() == (data, 17)
    marks.told()
    assert marks.untold() == (b"", -1)
    marks.close()
