"""Celery's `result_*` settings, read once into frozen values.

Law: names and meanings are Celery's, lower-case. A value that cannot be meant is a `BadCall` that names its setting;
what is not set keeps Celery's default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ...protocol.errors import BadCall, shown
from ...protocol.wire.chord_keys import claim_seconds
from ...protocol.wire.compression import BUILTIN as COMPRESSIONS
from ...protocol.wire.serializers import BUILTIN, Serializers, accepted
from ...protocol.wire.stored import Codec
from ...protocol.wire.stores import DAY, Keys
from .base import Retry, Settings

# Settings of one kind of store, which that store reads itself.
OWN = (
    "redis_",
    "database_",
    "cache_backend",
    "mongodb_",
    "elasticsearch_",
    "cassandra_",
    "couchbase_",
    "couchdb_",
    "cosmosdbsql_",
    "dynamodb_",
    "arangodb_",
    "azureblockblob_",
    "s3_",
    "gcs_",
    "consul_",
    "result_backend_transport_options",
    "result_exchange",
    "result_exchange_type",
    "result_persistent",
    "result_queue_per_task",
    "broker_connection_timeout",
    "broker_read_url",
    "broker_transport_options",
    "broker_url",
    "broker_write_url",
)


def read(conf: Mapping[str, Any], table: Serializers = BUILTIN) -> Settings:
    """The settings of a result store in a configuration, whichever store it is."""
    transport = _mapping(conf, "result_backend_transport_options")
    return Settings(
        codec=_codec(conf, table),
        keys=Keys.under(_text(transport, "global_keyprefix")),
        expires=_expires(conf, "result_expires", DAY) or 0,
        failure_expires=_expires(conf, "result_failure_expires", None),
        chord_expires=_expires(conf, "result_chord_expires", None),
        chord_ordered=bool(transport.get("result_chord_ordered", True)),
        chord_claim=claim_seconds(_number(conf, "result_chord_join_timeout", 3.0)),
        retry=_retry(conf) if conf.get("result_backend_always_retry") else None,
        options={name: value for name, value in conf.items() if name.startswith(OWN) and value is not None},
    )


def _codec(conf: Mapping[str, Any], table: Serializers) -> Codec:
    serializer = conf.get("result_serializer") or "json"
    if serializer not in table:
        raise BadCall(f"result_serializer: there is no {shown(serializer)}; there are {', '.join(sorted(table))}")
    compression = conf.get("result_compression") or None
    if compression is not None and compression not in COMPRESSIONS:
        known = ", ".join(sorted(COMPRESSIONS))
        raise BadCall(f"result_compression: there is no {shown(compression)}; there are {known}")
    accept = conf.get("result_accept_content")
    setting = "accept_content" if accept is None else "result_accept_content"
    accept = conf.get("accept_content", ["json"]) if accept is None else accept
    if isinstance(accept, (str, bytes)) or not hasattr(accept, "__iter__"):
        raise BadCall(f"{setting} is a list of serializers, not {shown(accept)}")
    return Codec(serializer, accepted(accept, table), compression, table)


def _expires(conf: Mapping[str, Any], name: str, default: int | None) -> int | None:
    """Whole seconds, a part of one rounded up: 0 is for ever, which nobody means by half a second."""
    if name not in conf:
        return default
    value = conf[name]
    if value is None:
        return 0 if default is not None else None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    try:
        whole = math.ceil(float(seconds))
    except (TypeError, ValueError, OverflowError):
        whole = -1
    if not 0 <= whole < 2**63 // 1000:
        raise BadCall(f"{name} is a time span or a number of seconds, and not negative; not {shown(value)}")
    return whole


def _retry(conf: Mapping[str, Any]) -> Retry:
    most = _number(conf, "result_backend_max_retries", math.inf)
    first = _number(conf, "result_backend_base_sleep_between_retries_ms", 10)
    longest = _number(conf, "result_backend_max_sleep_between_retries_ms", 10_000)
    return Retry(math.inf if most is None else most, (first or 0) / 1000, (longest or 0) / 1000)


def _number(conf: Mapping[str, Any], name: str, default: float) -> float | None:
    value = conf.get(name, default)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if not number >= 0:
        raise BadCall(f"{name} is a number that is not negative, not {shown(value)}")
    return number


def _mapping(conf: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = conf.get(name) or {}
    if not isinstance(value, Mapping):
        raise BadCall(f"{name} is a mapping, not {shown(value)}")
    return value


def _text(options: Mapping[str, Any], name: str) -> str | None:
    value = options.get(name)
    if value is not None and not isinstance(value, str):
        raise BadCall(f"{name} is a text, not {shown(value)}")
    return value
