"""Routes, queues and destinations. The differential at the end holds them against stock Celery's own router."""

from __future__ import annotations

import json
import random
import re
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall
from celeriac.protocol.rules.routing import (
    Missing,
    Queue,
    Queues,
    Route,
    RouteMap,
    Router,
    matches,
    read_routes,
    topic_matches,
)

CELERY = Queue("celery", "celery", "direct", "celery")
TOPIC = Queue("tq", "tasks", "topic", "task.#")
BARE = Queue("bare", "", "fanout")


def router(routes: Any = None, **kwargs: Any) -> Router:
    queues = Queues([CELERY, TOPIC, BARE, Queue("long", "long", routing_key="long", alias="l")])
    return Router(queues, rules=read_routes(routes), **kwargs)


def queue_of(options: dict[str, Any]) -> str:
    queue: Queue = options["queue"]
    return queue.name


@pytest.mark.parametrize(
    ("routes", "task", "queue"),
    [
        (None, "a.b", "celery"),
        ({"a.b": "feeds"}, "a.b", "feeds"),
        ({"a.b": {"queue": "feeds"}}, "a.b", "feeds"),
        ({"a.*": "feeds"}, "a.b", "feeds"),
        ({"a.?": "feeds"}, "a.b", "celery"),
        ({re.compile(r"a\..$"): "feeds"}, "a.b", "feeds"),
        ({"*": "rest", "a.b": "exact"}, "a.b", "exact"),
        ([{"x": "no"}, {"a.b": "second"}], "a.b", "second"),
        ([[("a.*", "pairs")]], "a.b", "pairs"),
        (lambda name, args, kwargs, options, task=None, **kw: "fn" if name == "a.b" else None, "a.b", "fn"),
        ([lambda *a, **kw: None, {"a.b": "after"}], "a.b", "after"),
        ({"a.b": "l"}, "a.b", "long"),
    ],
)
def test_a_route_names_a_queue(routes: Any, task: str, queue: str) -> None:
    assert queue_of(router(routes).expand({}, task)) == queue


def test_a_router_object_is_asked_by_its_method() -> None:
    class Old:
        def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> dict[str, str]:
            return {"queue": f"{task}-{args}-{kwargs}"}

    assert queue_of(router(Old()).expand({}, "a.b", (1,), {"k": 2})) == "a.b-(1,)-{'k': 2}"


def test_what_the_call_says_wins_unless_it_says_none() -> None:
    route = {"a.b": {"queue": "feeds", "priority": 3, "routing_key": "r"}}
    options = router(route).expand({"priority": 9, "routing_key": None, "queue": None}, "a.b")
    assert (queue_of(options), options["priority"], options["routing_key"]) == ("feeds", 9, "r")


def test_an_empty_answer_ends_the_search() -> None:
    assert queue_of(router([lambda *a, **kw: {}, {"a.b": "never"}]).expand({}, "a.b")) == "celery"


def test_a_queue_object_may_stand_in_options() -> None:
    assert router().expand({"queue": TOPIC}, "a.b")["queue"] is TOPIC


def test_an_unknown_queue_is_made_up_or_named() -> None:
    queues = Queues(missing=Missing(exchange_type="topic"))
    assert queues.find("new") == Queue("new", "new", "topic", "new")
    assert queues.find("new") is queues["new"]
    with pytest.raises(BadCall, match="'new' missing from task_queues"):
        Queues(missing=Missing(create=False)).find("new")


@pytest.mark.parametrize(
    ("options", "route"),
    [
        ({}, Route("", "celery", CELERY)),
        ({"routing_key": "ignored"}, Route("", "celery", CELERY)),
        ({"queue": "celery", "exchange": "x"}, Route("", "celery", CELERY)),
        ({"queue": "tq"}, Route("tasks", "task.#", TOPIC, "topic")),
        ({"queue": TOPIC, "routing_key": "task.a"}, Route("tasks", "task.a", TOPIC, "topic")),
        ({"queue": "bare"}, Route("celery", "celery", BARE, "fanout")),
        ({"exchange": "x", "routing_key": "k"}, Route("x", "k", None)),
        ({"exchange": "x", "exchange_type": "fanout"}, Route("x", "", None, "fanout")),
    ],
)
def test_where_a_message_is_published(options: dict[str, Any], route: Route) -> None:
    assert router().resolve(options) == route


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"exchange": "x"}, "nobody would get it"),
        ({"queue": 3}, "queue: expected a name, got 3"),
        ({"exchange": 5, "routing_key": "k"}, "exchange: expected a name, got 5"),
    ],
)
def test_a_destination_that_cannot_be_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(BadCall, match=text):
        router().resolve(options)


@pytest.mark.parametrize(
    ("routes", "text"),
    [
        (5, "got 5"),
        ("proj.routers.route", "got 'proj.routers.route'"),
        ({"a": 5}, "'a': expected a queue name"),
        ({5: "q"}, "expected a task name"),
        (["ab"], "got 'ab'"),
        ([["abc"]], "expected pairs"),
    ],
)
def test_routes_that_cannot_be_are_named(routes: Any, text: str) -> None:
    with pytest.raises(BadCall, match=text):
        read_routes(routes)


def test_a_map_without_an_answer_says_none() -> None:
    assert RouteMap({"a.*": "q"})("b") is None


WORDS = st.lists(st.sampled_from(["a", "b", "cc"]), max_size=6).map(".".join)
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "#"]), max_size=6).map(".".join)


def naive(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return naive(pattern[1:], words) or (bool(words) and naive(pattern, words[1:]))
    return bool(words) and pattern[0] in ("*", words[0]) and naive(pattern[1:], words[1:])


@given(PATTERNS, WORDS)
def test_topics_match_as_the_definition_says(pattern: str, key: str) -> None:
    split = [part.split(".") if part else [] for part in (pattern, key)]
    assert topic_matches(pattern, key) is naive(split[0], split[1])


def test_a_hostile_topic_pattern_takes_no_time() -> None:
    assert not topic_matches(".".join(["#", "a"] * 500 + ["x"]), ".".join(["a"] * 1000))


def test_bindings_by_exchange_type() -> None:
    assert matches("direct", "k", "k")
    assert not matches("direct", "k", "l")
    assert matches("fanout", "", "anything")
    assert matches("topic", "a.*", "a.b")
    with pytest.raises(BadCall, match="'headers' is unknown; known are direct, fanout, topic"):
        matches("headers", "", "")


STOCK = """
import json, re, sys
from celery import Celery
from kombu import Exchange, Queue
out = []
for case in json.load(sys.stdin):
    app = Celery(set_as_current=False)
    app.conf.task_queues = [
        Queue("celery", Exchange("celery"), "celery"), Queue("tq", Exchange("tasks", "topic"), "task.#")]
    app.conf.task_routes = [
        {(re.compile(k[3:]) if k.startswith("re:") else k): v for k, v in route.items()} for route in case["routes"]]
    sent = {}
    class Producer:
        auto_declare = False
        def publish(self, body, exchange=None, routing_key=None, **kw):
            sent.update(exchange=exchange, routing_key=routing_key)
    options = app.amqp.router.route(dict(case["options"]), case["name"])
    priority = options.get("priority")
    app.amqp.send_task_message(Producer(), case["name"], app.amqp.as_task_v2("id", case["name"]), **options)
    out.append([sent["exchange"], sent["routing_key"], priority])
json.dump(out, sys.stdout)
"""

NAMES = ["feed.tasks.one", "feed.tasks.two", "mail.send", "x"]


@pytest.mark.real
def test_stock_celery_sends_to_the_same_place(stock_python: str) -> None:
    cases: list[dict[str, Any]] = random_cases()
    raw = subprocess.run(
        [stock_python, "-c", STOCK],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    for case, stock in zip(cases, json.loads(raw.stdout), strict=True):
        routes = [
            {(re.compile(k[3:]) if k.startswith("re:") else k): v for k, v in route.items()} for route in case["routes"]
        ]
        ours = Router(Queues([CELERY, TOPIC]), rules=read_routes(routes))
        options = ours.expand(case["options"], case["name"])
        route = ours.resolve(options)
        assert [route.exchange, route.routing_key, options.get("priority")] == stock, case


def random_cases() -> list[dict[str, Any]]:
    maker = random.Random(20261121)

    def target() -> Any:
        if maker.random() < 0.4:
            return maker.choice(["feeds", "tq", "celery"])
        options = {"queue": maker.choice(["feeds", "tq"]), "routing_key": maker.choice(["task.r", "rk"])}
        options["priority"] = maker.randint(0, 9)
        return {key: value for key, value in options.items() if maker.random() < 0.5}

    keys = [*NAMES, "feed.*", "*", "re:mail\\..*", "feed.tasks.*"]
    mine = {"queue": ["other", "tq", None], "routing_key": ["task.mine", None], "priority": [5, None]}
    return [
        {
            "name": maker.choice(NAMES),
            "routes": [
                {maker.choice(keys): target() for _ in range(maker.randint(0, 3))} for _ in range(maker.randint(0, 3))
            ],
            "options": {key: maker.choice(values) for key, values in mine.items() if maker.random() < 0.4},
        }
        for _ in range(400)
    ]
