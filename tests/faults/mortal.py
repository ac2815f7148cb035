"""Servers that die and come again with what they had: a Redis and a RabbitMQ, each on one port for all its lives."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from celeriac.worker import backends
from celeriac.worker.backends.base import Retry, Settings, Store
from tests import servers


class Mortal:
    """A Redis that keeps every write on its disk, and can be frozen, killed and started again."""

    def __init__(self, home: Path) -> None:
        self.port = servers.free_port()
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._home), "--save", ""]
        command = [servers._program("redis-server"), *where, "--appendonly", "yes", "--appendfsync", "always"]

        def start() -> tuple[subprocess.Popen[bytes], int]:
            return servers._spawn(command, self._home), self.port

        answers = servers._redis_answers
        self._process, _ = servers._started("redis-server", start, answers, self._home / "output", seconds=30)

    def signal(self, sign: signal.Signals) -> None:
        if self._process is not None:
            os.kill(self._process.pid, sign)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def store(self, retry: Retry | None = None, **options: Any) -> Store:
        given = {"redis_socket_timeout": 0.5, "redis_socket_connect_timeout": 0.5} | options
        return backends.connect(self.url, Settings(retry=retry, options=given))


class MortalRabbit:
    """A RabbitMQ that keeps what it has confirmed, and can be frozen, stopped, killed and started again."""

    def __init__(self, home: Path) -> None:
        self.port = servers.free_port()
        self._home = home
        self._epmd_port = servers.free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        node = f"mortal-{os.getpid()}-{self.port}@localhost"
        where = {"ERL_EPMD_PORT": str(self._epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1", "HOME": str(home)}
        self._where = where | servers._rabbit_settings(home, node, self.port)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        log = self._home / "output"
        if self._epmd is None:
            self._epmd = servers._spawn(
                [servers._program("epmd"), "-port", str(self._epmd_port)], self._home, self._where
            )
            servers._wait_for(lambda: servers._listens(self._epmd_port), self._epmd, "epmd", log, seconds=20)
        program = servers.rabbitmq_program()

        def start() -> tuple[subprocess.Popen[bytes], int]:
            return servers._spawn([program], self._home, self._where), self.port

        answers = servers._rabbit_answers
        self._process, _ = servers._started("rabbitmq-server", start, answers, log, seconds=120)

    def stop(self) -> None:
        """In good order."""
        if self._process is not None:
            servers._stop(self._process)
            self._process = None

    def signal(self, sign: signal.Signals) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, sign)

    def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
            self._process = None

    def close(self) -> None:
        self.kill()
        if self._epmd is not None:
            servers._stop(self._epmd)
            self._epmd = None
