"""kombu's connections and pools of an app, for whoever asks for them: celeriac's own sending needs none.

Law: what a call does not say, the configuration does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kombu import pools
from kombu.exceptions import LimitExceeded, OperationalError

if TYPE_CHECKING:
    from .base import Celery


def connection(
    app: Celery,
    url: Any,
    userid: Any,
    password: Any,
    virtual_host: Any,
    port: Any,
    ssl: Any,
    connect_timeout: Any,
    transport: Any,
    transport_options: Mapping[str, Any] | None,
    heartbeat: Any,
    login_method: Any,
    failover_strategy: Any,
) -> Any:
    conf = app.conf
    return app.amqp.Connection(
        url,
        userid or conf.broker_user,
        password or conf.broker_password,
        virtual_host or conf.broker_vhost,
        port or conf.broker_port,
        transport=transport or conf.broker_transport,
        ssl=app.either("broker_use_ssl", ssl),
        heartbeat=heartbeat,
        login_method=login_method or conf.broker_login_method,
        failover_strategy=failover_strategy or conf.broker_failover_strategy,
        transport_options=dict(conf.broker_transport_options, **transport_options or {}),
        connect_timeout=app.either("broker_connection_timeout", connect_timeout),
    )


_DEADLINES = {".redis": ("socket_timeout", "socket_connect_timeout"), ".amqp": ("read_timeout", "write_timeout")}
"""What kombu calls them. Unless told otherwise it waits for ever for a broker that is silent."""


def answering(app: Celery, *, write: bool = False) -> Any:
    """A connection for who wants an answer or an error: it waits `broker_connection_timeout` for each reply."""
    from .settings_for_broker import broker_options

    told = broker_options(app.conf, write=write)
    connect = app.connection_for_write if write else app.connection_for_read
    given = {name: value for url in told.urls for name, value in deadlines(url, told.timeout).items()}
    return connect(transport_options={**given, **(app.conf.broker_transport_options or {})})


def deadlines(url: str, seconds: float) -> dict[str, float]:
    """Transport options of kombu's with which no reply of this broker is waited for any longer."""
    from .producing import kind_of

    return dict.fromkeys(_DEADLINES.get(kind_of(url), ()), seconds)


def pool(app: Celery) -> Any:
    """The one of this app's broker; apps of one broker share it."""
    pools.set_limit(app.conf.broker_pool_limit)
    return pools.connections[app.connection_for_write()]


def acquired(app: Celery, pool: Any) -> Any:
    """A connection or a producer of this pool, waited for as long as `broker_pool_acquire_timeout` says."""
    timeout, limit = app.conf.broker_pool_acquire_timeout, app.conf.broker_pool_limit
    try:
        return pool.acquire(block=True, timeout=timeout)
    except LimitExceeded as problem:
        raise OperationalError(
            f"All {limit} broker connections of this process were in use for {timeout} s: "
            "raise broker_pool_limit or broker_pool_acquire_timeout, or look for what holds them."
        ) from problem
