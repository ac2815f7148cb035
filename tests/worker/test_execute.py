"""Running jobs: what a pool's program does with any message, and what it says of it."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.compat import signals
from celeriac.compat.app import trace
from celeriac.compat.app.base import Celery
from celeriac.compat.exceptions import Ignore, Reject
from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.rules.outcome import Fate, Report
from celeriac.protocol.rules.signature import signature
from celeriac.protocol.wire import envelope, message_v1
from celeriac.protocol.wire import result as wire
from celeriac.protocol.wire.chord_keys import Member
from celeriac.protocol.wire.message import Message, Posting, Task, build
from celeriac.protocol.wire.message_reading import read_body, read_head, task_of
from celeriac.protocol.wire.sealed import seal
from celeriac.worker import backends, brokers, limit, stored_results
from celeriac.worker.debts import Debts, owed
from celeriac.worker.execute import Execution
from celeriac.worker.pools.base import Job
from tests.protocol.claims.messages import ALL, amqp_messages, envelopes
from tests.protocol.vectors import index, vector
from tests.protocol.wire.test_sealed import built
from tests.servers import RedisServer

SEEN: list[Any] = []


class Scene:
    """An app with its program."""

    def __init__(self, **conf: Any) -> None:
        self.app = Celery("scene", broker=conf.pop("broker_url", "memory://"), set_as_current=False)
        self.app.conf.update(conf)
        tasks(self.app)
        self.app.finalize()
        self.program: Execution = trace.program(self.app, "host")
        self.number = 0

    def job(self, name: str, *args: Any, message: Message | None = None, **more: Any) -> Job:
        self.number += 1
        job = {key: more.pop(key) for key in ("redelivered", "queue") if key in more}
        task = Task(name, more.pop("id", f"id-{self.number}"), args, more.pop("kwargs", {}), **more)
        return Job(self.number, name, task.id, message or build(task), routing_key="celery", **job)

    def run(self, name: str, *args: Any, **more: Any) -> Report:
        report = self.program.run(self.job(name, *args, **more))
        (flushed,) = self.program.flush([report])
        return flushed

    def stored(self, task_id: str) -> Any:
        return self.app.backend.store.fetch(task_id)


def tasks(app: Any) -> None:
    @app.task(shared=False, name="add")
    def add(x: int, y: int = 1) -> int:
        return x + y

    @app.task(shared=False, name="aio", bind=True)
    async def aio(self: Any, value: Any) -> Any:
        before = self.request.id
        await asyncio.sleep(0.001)
        assert self.request.id == before
        return [value, before]

    @app.task(shared=False, name="cancels")
    async def cancels() -> None:
        other = asyncio.get_running_loop().create_future()
        other.cancel("enough")
        await other

    @app.task(shared=False, name="cancelled")
    def cancelled() -> None:
        raise asyncio.CancelledError("enough")

    @app.task(shared=False, name="boom")
    def boom() -> None:
        raise KeyError("no")

    @app.task(shared=False, name="ignored")
    def ignored() -> None:
        raise Ignore

    @app.task(shared=False, name="rejected")
    def rejected(requeue: bool) -> None:
        raise Reject("no", requeue=requeue)

    @app.task(shared=False, name="again", bind=True)
    def again(self: Any) -> None:
        raise self.retry(countdown=1, exc=ValueError("later"))

    @app.task(shared=False, name="strange")
    def strange() -> object:
        return object()

    @app.task(shared=False, name="asks", bind=True)
    def asks(self: Any, *args: Any, **kwargs: Any) -> None:
        SEEN.append((args, kwargs, self.request))

    @app.task(shared=False, name="leaves")
    def leaves() -> None:
        raise SystemExit(3)

    @app.task(shared=False, name="late", acks_late=True)
    def late() -> int:
        SEEN.append("ran")
        return 1

    @app.task(shared=False, name="errback")
    def errback(request: Any, exc: Any, traceback: Any) -> None:
        SEEN.append((request.id, exc))


@pytest.fixture
def scene() -> Scene:
    del SEEN[:]
    return Scene(result_backend="memory")


def test_a_success_is_done_and_stored(scene: Scene) -> None:
    report = scene.run("add", 1, 2, id="a")
    assert (report.state, report.fate, report.result, report.internal) == ("SUCCESS", Fate.DONE, "3", False)
    assert report.runtime > 0
    assert scene.stored("a").result == 3


def test_a_failure_tells_how(scene: Scene) -> None:
    report = scene.run("boom", id="b")
    assert (report.state, report.fate, report.error) == ("FAILURE", Fate.FAILED, "KeyError('no')")
    assert report.traceback is not None
    assert "in boom" in report.traceback
    found = scene.stored("b")
    assert (found.status, str(found.result)) == ("FAILURE", "KeyError('no')")
    assert found.traceback == report.traceback


@pytest.mark.parametrize(
    ("name", "args", "state", "fate"),
    [
        ("ignored", (), "IGNORED", Fate.DONE),
        ("rejected", (False,), "REJECTED", Fate.REJECTED),
        ("rejected", (True,), "REJECTED", Fate.REQUEUED),
        ("again", (), "RETRY", Fate.RETRIED),
        ("add", (), "FAILURE", Fate.FAILED),
    ],
)
def test_each_end_has_its_fate(scene: Scene, name: str, args: Any, state: str, fate: Fate) -> None:
    report = scene.run(name, *args)
    assert (report.state, report.fate) == (state, fate)
    assert not report.internal


def test_who_waits_for_what_refused_its_message_learns_that_it_failed(scene: Scene) -> None:
    failures: list[Any] = []
    signals.task_failure.connect(lambda **said: failures.append(said["exception"]), weak=False, dispatch_uid="x")
    try:
        scene.run("rejected", False, id="r", errbacks=[signature("errback")])
        scene.run("rejected", True, id="q", errbacks=[signature("errback")])
    finally:
        signals.task_failure.disconnect(dispatch_uid="x")
    assert scene.stored("r").status == "FAILURE"
    assert scene.stored("q") is None
    assert [(found, type(exc).__name__) for found, exc in SEEN] == [("r", "Reject")]
    assert [type(exc).__name__ for exc in failures] == ["Reject"]


def test_a_result_that_cannot_be_written_fails_its_task(scene: Scene) -> None:
    report = scene.run("strange", id="s")
    assert (report.state, report.fate, report.internal) == ("FAILURE", Fate.FAILED, False)
    found = scene.stored("s")
    assert (found.status, found.result.exc_type) == ("FAILURE", "EncodeError")


@pytest.mark.parametrize("name", ["cancels", "cancelled"])
@pytest.mark.parametrize("looped", [True, False])
def test_a_cancelling_that_is_a_tasks_own_is_its_failure(scene: Scene, name: str, looped: bool) -> None:
    """And no CancelledError for whoever asks for the result: they would take themselves for cancelled."""
    if looped:
        (report,) = scene.program.flush([asyncio.run(scene.program.run_async(scene.job(name, id="c")))])
    else:
        report = scene.run(name, id="c")
    assert (report.state, report.fate) == ("FAILURE", Fate.FAILED)
    found = scene.stored("c").result
    assert found.exc_type == "RuntimeError"
    assert "cancelled from within: asyncio.CancelledError(" in found.args[0]


def test_one_that_its_pool_gives_up_has_no_outcome(scene: Scene) -> None:
    async def given_up() -> None:
        task = asyncio.ensure_future(scene.program.run_async(scene.job("aio", 5, id="g")))
        await asyncio.sleep(0)
        limit.give_up_coroutine(task)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(given_up())
    assert scene.stored("g") is None


def test_a_coroutine_runs_in_every_pool(scene: Scene) -> None:
    assert scene.run("aio", 5, id="c").result == "[5, 'c']"

    async def many() -> list[Report]:
        jobs = [scene.job("aio", value, id=f"m{value}") for value in range(20)]
        return list(await asyncio.gather(*map(scene.program.run_async, jobs)))

    reports = asyncio.run(many())
    assert [report.result for report in reports] == [f"[{value}, 'm{value}']" for value in range(20)]
    assert list(scene.program.flush(reports)) == reports
    assert scene.stored("m7").result == [7, "m7"]


def test_what_is_not_registered_fails_for_who_waits(scene: Scene) -> None:
    report = scene.run("nobody", id="n", errbacks=[signature("errback")])
    assert (report.state, report.fate) == ("FAILURE", Fate.FAILED)
    assert scene.stored("n").result.exc_type == "NotRegistered"
    assert [found for found, _ in SEEN] == ["n"]


def test_what_cannot_be_read_is_put_aside(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    good = build(Task("add", "x", (1, 2)))
    with caplog.at_level(logging.CRITICAL):
        for body in (b"\xff", b"[[1], {}", b"[[1], {}]", b"[1, {}, {}]", b"[[1], [], {}]", b"{}", b""):
            report = scene.run("add", message=replace(good, body=body))
            assert (report.fate, report.internal) == (Fate.REJECTED, True)
            assert report.error
    assert "Can't decode message body" in caplog.text
    refused = scene.run(
        "add", message=replace(good, content_type="application/x-python-serialize", body=pickle.dumps(1))
    )
    assert refused.fate is Fate.REJECTED


def test_leaving_passes(scene: Scene) -> None:
    with pytest.raises(SystemExit):
        scene.run("leaves")
    assert scene.run("add", 1).fate is Fate.DONE


def test_a_soft_limit_is_raised_only_in_the_task_s_own_code(scene: Scene) -> None:
    scene.program.interrupt(1.0)  # nothing runs

    @scene.app.task(shared=False, name="slow")
    def slow() -> None:
        scene.program.interrupt(1.0)

    report = scene.run("slow", id="slow")
    assert (report.state, report.error) == ("FAILURE", "SoftTimeLimitExceeded()")
    assert scene.stored("slow").result.exc_type == "SoftTimeLimitExceeded"

    @scene.app.task(shared=False, name="slow-aio")
    async def slow_aio() -> None:
        scene.program.interrupt(1.0)

    assert scene.run("slow-aio").error == "SoftTimeLimitExceeded()"
    assert scene.run("aio", 1).fate is Fate.DONE


def test_the_request_says_what_the_message_says(scene: Scene) -> None:
    job = scene.job(
        "asks", 1, id="q", kwargs={"k": 2}, root_id="r", group="g", timelimit=(5, 3), headers={"own": 1}, retries=2
    )
    scene.program.run(job._replace(redelivered=True, exchange="e"))
    ((args, kwargs, request),) = SEEN
    assert (list(args), kwargs) == ([1], {"k": 2})
    assert (request.id, request.root_id, request.group, request.retries) == ("q", "r", "g", 2)
    assert (request.time_limit, request.soft_time_limit, request.headers) == (5, 3, {"own": 1})
    assert request.delivery_info == {"exchange": "e", "routing_key": "celery", "priority": 0, "redelivered": True}
    assert (request.hostname, request.called_directly, request.is_eager) == ("host", False, False)
    assert request.correlation_id == "q"


def test_protocol_1_makes_the_same_request(scene: Scene) -> None:
    old = message_v1.to_v1(Task("asks", "o", (1,), {"k": 2}, retries=1, callbacks=None))
    message = build(old[0] if isinstance(old, tuple) else old)
    scene.run("asks", id="o", message=message)
    ((args, kwargs, request),) = SEEN
    assert (list(args), kwargs, request.id, request.retries, request.task) == ([1], {"k": 2}, "o", 1, "asks")


CAPTURES = [name for name in index() if name.startswith("client/") or "/odd/" in name]


@pytest.mark.parametrize("name", CAPTURES)
def test_every_shape_is_read_as_its_message_says(scene: Scene, name: str) -> None:
    found = vector(name)
    messages = list(amqp_messages(found))
    for data in envelopes(found):
        with suppress(BadMessage):
            messages.append(envelope.parse(data).message)
    program = scene.program
    program.reader = ALL
    for message in messages:
        job = Job(1, "t", "i", message)
        try:
            head = read_head(message, ALL)
        except BadMessage:  # the consumer refuses it before it gets here
            continue
        try:
            task = task_of(head, read_body(message, head, ALL))
        except BadMessage:
            with pytest.raises(BadMessage):
                program.read(job)
            continue
        args, kwargs, request = program.read(job)
        assert (list(args), kwargs) == (list(task.args or ()), task.kwargs)
        context = trace.Context.adopt(dict(request))
        assert vars(context) == vars(trace.Context(dict(request)))
        for field in ("id", "group", "retries", "root_id", "parent_id", "callbacks", "errbacks", "chain", "chord"):
            mine, theirs = getattr(context, field), getattr(task, field)
            assert mine == (list(theirs) if isinstance(theirs, tuple) else theirs), field
        assert tuple(context.timelimit or (None, None)) == tuple(task.timelimit)


# --- the short way of the usual message


@pytest.fixture(scope="module")
def used() -> Execution:
    """A program that has run `add` before."""
    scene = Scene()
    scene.run("add", 1)
    return scene.program


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
EMBEDDED = ("callbacks", "errbacks", "chain", "chord")
CHORD = signature("add", (1,), options={"task_id": "the-body"})
CHORDS = [
    *(
        CHORD,
        {**CHORD, "chord_size": 2},
        {**CHORD, "args": [[dict.fromkeys(EMBEDDED), {"callbacks": None, "chord": {}}]]},
    ),
    *({}, [], "text", {**CHORD, "task": None}, {**CHORD, "options": [dict.fromkeys(EMBEDDED)]}),
]
BODIES = st.one_of(
    st.builds(
        lambda args, kwargs, embed, compact: json.dumps(
            [args, kwargs, embed], separators=(",", ":") if compact else None
        ).encode(),
        st.lists(VALUES, max_size=3),
        st.dictionaries(st.text(max_size=3), VALUES, max_size=3),
        st.just(dict.fromkeys(EMBEDDED))
        | st.fixed_dictionaries(dict.fromkeys(EMBEDDED, st.none() | st.just([])))
        | st.sampled_from(CHORDS).map(lambda chord: {**dict.fromkeys(EMBEDDED), "chord": chord}),
        st.booleans(),
    ),
    st.lists(VALUES, max_size=4).map(lambda parts: json.dumps([*parts, dict.fromkeys(EMBEDDED)]).encode()),
    st.lists(VALUES | st.just({**dict.fromkeys(EMBEDDED), "chord": CHORD}), max_size=4).map(
        lambda parts: json.dumps([*parts, {**dict.fromkeys(EMBEDDED), "chord": CHORD}]).encode()
    ),
    st.sampled_from(
        [
            b'[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": {"task": "add"}, "chain": []}]',
            b'[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": {"task": "add"}, "chord": null}]',
            b'[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": {"task": "add"}}, 1]',
            b'[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": {"task": "add"}}',
        ]
    ),
    st.sampled_from([b"[", b"[]", b"[[1], {}", b'[{"__type__": "bytes"}]', b"[\xff]"]),
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(
                ("group", "root_id", "parent_id", "argsrepr"), st.none() | st.text('a"\\ \u20ac', max_size=3)
            ),
            "retries": st.integers(0, 3),
            "group_index": st.none() | st.integers(0, 3),
            "ignore_result": st.none() | st.booleans(),
        },
    ),
    BODIES,
    st.booleans(),
)
def test_the_usual_message_is_run_as_any_other_would_be(
    used: Execution, headers: Any, body: bytes, redelivered: bool
) -> None:
    found = seal(built({**headers, "task": "add"}, None, body, "ex", "key"))
    if found is None:
        return
    job = Job(1, "add", "an-id", found[0], "q", "ex", "key", redelivered)
    short = used.usual(job)
    try:
        args, kwargs, request = used.read(job)
    except BadMessage:
        assert short is None
        return
    ends = b', {"callbacks": null, "errbacks": null, "chain": null, "chord": '
    usual = body.endswith((ends + b"null}]", ends + json.dumps(CHORD).encode() + b"}]")) and body.count(ends) == 1
    if usual:
        assert (short is not None) is (type(args) is list and type(kwargs) is dict)
    if short is not None:
        tracer, *arguments, context = short
        assert tracer is used.prepared(job)[0]
        assert repr(arguments) == repr([args, kwargs])  # NaN is not itself
        said, long = [*vars(context).items()], [*vars(trace.Context.adopt(request)).items()]
        if context.chord is not None:  # which the long way puts in another order
            said, long = sorted(said), sorted(long)
        assert repr(said) == repr(long)
        if context.chord is not None:
            context.chord["options"]["a"] = 1
        context.stamps["a"] = context.delivery_info["a"] = context.properties["a"] = context.timelimit[0] = 1
        again = used.usual(job)
        assert again is not None
        assert vars(again[3]).keys() == vars(trace.Context.adopt(used.read(job)[2])).keys()
        assert repr(sorted(vars(again[3]).items())) == repr(sorted(long))


@given(VALUES | st.builds(object) | st.just({"a"}), st.none() | st.text(max_size=3), st.none() | st.text(max_size=3))
def test_a_plain_success_is_held_as_any_other_result(value: Any, group: str | None, parent: str | None) -> None:
    store = backends.connect("redis://127.0.0.1:1/0")  # nobody asks it
    debts = Debts()
    said = ("an-id", value, "2030-01-01T00:00:00+00:00", group, parent)
    result = wire.Result(said[0], "SUCCESS", value, None, [], *said[2:])
    short = debts.hold_plain(store, *said)
    try:
        long = debts.hold(store, result)
    except BadCall:
        assert short is None
        return
    assert short is not None
    assert short.row == long.row == ("celery-task-meta-an-id", wire.build(result))
    assert repr(short.result) == repr(result)
    assert debts.all == [short, long]


@given(st.integers(0, 4 * 10**15))
def test_the_time_is_written_as_python_writes_it(micros: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_results, "time_ns", lambda: micros * 1000 + 999)
        then = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=micros)
        assert stored_results.done_at(None, utc=True) == then.isoformat()


# --- results of a batch


@pytest.fixture
def redis_scene(redis_server: RedisServer) -> Iterator[Scene]:
    del SEEN[:]
    scene = Scene(result_backend=redis_server.url)
    yield scene
    scene.program.end(0)
    scene.app.backend.store.close()


@pytest.mark.real
def test_results_of_a_batch_are_written_by_flush(redis_scene: Scene) -> None:
    scene = redis_scene
    ids = [f"batch-{number}" for number in range(50)]
    reports = [scene.program.run(scene.job("add", 1, 2, id=task_id)) for task_id in ids]
    assert scene.stored(ids[0]) is None
    assert scene.program.flush(reports) == reports
    assert {found.result for found in map(scene.stored, ids)} == {3}
    again = [scene.program.run(scene.job("add", 5, 5, id=ids[0]))]
    assert scene.program.flush(again) == again
    assert scene.stored(ids[0]).result == 3  # a SUCCESS stays
    scene.program.end(0)


@pytest.mark.real
def test_what_a_child_that_died_owed_is_paid_by_its_parent(redis_scene: Scene) -> None:
    scene = redis_scene
    job = scene.job("add", 1, 2, id="owed")
    scene.program.run(job)
    debts = scene.program.debts()
    assert debts is not None
    assert wire.parse(owed(debts)[1]).task_id == "owed"
    assert scene.stored("owed") is None
    scene.program.pay(job, debts)
    scene.program.pay(job, debts)
    assert scene.stored("owed").result == 3
    scene.program.run(scene.job("boom", id="paid"))
    assert scene.program.debts() is None
    assert scene.stored("paid").status == "FAILURE"


@pytest.mark.real
def test_a_debt_that_cannot_be_paid_is_told_and_ends_nobody(
    redis_scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = redis_scene
    job = scene.job("add", 1, 2, id="owed")
    scene.program.run(job)
    debts = scene.program.debts()
    assert debts is not None

    def away(*_: Any) -> None:
        raise OSError("the store is away")

    monkeypatch.setattr(scene.app.backend.store, "store", away)
    scene.program.pay(job, debts)
    assert "owed, whose child died, could not be stored: OSError('the store is away')" in caplog.text


@pytest.mark.real
def test_a_result_that_has_no_key_costs_no_other(redis_scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene = redis_scene
    reports = [scene.program.run(scene.job("add", 1, 2, id=name)) for name in ("before", "\ud800", "after")]
    assert [report.state for report in scene.program.flush(reports)] == ["SUCCESS", "FAILURE", "SUCCESS"]
    assert scene.stored("before").result == scene.stored("after").result == 3
    assert "UTF-8 can hold" in caplog.text


@pytest.mark.real
def test_a_result_that_could_not_be_stored_is_no_success(
    redis_scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kombu.exceptions import OperationalError

    scene = redis_scene
    good = scene.program.run(scene.job("boom", id="other"))
    bad = scene.program.run(scene.job("add", 1, 2, id="gone"))
    store = scene.app.backend.store

    def away(*_: Any) -> None:
        raise OperationalError("the store is away")

    monkeypatch.setattr("celeriac.worker.redis_link.connect", away)
    monkeypatch.setattr(store, "store", away)
    first, second = scene.program.flush([good, bad])
    assert first is good
    assert (second.state, second.fate, second.internal) == ("FAILURE", Fate.FAILED, True)
    assert "the store is away" in (second.error or "")
    assert "The result of gone could not be stored" in caplog.text
    assert '"result": 3' in caplog.text.replace("\\", "")


@pytest.mark.real
def test_each_thread_writes_its_own(redis_scene: Scene) -> None:
    scene = redis_scene

    def work(place: int) -> None:
        jobs = [scene.job("add", place, id=f"t{place}-{number}") for number in range(20)]
        scene.program.flush([scene.program.run(job) for job in jobs])
        scene.program.end(0)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [scene.stored(f"t{place}-19").result for place in range(4)] == [1, 2, 3, 4]


@pytest.mark.real
def test_who_listens_to_a_success_finds_its_result(redis_scene: Scene) -> None:
    scene = redis_scene
    found: list[Any] = []

    def receive(sender: Any = None, **_: Any) -> None:
        found.append(scene.stored(sender.request.id))

    signals.task_success.connect(receive)
    try:
        scene.program.run(scene.job("add", 1, 2, id="heard"))
    finally:
        signals.task_success.disconnect(receive)
    assert found[0].result == 3


@pytest.mark.real
def test_a_message_that_came_again_after_its_success_is_not_run_again(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    del SEEN[:]
    monkeypatch.setattr(trace.Surroundings, "successful", set())
    scene = Scene(result_backend=redis_server.url, worker_deduplicate_successful_tasks=True)
    scene.run("late", id="twice")
    report = scene.run("late", id="twice", redelivered=True)
    assert SEEN == ["ran"]
    assert (report.state, report.fate) == ("SUCCESS", Fate.DONE)
    scene.run("late", id="once", redelivered=True)
    assert SEEN == ["ran", "ran"]
    scene.program.end(0)
    scene.app.backend.store.close()


BODY = signature("add", options={"task_id": "body"})


@pytest.fixture
def chords(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Scene, Callable[[], int]]]:
    """Members that come again, and how many bodies were sent."""
    del SEEN[:]
    monkeypatch.setattr(trace.Surroundings, "successful", set())
    url = f"memory://{uuid4()}"
    scene = Scene(broker_url=url, result_backend=redis_server.url, worker_deduplicate_successful_tasks=True)
    with closing(brokers.connect(url)) as broker:
        yield scene, partial(broker.size, "celery")
    scene.program.end(0)
    scene.app.close()


@pytest.mark.real
def test_a_member_whose_worker_died_before_it_was_counted_is_counted_when_its_message_comes_again(
    chords: tuple[Scene, Callable[[], int]],
) -> None:
    scene, sent = chords
    group = f"group-{uuid4()}"
    scene.app.backend.store.chord_start(group, 1)
    scene.app.backend.store_result("member", 5, "SUCCESS")  # and then it died
    scene.run("late", id="member", redelivered=True, group=group, group_index=0, chord=BODY)
    assert SEEN == []
    assert sent() == 1
    scene.run("late", id="member", redelivered=True, group=group, group_index=0, chord=BODY)
    assert sent() == 1


@pytest.mark.real
def test_who_died_with_a_claim_to_a_body_leaves_it_to_whom_the_member_comes_again(
    chords: tuple[Scene, Callable[[], int]], redis_server: RedisServer
) -> None:
    scene, sent = chords
    group = f"group-{uuid4()}"
    store = scene.app.backend.store
    store.chord_start(group, 1)
    assert store.chord_part(group, Member("last", "SUCCESS", 5), 0, "the dead one's") is not None
    assert store.chord_taken(group)
    redis_server.call("PEXPIRE", f"celery-taskset-meta-{group}.c", 700)  # it lapses
    began = time.monotonic()
    scene.run("late", id="last", redelivered=True, group=group, group_index=0, chord=BODY)
    assert sent() == 1
    assert time.monotonic() - began > 0.5
    assert not store.chord_taken(group)
    scene.run("late", id="last", redelivered=True, group=group, group_index=0, chord=BODY)
    assert sent() == 1


# --- tools


def test_a_tracer_that_somebody_put_around_ours_is_used(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    build_tracer, calls = trace.build_tracer, []

    def wrapped(name: str, task: Any, *args: Any, **kwargs: Any) -> Any:
        inner = build_tracer(name, task, *args, **kwargs)

        def tracer(uuid: str, args: Any, kwargs: Any, request: Any) -> Any:
            calls.append((name, uuid, request.get("headers")))
            return inner(uuid, args, kwargs, request)

        return tracer

    monkeypatch.setattr(trace, "build_tracer", wrapped)
    report = scene.run("add", 1, 2, id="w", headers={"sentry-trace": "x"})
    assert (report.result, report.runtime > 0) == ("3", True)
    assert scene.stored("w").result == 3
    assert scene.run("boom").error == "KeyError('no')"
    assert [call[:2] for call in calls] == [("add", "w"), ("boom", "id-2")]


def test_a_tracer_in_the_place_of_ours_is_understood(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = {
        "add": (3, None, 0.5, "three"),
        "boom": (SimpleNamespace(traceback="tb"), trace.TraceInfo("FAILURE", KeyError("x")), None, None),
        "ignored": (None, trace.TraceInfo("IGNORED", Ignore()), None, None),
        "again": (None, trace.TraceInfo("RETRY", None), None, None),
        "rejected": (None, trace.TraceInfo("REJECTED", Reject("no", True)), None, None),
        "late": (None, trace.TraceInfo("CUSTOM", None), None, None),
    }

    def build_tracer(name: str, task: Any, *args: Any, **kwargs: Any) -> Any:
        return lambda *given: trace.trace_ok_t(*ends[name])

    monkeypatch.setattr(trace, "build_tracer", build_tracer)
    reports = {name: scene.run(name) for name in ends}
    assert reports["add"] == Report("SUCCESS", Fate.DONE, 0.5, "three")
    assert (reports["boom"].error, reports["boom"].traceback) == ("KeyError('x')", "tb")
    assert {name: report.fate for name, report in reports.items()} == {
        "add": Fate.DONE,
        "boom": Fate.FAILED,
        "ignored": Fate.DONE,
        "again": Fate.RETRIED,
        "rejected": Fate.REQUEUED,
        "late": Fate.FAILED,
    }


def test_a_tracer_that_breaks_is_the_worker_s_own_failure(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def build_tracer(name: str, task: Any, *args: Any, **kwargs: Any) -> Any:
        def tracer(*given: Any) -> Any:
            raise MemoryError("all gone") if name == "add" else Reject("hook", requeue=True)

        return tracer

    monkeypatch.setattr(trace, "build_tracer", build_tracer)
    report = scene.run("add", 1, 2)
    assert (report.fate, report.internal, report.error) == (Fate.FAILED, True, "MemoryError('all gone')")
    assert "INTERNAL ERROR" in caplog.text
    assert scene.run("boom").fate is Fate.REQUEUED


def test_posting_with_another_serializer_is_read_where_it_is_accepted() -> None:
    scene = Scene(result_backend="memory", accept_content=["json", "yaml", "pickle"])
    for serializer in ("yaml", "pickle", "json"):
        message = build(Task("add", "p", (1, 2)), Posting(serializer=serializer))
        assert scene.run("add", message=message).result == "3"
    packed = build(Task("add", "p", (1, 2)), Posting(compression="gzip"))
    assert scene.run("add", message=packed).result == "3"


def test_a_program_is_made_again_in_a_child_that_was_spawned(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "APP_OF_THE_SCENE", scene.program.app)  # where a spawned child finds it
    again = pickle.loads(pickle.dumps(scene.program))
    assert isinstance(again, Execution)
    assert again.app.main == "scene"
    assert again.hostname == "host"
    scene.program.made_by = None
    with pytest.raises(TypeError, match="made by hand"):
        pickle.dumps(scene.program)
