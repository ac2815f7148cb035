"""Celery's result settings as frozen values."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire.result import Result, build
from celeriac.protocol.wire.stores import Keys
from celeriac.worker import backends
from celeriac.worker.backends.base import Retry, Settings
from celeriac.worker.backends.disabled import NoStore
from celeriac.worker.backends.retrying import Retrying
from celeriac.worker.backends.settings import read


def test_nothing_set_is_what_celery_has_set() -> None:
    settings = read({})
    assert (settings.expires, settings.failure_expires, settings.chord_expires) == (86400, None, None)
    assert (settings.chord_ordered, settings.chord_claim, settings.retry) == (True, 6, None)
    assert (settings.codec.serializer, settings.codec.accept, settings.codec.compress) == (
        "json",
        frozenset({"application/json"}),
        None,
    )
    assert settings.keys == Keys()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(timedelta(hours=2), 7200), (60, 60), (0.2, 1), (0, 0), (None, 0), (timedelta(0), 0), ("90", 90)],
)
def test_how_long_results_are_kept(value: Any, seconds: int) -> None:
    assert read({"result_expires": value}).expires == seconds


def test_failures_and_chords_may_have_a_time_of_their_own() -> None:
    settings = read({"result_expires": 100, "result_failure_expires": 500, "result_chord_expires": 50})
    assert (settings.failure_expires, settings.chord_seconds, settings.chord_result_seconds) == (500, 50, 100)
    assert read({"result_expires": 100, "result_chord_expires": 500}).chord_result_seconds == 500
    assert read({"result_expires": 0, "result_chord_expires": 500}).chord_result_seconds == 0
    assert (read({"result_expires": 100}).chord_seconds, read({"result_chord_expires": 0}).chord_seconds) == (100, 0)


def test_how_results_are_written_and_what_is_read() -> None:
    conf = {"result_serializer": "yaml", "result_compression": "gzip", "accept_content": ["pickle"]}
    codec = read(conf).codec
    assert (codec.serializer, codec.compress, codec.accept) == ("yaml", "gzip", {"application/x-python-serialize"})
    accept = read({**conf, "result_accept_content": ["json", "application/x-yaml"]}).codec.accept
    assert accept == {"application/json", "application/x-yaml"}
    assert build(Result("x"), codec).startswith(b"\x00celery-compressed\x00application/x-gzip")


def test_transport_options() -> None:
    settings = read({
        "result_backend_transport_options": {"global_keyprefix": "mine", "result_chord_ordered": False, "master_name": "m"},
        "redis_db": 3,
        "redis_password": None,
        "database_engine_options": {"echo": True},
        "task_always_eager": True,
        "result_chord_join_timeout": 30,
    })  # fmt: skip
    assert (settings.keys.prefix, settings.chord_ordered, settings.chord_claim) == ("mine_", False, 60)
    assert settings.options["result_backend_transport_options"]["master_name"] == "m"
    assert set(settings.options) == {"result_backend_transport_options", "redis_db", "database_engine_options"}
    assert read({"result_chord_join_timeout": None}).chord_claim == 10


def test_retries() -> None:
    assert read({"result_backend_always_retry": True}).retry == Retry(math.inf, 0.01, 10.0)
    limits = {
        "result_backend_always_retry": True,
        "result_backend_max_retries": 3,
        "result_backend_base_sleep_between_retries_ms": 200,
        "result_backend_max_sleep_between_retries_ms": 1000,
    }
    assert read(limits).retry == Retry(3, 0.2, 1.0)
    assert read(limits | {"result_backend_max_retries": None}).retry == Retry(math.inf, 0.2, 1.0)
    store = backends.connect("memory://", read(limits))
    assert isinstance(store, Retrying)


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ({"result_expires": -1}, "result_expires is a time span"),
        ({"result_expires": "tomorrow"}, "result_expires is a time span"),
        ({"result_expires": math.nan}, "result_expires is a time span"),
        ({"result_expires": math.inf}, "result_expires is a time span"),
        ({"result_failure_expires": []}, "result_failure_expires is a time span"),
        ({"result_serializer": "jsno"}, "result_serializer: there is no .*jsno.* json"),
        ({"result_compression": "zipp"}, "result_compression: there is no .*zipp.*gzip"),
        ({"result_accept_content": "json"}, "result_accept_content is a list"),
        ({"accept_content": 5}, "accept_content is a list"),
        ({"accept_content": ["jsno"]}, "jsno"),
        ({"result_chord_join_timeout": "long"}, "result_chord_join_timeout is a number"),
        ({"result_backend_always_retry": True, "result_backend_max_retries": -1}, "max_retries is a number"),
        ({"result_backend_transport_options": "x"}, "result_backend_transport_options is a mapping"),
        ({"result_backend_transport_options": {"global_keyprefix": 3}}, "global_keyprefix is a text"),
    ],
)
def test_what_is_wrong_is_named(conf: dict[str, Any], says: str) -> None:
    with pytest.raises(BadCall, match=says):
        read(conf)


class TestTheDoor:
    def test_an_unknown_scheme(self) -> None:
        with pytest.raises(BadCall, match=r"no result store for 'nosuch'; there are .*redis"):
            backends.connect("nosuch://")

    def test_a_bare_name_is_a_scheme(self) -> None:
        assert type(backends.connect("memory")) is type(backends.connect("memory://"))

    @pytest.mark.parametrize("url", [None, "", "disabled", "disabled://"])
    def test_no_store_drops_results_and_refuses_who_asks(self, url: str | None) -> None:
        store = backends.connect(url, Settings())
        assert store.store(Result("x"))
        store.forget("x")
        store.close()
        for ask in (
            lambda: store.fetch("x"),
            lambda: store.fetch_many(["x"]),
            lambda: store.wait(["x"], 0),
            lambda: store.fetch_group("x"),
        ):
            with pytest.raises(NoStore, match="No result backend is configured"):
                ask()
        for start in (lambda: store.chord_start("x", 1), lambda: store.chord_grow("x")):
            with pytest.raises(NotImplementedError, match="Starting chords requires a result backend to be configured"):
                start()
        with pytest.raises(NoStore):
            store.store_group(None)  # type: ignore[arg-type]  # it is not looked at
        with pytest.raises(NoStore):
            store.chord_part("x", None, None, "")  # type: ignore[arg-type]  # it is not looked at
