"""What a worker and a sender are told comes from the configuration, once, and wrong values are named."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import pytest

from celeriac.compat.app.base import Celery
from celeriac.compat.app.settings_for_broker import broker_options
from celeriac.compat.app.settings_for_store import by_new_names
from celeriac.compat.app.settings_for_worker import worker_options
from celeriac.compat.exceptions import ImproperlyConfigured
from celeriac.worker.backends.settings import read


def conf(**settings: Any) -> Any:
    app = Celery("x", set_as_current=False)
    app.conf.update(settings)
    return app.conf


def test_the_defaults_are_celerys() -> None:
    options = worker_options(conf())
    assert options.broker.urls == ("amqp://localhost",)
    assert options.broker.retry
    assert options.broker.retry_at_start
    assert (options.pool.kind, options.pool.start_method, options.pool.alive_timeout) == ("prefork", "fork", 4.0)
    assert options.pool.concurrency >= 1
    assert (options.taking.prefetch, options.taking.eta_limit, options.taking.dead_queue) == (4, None, ".dead")
    assert options.taking.rate_limits
    assert options.telling.control
    assert not options.telling.events
    assert options.accept == {"json"}


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        ({"concurrency": 3}, "pool.concurrency", 3),
        ({"concurrency": "3"}, "pool.concurrency", 3),
        ({"pool": "solo"}, "pool.kind", "solo"),
        ({"pool_cls": int}, "pool.kind", int),
        ({"autoscale": "10,3"}, "pool.autoscale", (10, 3)),
        ({"autoscale": (2, 5)}, "pool.autoscale", (5, 2)),
        ({"autoscale": "7"}, "pool.autoscale", (7, 0)),
        ({"autoscale": "10,3"}, "pool.concurrency", 3),
        ({"time_limit": 5, "soft_time_limit": 2.5}, "pool.hard_limit", 5.0),
        ({"soft_time_limit": timedelta(seconds=2)}, "pool.soft_limit", 2.0),
        ({"max_tasks_per_child": "9"}, "pool.max_tasks", 9),
        ({"max_memory_per_child": 9}, "pool.max_memory", 9),
        ({"prefetch_multiplier": 0}, "taking.prefetch", 0),
        ({"task_events": True}, "telling.events", True),
        ({"statedb": "/x"}, "state_db", "/x"),
        ({"disable_rate_limits": True}, "taking.rate_limits", False),
        ({"pool_restarts": True}, "pool.restarts", True),
    ],
)
def test_the_command_line_wins(given: dict[str, Any], path: str, value: Any) -> None:
    settings = conf(worker_concurrency=8, worker_prefetch_multiplier=7, worker_pool="threads")
    found: Any = worker_options(settings, **given)
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


def test_what_is_not_said_is_the_settings() -> None:
    options = worker_options(
        conf(worker_pool="solo", worker_concurrency=2, task_time_limit=3), pool=None, time_limit=None
    )
    assert (options.pool.kind, options.pool.concurrency, options.pool.hard_limit) == ("solo", 2, 3.0)


@pytest.mark.parametrize("value", [None, 0, "auto", "several"])
def test_as_many_places_as_cpus(value: Any) -> None:
    assert worker_options(conf(worker_concurrency=value)).pool.concurrency >= 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("worker_prefetch_multiplier", -1),
        ("worker_prefetch_multiplier", "many"),
        ("worker_prefetch_multiplier", 1.5),
        ("task_time_limit", "soon"),
        ("task_time_limit", -3),
        ("worker_proc_alive_timeout", float("nan")),
        ("worker_pool_start_method", "thread"),
        ("worker_unknown_task", "drop"),
        ("accept_content", "json"),
        ("accept_content", None),
        ("broker_pool_limit", "x"),
        ("broker_connection_timeout", "x"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named(setting: str, value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=setting):
        worker_options(conf(**{setting: value}))


@pytest.mark.parametrize("value", ["a,b", "1,2,3", "0,0", "-1"])
def test_an_autoscale_that_cannot_be_meant(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="autoscale"):
        worker_options(conf(), autoscale=value)


@pytest.mark.parametrize(("text", "value"), [("false", False), ("0", False), ("yes", True), ("", False)])
def test_truth_as_a_text(text: str, value: bool) -> None:
    assert worker_options(conf(worker_lasting_revokes=text)).lasting_revokes is value


class TestBroker:
    @pytest.mark.parametrize(
        ("settings", "urls"),
        [
            ({"broker_url": "redis://a;b"}, ("redis://a", "redis://b")),
            ({"broker_url": ["redis://a", "amqp://b"]}, ("redis://a", "amqp://b")),
            ({"broker_url": "memory"}, ("memory://",)),
            ({"broker_url": "some.host"}, ("amqp://some.host",)),
            ({"broker_host": "h", "broker_transport": "redis"}, ("redis://h",)),
            ({"broker_transport": "redis"}, ("redis://localhost",)),
        ],
    )
    def test_urls(self, settings: dict[str, Any], urls: tuple[str, ...]) -> None:
        assert broker_options(conf(**settings)).urls == urls

    def test_reading_and_writing_may_differ(self) -> None:
        settings = conf(broker_url="redis://a", broker_write_url="redis://w", broker_read_url="redis://r")
        assert broker_options(settings).urls == ("redis://r",)
        assert broker_options(settings, write=True).urls == ("redis://w",)

    def test_options(self) -> None:
        settings = conf(
            broker_user="u",
            broker_password="p",
            broker_vhost="v",
            broker_port=3,
            broker_use_ssl={"keyfile": "x"},
            broker_heartbeat=30,
            broker_transport_options={"visibility_timeout": 9, "port": 4},
            broker_confirm=False,
        )
        options = broker_options(settings).options
        assert options["userid"] == options["username"] == "u"
        assert (options["password"], options["virtual_host"], options["port"]) == ("p", "v", 4)
        assert (options["ssl"], options["heartbeat"], options["visibility_timeout"]) == ({"keyfile": "x"}, 30.0, 9)
        assert options["confirm_publish"] is False
        assert options["delayed_delivery"] == "quorum"
        assert "heartbeat" not in broker_options(settings, write=True).options

    def test_transports_of_kombus_take_their_own_options_alone(self) -> None:
        settings = conf(broker_url="sqla+sqlite:///x", broker_user="u", broker_transport_options={"echo": True})
        assert broker_options(settings).options == {"echo": True}

    @pytest.mark.parametrize(
        ("settings", "url"),
        [
            ({"broker_port": 5}, "mongodb://h:5"),
            ({"broker_user": "u", "broker_password": "p/w"}, "mongodb://u:p%2Fw@h"),
            ({"broker_password": "p", "broker_vhost": "v"}, "mongodb://:p@h/v"),
        ],
    )
    def test_their_urls_are_made_of_parts(self, settings: dict[str, Any], url: str) -> None:
        assert broker_options(conf(broker_host="h", broker_transport="mongodb", **settings)).urls == (url,)

    def test_a_pool_of_none_keeps_nothing(self) -> None:
        assert broker_options(conf(broker_pool_limit=None)).pool_limit == 0
        assert broker_options(conf()).pool_limit == 10

    def test_connecting_anew(self) -> None:
        options = broker_options(conf(broker_connection_retry=False, broker_connection_max_retries=0))
        assert (options.retry, options.retry_at_start, options.max_retries) == (False, False, None)
        assert not broker_options(conf(broker_connection_retry_on_startup=False)).retry_at_start

    def test_no_password_is_shown(self) -> None:
        options = broker_options(conf(broker_url="redis://:hush@h", broker_password="hush"))
        assert "hush" not in repr(options)


class TestStore:
    @pytest.mark.parametrize(
        ("source", "namespace"),
        [
            ({"redis_socket_timeout": 3, "result_expires": 9, "broker_url": "redis://h"}, None),
            ({"CELERY_REDIS_SOCKET_TIMEOUT": 3, "CELERY_TASK_RESULT_EXPIRES": 9, "BROKER_URL": "redis://h"}, None),
            (
                {"CELERY_REDIS_SOCKET_TIMEOUT": 3, "CELERY_RESULT_EXPIRES": 9, "CELERY_BROKER_URL": "redis://h"},
                "CELERY",
            ),
        ],
    )
    def test_a_store_reads_settings_by_any_of_their_names(self, source: Any, namespace: str | None) -> None:
        app = Celery("x", set_as_current=False)
        app.config_from_object(source, namespace=namespace)
        settings = read(by_new_names(app.conf))
        assert settings.expires == 9
        assert settings.options["redis_socket_timeout"] == 3
        assert settings.options["broker_url"] == "redis://h"

    def test_what_is_no_setting_of_celerys_stays(self) -> None:
        settings = by_new_names(conf(mongodb_own_thing=1, result_backend="redis://h", broker_user="u"))
        assert settings["mongodb_own_thing"] == 1
        assert settings["result_backend"] == "redis://h"
        assert settings["broker_transport_options"]["userid"] == "u"

    def test_what_is_nobodys_is_not_read(self) -> None:
        """Django's settings raise when a `SECRET_KEY` that is not set is asked for."""

        class Django:
            CELERY_RESULT_EXPIRES = 9
            mongodb_own_thing = 1

            @property
            def SECRET_KEY(self) -> str:
                raise ValueError("must not be empty")

        app = Celery("x", set_as_current=False)
        app.config_from_object(Django(), namespace="CELERY")
        settings = by_new_names(app.conf)
        assert (settings["result_expires"], settings["mongodb_own_thing"]) == (9, 1)


def test_on_macos_processes_are_spawned_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_options(conf()).pool.start_method == "fork"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert worker_options(conf()).pool.start_method == "spawn"
    assert worker_options(conf(worker_pool_start_method="fork")).pool.start_method == "fork"
    assert worker_options(conf(), pool_start_method="fork").pool.start_method == "fork"
