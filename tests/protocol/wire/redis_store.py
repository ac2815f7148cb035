"""A broker's store as these tests see it: the library's commands go in, what lies where comes out."""

from __future__ import annotations

import base64
import json
from typing import Any

from celeriac.protocol.wire import redis, redis_held, redis_parked, redis_scripts, resp
from celeriac.protocol.wire.redis import Layout
from celeriac.protocol.wire.redis_held import Taken
from tests.servers import RedisServer

LAYOUT = Layout(global_keyprefix="t:", visibility_timeout=5)


class Store:
    """An empty server with the scripts loaded."""

    def __init__(self, server: RedisServer, layout: Layout = LAYOUT) -> None:
        self.server = server
        self.layout = layout
        self.serial = 0
        server.call("FLUSHALL")
        for script in redis_scripts.SCRIPTS:
            assert server.call(*script.load()).decode() == script.sha

    def do(self, *commands: resp.Command) -> list[Any]:
        return [self.server.call(*command) for command in commands]

    def take(self, *queues: str, count: int = 10, now: float = 100.0, owner: str = "me") -> list[Taken]:
        (reply,) = self.do(redis_held.take(self.layout, queues, count, owner, self.serial, now))
        taken = redis_held.parse_taken(self.layout, reply, queues)
        self.serial += len(taken)
        return taken

    def waiting(self, queue: str = "q", priority: int = 0) -> list[bytes]:
        """The next one first."""
        found: list[bytes] = self.server.call("LRANGE", self.layout.list_key(queue, priority), 0, -1)
        return found[::-1]

    def held(self) -> dict[str, bytes]:
        flat = self.server.call("HGETALL", self.layout.unacked)
        return {tag.decode(): value for tag, value in zip(flat[::2], flat[1::2], strict=True)}

    def scores(self) -> dict[str, float]:
        flat = self.server.call("ZRANGE", self.layout.unacked_index, 0, -1, "WITHSCORES")
        return {tag.decode(): float(score) for tag, score in zip(flat[::2], flat[1::2], strict=True)}

    def parked(self) -> list[str]:
        return [tag.decode() for tag in self.do(redis_parked.tags(self.layout))[0]]


def written(name: str, **properties: Any) -> bytes:
    """An envelope as foreign clients space it: nothing may be decoded and written anew on its way."""
    value = {
        "body": base64.b64encode(name.encode()).decode(),
        "headers": {"id": name, "big": 12345678901234567890, "empty": []},
        "properties": {"delivery_info": {"exchange": "", "routing_key": "q"}, "body_encoding": "base64", **properties},
    }
    return json.dumps(value, separators=(",", ":")).encode()


def push(store: Store, *envelopes: bytes, queue: str = "q", priority: int = 0) -> None:
    for data in envelopes:
        store.do(*redis.push(store.layout, queue, [data], priority))
