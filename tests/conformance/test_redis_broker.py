"""The Redis broker against the contract, on a real Redis: as it comes, with a prefix, through a socket, polling, guarded, watched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.worker import brokers
from tests import servers
from tests.certificate import made
from tests.conformance.brokers import BrokerContract, Connect

pytestmark = pytest.mark.real


@pytest.fixture
def server(redis_server: servers.RedisServer) -> servers.RedisServer:
    redis_server.call("FLUSHALL")
    return redis_server


def connecting(url: str, **options: Any) -> Connect:
    return lambda: brokers.connect(url, options)


class TestRedis(BrokerContract):
    @pytest.fixture
    def connect(self, server: servers.RedisServer) -> Connect:
        return connecting(server.url)


class TestEverythingOtherwise(BrokerContract):
    """Through a Unix socket, into another database, with a prefix, other priorities, another order."""

    @pytest.fixture
    def connect(self, socket_url: str) -> Connect:
        options = {"priority_steps": [0, 2, 4, 9], "sep": ":", "queue_order_strategy": "round_robin"}
        return connecting(socket_url, global_keyprefix="mine:", fanout_prefix="all/", **options)


@pytest.fixture(scope="module")
def socket_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("r") / "socket"
    with servers.redis_server("--unixsocket", str(path)):
        yield f"redis+socket://{path}?virtual_host=3"


class TestPolling(BrokerContract):
    """Where Redis cannot tell of changes: behind a proxy, under a narrow ACL, before 6.0."""

    @pytest.fixture
    def connect(self, server: servers.RedisServer) -> Connect:
        return connecting(server.add_user("narrow", "-client|tracking", needs=(7, 0)))


class TestGuarded(BrokerContract):
    """Through TLS, as a user who may do what a broker does and nothing else."""

    MAY = ("-@admin", "-@dangerous")

    @pytest.fixture
    def connect(self, guarded_url: str) -> Connect:
        return connecting(guarded_url)


@pytest.fixture(scope="module")
def guarded_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pem, port = made(tmp_path_factory.mktemp("tls"), "DNS:localhost"), servers.free_port()
    tls = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    for what in ("cert", "key", "ca-cert"):
        tls += [f"--tls-{what}-file", str(pem)]
    with servers.redis_server(*tls) as server:
        server.add_user("limited", *TestGuarded.MAY)
        yield f"rediss://limited:secret@localhost:{port}/2?ssl_ca_certs={pem}"


class TestWatched(BrokerContract):
    """Found by a Sentinel."""

    @pytest.fixture
    def connect(self, server: servers.RedisServer, sentinel: int) -> Connect:
        return connecting(f"sentinel://127.0.0.1:{sentinel}/0", master_name="mymaster")


@pytest.fixture(scope="module")
def sentinel(redis_server: servers.RedisServer) -> Iterator[int]:
    with servers.sentinel_server(redis_server) as port:
        yield port
