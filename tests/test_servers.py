"""The servers that other tests stand on: they answer, they are ours alone, and they are gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import amqp
import pytest

from tests import servers
from tests.conftest import ROOT, Environment
from tests.worker.running import wait_until

pytestmark = pytest.mark.real


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_redis_answers_as_it_speaks(redis_server: servers.RedisServer) -> None:
    assert redis_server.call("SET", "servers:key", b"\xff\x00") == b"OK"
    assert redis_server.call("GET", "servers:key") == b"\xff\x00"
    assert redis_server.call("EVAL", "return {1, false, KEYS[1]}", 1, "k") == [1, None, b"k"]
    assert redis_server.call("DEL", "servers:key") == 1
    assert int(redis_server.call("INFO", "server").split(b"process_id:")[1].split()[0]) == redis_server.pid


def test_redis_errors_are_raised_and_the_connection_goes_on(redis_server: servers.RedisServer) -> None:
    with pytest.raises(servers.RedisRefused, match="unknown command"):
        redis_server.call("NONSENSE")
    assert redis_server.call("PING") == b"PONG"


def test_subscriber_has_a_connection_of_its_own(redis_server: servers.RedisServer) -> None:
    listener = redis_server.connect()
    try:
        assert listener.call("SUBSCRIBE", "servers") == [b"subscribe", b"servers", 1]
        assert redis_server.call("PUBLISH", "servers", "hello") == 1
        assert listener.read() == [b"message", b"servers", b"hello"]
    finally:
        listener.close()


def test_redis_is_gone_afterwards() -> None:
    with servers.redis_server("--maxmemory", "32mb") as server:
        assert server.call("CONFIG", "GET", "maxmemory") == [b"maxmemory", str(32 << 20).encode()]
        home = Path(server.call("CONFIG", "GET", "dir")[1].decode())
        assert alive(server.pid)
        assert home.is_dir()
    assert not alive(server.pid)
    assert not home.exists()
    with pytest.raises(OSError, match="refused"):
        server.connect()


def test_redis_that_fails_says_why() -> None:
    with pytest.raises(servers.ServerFailed, match=r"(?s)redis-server ended.*no-such-option"):
        servers.redis_server("--no-such-option", "1").__enter__()


def test_rabbitmq_carries_a_message(rabbitmq_server: servers.RabbitServer) -> None:
    with amqp.Connection(host=f"127.0.0.1:{rabbitmq_server.port}", connect_timeout=10) as connection:
        channel = connection.channel()
        queue = channel.queue_declare(exclusive=True).queue
        channel.basic_publish(amqp.Message(b"hello"), routing_key=queue)
        assert channel.basic_get(queue, no_ack=True).body == b"hello"
        assert connection.server_properties["cluster_name"].split("@")[0] == rabbitmq_server.node.split("@")[0]


def test_rabbitmq_is_gone_afterwards() -> None:
    with servers.rabbitmq_server() as server:
        assert alive(server.pid)
        assert alive(server.epmd_pid)
        in_group = [pid for pid in _all_pids() if _group(pid) == server.pid]
        assert len(in_group) > 1, "the script and the Erlang machine"
    assert not any(map(alive, [server.epmd_pid, *in_group]))
    assert not server.home.exists()


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_run_leaves_no_server_behind_and_waits_for_no_child(is_killed: bool, celeriac_env: Environment) -> None:
    code = (
        "import os, signal, sys\n"
        "from tests import servers\n"
        "with servers.redis_server() as left:\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        os.closerange(0, 3)\n"
        "        signal.pause()\n"
        "    print(left.pid, left.call('CONFIG', 'GET', 'dir')[1].decode(), child, flush=True)\n"
        "    sys.stdin.read()"
    )
    paths = os.pathsep.join(filter(None, [str(ROOT), celeriac_env.variables.get("PYTHONPATH")]))
    run = subprocess.Popen(
        [celeriac_env.python, "-c", code],
        env=celeriac_env.variables | {"PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    pid, home, child = run.stdout.readline().split()
    try:
        assert alive(int(pid))
        if is_killed:
            run.kill()
        assert run.communicate(timeout=60) == ("", ""), "neither a word nor a wait"
        wait_until(lambda: not alive(int(pid)) and not Path(home).exists(), 30)
        assert alive(int(child))
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_stock_celery_is_the_version_we_are_measured_by(stock_python: Path, celeriac_env: Environment) -> None:
    stock = Environment(stock_python, celeriac_env.variables)
    assert stock.run("-c", "import celery; print(celery.__version__)").stdout == "5.7.0\n"


def test_celeriac_starts_in_a_child(celeriac_env: Environment) -> None:
    done = celeriac_env.run("-m", "celeriac", "--version", cwd=Path("/"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5.7.0")
