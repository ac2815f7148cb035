"""Where 400 random calls go by random routes: celeriac's app and stock Celery's, asked by the same program."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ASK = """
import json, re, sys
if sys.argv[1:]:
    import celeriac; celeriac.install()
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
def test_stock_celery_sends_to_the_same_place(stock_python: Path) -> None:
    cases = random_cases()
    stock, ours = asked([str(stock_python), "-c", ASK], cases), asked([sys.executable, "-c", ASK, "ours"], cases)
    for case, theirs, mine in zip(cases, stock, ours, strict=True):
        assert mine == theirs, case
    assert len({json.dumps(place) for place in stock}) > 20


def asked(command: list[str], cases: list[dict[str, Any]]) -> list[Any]:
    done = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True, check=True, timeout=120)
    places: list[Any] = json.loads(done.stdout)
    return places


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
