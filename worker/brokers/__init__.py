"""Brokers by the scheme of their URL. A row is the module that serves it; nothing is imported before it is asked for.

Law of this folder: a broker knows protocol/ and its own library, and nothing of the worker around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from ...protocol.hints import Any
from ..late import uncollected
from .base import Broker

TABLE: Mapping[str, str] = {
    "amqp": ".amqp",
    "amqps": ".amqp",
    "pyamqp": ".amqp",
    "memory": ".memory",
    "redis": ".redis",
    "rediss": ".redis",
    "valkey": ".redis",
    "valkeys": ".redis",
    "unix": ".redis",
    "socket": ".redis",
    "sentinel": ".redis",
    "embedded": ".embedded",
}
# It knows kombu's schemes, and says so of one that nobody knows.
FALLBACK = ".kombu"


def check(url: str) -> None:
    """BadCall for a scheme that nobody serves; nothing is connected."""
    if (url.partition("://")[0] if "://" in url else url).partition("+")[0] not in TABLE:
        import_module(".kombu_transports", __name__).known(url)


def connect(url: str, options: Mapping[str, Any] | None = None, timeout: float = 4.0) -> Broker:
    """A connected broker for this URL. `options` are `broker_transport_options`, `timeout` is for connecting."""
    scheme = url.partition("://")[0] if "://" in url else url
    module = TABLE.get(scheme.partition("+")[0], FALLBACK)
    with uncollected():
        served = import_module(module, __name__)
    broker: Broker = served.connect(url, dict(options or {}), timeout)
    return broker
