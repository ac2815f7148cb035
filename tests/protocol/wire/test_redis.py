"""The layout's names and command lists, for kombu's defaults and for every option that changes them."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire import redis, redis_scripts
from celeriac.protocol.wire.redis import Layout

PLAIN = Layout()
ODD = Layout.from_options(
    {"global_keyprefix": "pfx:", "sep": ":", "priority_steps": [0, 5], "unacked_key": "u", "polling_interval": 1}, 2
)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"sep": ""}, "sep"),
        ({"global_keyprefix": None}, "global_keyprefix"),
        ({"priority_steps": []}, "priority_steps"),
        ({"priority_steps": [3, 0]}, "priority_steps"),
        ({"priority_steps": [0, 0]}, "priority_steps"),
        ({"priority_steps": [0, "3"]}, "priority_steps"),
        ({"priority_steps": [False, 3]}, "priority_steps"),
        ({"priority_steps": "0369"}, "priority_steps"),
        ({"queue_order_strategy": "random"}, "queue_order_strategy"),
        ({"queue_order_strategy": []}, "queue_order_strategy"),
        ({"fanout_prefix": 5}, "fanout_prefix"),
        ({"fanout_patterns": "no"}, "fanout_patterns"),
        ({"sentinel_fanout_compat": None}, "sentinel_fanout_compat"),
        ({"ack_emulation": "x"}, "ack_emulation"),
        ({"unacked_key": ""}, "unacked_key"),
        ({"unacked_index_key": 1}, "unacked_index_key"),
        ({"unacked_mutex_key": b"x"}, "unacked_mutex_key"),
        ({"unacked_mutex_expire": 0}, "unacked_mutex_expire"),
        ({"unacked_restore_limit": 0}, "unacked_restore_limit"),
        ({"unacked_restore_limit": "all"}, "unacked_restore_limit"),
        ({"visibility_timeout": True}, "visibility_timeout"),
        ({"visibility_timeout": float("inf")}, "visibility_timeout"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], name: str) -> None:
    with pytest.raises(BadCall, match=f"transport option {name}: expected"):
        Layout.from_options(options)


def test_a_wrong_database_is_named() -> None:
    for db in (-1, "0"):
        with pytest.raises(BadCall, match="db"):
            Layout.from_options({}, db)  # type: ignore[arg-type]


def test_options_become_names() -> None:
    assert ODD.list_keys("a", "b") == ["pfx:a", "pfx:b", "pfx:a:5", "pfx:b:5"]
    assert (ODD.unacked, ODD.unacked_index, ODD.unacked_mutex) == ("pfx:u", "pfx:unacked_index", "pfx:unacked_mutex")
    assert ODD.binding("x") == "pfx:_kombu.binding.x"
    assert ODD.permanent_binding("x") == "pfx:_kombu.binding_permanent.x"
    assert ODD.binding_deadlines == "pfx:_kombu.binding_deadlines"
    assert ODD.key("x") == "pfx:x"
    assert Layout.from_options({"priority_steps": (1, 2), "db": 9}).db == 0
    assert Layout.from_options({"priority_steps": range(10)}).list_key("q", 4) == "q\x06\x164"


@pytest.mark.parametrize(
    ("priority", "step"), [(0, 0), (2, 0), (3, 3), (5, 3), (6, 6), (9, 9), (42, 9), (-3, 0), (None, 0), ("x", 0)]
)
def test_steps(priority: object, step: int) -> None:
    assert PLAIN.step(priority) == step
    assert PLAIN.list_key("q", priority) == (f"q\x06\x16{step}" if step else "q")


def test_a_first_step_above_zero_sends_zero_to_the_last_as_in_kombu() -> None:
    assert Layout(priority_steps=(2, 7)).step(0) == 7


@pytest.mark.parametrize(
    ("options", "channels"),
    [
        ({}, ["/2.ex/k"]),
        ({"fanout_prefix": True}, ["/2.ex/k"]),
        ({"fanout_prefix": False}, ["ex/k"]),
        ({"fanout_prefix": None}, ["ex/k"]),
        ({"fanout_prefix": ""}, ["ex/k"]),
        ({"fanout_prefix": "/mine.{db}."}, ["/mine.2.ex/k"]),
        ({"fanout_patterns": False}, ["/2.ex"]),
        ({"sentinel_fanout_compat": True}, ["/2.ex/k", "/{db}.ex/k"]),
        ({"sentinel_fanout_compat": True, "fanout_prefix": "/own."}, ["/own.ex/k"]),
        ({"global_keyprefix": "p:"}, ["p:/2.ex/k"]),
    ],
)
def test_fanout_channels(options: dict[str, Any], channels: list[str]) -> None:
    layout = Layout.from_options(options, 2)
    assert redis.channels(layout, "ex", "k") == channels
    assert redis.publish(layout, "ex", "k", b"{}") == [("PUBLISH", channel, b"{}") for channel in channels]
    for channel in channels:
        assert redis.exchange_of(layout, channel.encode()) == "ex"
    assert redis.channels(layout, "ex", "")[0] == channels[0].removesuffix("/k")


def test_fanout_subscriptions() -> None:
    assert redis.subscribe(PLAIN, [("celeryev", "worker.#"), ("celery.pidbox", "")]) == (
        "PSUBSCRIBE",
        "/0.celeryev/worker.*",
        "/0.celery.pidbox",
    )
    assert redis.unsubscribe(PLAIN, [("celery.pidbox", "")]) == ("PUNSUBSCRIBE", "/0.celery.pidbox")


def test_a_channel_of_another_database_still_says_its_exchange() -> None:
    assert redis.exchange_of(PLAIN, b"/7.celeryev/task.multi") == "celeryev"
    assert redis.exchange_of(PLAIN, b"\xff") == "\ufffd"


def test_queue_commands() -> None:
    assert (
        redis.declare(ODD, "q")
        == redis.size(ODD, "q")
        == [
            ("MULTI",),
            ("LLEN", "pfx:q"),
            ("LLEN", "pfx:q:5"),
            ("EXEC",),
        ]
    )
    assert redis.purge(ODD, "q")[1:3] == [("LLEN", "pfx:q"), ("DEL", "pfx:q")]
    assert redis.purged([2, 1, 3, 1, b"?", 0]) == 5
    assert redis.pops(ODD, "q") == [("RPOP", "pfx:q"), ("RPOP", "pfx:q:5")]
    assert redis.block(ODD, ["b", "a"], 1) == ("BRPOP", "pfx:b", "pfx:a", "pfx:b:5", "pfx:a:5", 1)
    assert redis.watch(ODD, "q", 1, 5) == ("BLMOVE", "pfx:q:5", "pfx:q:5", "RIGHT", "RIGHT", 1)
    assert redis.members(ODD, "x") == ("SMEMBERS", "pfx:_kombu.binding.x")


def test_pushing() -> None:
    assert redis.push(ODD, "q", [b"1", b"2"], 9) == [("LPUSH", "pfx:q:5", b"1", b"2")]
    assert redis.push(ODD, "q", [b"1"], expires=30_000) == [
        ("MULTI",),
        ("LPUSH", "pfx:q", b"1"),
        ("PEXPIRE", "pfx:q", 30_000),
        ("PEXPIRE", "pfx:q:5", 30_000),
        ("EXEC",),
    ]
    with pytest.raises(BadCall):
        redis.push(ODD, "q", [])


def test_binding() -> None:
    entry = b"k.#:^k\\..*?$:q"
    assert redis.bind(ODD, "ex", "k.#", "q", "topic") == [
        ("MULTI",),
        ("SADD", "pfx:_kombu.binding.ex", entry),
        ("SADD", "pfx:_kombu.binding_permanent.ex", entry),
        ("EXEC",),
    ]
    assert redis.bind(ODD, "ex", "k", "q", permanent=False) == [("SADD", "pfx:_kombu.binding.ex", b"k::q")]
    (refreshed,) = redis.bind(ODD, "ex", "k", "q", expires=10_000)
    assert refreshed[1] == redis_scripts.REFRESH_BINDING.sha
    assert refreshed[-1] == 3_600_000
    assert redis.bind(ODD, "ex", "k", "q", expires=7_200_000)[0][-1] == 14_400_000
    assert redis.delete(ODD, "ex", "k", "q")[:2] == [
        ("SREM", "pfx:_kombu.binding.ex", b"k::q"),
        ("SREM", "pfx:_kombu.binding_permanent.ex", b"k::q"),
    ]
    assert redis.sweep_bindings(ODD)[3:] == (
        "pfx:_kombu.binding_deadlines",
        "pfx:_kombu.binding.",
        "pfx:_kombu.binding_permanent.",
        100,
    )
