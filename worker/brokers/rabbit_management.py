"""What RabbitMQ's management plugin tells over HTTP: all queues with what is held from them, and who is connected.

Law: looking changes nothing. AMQP itself counts what is ready in a queue whose name one knows, and no more; whoever is
not answered here says so, with the reason that `Unanswered` has. An address that did not answer is left alone a while.
"""

from __future__ import annotations

import json
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ...protocol.values import dataclass
from .amqp_address import parse

PORT, TLS_PORT = 15672, 15671
_AGAIN = 30.0
_LARGEST = 64 * 1024 * 1024
_QUEUE = (
    *("name", "messages_ready", "messages_unacknowledged", "consumers", "head_message_timestamp", "idle_since"),
    *("exclusive", "arguments", "type"),
)
_silent: dict[tuple[str, int], tuple[float, str]] = {}
"""Addresses that did not answer: until when they are left alone, and why."""


class Unanswered(Exception):
    """Why there is no answer, for people."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One queue. `waits_since`: the timestamp of its oldest message, where that has one; `idle`: seconds unused."""

    name: str
    ready: int
    unacked: int
    consumers: int
    waits_since: float | None
    idle: float | None
    exclusive: bool


class Management:
    """`where`: the plugin's URL; without it, its usual port at the broker's address, with the broker's login."""

    def __init__(self, broker: str, options: Mapping[str, Any], where: str | None = None, timeout: float = 2.0) -> None:
        address, _ = parse(broker, options)
        parts = urlsplit(where or "")
        secure = parts.scheme == "https" if where else address.tls is not None
        self._host = (parts.hostname if where else address.host) or "localhost"
        self._port = (parts.port if where else None) or (TLS_PORT if secure else PORT)
        self._base = parts.path.rstrip("/").removesuffix("/api")
        self._vhost = address.virtual_host
        user, password = unquote(parts.username or "") or address.user, unquote(parts.password or "")
        self._user = user
        self._login = b64encode(f"{user}:{password or address.password}".encode()).decode()
        self._context = ssl.create_default_context() if secure else None
        self._timeout = timeout

    def __str__(self) -> str:
        return f"{'http' if self._context is None else 'https'}://{self._host}:{self._port}"

    def queues(self) -> list[Standing]:
        """All of the virtual host. Counts may be some seconds old."""
        rows = self._ask(f"queues/{quote(self._vhost, safe='')}?columns={','.join(_QUEUE)}")
        return [_standing(row) for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]

    def bindings(self) -> list[dict[str, Any]]:
        """All of the virtual host: each with `source`, `destination`, `routing_key`."""
        rows = self._ask(f"bindings/{quote(self._vhost, safe='')}?columns=source,destination,routing_key")
        return [row for row in rows if isinstance(row, dict)]

    def clients(self) -> list[Mapping[str, Any]]:
        """What those who are connected to the virtual host say of themselves."""
        rows = self._ask(f"vhosts/{quote(self._vhost, safe='')}/connections?columns=client_properties")
        return [row["client_properties"] for row in rows if isinstance(row, dict) and "client_properties" in row]

    def _ask(self, path: str) -> list[Any]:
        place = self._host, self._port
        until, why = _silent.get(place, (0.0, ""))
        if time.monotonic() < until:
            raise Unanswered(why)
        try:
            return self._asked(path)
        except (OSError, HTTPException, ValueError) as problem:
            why = f"its management plugin does not answer at {self}: {problem}"
            _silent[place] = time.monotonic() + _AGAIN, why
            raise Unanswered(why) from None

    def _asked(self, path: str) -> list[Any]:
        if self._context is None:
            connection = HTTPConnection(self._host, self._port, timeout=self._timeout)
        else:
            connection = HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._context)
        try:
            connection.request("GET", f"{self._base}/api/{path}", headers={"Authorization": f"Basic {self._login}"})
            reply = connection.getresponse()
            data = reply.read(_LARGEST)
        finally:
            connection.close()
        if reply.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise ValueError(f"{reply.status}, the user {self._user} needs the tag `monitoring` or `management`")
        if reply.status != HTTPStatus.OK:
            raise ValueError(f"{reply.status} {reply.reason}")
        found = json.loads(data)
        return found if isinstance(found, list) else []


def _standing(row: Mapping[str, Any]) -> Standing:
    def count(name: str) -> int:
        value = row.get(name)
        return value if isinstance(value, int) else 0

    stamp = row.get("head_message_timestamp")
    return Standing(
        row["name"],
        count("messages_ready"),
        count("messages_unacknowledged"),
        count("consumers"),
        float(stamp) if isinstance(stamp, (int, float)) and stamp > 0 else None,
        _idle(row.get("idle_since")),
        bool(row.get("exclusive")),
    )


def _idle(since: Any) -> float | None:
    """Seconds; RabbitMQ writes `2026-11-21 19:00:00` or with a T and milliseconds, in UTC."""
    from ...protocol.errors import BadMessage
    from ...protocol.wire.dates import parse_iso

    if not isinstance(since, str):
        return None
    try:
        return max(0.0, time.time() - parse_iso(since.replace(" ", "T", 1)).timestamp())
    except BadMessage:
        return None
