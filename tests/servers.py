"""Real servers for the tests: a private Redis and a private RabbitMQ, on free loopback ports, in folders of their own.

Law: a server that stands here was started here, is stopped here and leaves nothing behind, even where the run is killed
(`left_behind`); the machine's own Redis, RabbitMQ and epmd are neither used nor touched. A server that does not come up says why, from its own log.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hiredis
import pytest

from tests import left_behind

_TRIES = 3  # a free port may be taken by somebody else between our look and the server's
_TAIL = 3000


class ServerFailed(RuntimeError):
    """A server did not come up; the message ends with what it wrote."""


class RedisRefused(Exception):
    """Redis answered a command with an error."""


class RespClient:
    """One connection that sends commands and returns replies as they came: bytes, int, list or None."""

    def __init__(self, port: int, timeout: float = 10) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._reader = hiredis.Reader(replyError=RedisRefused, protocolError=RedisRefused)

    @property
    def address(self) -> str:
        """Of this end, as the server names it."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def call(self, *args: str | bytes | float) -> Any:
        self.send(*args)
        return self.read()

    def send(self, *args: str | bytes | float) -> None:
        self._socket.sendall(hiredis.pack_command(args))

    def read(self) -> Any:
        """The next reply; also what a subscriber is sent."""
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("Redis closed the connection")
            self._reader.feed(data)
        if isinstance(reply, RedisRefused):
            raise reply
        return reply

    def close(self) -> None:
        self._socket.close()


@dataclass(frozen=True)
class RedisServer:
    port: int
    pid: int
    client: RespClient

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def call(self, *args: str | bytes | float) -> Any:
        return self.client.call(*args)

    @property
    def version(self) -> tuple[int, ...]:
        (line,) = [line for line in self.call("INFO", "server").split(b"\r\n") if line.startswith(b"redis_version:")]
        return tuple(map(int, line.partition(b":")[2].split(b".")))

    def add_user(self, name: str, *may: str, needs: tuple[int, ...] = (6, 0)) -> str:
        """A URL for this new user; where Redis is too old to say such a thing, the test is skipped."""
        if self.version < needs:
            pytest.skip(f"Redis {'.'.join(map(str, self.version))} cannot limit a user so")
        channels = ["&*"] if self.version >= (6, 2) else []
        self.call("ACL", "SETUSER", name, "reset", "on", ">secret", "~*", *channels, "+@all", *may)
        return f"redis://{name}:secret@127.0.0.1:{self.port}/0"

    def connect(self) -> RespClient:
        """A further connection, for what blocks or subscribes; the caller closes it."""
        return RespClient(self.port)


@dataclass(frozen=True)
class RabbitServer:
    port: int
    pid: int
    epmd_pid: int
    node: str
    home: Path
    management: int | None = None
    """Port of the management plugin, where it was asked for."""

    @property
    def url(self) -> str:
        return self.at("/")

    def at(self, vhost: str) -> str:
        """The URL of one of its virtual hosts."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{vhost}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """A Redis that keeps nothing on disk. Options are redis-server's own: `"--maxmemory", "64mb"`."""
    program = _program("redis-server")
    with _folder("redis") as home:
        log = home / "output"

        def start() -> tuple[subprocess.Popen[bytes], int]:
            port = free_port()
            where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(home)]
            quiet = ["--save", "", "--appendonly", "no", "--daemonize", "no"]
            return _spawn([program, *where, *quiet, *options], home), port

        process, port = _started("redis-server", start, _redis_answers, log, seconds=20)
        try:
            client = RespClient(port)
            try:
                yield RedisServer(port, process.pid, client)
            finally:
                client.close()
        finally:
            _stop(process)


@contextmanager
def sentinel_server(master: RedisServer, name: str = "mymaster") -> Iterator[int]:
    """A Sentinel that watches this Redis under that name; its port."""
    program = _program("redis-server")
    with _folder("sentinel") as home:
        log = home / "output"

        def start() -> tuple[subprocess.Popen[bytes], int]:
            port = free_port()
            file = home / f"{port}.conf"
            file.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {home}\nsentinel monitor {name} 127.0.0.1 {master.port} 1\n"
            )
            return _spawn([program, str(file), "--sentinel"], home), port

        process, port = _started("redis-sentinel", start, _redis_answers, log, seconds=20)
        try:
            yield port
        finally:
            _stop(process)


def rabbitmq_program() -> str:
    # Debian's outer script changes user and session, so that its child could no longer be found; the inner one does not.
    inner = Path(os.environ.get("RABBITMQ_SERVER", "/usr/lib/rabbitmq/bin/rabbitmq-server"))
    return str(inner) if inner.exists() else _program("rabbitmq-server")


@contextmanager
def rabbitmq_server(*vhosts: str, management: bool = False) -> Iterator[RabbitServer]:
    """A RabbitMQ node with its own epmd, cookie, configuration and data; with these virtual hosts beside its own.

    `management`: with that plugin.
    """
    program = rabbitmq_program()
    with _folder("rabbitmq") as home:
        log = home / "output"
        epmd_port = free_port()
        local = {"ERL_EPMD_PORT": str(epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1", "HOME": str(home)}
        epmd = _spawn([_program("epmd"), "-port", str(epmd_port)], home, local)
        try:
            _wait_for(lambda: _listens(epmd_port), epmd, "epmd", log, seconds=20)
            web: list[int] = []
            node = f"celeriac-{os.getpid()}-{epmd_port}@localhost"

            def start() -> tuple[subprocess.Popen[bytes], int]:
                port = free_port()
                settings = _rabbit_settings(home, node, port, vhosts)
                if management:
                    web[:] = [free_port()]
                    (home / "plugins").write_text("[rabbitmq_management].\n")
                    with (home / "rabbitmq.conf").open("a") as configuration:
                        configuration.write(
                            f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {web[0]}\n"
                            "collect_statistics_interval = 500\n"
                        )
                return _spawn([program], home, local | settings), port

            process, port = _started("rabbitmq-server", start, _rabbit_answers, log, seconds=120)
            try:
                yield RabbitServer(port, process.pid, epmd.pid, node, home, *web)
            finally:
                _stop(process)
        finally:
            _stop(epmd)


def _rabbit_settings(home: Path, node: str, port: int, vhosts: Sequence[str] = ()) -> dict[str, str]:
    (home / "plugins").write_text("[].\n")
    (home / "rabbitmq.conf").write_text(f"load_definitions = {home}/definitions.json\n" if vhosts else "")
    (home / "definitions.json").write_text(json.dumps(_definitions(["/", *vhosts])))
    return {
        "RABBITMQ_NODENAME": node,
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
    }


def _definitions(vhosts: Sequence[str]) -> dict[str, Any]:
    """A server that is given any makes none of its own: no user, no virtual host."""
    salt = b"salt"
    password = base64.b64encode(salt + hashlib.sha256(salt + b"guest").digest()).decode()
    everything = dict.fromkeys(("configure", "write", "read"), ".*")
    return {
        "users": [{"name": "guest", "password_hash": password, "tags": "administrator"}],
        "vhosts": [{"name": name} for name in vhosts],
        "permissions": [{"user": "guest", "vhost": name, **everything} for name in vhosts],
    }


def _redis_answers(port: int) -> bool:
    client = RespClient(port, timeout=2)
    try:
        return bool(client.call("PING") == b"PONG")
    finally:
        client.close()


def _rabbit_answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        return connection.recv(1) == b"\x01"  # a method frame: connection.start


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        return True


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise ServerFailed(f"{name} is not installed; `make ready` installs it or says how")
    return found


@contextmanager
def _folder(name: str) -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix=f"celeriac-{name}-")).resolve()
    left_behind.will_be_left(home)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
        left_behind.is_gone(home)


def _spawn(command: Sequence[str], home: Path, extra: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    # A session of its own: ^C in the terminal is for pytest, and the group can be stopped as a whole.
    with (home / "output").open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=home,
            env=os.environ | (extra or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _started(
    name: str,
    start: Callable[[], tuple[subprocess.Popen[bytes], int]],
    answers: Callable[[int], bool],
    log: Path,
    seconds: float,
) -> tuple[subprocess.Popen[bytes], int]:
    for attempt in range(_TRIES):
        process, port = start()
        try:
            _wait_for(partial(answers, port), process, name, log, seconds)
        except BaseException as error:
            _stop(process)
            if not isinstance(error, ServerFailed) or attempt == _TRIES - 1:
                raise
        else:
            return process, port
    raise AssertionError("the last attempt returns or raises")


def _wait_for(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], name: str, log: Path, seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    while True:
        if process.poll() is not None:
            raise ServerFailed(f"{name} ended with code {process.returncode} before it was ready:\n{_tail(log)}")
        with suppress(OSError, RedisRefused):
            if ready():
                return
        if time.monotonic() > deadline:
            raise ServerFailed(f"{name} was not ready after {seconds:.0f} s:\n{_tail(log)}")
        time.sleep(0.05)


def _tail(log: Path) -> str:
    with suppress(OSError):
        return log.read_text(errors="replace")[-_TAIL:]
    return "(it wrote nothing)"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and its whole group, politely for ten seconds."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            break
    with suppress(ProcessLookupError):  # what outlived its parent, in the same group
        os.killpg(process.pid, signal.SIGKILL)
