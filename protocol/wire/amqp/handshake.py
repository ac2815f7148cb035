"""From `connection.start` to `connection.close-ok`: what a client answers, and how a close is read.

Law: decisions as values, by py-amqp's rules. Who sends them, and when, is the transport's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...errors import BadCall, BadMessage
from ...hints import Any, NamedTuple
from .frames import DEFAULT_FRAME_MAX
from .methods import name_of
from .table import write_table

FRAME_MIN = 4096  # every peer must take frames of this size
FRAME_LIMIT = 1 << 24  # we hold no larger frame in memory, whatever the broker allows
DEFAULT_CHANNEL_MAX = 65535

CAPABILITIES = ("consumer_cancel_notify", "connection.blocked", "authentication_failure_close")


def plain(user: str, password: str) -> bytes:
    return f"\0{user}\0{password}".encode()


def amqplain(user: str, password: str) -> bytes:
    """A table without its length."""
    return write_table({"LOGIN": user, "PASSWORD": password})[4:]


def external(_user: str, _password: str) -> bytes:
    """Who we are is in our TLS certificate."""
    return b""


MECHANISMS = {"PLAIN": plain, "AMQPLAIN": amqplain, "EXTERNAL": external}


def start_ok(
    start: Mapping[str, Any],
    user: str,
    password: str,
    *,
    login_methods: Sequence[str] = ("PLAIN", "AMQPLAIN"),
    product: str = "celeriac",
    version: str = "",
    properties: Mapping[str, Any] | None = None,
    locale: str = "en_US",
) -> dict[str, Any]:
    """The answer to `connection.start`: the first login method that both sides know, the capabilities both have."""
    unknown = [method for method in login_methods if method not in MECHANISMS]
    if unknown:
        raise BadCall(f"unknown login method {', '.join(unknown)}; there are {', '.join(MECHANISMS)}")
    offered = str(start.get("mechanisms", "")).split()
    chosen = next((method for method in login_methods if method in offered), None)
    if chosen is None:
        why = f"the server offers {' '.join(offered) or 'nothing'}, we can {' '.join(login_methods)}"
        raise BadMessage("connection.start", why, field="mechanisms")
    server = start.get("server_properties")
    theirs = server.get("capabilities") if isinstance(server, Mapping) else None
    common = {name: True for name in CAPABILITIES if isinstance(theirs, Mapping) and theirs.get(name)}
    client: dict[str, Any] = {"product": product, "product_version": version, **(properties or {})}
    if common:
        client["capabilities"] = common
    response = MECHANISMS[chosen](user, password)
    return {"client_properties": client, "mechanism": chosen, "response": response, "locale": locale}


def tune_ok(tune: Mapping[str, int], heartbeat: int = 0) -> dict[str, int]:
    """The answer to `connection.tune`: the server's limits where it has any, the shorter of two heartbeats.

    Without a heartbeat of our own (0) there is none, whatever the server asks for.
    """
    frame_max = min(tune["frame_max"] or DEFAULT_FRAME_MAX, FRAME_LIMIT)
    if frame_max < FRAME_MIN:
        raise BadMessage("connection.tune", f"{FRAME_MIN} at least, got {frame_max}", field="frame_max")
    theirs = tune["heartbeat"]
    return {
        "channel_max": tune["channel_max"] or DEFAULT_CHANNEL_MAX,
        "frame_max": frame_max,
        "heartbeat": min(theirs, heartbeat) if theirs and heartbeat else heartbeat,
    }


def open_connection(virtual_host: str) -> dict[str, Any]:
    return {"virtual_host": virtual_host, "capabilities": "", "insist": False}


def orderly_close() -> dict[str, Any]:
    """Fields of `channel.close` and `connection.close` when all is well: Celery's clients say 0, not 200."""
    return {"reply_code": 0, "reply_text": "", "class_id": 0, "method_id": 0}


# -- being closed --


class Closed(NamedTuple):
    """Why the broker closed a channel or the connection."""

    code: int
    name: str
    text: str
    method: str  # what we did, when the broker says it

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.code), self.name, self.text and f"({self.text})", self.method)))


CODES = {
    200: "reply-success",
    311: "content-too-large",
    312: "no-route",
    313: "no-consumers",
    320: "connection-forced",
    402: "invalid-path",
    403: "access-refused",
    404: "not-found",
    405: "resource-locked",
    406: "precondition-failed",
    501: "frame-error",
    502: "syntax-error",
    503: "command-invalid",
    504: "channel-error",
    505: "unexpected-frame",
    506: "resource-error",
    530: "not-allowed",
    540: "not-implemented",
    541: "internal-error",
}


def read_close(args: Mapping[str, Any]) -> Closed:
    """The fields of `channel.close` or `connection.close` as the broker sent it."""
    code = args["reply_code"]
    return Closed(code, CODES.get(code, ""), args["reply_text"], name_of(args["class_id"], args["method_id"]))


def is_orderly(closed: Closed) -> bool:
    return closed.code in {0, 200}
