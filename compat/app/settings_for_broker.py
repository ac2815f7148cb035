"""From the configuration to what the brokers of `worker/` are told: for who consumes, and for who sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...worker.brokers import TABLE
from ...worker.brokers.failover import several
from ...worker.options import BrokerOptions
from .reading import flag, number, whole

_DEFAULT_HOST = "localhost"


def broker_options(conf: Any, *, write: bool = False) -> BrokerOptions:
    """How to reach the broker that `conf` names. What its URL and `broker_transport_options` say wins."""
    url = conf.broker_write_url if write else conf.broker_read_url
    retry = flag(conf, "broker_connection_retry")
    at_start = conf.broker_connection_retry_on_startup
    return BrokerOptions(
        urls=_urls(url, conf.broker_transport),
        options=_options(conf, write=write),
        timeout=number(conf, "broker_connection_timeout") or 4.0,
        pool_limit=whole(conf, "broker_pool_limit") or 0,  # None keeps no connection, as in Celery
        pool_wait=number(conf, "broker_pool_acquire_timeout"),
        retry=retry,
        retry_at_start=retry if at_start is None else bool(at_start),
        max_retries=whole(conf, "broker_connection_max_retries") or None,
    )


def _urls(url: Any, transport: str | None) -> tuple[str, ...]:
    """A host alone is one of the transport's, RabbitMQ's if none is named."""
    if not url:
        return (f"{transport or 'amqp'}://{_DEFAULT_HOST}",)
    return tuple(
        each if "://" in each else f"{each}://" if each in TABLE else f"{transport or 'amqp'}://{each}"
        for each in several(url)
    )


def _options(conf: Any, *, write: bool) -> Mapping[str, Any]:
    """By the names that py-amqp, redis-py and kombu have for the same thing; each broker reads its own."""
    user, password, vhost = conf.broker_user, conf.broker_password, conf.broker_vhost
    named = {
        "userid": user,
        "username": user,
        "password": password,
        "virtual_host": vhost,
        "port": conf.broker_port,
        "login_method": conf.broker_login_method,
        "failover_strategy": conf.broker_failover_strategy,
        "ssl": conf.broker_use_ssl or None,
        "heartbeat": None if write else number(conf, "broker_heartbeat"),
    }
    return {
        **{name: value for name, value in named.items() if value is not None},
        "confirm_publish": flag(conf, "broker_confirm"),
        "delayed_delivery": conf.broker_native_delayed_delivery_queue_type,
        **(conf.broker_transport_options or {}),
    }
