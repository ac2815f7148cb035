"""Moving messages from queue to queue and from broker to broker: what goes, what stays, and with which bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from kombu import Exchange, Queue

from celeriac.compat import Celery
from celeriac.compat.contrib import migrate
from tests.servers import RedisServer

pytestmark = pytest.mark.real
QUIET = 0.2


class Bench:
    """An app with six waiting messages in two queues, and a second broker."""

    def __init__(self, server: RedisServer) -> None:
        self._link = server.connect()
        self._links: list[Any] = []
        here, there = (f"{server.url.rpartition('/')[0]}/{number}" for number in (5, 6))
        self.app = Celery("here", broker=here, set_as_current=False)
        self.other = Celery("there", broker=there, set_as_current=False)
        self.app.conf.task_queues = [Queue(name, Exchange(name), name) for name in ("celery", "hi")]
        for number in range(3):
            self.app.send_task("add", (number, number), task_id=f"a{number}")
        self.app.send_task("mul", (2, 3), task_id="m0", queue="hi", priority=5)
        self.app.send_task("mul", (2, 3), task_id="m1", compression="zlib", countdown=1000)
        self.app.send_task("mul", (2, 3), task_id="m2", expires=100)

    def here(self) -> Any:
        """A connection to the first broker; what is taken by it and not acknowledged goes back when it closes."""
        return self._linked(self.app)

    def there(self) -> Any:
        return self._linked(self.other)

    def _linked(self, app: Any) -> Any:
        self._links.append(app.connection())
        return self._links[-1]

    def let_go(self) -> None:
        while self._links:
            self._links.pop().close()

    def close(self) -> None:
        self.let_go()
        self.app.close()
        self.other.close()
        self._link.close()

    def messages(self, database: int = 5) -> dict[str, dict[str, Any]]:
        """The messages in each list of this database, by their ids, once all connections are closed."""
        self.let_go()
        self._link.call("SELECT", database)
        lists = [key for key in self._link.call("KEYS", "*") if self._link.call("TYPE", key) in {"list", b"list"}]
        found: dict[str, dict[str, Any]] = {}
        for key in sorted(lists):
            read = [json.loads(each) for each in self._link.call("LRANGE", key, 0, -1)]
            found[key.decode()] = {each["headers"]["id"]: each for each in read}
        return found

    def ids(self, database: int = 5) -> dict[str, str]:
        return {name: " ".join(sorted(found)) for name, found in self.messages(database).items()}


@pytest.fixture
def bench(redis_server: RedisServer) -> Iterator[Bench]:
    redis_server.call("FLUSHALL")
    made = Bench(redis_server)
    yield made
    made.close()


def named(name: str) -> Queue:
    return Queue(name, Exchange(name), name)


def test_to_another_broker(bench: Bench) -> None:
    seen: list[str] = []
    before = bench.messages()["celery"]["m1"]
    state = migrate.migrate_tasks(
        bench.here(),
        bench.there(),
        app=bench.app,
        queues="celery:fresh,hi",
        callback=lambda state, body, message: seen.append(message.headers["id"]),
        timeout=QUIET,
    )
    assert (state.count, repr(state)) == (6, "6/6")
    assert sorted(seen) == ["a0", "a1", "a2", "m0", "m1", "m2"]
    assert bench.ids(6) == {"fresh": "a0 a1 a2 m1 m2", "hi\x06\x163": "m0"}
    assert bench.ids() == {"celery": "a0 a1 a2 m1 m2", "hi\x06\x163": "m0"}, "what is not acknowledged goes back"
    after = bench.messages(6)["fresh"]["m1"]
    assert {name: before[name] for name in ("body", "headers", "content-type", "content-encoding")} == {
        name: after[name] for name in ("body", "headers", "content-type", "content-encoding")
    }


def test_what_is_acknowledged_is_gone_and_a_limit_holds(bench: Bench) -> None:
    link = bench.here()
    run = partial(migrate.migrate_tasks, link, bench.there(), app=bench.app, timeout=QUIET)
    run(tasks="mul", ack_messages=True, queues="hi")
    assert bench.ids() == {"celery": "a0 a1 a2 m1 m2"}
    state = migrate.start_filter(bench.app, bench.here(), lambda *_: None, limit=2, timeout=QUIET)
    assert state.count == 2


def test_by_what_they_are(bench: Bench) -> None:
    def wanted(body: Any, message: Any) -> Any:
        return message.headers["task"] == "mul" and named("moved")

    told: list[int] = []
    state = migrate.State()
    done = migrate.move(
        wanted, app=bench.app, timeout=QUIET, state=state, callback=lambda now, *_: told.append(now.filtered)
    )
    assert done is state
    assert (repr(state), told) == ("^3", [1, 2, 3])
    assert bench.ids() == {"celery": "a0 a1 a2", "moved": "m1 m2", "moved\x06\x163": "m0"}


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        (partial(migrate.move_task_by_id, "a2", named("x")), {"x": "a2"}),
        (partial(migrate.move_by_idmap, {"a1": named("x"), "a2": named("y")}), {"x": "a1", "y": "a2"}),
        (partial(migrate.move_by_taskmap, {"add": named("x")}), {"x": "a0 a1 a2"}),
        (partial(migrate.move_direct_by_id, "a0", "w@h"), {"w@h.dq2": "a0"}),
        (partial(migrate.move, lambda *_: ("hi", "hi"), source=["celery"], limit=5), {"hi": "a0 a1 a2 m1 m2"}),
        (partial(migrate.move, lambda *_: True, exchange="hi", routing_key="hi", source=[named("celery")], limit=5), {"hi": "a0 a1 a2 m1 m2"}),
    ],
    ids=["id", "ids", "names", "direct", "pair", "default"],
)  # fmt: skip
def test_to_another_queue(bench: Bench, move: Any, expected: dict[str, str]) -> None:
    before = bench.messages()["celery"]
    move(app=bench.app, timeout=QUIET)
    found = {name: ids for name, ids in bench.ids().items() if name in expected}
    assert found == expected
    stays = sorted(set(before) - set(" ".join(expected.values()).split()))
    assert bench.ids().get("celery", "") == " ".join(stays)


def test_a_filter_that_has_seen_enough_and_one_that_fails(bench: Bench) -> None:
    def enough(body: Any, message: Any) -> None:
        raise migrate.StopFiltering

    assert migrate.start_filter(bench.app, bench.here(), enough, timeout=QUIET).count == 0
    with pytest.raises(ZeroDivisionError):
        migrate.start_filter(bench.app, bench.here(), lambda *_: 1 / 0, timeout=QUIET)


def test_of_either_protocol_and_of_no_correlation() -> None:
    class Message:
        headers = {"task": "add", "id": "a"}  # noqa: RUF012 - a stand-in
        properties: dict[str, Any] = {}  # noqa: RUF012 - as above

    class Old:
        headers: dict[str, Any] = {}  # noqa: RUF012 - as above

    assert migrate.task_id_eq("a", ((), {}, {}), Message())
    assert migrate.task_id_in({"b"}, {"id": "b", "task": "add"}, Old())
    assert not migrate.task_id_in({"b"}, ((), {}, {}), Message())
    assert migrate.prepare_queues("a:b,c") == {"a": "b", "c": "c"}
