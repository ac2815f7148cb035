"""The page's server in this process, for tests: its loop in a thread, a client that speaks plain HTTP, no cluster needed."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from celeriac.compat.web.guard import Guard
from celeriac.compat.web.server import Server, told
from celeriac.compat.web.site import Site
from celeriac.compat.web.watch import Watch

TOKEN = "a-token-that-is-long-enough"


@dataclass
class Client:
    """What a browser that knows the token asks for."""

    port: int
    token: str = TOKEN

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            sent = {
                "Authorization": f"Bearer {self.token}",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            }
            data = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
            if data is not None:
                sent.setdefault("Content-Type", "application/json")
            connection.request(method, path, data, sent)
            reply = connection.getresponse()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        status, _, body = self.ask("GET", path)
        assert status == 200, body
        return json.loads(body)

    def act(self, action: str, **fields: Any) -> tuple[int, Any]:
        status, _, body = self.ask("POST", "/api/act", {"action": action, **fields})
        return status, json.loads(body)


@contextmanager
def served(watch: Watch, *, acts: bool = True, title: str = "tests") -> Iterator[Client]:
    """The watch is started and stopped by whoever made it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = Server(Site(watch, Guard.of(TOKEN, acts=acts), title))
    try:
        port = asyncio.run_coroutine_threadsafe(server.open("127.0.0.1", 0), loop).result(10)
        watch.on_change = told(loop, server)
        yield Client(port)
    finally:
        watch.on_change = lambda: None
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
