"""The names of workers: `name@host`, and the abbreviations that stand for their parts."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

from .functional import memoize
from .text import simple_format

if TYPE_CHECKING:
    from kombu.entity import Exchange, Queue

    WORKER_DIRECT_EXCHANGE: Exchange

__all__ = (
    "anon_nodename",
    "default_nodename",
    "gethostname",
    "host_format",
    "node_format",
    "nodename",
    "nodesplit",
    "worker_direct",
)  # fmt: skip

WORKER_DIRECT_QUEUE_FORMAT = "{hostname}.dq2"
NODENAME_SEP = "@"
NODENAME_DEFAULT = "celery"

gethostname = memoize(1, Cache=lambda limit: {})(socket.gethostname)


def __getattr__(name: str) -> Any:
    if name == "WORKER_DIRECT_EXCHANGE":
        from kombu.entity import Exchange

        return globals().setdefault(name, Exchange("C.dq2"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def worker_direct(hostname: Any) -> Queue:
    """The queue that only the worker of this name takes from."""
    from kombu.entity import Queue

    if isinstance(hostname, Queue):
        return hostname
    exchange = __getattr__("WORKER_DIRECT_EXCHANGE")
    return Queue(WORKER_DIRECT_QUEUE_FORMAT.format(hostname=hostname), exchange, hostname)


def nodename(name: str, hostname: str) -> str:
    """Both as one name."""
    return f"{name}{NODENAME_SEP}{hostname}"


def anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    """The name of this process, which is no worker."""
    return nodename(f"{prefix}{os.getpid()}", hostname or gethostname())


def nodesplit(name: str) -> tuple[None, str] | list[str]:
    """The name and the host; a host alone has no name."""
    parts = name.split(NODENAME_SEP, 1)
    return (None, parts[0]) if len(parts) == 1 else parts


def default_nodename(hostname: str | None, default_name: str = NODENAME_DEFAULT) -> str:
    """The full name, where parts of it may be missing."""
    name, host = nodesplit(hostname or "")
    return nodename(name or default_name, host or gethostname())


def node_format(s: str, name: str, **extra: Any) -> str:
    """The text with the abbreviations filled in for this worker."""
    shortname, host = nodesplit(name)
    return host_format(s, host, shortname or NODENAME_DEFAULT, p=name, **extra)


def _fmt_process_index(prefix: str = "", default: str = "0") -> str:
    from .log import current_process_index

    index = current_process_index()
    return f"{prefix}{index}" if index else default


_fmt_process_index_with_prefix = partial(_fmt_process_index, "-", "")


def host_format(s: str, host: str | None = None, name: str | None = None, **extra: Any) -> str:
    """The text with `%h`, `%n`, `%d`, `%i` and `%I` filled in."""
    host = host or gethostname()
    hname, _, domain = host.partition(".")
    keys: dict[str, Any] = {
        "h": host,
        "n": name or hname,
        "d": domain,
        "i": _fmt_process_index,
        "I": _fmt_process_index_with_prefix,
        **extra,
    }
    return simple_format(s, keys)
