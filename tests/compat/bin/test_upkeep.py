"""Queues, dead letters, litter and parked tasks in a real Redis, by the commands that look after them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from celeriac import Celery
from celeriac.compat.bin.celery import celery
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.redis_bindings import pattern_of
from celeriac.worker import brokers
from celeriac.worker.brokers import redis_orphans
from celeriac.worker.brokers.base import Delivery, Parcel, Park, Queue
from celeriac.worker.brokers.redis_envelopes import Envelopes
from celeriac.worker.brokers.redis_survey import Litter, Survey
from celeriac.worker.dead_letters import HEADER, DeadLetters
from celeriac.worker.dead_queue import dead_queues, each, parcel, read
from tests.servers import redis_server as redis_server_of_its_own
from tests.worker.running import Project, wait_until

pytestmark = pytest.mark.real


@pytest.fixture
def url(redis_server: Any) -> Iterator[str]:
    redis_server.call("FLUSHALL")
    yield redis_server.url
    redis_server.call("FLUSHALL")


@pytest.fixture
def app(url: str) -> Iterator[Celery]:
    made = Celery("upkeep", broker=url, set_as_current=False)
    made.conf.task_default_queue = "jobs"
    yield made
    made.close()


def run(app: Celery, *words: str, text: str | None = None) -> Result:
    """The app itself is given, as a program may that calls us."""
    return CliRunner().invoke(celery, [*words], default_map={"app": app}, input=text)


def told(app: Celery, *words: str) -> Any:
    done = run(app, *words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def bury(url: str, name: str, count: int = 1) -> None:
    """Messages that a worker could not run."""
    with closing(brokers.connect(url)) as broker:
        home = Queue("jobs", "jobs", routing_key="jobs")
        for number in range(count):
            headers = {"id": f"{name}-{number}", "task": name, "lang": "py"}
            message = Message(
                b"[[], {}, {}]", "application/json", "utf-8", headers, {"correlation_id": f"{name}-{number}"}
            )
            delivery = Delivery(None, message, "jobs", "jobs", "jobs")
            DeadLetters(".dead").bury(broker, [home], delivery, "it has no such task", time.time() - 90)


def test_queues_are_told_with_all_that_is_in_them(app: Celery, url: str) -> None:
    for _ in range(3):
        app.send_task("upkeep.add")
    bury(url, "upkeep.lost")
    with closing(brokers.connect(url)) as broker:
        home = Queue("jobs", "jobs", routing_key="jobs")
        broker.listen([home], credit=2)
        first, _second = broker.take(2, 2)
        broker.settle([(first, Park(time.time() + 3600))])
        broker.tend(time.time())
        found = told(app, "queues", "-t", "0.1")
        rows = {row["queue"]: row for row in found["queues"]}
        assert rows["jobs"] == {
            "queue": "jobs", "ready": 1, "oldest": None, "oldest_is": "unknown",
            "consumers": 0, "unacked": 1, "parked": 1, "dead": False,
        }  # fmt: skip
        assert (rows["jobs.dead"]["dead"], rows["jobs.dead"]["oldest_is"]) == (True, "exact")
        assert 90 <= rows["jobs.dead"]["oldest"] < 150
        assert "task_send_timestamp" in found["unknown"]["oldest"]
        assert (found["unacked"], found["parked"]) == (1, 1)
        assert found["litter"] == []
    text = run(app, "queues", "-t", "0.1").output
    assert "nobody takes from jobs: start a worker with -Q jobs" in text
    assert "answers, and somebody holds messages" not in text
    with closing(brokers.connect(url)) as broker:
        broker.listen([home], credit=1)
        assert len(broker.take(1, 2)) == 1
        text = run(app, "queues", "-t", "0.1").output
        assert "no worker that takes from jobs answers, and somebody holds messages of it" in text
        assert "nobody takes from" not in text
    assert "there are dead letters: `celeriac dead list`" in text
    assert "? oldest: messages of Celery do not say when they were sent" in text


@pytest.mark.parametrize("how", ["timestamp", "expires", "sent event"])
def test_a_message_that_says_when_it_was_sent(app: Celery, url: str, redis_server: Any, how: str) -> None:
    app.conf.task_send_timestamp = how == "timestamp"
    if how == "expires":
        app.send_task("upkeep.add", expires=3600)
    else:
        app.send_task("upkeep.add")
    message = json.loads(redis_server.call("LINDEX", "jobs", -1))
    assert ("timestamp" in message["properties"]) == (how == "timestamp"), "what is sent is Celery's, unless asked for"
    with closing(Survey(url)) as survey:
        now = time.time()
        known = {message["headers"]["id"]: now - 1} if how == "sent event" else {}
        (jobs,) = survey.depths(["jobs"], None, known.get, now)
    assert jobs.oldest is not None
    assert jobs.oldest.sure
    assert 0 <= now - jobs.oldest.since < 60
    (row,) = told(app, "queues", "-t", "0.1")["queues"]
    assert row["oldest_is"] == ("unknown" if how == "sent event" else "exact")


def test_every_way_of_sending_says_when(app: Celery, url: str, redis_server: Any) -> None:
    """One by one, many at once, in a chord, and what a worker sends on."""
    from celeriac import chord, group

    app.conf.update(task_send_timestamp=True, result_backend=url.replace("/0", "/1"))

    @app.task(name="upkeep.add")
    def add(*_: int) -> int:
        return 1

    with closing(Survey(url)) as survey:
        begun = int(time.time())
        add.delay(1)
        group(add.s(each) for each in range(3)).delay()
        add.starmap_async([(1,), (2,)])
        chord([add.s(1), add.s(2)])(add.s())
        app.send_task("upkeep.add", eta=None, timestamp=7)
        sent = [json.loads(each)["properties"]["timestamp"] for each in survey.peek("jobs", 100)]
    assert sent.pop() == 7, "the call's own wins"
    assert len(sent) >= 8
    assert all(begun <= each <= time.time() for each in sent)


def test_what_was_expired_when_it_was_sent_and_what_is_no_time(app: Celery, url: str, redis_server: Any) -> None:
    app.send_task("upkeep.add")
    plain = json.loads(redis_server.call("LINDEX", "jobs", -1))
    for properties, headers in (
        ({"timestamp": "soon"}, {}),
        ({"timestamp": True}, {}),
        ({"timestamp": time.time() * 1000}, {}),
        ({"expiration": "0"}, {"expires": "2026-01-02T03:04:05+00:00"}),
        ({"expiration": "60000"}, {"expires": "2026-01-02T03:04:05"}),  # in whose zone?
        ({"expiration": "60000"}, {"expires": "whenever"}),
        ({"expiration": 60000}, {"expires": None}),
    ):
        changed = {**plain, "properties": {**plain["properties"], **properties}}
        redis_server.call("LSET", "jobs", -1, json.dumps({**changed, "headers": {**plain["headers"], **headers}}))
        (row,) = told(app, "queues", "-t", "0.1")["queues"]
        assert row["oldest_is"] == "unknown", (properties, headers)


def test_queues_of_an_embedded_server(tmp_path: Path) -> None:
    """It is looked at as a Redis; kombu does not know it."""
    place = f"embedded://{tmp_path}/store"
    app = Celery("embedded", broker=place, set_as_current=False)
    app.send_task("proj.add", countdown=10**6)
    app.send_task("proj.add")
    (row,) = told(app, "queues", "-t", "0.1")["queues"]
    assert (row["queue"], row["ready"], row["parked"]) == ("celery", 2, 0)
    assert told(app, "unpark") == {"unparked": 0}
    assert told(app, "janitor") == {"found": [], "removed": 0}
    app.close()


def test_dead_letters_are_listed_shown_replayed_and_dropped(app: Celery, url: str, redis_server: Any) -> None:
    bury(url, "upkeep.lost", 3)
    bury(url, "upkeep.other")
    rows = told(app, "dead", "list")
    assert [row["id"] for row in rows] == ["upkeep.lost-0", "upkeep.lost-1", "upkeep.lost-2", "upkeep.other-0"]
    assert {row["reason"] for row in rows} == {"it has no such task"}
    assert redis_server.call("LLEN", "jobs.dead") == 4, "looking changes nothing"
    shown = told(app, "dead", "show", "upkeep.lost-1")
    assert shown["body"] == "[[], {}, {}]"
    assert shown["headers"][HEADER]["queue"] == "jobs"
    assert run(app, "dead", "show", "nobody").exit_code == 1

    assert run(app, "dead", "replay", "upkeep.lost-1").output == "1 sent again.\n"
    assert [row["id"] for row in told(app, "dead", "list")] == ["upkeep.lost-0", "upkeep.lost-2", "upkeep.other-0"]
    back = json.loads(redis_server.call("LINDEX", "jobs", -1))
    assert back["headers"] == {"id": "upkeep.lost-1", "task": "upkeep.lost", "lang": "py"}

    assert run(app, "dead", "drop", "--task", "upkeep.lost", text="n\n").exit_code == 1
    assert run(app, "dead", "drop", "--task", "upkeep.lost", "-f").output == "2 dropped.\n"
    assert [row["id"] for row in told(app, "dead", "list")] == ["upkeep.other-0"]
    missing = run(app, "dead", "drop", "nobody")
    assert missing.exit_code == 1
    assert "Not all of these ids were found" in missing.output
    assert run(app, "dead", "replay", "--all", "-f", "--to", "elsewhere").exit_code == 0
    assert redis_server.call("LLEN", "elsewhere") == 1
    assert run(app, "dead", "list").output == "No dead letters.\n"


def test_a_dead_letter_without_a_home_stays(app: Celery, url: str, redis_server: Any) -> None:
    with closing(brokers.connect(url)) as broker:
        broker.declare([Queue("jobs.dead")])
        broker.send([Parcel(Message(b"{}", "application/json", "utf-8", {}, {}), "jobs.dead")])
    done = run(app, "dead", "replay", "--all", "-f")
    assert done.exit_code == 1
    assert "name one with --to" in done.output
    assert redis_server.call("LLEN", "jobs.dead") == 1


def test_rabbitmqs_own_note_is_read() -> None:
    death = {"x-death": [{"reason": "rejected", "queue": "jobs", "exchange": "", "routing-keys": ["jobs"], "time": 5}]}
    dead = read(Message(b"", None, None, death, {}))
    assert (dead.reason, dead.queue, dead.routing_key, dead.at) == ("rejected", "jobs", "jobs", 5.0)
    sent = parcel(dead)
    assert sent is not None
    assert (sent.routing_key, sent.message.headers) == ("jobs", {})
    assert read(Message(b"", None, None, {"x-death": "?", "id": 3}, {})).id is None


def test_where_dead_letters_go() -> None:
    assert dead_queues(["a", "b"], ".dead") == {"a": "a.dead", "b": "b.dead"}
    assert dead_queues(["a"], "") == {}


def keys(redis_server: Any) -> list[bytes]:
    """All but one: to ask the workers for replies renews its entry of the table of deadlines."""
    return sorted(set(redis_server.call("KEYS", "*")) - {b"_kombu.binding_deadlines"})


def litter(redis_server: Any) -> None:
    for name in ("1234.reply.celery.pidbox", "celeryev.5678"):
        redis_server.call("LPUSH", name, "{}")
    redis_server.call("SADD", "_kombu.binding.reply.celery.pidbox", "1234\x06\x16\x06\x161234.reply.celery.pidbox")
    redis_server.call("SADD", "_kombu.binding.reply.celery.pidbox", "9\x06\x16\x06\x169.reply.celery.pidbox")
    redis_server.call("SADD", "_kombu.binding.celeryev", "worker.#\x06\x16\x06\x16celeryev.5678")
    redis_server.call("SADD", "_kombu.binding.jobs", "jobs\x06\x16\x06\x16jobs")
    redis_server.call("LPUSH", "jobs", "{}")


def test_litter_is_found_by_age_and_removed_with_its_bindings(url: str, redis_server: Any) -> None:
    litter(redis_server)
    with closing(Survey(url)) as survey:
        assert survey.litter(60) == []
        old = survey.litter(0)
        assert [each.name for each in old] == ["1234.reply.celery.pidbox", "celeryev.5678"]
        assert not survey.remove(old[0], 60), "somebody has just used it"
        assert all(survey.remove(each, 0) for each in old)
        assert survey.unused_replies() == [Litter("binding", "9.reply.celery.pidbox")]
        assert survey.remove(survey.unused_replies()[0], 0)
    assert sorted(redis_server.call("KEYS", "*")) == [b"_kombu.binding.jobs", b"jobs"]


def test_looking_does_not_make_litter_look_used(app: Celery, url: str, redis_server: Any) -> None:
    redis_server.call("LPUSH", "1.reply.celery.pidbox", "{}")
    kept = redis_server.call("DUMP", "1.reply.celery.pidbox")
    redis_server.call("RESTORE", "1.reply.celery.pidbox", 0, kept, "REPLACE", "IDLETIME", 7200)
    with closing(Survey(url)) as survey:
        survey.depths(["jobs"])
        for _ in range(2):
            assert [each.name for each in survey.litter(3600)] == ["1.reply.celery.pidbox"]
    run(app, "queues")
    assert "1 found, nothing removed" in run(app, "janitor", "--older", "3600").output
    assert told(app, "janitor", "--older", "3600", "--yes")["removed"] == 1
    assert redis_server.call("EXISTS", "1.reply.celery.pidbox") == 0


def test_the_janitor_says_first_what_it_would_do(app: Celery, redis_server: Any) -> None:
    litter(redis_server)
    before = keys(redis_server)
    done = run(app, "janitor", "--replies")
    assert "9.reply.celery.pidbox" in done.output
    assert "1 found, nothing removed" in done.output
    assert keys(redis_server) == before
    assert told(app, "janitor", "--replies", "--yes")["removed"] == 1
    assert run(app, "janitor").output == "Nothing found.\n"
    assert run(app, "janitor", "--older", "5").exit_code == 2, "nothing young is litter"


def test_what_is_parked_is_given_back(app: Celery, url: str, redis_server: Any) -> None:
    app.send_task("upkeep.add")
    with closing(brokers.connect(url)) as broker:
        broker.listen([Queue("jobs", "jobs", routing_key="jobs")], credit=1)
        (taken,) = broker.take(1, 2)
        broker.settle([(taken, Park(time.time() + 3600))])
        broker.tend(time.time())
    assert redis_server.call("LLEN", "jobs") == 0
    assert told(app, "unpark") == {"unparked": 1}
    assert redis_server.call("LLEN", "jobs") == 1
    assert run(app, "unpark").output == "0 given back.\n"


def test_what_is_parked_is_given_back_by_each_of_several_brokers(app: Celery, url: str, redis_server: Any) -> None:
    for brokers_of_it, code in ((f"redis://127.0.0.1:1/0;{url}", 69), (f"{url};{url}", 0)):
        app.conf.broker_url = None
        app.conf.update(broker_read_url=brokers_of_it, broker_write_url="memory://")
        with closing(brokers.connect(url)) as broker:
            broker.send([Parcel(Message(b"{}"), "jobs")])
            broker.listen([Queue("jobs")], credit=1)
            (taken,) = broker.take(1, 2)
            broker.settle([(taken, Park(time.time() + 3600))])
            broker.tend(time.time())
        done = run(app, "unpark")
        assert (done.exit_code, "1 given back." in done.output) == (code, True), done.output
        assert redis_server.call("LLEN", "jobs") == 1
        redis_server.call("DEL", "jobs")


def test_purging(app: Celery, redis_server: Any) -> None:
    for _ in range(3):
        app.send_task("upkeep.add")
    assert run(app, "purge", text="n\n").exit_code == 1
    assert redis_server.call("LLEN", "jobs") == 3
    assert run(app, "purge", "-f").output == "Purged 3 messages from 1 known task queue.\n"
    assert run(app, "purge", "-f").output == "No messages purged from 1 queue.\n"
    assert run(app, "purge", "-f", "-X", "jobs").output == ""


def test_the_broker_by_hand(app: Celery) -> None:
    lines = "queue.declare byhand\nexchange.declare byhand direct\nqueue.bind byhand byhand key\n"
    lines += "basic.publish hello byhand key\nbasic.get byhand\nqueue.purge byhand\nno.such\nqueue.delete 'byhand\n"
    done = run(app, "amqp", text=lines + "queue.delete byhand\n:quit\n")
    assert done.exit_code == 0, done.output
    for word in ("-> connected.", "queue:byhand messages:0 consumers:0", "hello", "No such command 'no.such'", "OK"):
        assert word in done.output, done.output
    alone = run(app, "amqp", "queue.declare", "byhand")
    assert alone.exit_code == 0
    assert "queue:byhand messages:0" in alone.output


def test_messages_move_from_one_broker_to_another(app: Celery, url: str) -> None:
    other = url.replace("/0", "/7")
    app.send_task("upkeep.add", args=[1, 2])
    done = run(app, "migrate", url, other, "-t", "0.5", "-Q", "jobs")
    assert done.exit_code == 0, done.output
    assert "Migrating task 1/" in done.output
    with closing(brokers.connect(other)) as broker:
        assert broker.size("jobs") == 1


def test_drawings_are_for_graphviz(app: Celery) -> None:
    for words in (
        ("graph", "workers", "nodes:a,b,c,d,e,f", "threads:2,8,2,2,2,2", "enumerate", "generic"),
        ("graph", "workers", "nodes:a", "threads:2"),
        ("graph", "bootsteps"),
        ("graph", "bootsteps", "consumer"),
    ):
        done = run(app, *words)
        assert done.exit_code == 0, done.output
        assert done.output.startswith("digraph")
        assert done.output.rstrip().endswith("}")


def test_bindings_are_listed(app: Celery, tmp_path: Path) -> None:
    done = run(app, "list", "bindings")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1].split() == ["jobs", "jobs", "jobs"]


def test_a_slow_broker_is_asked_again() -> None:
    """What it has and does not give at once is not left behind; what others have taken meanwhile is not waited for."""

    class Slow:
        def __init__(self, *left: int) -> None:
            self.left = list(left)
            self.gives = iter([["a"], [], [], ["b"], []])

        def size(self, _: str) -> int:
            return self.left.pop(0)

        def listen(self, *_: object, **__: object) -> None: ...

        def take(self, *_: object) -> list[str]:
            return next(self.gives)

    assert list(each(Slow(3, 2, 2, 0), "q")) == ["a", "b"]  # type: ignore[comparison-overlap,arg-type]  # stands for a broker


# --- bindings of processes that are gone


def bind(redis_server: Any, exchange: str, queue: str, key: str = "") -> None:
    pattern = pattern_of(key) if "#" in key else ""
    redis_server.call("SADD", f"_kombu.binding.{exchange}", f"{key}\x06\x16{pattern}\x06\x16{queue}")


def bound(redis_server: Any, exchange: str) -> set[str]:
    return {
        member.split(b"\x16")[-1].decode() for member in redis_server.call("SMEMBERS", f"_kombu.binding.{exchange}")
    }


@pytest.fixture
def own(app: Celery) -> Iterator[tuple[Celery, Any]]:
    """A Redis that nobody else is connected to but who fills it."""
    with redis_server_of_its_own() as server:
        made = Celery("upkeep", broker=server.url, set_as_current=False)
        yield made, server
        made.close()


def test_bindings_of_those_who_are_gone_are_found_where_nobody_is_connected(
    own: tuple[Celery, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, server = own
    for exchange, queue in GONE:
        bind(server, exchange, queue)
    bind(server, "jobs", "jobs", "jobs")
    found = told(app, "janitor", "-t", "0.1")
    assert [each["name"] for each in found["found"]] == ["w1@gone.celery.pidbox"], "who fills it is connected"
    assert "others are connected" in found["unknown"]
    assert "others are connected" in run(app, "janitor", "-t", "0.1").output
    monkeypatch.setattr(redis_orphans, "_is_alone", lambda _: True)
    found = told(app, "janitor", "-t", "0.1")
    assert {each["name"] for each in found["found"]} == {queue for _, queue in GONE}
    assert (found["removed"], "unknown" in found) == (0, False)
    assert all(bound(server, exchange) == {queue} for exchange, queue in GONE), "nothing is removed at first"
    assert told(app, "janitor", "-t", "0.1", "--yes")["removed"] == 3
    assert keys(server) == [b"_kombu.binding.jobs"]
    assert run(app, "janitor", "-t", "0.1").output == "Nothing found.\n"


GONE = (
    ("celery.pidbox", "w1@gone.celery.pidbox"),
    ("celeryev", "celeryev.11111111-2222"),
    ("reply.celery.pidbox", "99.reply.celery.pidbox"),
)


def test_who_is_connected_is_counted(own: tuple[Celery, Any]) -> None:
    _, server = own
    with closing(Survey(server.url)) as survey:
        assert not redis_orphans._is_alone(survey)
        server.call("SELECT", 5)
        assert redis_orphans._is_alone(survey), "in this database"


@pytest.mark.parametrize("kind", ["celeriac", "stock"])
def test_a_living_worker_keeps_its_bindings(
    kind: str, redis_server: Any, app: Celery, stock_python: Path, tmp_path: Path
) -> None:
    """It is stopped: it lives, and cannot answer."""
    project = Project(tmp_path, redis_server.url, redis_server.url, stock_python)
    bind(redis_server, "celery.pidbox", "w1@gone.celery.pidbox")
    with (project.worker if kind == "celeriac" else project.stock_worker)(
        "--without-mingle", name="w1@here"
    ) as running:
        mine = "w1@here.celery.pidbox"
        wait_until(lambda: [each["name"] for each in told(app, "janitor")["found"]] == ["w1@gone.celery.pidbox"])
        os.kill(running.process.pid, signal.SIGSTOP)
        try:
            found = told(app, "janitor")
            assert found["found"] == [], "one who listens has not answered: it may be anybody"
            assert "1 more listen for commands than have answered" in found["unknown"]
        finally:
            os.kill(running.process.pid, signal.SIGCONT)
        wait_until(lambda: told(app, "janitor", "--yes")["removed"] == 1)
        assert bound(redis_server, "celery.pidbox") == {mine}
        assert app.control.inspect(timeout=5, limit=1).ping() == {"w1@here": {"ok": "pong"}}


def test_a_queue_of_events_that_nobody_reads_is_litter_though_events_go_on_to_come(url: str, redis_server: Any) -> None:
    bind(redis_server, "celeryev", "celeryev.dead", "#")
    bind(redis_server, "celeryev", "celeryev.quick", "#")
    for at in (time.time() - 7200, time.time()):
        event = json.dumps({"type": "worker-heartbeat", "hostname": "w@h", "timestamp": at}).encode()
        message = Message(event, "application/json", "utf-8", {}, {})
        sealed = Envelopes().seal(Parcel(message, "worker.heartbeat", "celeryev", "topic"), 0)
        redis_server.call("LPUSH", "celeryev.dead", sealed)
    redis_server.call("LPUSH", "celeryev.quick", sealed)
    assert redis_server.call("LLEN", "celeryev.dead") == 2
    with closing(Survey(url)) as survey:
        (found,) = survey.litter(3600)
        assert found.name == "celeryev.dead"
        assert found.idle is not None
        assert found.idle > 7000
        assert survey.remove(found, 3600)
    assert bound(redis_server, "celeryev") == {"celeryev.quick"}
