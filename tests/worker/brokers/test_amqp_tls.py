"""TLS to a RabbitMQ: a front that speaks TLS before the real server, with a certificate made for the occasion."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.errors import BadCall
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Queue
from tests.certificate import made
from tests.conformance.brokers import bodies, bodies_of, message, numbered, take_all, to
from tests.servers import RabbitServer

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


@pytest.fixture
def front(certificate: Path, rabbitmq_server: RabbitServer) -> Iterator[int]:
    """A port that speaks TLS and passes everything on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def talk(plain: socket.socket) -> None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", rabbitmq_server.port)) as server, plain:
            plain.settimeout(10)
            with context.wrap_socket(plain, server_side=True) as client:
                while True:
                    ready = [client] if client.pending() else select.select([client, server], [], [], 10)[0]
                    for end in ready:
                        data = end.recv(65536)
                        if not data:
                            return
                        (server if end is client else client).sendall(data)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threads.append(threading.Thread(target=talk, args=(client,)))
                threads[-1].start()

    accepting = threading.Thread(target=serve)
    accepting.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for each in (accepting, *threads):
        each.join(10)


@pytest.mark.parametrize("checked", [False, True])
def test_messages_pass_through_tls(front: int, certificate: Path, checked: bool) -> None:
    tls = {"ca_certs": str(certificate)} | ({"server_hostname": None} if checked else {})
    broker = brokers.connect(f"amqps://127.0.0.1:{front}//", {"ssl": tls})
    queue = Queue(f"q-{uuid.uuid4()}")
    broker.listen([queue], credit=1000)
    broker.send(to(queue, numbered(500)))
    assert bodies(take_all(broker, 500)) == bodies_of(numbered(500))
    broker.send(to(queue, [message(b"x" * 3_000_000)]))
    (large,) = take_all(broker, 1, within=20)
    assert len(large.message.body) == 3_000_000
    broker.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(front: int) -> None:
    with pytest.raises(OperationalError, match=r"the TLS handshake failed after .*certificate verify failed"):
        brokers.connect(f"amqps://127.0.0.1:{front}//")
    brokers.connect(f"amqps://127.0.0.1:{front}//?ssl_cert_reqs=none").close()


def test_a_certificate_for_somebody_else_is_refused(front: int, certificate: Path) -> None:
    tls = {"ca_certs": str(certificate), "server_hostname": "rabbit.example"}
    with pytest.raises(OperationalError, match=r"Hostname mismatch"):
        brokers.connect(f"amqps://127.0.0.1:{front}//", {"ssl": tls})


def test_tls_to_a_plain_port_and_plain_to_a_tls_port(front: int, rabbitmq_server: RabbitServer) -> None:
    with pytest.raises(OperationalError, match=r"the TLS handshake failed"):
        brokers.connect(f"amqps://127.0.0.1:{rabbitmq_server.port}//", {}, 2)
    with pytest.raises(OperationalError, match=r"logging in failed|cannot be read"):
        brokers.connect(f"amqp://127.0.0.1:{front}//", {}, 2)


def test_an_unknown_tls_option_is_named(front: int) -> None:
    with pytest.raises(BadCall, match=r"ca_cert is not one of keyfile, certfile, cert_reqs, ca_certs"):
        brokers.connect(f"amqps://127.0.0.1:{front}//", {"ssl": {"ca_cert": "f"}})
