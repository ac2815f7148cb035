"""Listeners for what a dispatcher sends: messages as they came, from Redis and from RabbitMQ."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from celeriac.worker import brokers
from celeriac.worker.brokers.base import Broker, Queue
from tests.servers import RedisServer

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "event"


def without_tag(envelope: bytes) -> bytes:
    """The only thing in it that is new each time."""
    return re.sub(rb'"delivery_tag": "[^"]*"', b'"delivery_tag": ""', envelope)


def golden_redis() -> Iterator[tuple[str, str, bytes]]:
    """Case, channel, envelope of every event that was captured on Redis."""
    for file in sorted((GOLDEN / "redis").glob("*.json")):
        for sent in json.loads(file.read_text())["capture"].get("published", ()):
            if sent["channel"].startswith("/0.celeryev/"):
                yield file.stem, sent["channel"], base64.b64decode(sent["data"]["b64"])


def golden_amqp() -> Iterator[tuple[str, dict[str, Any], bytes]]:
    """Routing key, properties, body of every event that was captured on RabbitMQ."""
    for frame in json.loads((GOLDEN / "amqp" / "session.json").read_text())["capture"]["frames"]:
        if frame.get("method") == "basic.publish" and frame["args"]["exchange"] == "celeryev":
            content = frame["content"]
            yield frame["args"]["routing_key"], content["properties"], base64.b64decode(content["body_b64"])


class RedisEar:
    def __init__(self, server: RedisServer) -> None:
        self._client = server.connect()
        self._client.call("PSUBSCRIBE", "/0.celeryev/*")

    def next(self) -> tuple[str, bytes]:
        """Channel and envelope of the next event."""
        _, _, channel, envelope = self._client.read()
        return channel.decode(), envelope

    def close(self) -> None:
        self._client.close()


class AmqpEar:
    def __init__(self, url: str) -> None:
        self._broker: Broker = brokers.connect(url)
        queue = Queue("ear", "celeryev", "topic", "#", durable=False, auto_delete=True)
        self._broker.listen([queue], credit=100, acks=False)

    def next(self) -> tuple[str, dict[str, Any], bytes]:
        """Routing key, properties and body of the next event."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            for delivery in self._broker.take(1, 1):
                message = delivery.message
                kinds = {"content_type": message.content_type, "content_encoding": message.content_encoding}
                return delivery.routing_key, {**kinds, "headers": message.headers, **message.properties}, message.body
        raise AssertionError("no event came")

    def close(self) -> None:
        self._broker.close()


@contextmanager
def hearing(ear: Any) -> Iterator[Any]:
    with closing(ear):
        yield ear
