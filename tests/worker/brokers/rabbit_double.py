"""A RabbitMQ of a few lines that says what a test wants to be said: closes, refusals, blocks, silence.

Law: it answers every question as a well-meaning server does, unless the test put another answer in `answers`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celeriac.protocol.wire.amqp.frames import METHOD, PROTOCOL_HEADER, FrameReader, write_ack, write_call
from celeriac.protocol.wire.amqp.methods import read_method
from celeriac.worker.brokers.base import Broker

Answer = Callable[[int, dict[str, Any]], bytes]

_FIELDS: dict[str, dict[str, Any]] = {
    "queue.declare": {"message_count": 0, "consumer_count": 0},
    "queue.purge": {"message_count": 0},
}


def closing(channel: int, code: int, text: str, class_id: int = 0, method_id: int = 0) -> bytes:
    """`channel.close`, or `connection.close` for channel 0."""
    args = {"reply_code": code, "reply_text": text, "class_id": class_id, "method_id": method_id}
    return write_call(channel, "channel.close" if channel else "connection.close", args)


class RabbitDouble:
    """`heard` is what clients asked: channel, method, fields."""

    def __init__(self, version: str = "3.10.8", heartbeat: int = 60) -> None:
        self.version = version
        self.heartbeat = heartbeat
        self.answers: dict[str, Answer] = {}
        self.confirming = True
        self.heard: list[tuple[int, str, dict[str, Any]]] = []
        self.clients: list[Broker] = []  # are closed with it
        self._published = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._client: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"amqp://guest:s%40crt@127.0.0.1:{self.port}//"

    def say(self, data: bytes) -> None:
        assert self._client is not None
        self._client.sendall(data)

    def names(self) -> list[str]:
        return [name for _, name, _ in self.heard]

    def wait_for(self, name: str, seconds: float = 20) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _, heard, args in self.heard:
                if heard == name:
                    return args
            time.sleep(0.005)
        raise AssertionError(f"{name} was not said; heard {self.names()}")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                self._client, _ = self._listener.accept()
            except OSError:
                return
            with self._client, contextlib.suppress(OSError):
                self._talk(self._client)

    def _talk(self, client: socket.socket) -> None:
        frames = FrameReader()
        self._published = 0
        greeting = client.recv(len(PROTOCOL_HEADER), socket.MSG_WAITALL)
        assert greeting == PROTOCOL_HEADER
        known = {"product": "RabbitMQ", "version": self.version, "capabilities": {"connection.blocked": True}}
        start = {"version_major": 0, "version_minor": 9, "server_properties": known, "mechanisms": "PLAIN"}
        client.sendall(self.answers.get("start", lambda _c, args: write_call(0, "connection.start", args))(0, start))
        while data := client.recv(65536):
            for kind, channel, payload in frames.feed(data):
                if kind == METHOD:
                    name, args = read_method(payload)
                    self.heard.append((channel, name, args))
                    client.sendall(self._answer(channel, name, args))

    def _answer(self, channel: int, name: str, args: dict[str, Any]) -> bytes:
        if name in self.answers:
            return self.answers[name](channel, args)
        if name == "connection.start-ok":
            tune = {"channel_max": 2047, "frame_max": 131072, "heartbeat": self.heartbeat}
            return write_call(0, "connection.tune", tune)
        if name == "basic.publish":
            self._published += 1
            return write_ack(channel, self._published) if self.confirming else b""
        if name.endswith("-ok") or name in {"basic.ack", "basic.reject"}:
            return b""
        fields = dict(_FIELDS.get(name, {}))
        if name == "basic.consume":
            fields["consumer_tag"] = args["consumer_tag"]
        return write_call(channel, f"{name}-ok", fields)


@contextmanager
def rabbit_double(**settings: Any) -> Iterator[RabbitDouble]:
    double = RabbitDouble(**settings)
    try:
        yield double
    finally:
        for client in double.clients:
            client.close()
        double.close()
