"""The transport options of the Redis broker: which there are, and what those must be that nothing else reads first.

Law: names are kombu's and redis-py's. An option that nobody reads is named. One that cannot be meant is a `BadCall`
before anything is connected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...protocol.errors import BadCall, shown
from ...protocol.hints import Any
from ...protocol.wire.redis import Layout
from ..urls import pairs
from . import unknown

_OWN = frozenset({"lease", "body_encoding", "deadletter_queue", "unacked_restore_interval", "unacked_restore_throttle"})
# Of the place: the URL may have them too.
_PLACES = frozenset(
    {
        "socket_timeout",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_keepalive_options",
        "health_check_interval",
        "max_connections",  # never more than two here
        "retry_on_timeout",  # who sends tries again, by `task_publish_retry_policy`
        "client_name",
        "credential_provider",
        "username",
        "password",
        "db",
        "virtual_host",
    }
)
_BESIDE = frozenset(
    {
        "master_name",
        "min_other_sentinels",
        "sentinel_kwargs",
        "ssl",
        # RabbitMQ's, from settings that name no broker.
        "confirm_publish",
        "delayed_delivery",
        "failover_strategy",
        "heartbeat",
        "login_method",
        "userid",
        "port",
    }
)
OPTIONS = frozenset({*Layout.__match_args__, *_OWN, *_PLACES, *_BESIDE, *unknown.OF_WHO_SENDS})


def name_unknown(options: Mapping[str, Any], url: str = "") -> None:
    unknown.name("Redis", "transport option", options, OPTIONS)
    unknown.name("Redis", "option in a URL", pairs(url.partition("?")[2]), _PLACES)


def check(options: Mapping[str, Any]) -> None:
    """BadCall for what is wrong in the options that are no part of the place and the layout."""
    for name, (wanted, right) in _RULES.items():
        value = options.get(name)
        if value is not None and not right(value):
            raise BadCall(f"transport option {name}: expected {wanted}, got {shown(value)}")


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0.1 <= value < float("inf")  # noqa: PLR2004 - no lease is shorter


def _is_span(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


def _is_encoding(value: Any) -> bool:
    return isinstance(value, str) and value.lower() in ("base64", "utf-8")


# Option -> what it must be, in words and as a test.
_RULES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "lease": ("seconds, at least 0.1", _is_time),
    "unacked_restore_interval": ("seconds", _is_span),
    "unacked_restore_throttle": ("a number from 0", _is_span),
    "body_encoding": ("base64, utf-8 or None", _is_encoding),
    "deadletter_queue": ("the name of a queue", lambda value: isinstance(value, str)),
}
