"""Each thing that is wrong with a configuration is named, and nothing else is."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pytest

from celeriac.compat._state import _told_on_command_line
from celeriac.compat.app.base import Celery
from celeriac.compat.app.checking import announce, remarks
from celeriac.compat.exceptions import ImproperlyConfigured


def said(source: Any, namespace: str | None = None) -> dict[str, tuple[str, str]]:
    app = Celery("x", set_as_current=False)
    app.config_from_object(source, namespace=namespace)
    return {remark.setting: (remark.kind, remark.text) for remark in remarks(app.conf)}


@pytest.mark.parametrize(
    ("source", "namespace", "setting", "near"),
    [
        ({"task_serialzer": "json"}, None, "task_serialzer", "task_serializer"),
        ({"tsak_routes": {}}, None, "tsak_routes", "task_routes"),
        ({"timezon": "UTC"}, None, "timezon", "timezone"),
        ({"CELERY_TASK_SERIALIZR": "json"}, None, "CELERY_TASK_SERIALIZR", "CELERY_TASK_SERIALIZER"),
        ({"BROKER_ULR": ""}, None, "BROKER_ULR", "BROKER_URL"),
        ({"CELERYD_POOOL": "solo"}, None, "CELERYD_POOOL", "CELERYD_POOL"),
        ({"CELERY_TASK_ROUTS": {}}, "CELERY", "CELERY_TASK_ROUTS", "CELERY_TASK_ROUTES"),
        ({"mine_task_routs": {}}, "mine", "mine_task_routs", "mine_task_routes"),
    ],
)
def test_a_misspelt_name_has_its_nearest_right_one(source: Any, namespace: str, setting: str, near: str) -> None:
    assert said(source, namespace) == {setting: ("unknown", f"is no setting; did you mean {near}?")}


@pytest.mark.parametrize(
    ("source", "namespace", "setting", "home"),
    [
        ({"visibility_timeout": 3}, None, "visibility_timeout", "broker_transport_options"),
        ({"broker_visibility_timeout": 3}, None, "broker_visibility_timeout", "broker_transport_options"),
        ({"CELERY_VISIBILITY_TIMEOUT": 3}, "CELERY", "CELERY_VISIBILITY_TIMEOUT", "CELERY_BROKER_TRANSPORT_OPTIONS"),
        ({"BROKER_VISIBILITY_TIMEOUT": 3}, None, "BROKER_VISIBILITY_TIMEOUT", "BROKER_TRANSPORT_OPTIONS"),
        ({"result_chord_ordered": True}, None, "result_chord_ordered", "result_backend_transport_options"),
    ],
)
def test_an_option_of_a_transport_is_sent_home(source: Any, namespace: str, setting: str, home: str) -> None:
    assert said(source, namespace) == {setting: ("unknown", f"is no setting: it belongs into {home}")}


def test_an_unknown_name_that_is_near_to_nothing() -> None:
    assert said({"CELERY_QUUX": 1}, "CELERY") == {"CELERY_QUUX": ("unknown", "is no setting")}
    assert said({"worker_zzzzzzzzzzzzzzzz": 1}) == {"worker_zzzzzzzzzzzzzzzz": ("unknown", "is no setting")}


@pytest.mark.parametrize(
    ("source", "namespace"),
    [
        ({}, None),
        ({"my_constant": 3, "DEBUG": True, "SECRET_KEY": "x", "SQLALCHEMY_DATABASE_URI": ""}, None),
        ({"redbeat_redis_url": "x", "beat_dburi": "x", "flower_port": 1, "once": {}}, None),
        ({"CELERY_REDBEAT_LOCK_KEY": "x", "CELERY_DB_REUSE_MAX": 3, "TIME_ZONE": "UTC", "DEBUG": 1}, "CELERY"),
        ({"task_serializer": "json", "accept_content": ["json"], "task_routes": ({"a": "b"},)}, None),
        ({"CELERY_RESULT_BACKEND": "cache://", "CELERYBEAT_SCHEDULE": {}}, "CELERY"),
        ({"override_backends": {}, "broker_use_ssl": {"keyfile": "x"}, "broker_url": ["a://", "b://"]}, None),
        ({"task_queues": ["a", "b"], "worker_concurrency": "auto", "task_default_rate_limit": 3}, None),
        ({"task_time_limit": 3, "task_soft_time_limit": 2.5, "worker_state_db": None}, None),
        ({"timezone": timezone.utc, "worker_concurrency": 0, "result_cache_max": -1, "result_expires": 0}, None),
        ({"worker_concurrency": "4", "imports": "proj", "broker_failover_strategy": lambda urls: urls}, None),
    ],
)
def test_nothing_is_said_of_what_is_right_or_somebody_elses(source: Any, namespace: str | None) -> None:
    assert said(source, namespace) == {}


def test_names_of_a_module_that_are_no_settings() -> None:
    class Config:
        import os

        task_serializer = "json"

        class task_something: ...

        def worker_of_mine(self) -> None: ...

    assert said(Config) == {}


@pytest.mark.parametrize(
    ("setting", "value", "kind", "text"),
    [
        ("task_always_eager", "false", "wrong", "counts as true"),
        ("task_always_eager", [], "wrong", "True or False"),
        ("worker_prefetch_multiplier", "four", "wrong", "a whole number, not 'four'"),
        ("worker_prefetch_multiplier", 1.5, "wrong", "a whole number"),
        ("worker_prefetch_multiplier", True, "wrong", "a whole number"),
        ("worker_lost_wait", "soon", "wrong", "a number, not 'soon'"),
        ("task_queues", 3, "wrong", "a mapping"),
        ("accept_content", "json", "wrong", "a list"),
        ("imports", 3, "wrong", "a list"),
        ("task_default_queue", ["a"], "wrong", "a text, not ['a']"),
        ("worker_concurrency", "many", "wrong", "a whole number or 'auto'"),
        ("worker_concurrency", -2, "wrong", "a whole number or 'auto'"),
        ("task_default_rate_limit", "10/x", "wrong", "is no rate: '10/x'"),
        ("task_default_rate_limit", -1, "wrong", "is no rate: -1"),
        ("task_time_limit", -0.5, "wrong", "cannot be less than 0, and is -0.5"),
        ("broker_heartbeat", -1, "wrong", "cannot be less than 0"),
        ("result_expires", timedelta(seconds=-1), "wrong", "cannot be less than 0"),
        ("timezone", "Europe/Berln", "wrong", "did you mean Europe/Berlin?"),
        ("timezone", "../etc", "wrong", "there is no time zone '../etc'"),
        ("timezone", 3, "wrong", "is the name of a time zone, not 3"),
        ("task_protocol", 3, "wrong", "is 1 or 2, not 3"),
        ("worker_pool_start_method", "thread", "wrong", "'fork' or 'spawn'"),
        ("worker_unknown_task", "drop", "wrong", "'fail' or 'requeue'"),
        ("celeriac_profile", "quick", "wrong", "'compatible' or 'safe'"),
        ("task_publish_retry_policy", {str(n): n for n in range(99)}.keys(), "wrong", "..."),
        ("worker_agent", "a:b", "unsupported", "cell is not maintained"),
        ("worker_consumer", "a:b", "unsupported", "app.steps"),
        ("worker_timer_precision", 0.1, "ignored", "has no effect"),
    ],
)
def test_a_value(setting: str, value: Any, kind: str, text: str) -> None:
    found = said({setting: value})
    assert found.keys() == {setting}
    assert found[setting][0] == kind
    assert text in found[setting][1]


def test_what_has_no_effect_may_have_its_default() -> None:
    assert said({"worker_pool_putlocks": True, "worker_consumer": "celery.worker.consumer:Consumer"}) == {}


@pytest.mark.parametrize(
    ("source", "setting", "text"),
    [
        ({"task_soft_time_limit": 9, "task_time_limit": 9}, "task_soft_time_limit", "never reached"),
        ({"CELERYD_TASK_SOFT_TIME_LIMIT": 9, "CELERYD_TASK_TIME_LIMIT": 3}, "CELERYD_TASK_SOFT_TIME_LIMIT", "never"),
        ({"task_serializer": "pickle"}, "task_serializer", "not in accept_content"),
        ({"result_serializer": "pickle"}, "result_serializer", "not in accept_content"),
        (
            {"result_serializer": "json", "result_accept_content": ["yaml"]},
            "result_serializer",
            "result_accept_content",
        ),
        (
            {"task_queues": ["a"], "task_create_missing_queues": False, "task_default_queue": "b"},
            "task_default_queue",
            "not in task_queues",
        ),
        ({"beat_schedule": {"a": {"task": "t"}}}, "beat_schedule", "'a' has no schedule"),
        ({"beat_schedule": {"a": "t"}}, "beat_schedule", "'a' is 't', not a mapping"),
        ({"beat_schedule": {"a": {"task": "t", "schedule": "daily"}}}, "beat_schedule", "'a' is 'daily', not seconds"),
        ({"beat_schedule": {"a": {"task": "t", "schedule": -5}}}, "beat_schedule", "'a' is -5, not seconds"),
        (
            {"broker_transport_options": {"visibilty_timeout": 5, "of_somebody": 1}},
            "broker_transport_options",
            "did you mean 'visibility_timeout'?",
        ),
        (
            {"task_retry_on_worker_lost": True, "task_reject_on_worker_lost": True},
            "task_reject_on_worker_lost",
            "no effect",
        ),
        (
            {"worker_deduplicate_successful_tasks": True},
            "worker_deduplicate_successful_tasks",
            "needs a result_backend",
        ),
    ],
)
def test_settings_that_do_not_go_together(source: Any, setting: str, text: str) -> None:
    found = said(source)
    assert found.keys() == {setting}
    assert found[setting][0] == "contradiction"
    assert text in found[setting][1]


@pytest.mark.parametrize("accept", [["pickle"], ["application/x-python-serialize", "application/x-pickle"]])
def test_serializers_that_are_accepted_by_name_or_content_type(accept: list[str]) -> None:
    source = {"task_serializer": "pickle", "result_serializer": "pickle"}
    assert said({**source, "accept_content": accept}) == {}


def test_events_are_accepted_as_they_are_written() -> None:
    assert said({"event_serializer": "yaml"}) == {}


def test_what_the_command_line_says_is_no_contradiction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "memory://elsewhere")
    app = Celery("told", broker="memory://", set_as_current=False)
    assert any("CELERY_BROKER_URL" in each.text for each in remarks(app.conf))
    monkeypatch.setitem(_told_on_command_line, "CELERY_BROKER_URL", "memory://elsewhere")
    assert not remarks(app.conf)


def test_a_broker_that_nobody_serves_is_named() -> None:
    app = Celery("told", broker="redsi://there;memory://", set_as_current=False)
    (found,) = remarks(app.conf)
    assert found.setting == "broker_url"
    assert "no broker for 'redsi'" in found.text
    assert "did you mean 'redis'?" in found.text


def test_the_environment_wins_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://e")
    assert said({"broker_url": "redis://e"}) == {}
    assert "environment variable CELERY_BROKER_URL" in said({"broker_url": "redis://a"})["broker_url"][1]


def test_a_profile_that_comes_too_late() -> None:
    app = Celery("x", set_as_current=False)
    assert not app.conf.task_acks_late
    app.conf.celeriac_profile = "safe"
    assert "has no effect" in str(remarks(app.conf))


def test_announcing() -> None:
    app = Celery("x", set_as_current=False)
    app.conf.update(task_serialzer="json", worker_timer_precision=0.1)
    lines: list[str] = []
    announce(app.conf, lines.append)
    assert len(lines) == 2
    assert lines[0].startswith("task_serialzer: is no setting")


def test_being_strict() -> None:
    app = Celery("x", set_as_current=False)
    app.conf.update(worker_timer_precision=0.1, celeriac_strict_settings=True)
    lines: list[str] = []
    announce(app.conf, lines.append)
    assert len(lines) == 1
    app.conf.update(task_serialzer="json")
    with pytest.raises(ImproperlyConfigured, match="task_serialzer"):
        announce(app.conf, lines.append)


def test_a_worker_says_it_when_it_starts(caplog: pytest.LogCaptureFixture) -> None:
    app = Celery("x", set_as_current=False)
    app.conf.update(broker_url="memory://", worker_pool="solo", task_serialzer="json")
    controller = app.subclass_with_self("celery.worker.worker:WorkController")
    with caplog.at_level("WARNING", "celery.worker"):
        controller(hostname="w@h")
    assert [record.getMessage() for record in caplog.records] == [
        "task_serialzer: is no setting; did you mean task_serializer?"
    ]
    app.conf.celeriac_strict_settings = True
    with pytest.raises(ImproperlyConfigured, match="task_serialzer"):
        controller(hostname="w@h")
