"""What is known of kombu's transports, each by itself: what it can, what it needs, how long it may wait.

Law: only what a transport does not say of itself stands in a table here. Everything else is asked of its class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, get_transport_cls, virtual

from ...protocol.errors import BadCall
from . import TABLE
from .base import ABILITIES

# By `driver_type`, from kombu's own descriptions.
_WITH_PRIORITIES = frozenset({"mongodb", "zookeeper"})
# The other abilities are between a broker and its worker: nobody misses them.
_SAID = ("priority", "fanout", "park", "confirm", "dead-letter")
# By scheme, where ours mends kombu's.
_OWN = {"filesystem": ".kombu_filesystem", "sqla": ".kombu_sql", "sqlalchemy": ".kombu_sql"}
# By `driver_type`: the attribute of the channel that connects when it is first read.
_TOUCHED = {"sql": "session", "zookeeper": "client", "pyro": "shared_queues"}
# By class name: the libraries that define them may not be installed.
_NO_SUCH_QUEUE = frozenset({"DoesNotExistQueueException", "UndefinedQueueException", "ResourceNotFoundError"})
_MISCONFIGURED = frozenset({"ArgumentError", "NoSuchModuleError", "InvalidURI", "ConfigurationError"})
_EXTRAS = {
    "SQS": "sqs",
    "SLMQ": "slmq",
    "kafka": "confluentkafka",
    "sqla": "sqlalchemy",
}

Defaults = Callable[[str, float], Mapping[str, Any]]


def _long_poll(_url: str, _timeout: float) -> Mapping[str, Any]:
    """These wait on the server, whatever `take` was told, so for a second instead of their 5 or 10."""
    return {"wait_time_seconds": 1}


def _pubsub(url: str, timeout: float) -> Mapping[str, Any]:
    return {**_long_poll(url, timeout), "retry_timeout_seconds": 30}


def _database(url: str, timeout: float) -> Mapping[str, Any]:
    """Deadlines of the drivers that have them, as arguments of their `connect`."""
    dialect, _, driver = url.partition("+")[2].partition("://")[0].partition("+")
    arguments = _DRIVERS.get((dialect, driver))
    return {"connect_args": {name: max(int(timeout), 1) for name in arguments}} if arguments else {}


_LIBPQ = ("connect_timeout",)
_MYSQL = ("connect_timeout", "read_timeout", "write_timeout")
_DRIVERS = {
    ("postgresql", ""): _LIBPQ,
    ("postgresql", "psycopg2"): _LIBPQ,
    ("postgresql", "psycopg"): _LIBPQ,
    ("postgresql", "pg8000"): ("timeout",),
    ("mysql", ""): _MYSQL,
    ("mysql", "mysqldb"): _MYSQL,
    ("mysql", "pymysql"): _MYSQL,
    ("mariadb", "pymysql"): _MYSQL,
}
_DEADLINES: Mapping[str, Defaults] = {
    "sqs": _long_poll,
    "SQS": _long_poll,
    "azureservicebus": _long_poll,
    "confluentkafka": _long_poll,
    "kafka": _long_poll,
    "pgmq": _long_poll,
    "gcpubsub": _pubsub,
    "mongodb": lambda _url, timeout: {"connect_timeout": timeout},
    "sqla": _database,
    "sqlalchemy": _database,
}


class UnknownBroker(BadCall, KeyError):
    """No transport of this name: for kombu a key that its table lacks."""

    __str__ = Exception.__str__


def scheme(url: str) -> str:
    """`sqla` of `sqla+postgresql://...`."""
    return url.partition("://")[0].partition("+")[0]


def known(url: str) -> str:
    """The scheme, if kombu knows it."""
    name = scheme(url)
    if name not in TRANSPORT_ALIASES:
        there = sorted({*TABLE, *TRANSPORT_ALIASES})
        near = get_close_matches(name.lower(), there, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UnknownBroker(f"no broker for {name!r}; there are {', '.join(there)}{hint}")
    return name


def class_of(name: str) -> Any:
    """Our transport where kombu's needs mending, else kombu's."""
    module = _OWN.get(name)
    if module is not None:
        return import_module(module, __package__).Transport
    try:
        transport = get_transport_cls(name)
    except (NameError, AttributeError) as problem:  # kombu's modules break so where their library is missing
        raise ImportError(f"the library of kombu's {name} transport is not installed ({problem})") from problem
    if transport is None or not issubclass(transport, virtual.Transport):
        raise BadCall(f"{name}:// is AMQP through another library; amqp:// speaks the same to the same broker")
    return transport


def options(url: str, chosen: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """The user's transport options, and deadlines where the transport has them and the user set none."""
    deadlines = _DEADLINES.get(scheme(url))
    return {**(deadlines(url, timeout) if deadlines else {}), **chosen}


def touch(channel: Any) -> None:
    """Connect, where the transport would do so at the first message only."""
    attribute = _TOUCHED.get(channel.connection.driver_type)
    if attribute is not None:
        getattr(channel, attribute)


def keeps(channel: Any) -> bool:
    """The broker knows what was taken and not acknowledged, and gives it to others when this process is gone."""
    kind = type(channel)
    return kind.basic_ack is not virtual.Channel.basic_ack or kind.QoS.ack is not virtual.QoS.ack


def abilities(transport: Any, channel: Any) -> frozenset[str]:
    found = set()
    if channel.supports_fanout:
        found.add("fanout")
    if transport.driver_type in _WITH_PRIORITIES:
        found.add("priority")
    return frozenset(found)


def shortcomings(place: str, transport: Any, channel: Any, can: frozenset[str]) -> str:
    """One line for the log: what this broker does not do."""
    missing = [f"{name} ({ABILITIES[name]})" for name in _SAID if name not in can]
    line = f"{place}: through kombu's {transport.driver_type} transport there is no {', no '.join(missing)}"
    if "topic" not in transport.implements.exchange_type:
        line += ", no topic exchanges, so no events"
    if not keeps(channel):
        line += "; what is taken is in this process alone until it is settled: kill -9 loses it"
    return line


def errors_of(transport: Any) -> tuple[type[BaseException], ...]:
    return (*transport.connection_errors, *transport.channel_errors)


def says_no_such_queue(problem: BaseException) -> bool:
    return type(problem).__name__ in _NO_SUCH_QUEUE


def says_misconfigured(problem: BaseException) -> bool:
    own_names = {kind.__name__ for kind in type(problem).__mro__}
    return isinstance(problem, (TypeError, ValueError, LookupError, AttributeError)) or bool(own_names & _MISCONFIGURED)


def missing_library(place: str, name: str, problem: ImportError) -> str:
    return f"{place}: {problem}; pip install 'celeriac[{_EXTRAS.get(name, name)}]'"


def place(url: str) -> str:
    """The URL without user, password and query, which may all be secrets."""
    return re.sub(r"://.*@", "://", url.partition("?")[0])


def without_password(text: str, password: Any) -> str:
    return text.replace(password, "**") if isinstance(password, str) and password else text
