"""Whole workers and their queues on both brokers: which they take from, in which order, and what changes meanwhile."""

from __future__ import annotations

import json
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from celeriac.worker import brokers
from tests import proxy, servers
from tests.faults import ground
from tests.worker.running import Project, wait_until

pytestmark = pytest.mark.real

QUEUES = """
from kombu import Exchange, Queue
from kombu.common import Broadcast

x = Exchange("proj_x", "topic")
app.conf.task_queues = [
    Queue("one", routing_key="one"),
    Queue("two", routing_key="two"),
    Queue("many", x, routing_key="x.#"),
    Queue("ranked", routing_key="ranked", max_priority=10),
    Broadcast("everybody"),
]
app.conf.update(task_default_queue="one", worker_direct=True)

@app.task(bind=True)
def here(self, text):
    note(self.request.hostname[:2] + text)

@app.task
def turn(text):
    note(text)
    time.sleep(0.005)  # the work: a few times what the broker needs to give the next one of its queue
"""


@pytest.fixture(params=["redis", "amqp"])
def project(
    request: pytest.FixtureRequest, tmp_path: Path, redis_server: servers.RedisServer, stock_python: Path
) -> Any:
    redis_server.call("FLUSHALL")
    url = redis_server.url
    if request.param == "amqp":
        url = request.getfixturevalue("rabbitmq_server").url
        with closing(brokers.connect(url, {}, 5)) as broker:
            for queue in ("one", "two", "many", "ranked", "added"):
                broker.purge(queue)
    place = Project(tmp_path, url, redis_server.url, stock_python)
    place.more(QUEUES)
    return place


def _noted(project: Project, *texts: str, seconds: float = 60) -> None:
    wait_until(lambda: sorted(project.notes()) == sorted(texts), seconds, lambda: str(project.notes()))
    project.notes_file.write_text("")


def test_which_queues_a_worker_takes_from(project: Project) -> None:
    """`-X`, `-Q`, topics, its own, everybody's, and those that are added and cancelled while it runs."""
    with project.worker("-X", "two,ranked"), project.worker("-Q", "two,everybody", name="w2@here"):
        project.client(
            "here.delay('a')\nhere.apply_async(['b'], queue='two')\n"
            "here.apply_async(['c'], queue='many', routing_key='x.y.z')\n"
            "from celery.utils.nodenames import worker_direct\n"
            "here.apply_async(['d'], queue=worker_direct('w2@here'))\nhere.apply_async(['e'], queue='everybody')\n"
        )
        _noted(project, "w1a", "w2b", "w1c", "w2d", "w1e", "w2e")
        told = project.client(
            "import json\ntell = app.control\n"
            "said = tell.add_consumer('added', destination=['w2@here'], reply=True, timeout=5, limit=1)\n"
            "here.apply_async(['f'], queue='added')\nprint(json.dumps(said))"
        )
        assert json.loads(told) == [{"w2@here": {"ok": "add consumer added"}}]
        _noted(project, "w2f")
        told = project.client(
            "import json\ntell = app.control\n"
            "said = tell.cancel_consumer('added', destination=['w2@here'], reply=True, timeout=5, limit=1)\n"
            "here.apply_async(['g'], queue='added')\nhere.apply_async(['h'], queue='two')\nprint(json.dumps(said))"
        )
        assert json.loads(told) == [{"w2@here": {"ok": "no longer consuming from added"}}]
        _noted(project, "w2h")
    with closing(brokers.connect(project.environment["PROJ_BROKER"], {}, 5)) as broker:
        assert broker.size("added") == 1


NO_QUEUES = (
    {"queue": 5},
    {"queue": ["a"]},
    {"queue": ""},
    {"queue": None},
    {"queue": "bad", "expires": "soon"},
    {"queue": "bad", "routing_key": {}},
    {"queue": "one", "exchange": 5},
)
REFUSED = ({"queue": "bad", "exchange": "e", "exchange_type": "nonsense"},)
"""By RabbitMQ, which ends the connection."""


def test_no_queue_that_it_is_told_to_take_from_ends_a_worker(
    tmp_path: Path, redis_server: servers.RedisServer, stock_python: Path, rabbitmq_server: servers.RabbitServer
) -> None:
    project = Project(tmp_path, rabbitmq_server.url, redis_server.url, stock_python)
    with (tmp_path / "proj.py").open("a") as file:
        file.write(QUEUES)
    asked = [*NO_QUEUES, *REFUSED]
    with project.worker("-Q", "one,many") as worker:
        told = project.client(
            "import json, time\n"
            "def ask(what, **how):\n"
            "    while True:\n"
            "        said = app.control.broadcast(what, how, ['w1@here'], reply=True, timeout=10, limit=1)\n"
            "        if said and 'ask again' not in str(said): return said[0]['w1@here']\n"
            f"said = [ask('add_consumer', **how) for how in {asked!r}]\n"
            "queues = [each['name'] for each in ask('active_queues')]\n"
            "fine = ask('add_consumer', queue='bad')\n"
            "for name in ('one', 'bad'): here.apply_async([name], queue=name)\n"
            "print(json.dumps([said, queues, fine]))",
            timeout=120,
        )
        said, queues, fine = json.loads(told)
        assert [list(reply) for reply in said] == [["error"]] * len(asked), said
        assert sorted(queues) == ["many", "one", "w1@here.dq2"]
        assert fine == {"ok": "add consumer bad"}
        wait_until(lambda: sorted(project.notes()) == ["w1bad", "w1one"], why=worker.text)


def test_in_which_order_it_takes(project: Project) -> None:
    """By priority, as each broker has it (Redis: whatever queue it is of); from each of its queues in turn, while they last.

    Two messages of each queue are in the worker's hands at any time: a window of eight, for these three and its own. A task
    takes a few times as long as the broker needs to give the next one of that queue, so none has run out as its turn comes.
    """
    redis = project.environment["PROJ_BROKER"].startswith("redis")
    project.client(
        "for n in range(20): turn.apply_async(['one'], queue='one')\n"
        "for n in range(20): turn.apply_async(['two'], queue='two')\n"
        "for n in (3, 9, 0, 6): turn.apply_async([f'p{n}'], queue='ranked', priority=n)"
    )
    with project.worker("-Q", "one,two,ranked", PREFETCH="8"):
        wait_until(lambda: len(project.notes()) == 44, why=lambda: str(project.notes()))
    notes = project.notes()
    ranked = [f"p{n}" for n in ((0, 3, 6, 9) if redis else (9, 6, 3, 0))]
    assert [note for note in notes if note in ranked] == ranked
    early, last = (ranked[:1], ranked[1:]) if redis else (ranked, [])
    assert set(early) < set(notes[:20]), notes
    assert notes[44 - len(last) :] == last, notes
    assert min(notes[:24].count("one"), notes[:24].count("two")) >= 8, notes


def test_a_state_file_survives_kill_9(tmp_path: Path, redis_server: servers.RedisServer, stock_python: Path) -> None:
    redis_server.call("FLUSHALL")
    project = Project(tmp_path, redis_server.url, redis_server.url, stock_python)
    state = str(tmp_path / "state.db")
    with project.worker("-S", state) as worker:
        project.client("assert app.control.revoke('doomed', reply=True, timeout=5, limit=1)")
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait(5)
    with project.worker("-S", state):
        got = project.client(
            "doomed = write.apply_async(['never'], task_id='doomed')\nwrite.delay('fine').get(timeout=10)\n"
            "from celery.exceptions import TaskRevokedError\n"
            "try:\n    doomed.get(timeout=10)\nexcept TaskRevokedError:\n    print('revoked')"
        )
    assert got == "revoked"
    assert project.notes() == ["fine"]


def test_a_state_file_is_stocks_and_ours(tmp_path: Path, redis_server: servers.RedisServer, stock_python: Path) -> None:
    """What was revoked before a worker was replaced stays so, in both directions, and a kill -9 takes nothing away."""
    redis_server.call("FLUSHALL")
    project = Project(tmp_path, redis_server.url, redis_server.url, stock_python)
    revoke = "assert app.control.revoke({!r}, reply=True, timeout=5, limit=1)"
    ask = """
sent = [write.apply_async([each], task_id=each) for each in {!r}]
for each in sent: each.get(timeout=10, propagate=False)
print(*[each.state for each in sent])
"""
    state = str(tmp_path / "w1.state")
    with project.stock_worker("--statedb", state):
        project.client(revoke.format("by stock"))
    with project.worker("--statedb", state) as worker:
        assert project.client(ask.format(["by stock", "a"])) == "REVOKED SUCCESS"
        project.client(revoke.format("by us"))
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait(5)
    with project.stock_worker("--statedb", state):
        assert project.client(ask.format(["by us", "b"])) == "REVOKED SUCCESS"
        project.client(revoke.format("by stock again"))
    with project.worker("--statedb", state):
        assert project.client(ask.format(["by stock again", "c"])) == "REVOKED SUCCESS"
    assert project.notes() == ["a", "b", "c"]


def test_what_cannot_be_acknowledged_any_more_is_ended_where_that_is_wanted(
    tmp_path: Path, redis_server: servers.RedisServer
) -> None:
    redis_server.call("FLUSHALL")
    conf: dict[str, Any] = {
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        "broker_transport_options": {"socket_timeout": 2},
    }
    with proxy.to(redis_server.port) as wire:
        through = redis_server.url.replace(f":{redis_server.port}/", f":{wire.port}/")
        with ground.on(tmp_path, redis_server.url, None, **conf) as place:
            worker = place.start("-c", "2", BROKER=through).ready()
            place.run("late.delay(1, 6)\nwork.delay(2, 3)")
            assert ground.until(lambda: len(place.seen("start")) == 2, 20), place.logs()
            wire.cut()
            assert ground.until(lambda: place.seen("start")[1] == 2, 20), place.logs()
            assert "cannot be acknowledged after a connection loss and is ended" in worker.text
            assert ground.until(lambda: len(place.seen("end")) == 2, 20), place.logs()
            assert place.seen("end") == {1: 1, 2: 1}
            assert place.seen("start")[2] == 1, "what was acknowledged goes on"
