"""The doctor at a running system: clocks that differ, foreign clients by their messages, queues that no app declares."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from celeriac import Celery
from celeriac.compat.bin.celery import celery
from celeriac.compat.bin.doctor_clients import UNREADABLE, client_of
from tests.house import ROOT
from tests.servers import RedisServer
from tests.worker.running import APP, Project

GOLDEN = ROOT / "tests" / "golden"
CLIENTS = {
    "gocelery": "gocelery", "celerynode": "celery-node", "celeryts": "celery-ts", "nodecelery": "node-celery",
    "celery31": "Celery 3", "celery44": "Celery 4", "celery52": "Celery 5.2 or older",
}  # fmt: skip
AHEAD = 'import os, time\nreal = time.time\ntime.time = lambda: real() + float(os.environ.get("AHEAD", 0))\n'


def waiting(capture: Any) -> Iterator[bytes]:
    """Every message that was found in a list."""
    if isinstance(capture, dict) and "value_head_to_tail" in capture:
        yield from (base64.b64decode(each["b64"]) for each in capture["value_head_to_tail"])
    elif isinstance(capture, (dict, list)):
        for each in capture.values() if isinstance(capture, dict) else capture:
            yield from waiting(each)


def messages(folder: str, pattern: str = "redis-produce-*.json") -> list[bytes]:
    paths = sorted((GOLDEN / folder).glob(pattern))
    return [data for path in paths for data in waiting(json.loads(path.read_text())["capture"])]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_is_known_by_its_messages(client: str) -> None:
    found = messages(f"client/{client}")
    assert found
    assert {client_of(data) for data in found} == {CLIENTS[client]}


def test_no_innocent_message_is_named() -> None:
    ours = [data for data in messages("redis/msg", "[!v]*.json") if b'"xx"' not in data]  # one says another language
    assert len(ours) > 50
    assert {client_of(data) for data in ours} == {None}
    for data in (b"", b"[]", b"{", b"7", b'{"body": ""}', b'{"properties": {}}', b"[" * 100_000):
        assert client_of(data) == UNREADABLE
    rusty = json.loads(ours[0])
    rusty["headers"]["meth"] = None
    assert client_of(json.dumps(rusty).encode()) == "rusty-celery"


def findings(app: Celery, *words: str) -> set[tuple[str, str, str]]:
    done = CliRunner().invoke(celery, ["doctor", "--live", "--json", *words], default_map={"app": app})
    assert done.stdout, done.output
    return {(each["kind"], each["subject"], each["text"]) for each in json.loads(done.stdout)["findings"]}


@pytest.mark.real
def test_foreign_clients_and_lists_that_nobody_has_declared(redis_server: RedisServer) -> None:
    redis_server.call("FLUSHALL")
    app = Celery("doctored", broker=redis_server.url, set_as_current=False)
    try:
        for folder, queue in (("client/gocelery", "go"), ("client/celerynode", "celery")):
            for data in messages(folder, "redis-produce-args.json"):
                redis_server.call("LPUSH", queue, data)
        redis_server.call("LPUSH", "go", b"no message at all", messages("client/gocelery")[0])
        redis_server.call("LPUSH", "a-list-of-the-project", "milk", "bread")
        app.send_task("doctored.add")
        found = findings(app, "-t", "0.2")
        assert {each for each in found if each[0] in {"queue", "clients"}} == {
            ("queue", "go", "3 messages wait, and nobody takes from it"),
            ("queue", "celery", "2 messages wait, and nobody takes from it"),
            ("clients", "go", "2 messages of gocelery wait in it"),
            ("clients", "go", f"1 messages of {UNREADABLE} wait in it"),
            ("clients", "celery", "1 messages of celery-node wait in it"),
        }
        rows = json.loads(CliRunner().invoke(celery, ["queues", "-j", "-t", "0.1"], default_map={"app": app}).stdout)
        assert {row["queue"] for row in rows["queues"]} == {"celery", "go"}
        assert redis_server.call("LLEN", "go") == 3, "looking takes nothing"
    finally:
        app.close()
        redis_server.call("FLUSHALL")


@pytest.mark.real
def test_a_worker_whose_clock_is_wrong(redis_server: RedisServer, stock_python: Path, tmp_path: Path) -> None:
    """One whose clock is right stands beside it. On RabbitMQ: test_upkeep_rabbit.py."""
    redis_server.call("FLUSHALL")
    project = Project(tmp_path, redis_server.url, "disabled://", stock_python)
    (tmp_path / "proj.py").write_text(AHEAD + APP)
    paths = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    app = Celery("doctored", broker=redis_server.url, set_as_current=False)
    with (
        closing(app),
        project.stock_worker(name="right@here"),
        project.worker(name="early@here", AHEAD="300", **paths),
    ):
        found = findings(app)
        (fleet,) = (text for kind, _, text in found if kind == "fleet")
        ((name, text),) = (each[1:] for each in found if each[0] == "clock")
    assert re.fullmatch(r"2 answer: 1 x celery 5\.7\.0, 1 x celery 5\.7\.0 by celeriac [\w.+]+", fleet), fleet
    assert name == "early@here"
    assert "ahead of" in text
    assert abs(float(text.split()[3]) - 300) < 5, text
