"""Members of chords that are counted together: as they would be one by one, each once, and the body is sent once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu.exceptions import OperationalError

from celeriac.compat.app import trace
from celeriac.protocol.rules.signature import signature
from celeriac.protocol.wire import envelope
from celeriac.protocol.wire.message import Task, build
from celeriac.protocol.wire.message_reading import read_body, read_head
from celeriac.protocol.wire.sealed import seal
from celeriac.worker import debts
from celeriac.worker.brokers.redis import RedisBroker
from celeriac.worker.insisting import Insistence
from celeriac.worker.pools.base import Job
from tests.servers import RedisServer
from tests.worker.running import Project
from tests.worker.test_execute import Scene

pytestmark = pytest.mark.real


class Header:
    """A chord whose members come to a worker one after the other."""

    def __init__(self, scene: Scene, redis: RedisServer, size: int, **options: Any) -> None:
        self.scene = scene
        self.redis = redis
        self.id = str(uuid4())
        self.body = {**signature("total", options={"task_id": f"body-{self.id}", "reply_to": "me"}), **options}
        scene.app.backend.store.chord_start(self.id, size)

    def job(self, index: int, task: str = "add", redelivered: bool = False) -> Job:
        args = (index, index) if task == "add" else ()
        family = {"group": self.id, "group_index": index, "chord": self.body, "root_id": "root", "parent_id": "parent"}
        given = Task(task, f"{self.id}-{index}", args, {}, **family)
        written = envelope.build(build(given), exchange="", routing_key="celery", delivery_tag="tag")
        found = seal(written)
        assert found is not None
        return Job(index + 1, task, given.id, found[0], routing_key="celery", redelivered=redelivered)

    def bodies(self) -> list[tuple[str, list[Any], str | None, str | None]]:
        """Of those that were sent: id, values, root and parent."""
        sent = []
        for data in self.redis.call("LRANGE", "celery", 0, -1):
            message = envelope.parse(data).message
            head = read_head(message)
            (values,) = read_body(message, head).args
            sent.append((head.id, values, head.root_id, head.parent_id))
        return [each for each in sent if each[0] == f"body-{self.id}"]

    def kept(self) -> Any:
        """What is in Redis of the chord."""
        key = f"celery-taskset-meta-{self.id}"
        rows = self.redis.call("ZRANGE", f"{key}.j", 0, -1, "WITHSCORES")
        own = self.id.encode()
        return (
            [row.replace(own, b"") for row in rows],
            {row.replace(own, b"") for row in self.redis.call("SMEMBERS", f"{key}.d")},
            {end: self.redis.call("TTL", f"{key}.{end}") > 0 for end in "jsdc"},
            self.redis.call("GET", f"{key}.c") == b"done",
        )


@pytest.fixture(scope="module")
def scene(redis_server: RedisServer) -> Iterator[Scene]:
    scene = Scene(broker_url=redis_server.url, result_backend=redis_server.url)
    scene.run("add", 1)
    yield scene
    scene.program.end(0)
    scene.app.close()


@pytest.fixture
def chord(scene: Scene, redis_server: RedisServer) -> Callable[..., Header]:
    def made(size: int, **options: Any) -> Header:
        return Header(scene, redis_server, size, **options)

    return made


def flushed(scene: Scene, *jobs: Job) -> list[str]:
    program = scene.program
    return [report.state for report in program.flush([program.run(job) for job in jobs])]


def evals(redis: RedisServer) -> int:
    info: bytes = redis.call("INFO", "commandstats")
    rows = dict(line.split(":", 1) for line in info.decode().splitlines() if line.startswith("cmdstat_eval"))
    return sum(int(row.split(",")[0].removeprefix("calls=")) for row in rows.values())


def test_members_are_counted_by_flush_with_one_question(
    chord: Callable[..., Header], scene: Scene, redis_server: RedisServer
) -> None:
    header = chord(50)
    assert flushed(scene, header.job(49)) == ["SUCCESS"]  # the scripts are known now
    before = evals(redis_server)
    reports = [scene.program.run(header.job(index)) for index in range(48)]
    assert evals(redis_server) == before
    assert len(header.kept()[0]) == 2
    assert scene.program.flush(reports) == reports
    assert evals(redis_server) - before == 2
    assert {scene.stored(f"{header.id}-{index}").result for index in range(48)} == set(range(0, 96, 2))
    assert header.bodies() == []
    assert flushed(scene, header.job(48)) == ["SUCCESS"]
    assert header.bodies() == [(f"body-{header.id}", list(range(0, 100, 2)), "root", f"{header.id}-48")]
    assert header.kept() == ([], set(), dict.fromkeys("jsd", False) | {"c": True}, True)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["add", "add", "add", "boom"]), st.booleans()), max_size=12),
    st.sets(st.integers(0, 12)),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_they_come_to_the_same_together_as_one_by_one(
    chord: Callable[..., Header], scene: Scene, came: list[tuple[int, str, bool]], cuts: set[int]
) -> None:
    """Whatever comes again, fails, or is delivered anew, and wherever one batch ends and the next begins."""
    ends = []
    for long in (False, True):
        header = chord(4)
        with pytest.MonkeyPatch.context() as patch:
            if long:
                patch.setattr(debts.Debts, "counts", lambda *_: False)
            batch: list[Job] = []
            states: list[str] = []
            for place, (index, task, redelivered) in enumerate([*came, *((last, "add", False) for last in range(4))]):
                batch.append(header.job(index, task, redelivered))
                if place in cuts:
                    states += flushed(scene, *batch)
                    batch.clear()
            states += flushed(scene, *batch)
        bodies = [(values, root) for _, values, root, _ in header.bodies()]
        assert len(bodies) == 1 or scene.stored(f"body-{header.id}").status == "FAILURE"
        ends.append((states, bodies, header.kept()))
    assert ends[0][1:] == ends[1][1:] or "FAILURE" in ends[0][0]
    assert sorted(ends[0][0]) == sorted(ends[1][0])


def dead(scene: Scene, *jobs: Job) -> list[tuple[Job, bytes]]:
    """What a child that ran these has left, which died before it wrote anything."""
    left = []
    for job in jobs:
        scene.program.run(job)
        note = scene.program.debts()
        assert note is not None
        left.append((job, note))
    scene.program._debts.all.clear()
    return left


def test_members_whose_child_died_are_counted_by_its_parent(chord: Callable[..., Header], scene: Scene) -> None:
    header = chord(3)
    left = dead(scene, *map(header.job, range(3)))
    assert header.kept()[0] == []
    for job, note in left:
        assert header.bodies() == []
        scene.program.pay(job, note)
    sent = [(f"body-{header.id}", [0, 2, 4], "root", f"{header.id}-2")]
    assert header.bodies() == sent
    for job, note in left:
        scene.program.pay(job, note)
    assert header.bodies() == sent
    assert [scene.stored(f"{header.id}-{index}").result for index in range(3)] == [0, 2, 4]


def test_a_child_that_died_with_the_claim_to_a_body_leaves_it_to_its_parent(
    chord: Callable[..., Header], scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = chord(2)
    jobs = [header.job(0), header.job(1)]
    notes = []

    def died(*_: Any) -> None:
        raise SystemExit

    for job in jobs:
        scene.program.run(job)
        notes.append((job, scene.program.debts()))
    with monkeypatch.context() as patch:
        patch.setattr(trace.Surroundings, "send_body", died)
        with pytest.raises(SystemExit):
            scene.program.flush([])
    assert scene.app.backend.store.chord_taken(header.id)
    assert header.bodies() == []
    for job, note in notes:
        assert note is not None
        scene.program.pay(job, note)
    assert [(values, parent) for _, values, _, parent in header.bodies()] == [([0, 2], f"{header.id}-0")]


@pytest.mark.parametrize("last", [False, True])
def test_a_parent_does_not_wait_for_a_broker_that_is_away(
    chord: Callable[..., Header], scene: Scene, monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    header = chord(1)
    ((job, note),) = dead(scene, header.job(0))

    def away(*_: Any) -> None:
        raise OperationalError("cannot connect") from ConnectionRefusedError()

    monkeypatch.setattr(scene.program, "insistence", Insistence())
    with monkeypatch.context() as patch:
        patch.setattr(RedisBroker, "send", away)
        patch.setattr(RedisBroker, "send_filled", away)
        assert scene.program.pay(job, note, last=last) is last
        assert header.bodies() == []
    assert scene.program.pay(job, note)
    if last:
        assert scene.stored(f"body-{header.id}").status == "FAILURE"
    else:
        assert [values for _, values, *_ in header.bodies()] == [[0]]


def test_what_cannot_be_counted_together_is_counted_one_by_one(
    chord: Callable[..., Header], scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was lost on its way: all are counted, and the body is ours."""
    one, other = chord(2), chord(2)
    jobs = [header.job(index) for index in range(2) for header in (one, other)]
    kind = type(scene.app.backend.store)
    counts, lost = kind.chord_parts, []

    def loses(self: Any, link: Any, group_id: str, *told: Any) -> Any:
        counts(self, link, group_id, *told)
        lost.append(group_id)
        raise OSError("the answer is lost")

    completed = []
    send_body = trace.Surroundings.send_body
    monkeypatch.setattr(
        trace.Surroundings, "send_body", lambda self, *told: completed.append(told[1].group) or send_body(self, *told)
    )
    monkeypatch.setattr(kind, "chord_parts", loses)
    assert flushed(scene, *jobs) == ["SUCCESS"] * 4
    assert lost == completed == [one.id, other.id]
    assert [header.bodies()[0][1] for header in (one, other)] == [[0, 2], [0, 2]]
    assert [len(header.bodies()) for header in (one, other)] == [1, 1]


def test_a_chord_that_cannot_be_told_is_said_of_its_member_and_costs_no_other(
    chord: Callable[..., Header], scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lost, well = chord(1), chord(1)
    kind = type(scene.app.backend.store)
    part = kind.chord_part

    def away(self: Any, group_id: str, *told: Any) -> Any:
        if group_id == lost.id:
            raise OSError("the store is away")
        return part(self, group_id, *told)

    monkeypatch.setattr(kind, "chord_parts", away)
    monkeypatch.setattr(kind, "chord_part", away)
    assert flushed(scene, lost.job(0), well.job(0)) == ["FAILURE", "SUCCESS"]
    assert (
        f"The chord of {lost.id}-0 could not be told that it has succeeded, or its body not be sent: OSError"
        in caplog.text
    )
    assert scene.stored(f"{lost.id}-0").result == 0
    assert [len(header.bodies()) for header in (lost, well)] == [0, 1]


def test_what_needs_more_than_that_goes_the_long_way(chord: Callable[..., Header], scene: Scene) -> None:
    """Chords that Celery 4 sent, members that come again, and what something else follows."""
    old = chord(1, chord_size=1)
    scene.program.run(old.job(0))
    assert len(old.bodies()) == 1
    again = chord(1)
    scene.program.run(again.job(0, redelivered=True))
    assert len(again.bodies()) == 1
    scene.program.flush([])
    assert [len(header.bodies()) for header in (old, again)] == [1, 1]


# --- with a worker whose child is killed, by itself, at one place

DYING = """
import signal

def die_once(what):
    try:
        os.close(os.open(os.environ["PROJ_NOTES"] + "." + what, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    note("died " + what)
    os.kill(os.getpid(), signal.SIGKILL)

@app.task
def total(values):
    note("total %s" % values)
    return sum(values)

WHERE = os.environ.get("WHERE")
if WHERE == "unsent":
    from celery.signals import before_task_publish
    @before_task_publish.connect(weak=False)
    def dies(sender=None, **_):
        if sender == "proj.total":
            die_once(WHERE)
elif WHERE:
    from celeriac.worker.backends.redis import RedisStore
    method = {"unstored": "store_all", "uncounted": "chord_parts"}[WHERE]
    before = getattr(RedisStore, method)
    def dies(self, link, *told):
        die_once(WHERE)
        return before(self, link, *told)
    setattr(RedisStore, method, dies)
"""


@pytest.mark.parametrize("where", ["unstored", "uncounted", "unsent"])
def test_a_child_that_is_killed_on_the_way_costs_no_chord(
    tmp_path: Path, redis_server: RedisServer, stock_python: Path, where: str
) -> None:
    redis_server.call("FLUSHALL")
    project = Project(tmp_path, redis_server.url, redis_server.url, stock_python)
    project.more(DYING)
    with project.worker("-c", "2", pool="prefork", WHERE=where):
        asks = "from celery import chord; print(chord([add.s(i, i) for i in range(100)], total.s())().get(timeout=30))"
        assert project.client(asks, timeout=60) == "9900"
    assert project.notes() == [f"died {where}", f"total {[2 * number for number in range(100)]}"]


@pytest.mark.parametrize("pool", ["solo", "threads", "asyncio", "gevent"])
def test_chords_in_other_pools(tmp_path: Path, redis_server: RedisServer, stock_python: Path, pool: str) -> None:
    redis_server.call("FLUSHALL")
    project = Project(tmp_path, redis_server.url, redis_server.url, stock_python)
    project.more(DYING)
    with project.worker("-c", "4", pool=pool):
        asks = (
            "from celery import chord\n"
            "inner = [chord([add.s(i, j) for j in range(5)], total.s()) for i in range(5)]\n"
            "print(chord(inner, total.s())().get(timeout=30))"
        )
        assert project.client(asks, timeout=60) == "100"
    assert project.notes()[5:] == ["total [10, 15, 20, 25, 30]"]
