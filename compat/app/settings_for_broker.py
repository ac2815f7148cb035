"""From the configuration to what the brokers of `worker/` are told: for who consumes, and for who sends."""

from __future__ import annotations

from collections.abc import Mapping

from ...protocol.hints import Any
from ...worker.broker_options import BrokerOptions
from ...worker.brokers import TABLE
from ...worker.brokers.failover import several
from .reading import flag, number, whole

_DEFAULT_HOST = "localhost"


def broker_options(conf: Any, *, write: bool = False) -> BrokerOptions:
    """How to reach the broker that `conf` names. What its URL and `broker_transport_options` say wins."""
    url = conf.broker_write_url if write else conf.broker_read_url
    urls = _urls(url, conf)
    retry = flag(conf, "broker_connection_retry")
    at_start = conf.broker_connection_retry_on_startup
    return BrokerOptions(
        urls=urls,
        options=_options(conf, urls, write=write),
        timeout=number(conf, "broker_connection_timeout") or 4.0,
        pool_limit=whole(conf, "broker_pool_limit") or 0,  # None keeps no connection, as in Celery
        pool_wait=number(conf, "broker_pool_acquire_timeout"),
        retry=retry,
        retry_at_start=retry if at_start is None else bool(at_start),
        max_retries=whole(conf, "broker_connection_max_retries") or None,
    )


def _urls(url: Any, conf: Any) -> tuple[str, ...]:
    """A host alone is one of the transport's, RabbitMQ's if none is named."""
    if not url:
        return (_of_host(_DEFAULT_HOST, conf),)
    return tuple(
        each if "://" in each else f"{each}://" if each in TABLE else _of_host(each, conf) for each in several(url)
    )


def _of_host(host: str, conf: Any) -> str:
    """The URL that the settings of its parts make; the brokers of ours read those parts from their options too."""
    transport = conf.broker_transport or "amqp"
    if transport in TABLE:
        return f"{transport}://{host}"
    from urllib.parse import quote  # for who names the parts of a URL

    user, password, port, vhost = conf.broker_user, conf.broker_password, conf.broker_port, conf.broker_vhost
    login = quote(user or "", safe="") + (":" + quote(password, safe="") if password else "")
    place = host + (f":{port}" if port else "") + ("/" + quote(vhost, safe="") if vhost else "")
    return f"{transport}://{login}@{place}" if login else f"{transport}://{place}"


def _options(conf: Any, urls: tuple[str, ...], *, write: bool) -> Mapping[str, Any]:
    """By the names that py-amqp and redis-py have for the same thing; each broker reads its own.

    kombu's transports take `broker_transport_options` alone: some hand on whatever they are given.
    """
    chosen = dict(conf.broker_transport_options or {})
    if any(_scheme(url) not in TABLE for url in urls):
        return chosen
    user = conf.broker_user
    named = {
        "userid": user,
        "username": user,
        "password": conf.broker_password,
        "virtual_host": conf.broker_vhost,
        "port": conf.broker_port,
        "login_method": conf.broker_login_method,
        "failover_strategy": conf.broker_failover_strategy,
        "ssl": conf.broker_use_ssl or None,
        "heartbeat": None if write else number(conf, "broker_heartbeat"),
        "confirm_publish": flag(conf, "broker_confirm"),
        "delayed_delivery": conf.broker_native_delayed_delivery_queue_type,
    }
    return {**{name: value for name, value in named.items() if value is not None}, **chosen}


def _scheme(url: str) -> str:
    """As `worker.brokers` tells it."""
    return url.partition("://")[0].partition("+")[0]
