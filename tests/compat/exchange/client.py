"""Sends everything there is to the worker of `exchanged.py`, and prints what came of it. Run by either Celery.

`exchanged.py` stands beside it; the scene whose name is the first argument runs, or each. What differs from one run to
the next (ids, times, processes) is told as what it is.
"""

import json
import os
import re
import sys
import threading
import time
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import redis
from celery import chain, chord, group, signals
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult, GroupResult, result_from_tuple
from celery.schedules import crontab, schedule
from exchanged import (
    Own,
    Point,
    about,
    add,
    again,
    app,
    echo,
    fail,
    failed_with,
    ignoring,
    keep,
    progress,
    rejecting,
    replacing,
    slow,
    stubborn,
    told,
    unread,
    widening,
)

NOTES = redis.Redis.from_url(os.environ["NOTES"])
SCENES = {}
WAIT = 30
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def scene(function):
    SCENES[function.__name__] = function
    return function


def until(true, seconds=WAIT):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return found


def plain(value):
    """For JSON, with the class of whatever JSON has no word for, and the same for the same thing in another run."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, BaseException):
        return [type(value).__module__, type(value).__name__, plain(value.args)]
    if isinstance(value, str):
        return re.sub(r"gen\d+@\S+", "ORIGIN", ID.sub("ID", value))
    if value is None or isinstance(value, (int, float)):
        return value
    return [type(value).__name__, ID.sub("ID", repr(value))]


def outcome(result):
    """What a result comes to."""
    try:
        value = result.get(timeout=WAIT)
    except Exception as problem:  # any of them is an outcome
        value = problem
    if isinstance(result, GroupResult):
        return [result.successful(), value]
    return [result.state, value, bool(result.traceback)]


def refusal(call):
    """Of what this store of results cannot do."""
    try:
        return call()
    except NotImplementedError as problem:
        return problem


def notes(kind, count=1):
    """So many of them, in the order in which they were made."""

    def found():
        every = [json.loads(line) for line in NOTES.lrange("notes", 0, -1)]
        return [note[1:] for note in every if note[0] == kind]

    until(lambda: len(found()) >= count)
    return found()


@scene
def values():
    """Arguments and results of every type that JSON's serializer carries, and that pickle does."""
    rich = [
        None, True, 0, -1, 2**70, 1.5, "ä<&>\u2028", [1, [2]], {"a": {"b": [None]}}, date(2026, 1, 2),
        datetime(2026, 1, 2, 3, 4, 5, 6, timezone.utc), Decimal("1.10"), UUID(int=7), b"\x00\xff",
    ]  # fmt: skip
    yield outcome(echo.delay(*rich, word="w"))
    yield outcome(echo.apply_async((1,), compression="zlib", serializer="pickle"))
    yield outcome(echo.apply_async(("x" * 100_000,)))[0]


@scene
def pickles():
    """Arguments and, where it is the serializer of results, what comes back."""
    yield outcome(echo.apply_async(([(1, 2)],), {"point": 1j.real}, serializer="pickle"))
    if app.conf.result_serializer == "json":
        return
    yield outcome(keep.delay([{1, 2}, (1, 2), 1j, Point(1, 2), timedelta(3), Own("o")]))
    yield outcome(keep.delay([crontab(minute="*/5"), schedule(30.0), add.s(1), chain(add.s(1), add.s(2))]))
    again = keep.delay(AsyncResult("an-id", app=app)).get(timeout=WAIT)
    yield type(again).__name__, again.id


@scene
def failures():
    for kind in ("builtin", "nested", "own", "odd", "strange", "system"):
        yield kind, outcome(fail.delay(kind))
    yield outcome(app.send_task("exchanged.fail"))  # its arguments are not those that it takes
    yield outcome(stubborn.delay())
    yield outcome(slow.delay(20))
    yield outcome(app.send_task("exchanged.fail", ["no such kind"]))
    ignored, refused = ignoring.delay(), rejecting.delay()
    yield outcome(refused)
    until(lambda: ["task_postrun", ignoring.name] in [note[:2] for note in notes("signal")])
    if not app.conf.result_backend.startswith("rpc"):  # of a reply that is not waited for nobody knows
        yield ignored.state


@scene
def calls():
    """What a task sees of its call."""
    yield outcome(about.delay(1, two="2"))
    asked = about.apply_async(
        (1,), {"k": "v"}, headers={"mine": [1]}, priority=3, time_limit=50, soft_time_limit=40, shadow="shown",
        expires=300, argsrepr="(hidden)", root_id="a-root", parent_id="a-parent", task_id="an-id-of-ones-own",
    )  # fmt: skip
    state, value, _ = outcome(asked)
    value["expires"] = bool(value["expires"])
    yield state, value, asked.id
    began = time.monotonic()
    late = about.apply_async(countdown=0.7)
    state, value, _ = outcome(late)
    yield state, bool(value["eta"]), time.monotonic() - began > 0.7
    stamped = about.s()
    stamped.stamp(by="me")
    yield outcome(stamped.apply_async())
    yield outcome(again.delay())
    expired = add.apply_async((1,), expires=-1)
    yield outcome(expired)[:2]
    yield unread.delay().state, notes("unread")


@scene
def chains():
    """And all other canvases that need no counting in the store of results."""
    yield outcome(chain(add.s(1), add.s(2), echo.s())())
    yield outcome(group(add.s(n) for n in range(3))())
    yield outcome(add.chunks([(n, n) for n in range(5)], 2).group()())
    yield outcome(add.starmap([(1, 2), (3, 4)]).delay())
    yield outcome(add.map([1, [2, 3]]).delay())
    yield outcome(add.apply_async((1, 2), link=told.s(7)))
    yield outcome(fail.apply_async(("own",), link_error=failed_with.s()))
    yield outcome(chain(about.s(), echo.s()).apply_async())
    yield sorted(map(json.dumps, notes("told"))), notes("failed_with")


@scene
def chords():
    """And a task that another one replaces, of which stock Celery's replies do not tell."""
    yield outcome(chord([add.s(n) for n in range(4)], add.s())())
    broken = chord([add.s(1), fail.s("builtin")], add.s().on_error(failed_with.s()))()
    until(broken.ready)  # who waits for it may hear of the header's failure first
    yield outcome(broken)
    yield outcome(chain(group(add.s(1), add.s(2)), add.s(), group(add.s(1), add.s(2)), add.s())())
    yield outcome(chord([chain(add.s(1), add.s(1)), group(add.s(2), add.s(3))], echo.s())())
    yield outcome(chain(widening.s(5), add.s(1))())
    yield outcome(replacing.delay(5))
    yield notes("failed_with")


@scene
def results():
    """What is kept of a task, and how it is found again."""
    result = add.apply_async((1, 2))
    outcome(result)
    kept = AsyncResult(result.id, app=app)
    yield [kept.name, kept.args, kept.kwargs, kept.retries, kept.queue, kept.state, type(kept.date_done).__name__]
    yield sorted(app.backend.get_task_meta(result.id))
    parts = group(add.s(1), add.s(2))()
    parts.save()
    found = GroupResult.restore(parts.id, app=app)
    yield outcome(found), found.completed_count(), result_from_tuple(parts.as_tuple(), app=app) == parts
    tail = chain(add.s(1), add.s(2), add.s(3))()
    outcome(tail)
    head = tail.parent.parent
    yield [[value for _, value in head.collect()], len(list(head.graph))]
    yield head.children[0].get(timeout=WAIT)
    result.forget()
    yield AsyncResult(result.id, app=app).state
    halfway = progress.delay()
    until(lambda: halfway.state == "PROGRESS")
    yield halfway.info
    NOTES.rpush(f"go:{halfway.id}", "on")
    yield outcome(halfway)


@scene
def replies():
    """Where results are messages to who has sent the task: what can be known of them, and what is refused."""
    result = add.delay(1, 2)
    yield outcome(result), outcome(result)
    tail = chain(add.s(1), add.s(2), add.s(3))()
    yield outcome(tail), outcome(tail.parent), outcome(tail.parent.parent)
    halfway, seen = progress.delay(), []

    def go_on(meta):
        if meta["status"] == "PROGRESS":
            NOTES.rpush(f"go:{halfway.id}", "on")
        if meta["status"] != "STARTED":  # it may be past before somebody listens
            seen.append([meta["status"], meta["result"]])

    halfway.get(timeout=WAIT, on_message=go_on)
    yield seen, outcome(halfway)
    parts = group(add.s(1), add.s(2))()
    yield outcome(parts), parts.completed_count()
    yield refusal(chord([add.s(1)], add.s()))
    yield refusal(parts.save)
    yield refusal(lambda: GroupResult.restore(parts.id, app=app))


@scene
def client_signals():
    seen = []

    def note(name):
        def receiver(sender=None, headers=None, body=None, **more):
            short = {key: value for key, value in (headers or {}).items() if key not in ("origin", "stamps")}
            seen.append([name, sender, sorted(short), [] if body is None else body[0], sorted(more)])

        return receiver

    receivers = {name: note(name) for name in ("before_task_publish", "after_task_publish")}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver)
    outcome(echo.delay(1))
    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver)
    yield seen


@scene
def worker_signals():
    NOTES.delete("notes")
    outcome(add.delay(1))
    outcome(fail.delay("own"))
    outcome(again.delay())

    def mine():
        """Without what tasks of the scenes before this one still say."""
        return [note for note in notes("signal") if note[1] in (add.name, fail.name, again.name)]

    until(lambda: sum(name == "task_postrun" for name, *_ in mine()) == 4)
    yield sorted(map(json.dumps, mine()))


@scene
def control():
    (node,) = until(lambda: app.control.ping(timeout=1))
    (name,) = node
    asked = app.control.inspect([name], timeout=5)
    yield node[name]
    yield sorted(task for task in asked.registered()[name] if task.startswith("exchanged."))
    yield [queue["name"] for queue in asked.active_queues()[name]]
    yield asked._request("exchanged_say", word="hello")[name]
    yield app.control.broadcast("exchanged_note", {"word": "x"}, reply=True, destination=[name], timeout=5)
    yield notes("control")
    yield app.control.rate_limit("exchanged.add", "100/s", reply=True, destination=[name], timeout=5)
    yield app.control.rate_limit("exchanged.add", 0, reply=True, destination=[name], timeout=5)
    yield app.control.time_limit("exchanged.add", soft=9, hard=10, reply=True, destination=[name], timeout=5)
    yield app.control.add_consumer("extra", reply=True, destination=[name], timeout=5)
    yield outcome(add.apply_async((1, 1), queue="extra"))
    yield app.control.cancel_consumer("extra", reply=True, destination=[name], timeout=5)
    yield app.control.broadcast("no_such_command", reply=True, destination=[name], timeout=5)
    busy = progress.delay()
    notes("progress")
    (active,) = asked.active()[name]
    yield active["name"], active["id"] == busy.id, sorted(active)
    ((place, of_it),) = asked.query_task(busy.id)[name].values()
    yield place, of_it["name"]
    later = add.apply_async((1,), countdown=20)
    (waiting,) = until(lambda: asked.scheduled()[name])
    yield sorted(waiting), waiting["request"]["name"]
    later.revoke()
    until(lambda: later.id in asked.revoked()[name])
    busy.revoke(terminate=True)
    yield outcome(busy)[:2], isinstance(busy.result, TaskRevokedError)
    held = add.apply_async((1,), countdown=0.5)
    app.control.revoke(held.id, reply=True, destination=[name], timeout=5)
    yield outcome(held)[:2]
    stats = asked.stats()[name]
    known = {"total", "pool", "broker", "pid", "clock", "uptime", "rusage", "prefetch_count"}
    yield sorted(known & set(stats)), stats["total"]["exchanged.fail"] > 0
    yield asked.conf()[name]["task_track_started"]
    yield outcome(add.delay(4))


@contextmanager
def listening():
    """The events of these moments."""
    caught, ready = [], threading.Event()
    state = app.events.State()

    def take(event):
        state.event(dict(event))
        caught.append(event)
        if event["type"] == "worker-heartbeat":
            ready.set()

    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": take})
        thread = threading.Thread(target=lambda: receiver.capture(limit=None, timeout=None, wakeup=True))
        thread.start()
        assert ready.wait(WAIT)
        yield caught, state
        receiver.should_stop = True
        thread.join()


@scene
def events():
    with listening() as (caught, state):
        ids = {}
        for name, result in {"add": add.delay(1), "fail": fail.delay("own"), "again": again.delay()}.items():
            outcome(result)
            ids[result.id] = name
        revoked = add.apply_async((1,), expires=-1)
        outcome(revoked)
        ids[revoked.id] = "expired"
        last = {"add": "succeeded", "fail": "failed", "again": "succeeded", "expired": "revoked"}

        def complete():
            have = {(event["type"], ids.get(event.get("uuid"))) for event in list(caught)}
            return all((f"task-{kind}", name) in have for name, kind in last.items())

        until(complete)
        mine = [event for event in caught if event.get("uuid") in ids]
        fields = sorted({(ids[each["uuid"]], each["type"], *sorted(set(each) - {"clock"})) for each in mine})
        yield fields
        known = [task for task in state.tasks.values() if task.uuid in ids]
        yield sorted([ids[task.uuid], task.name, task.state, task.worker is not None] for task in known)
        (worker,) = state.workers.values()
        beats = [set(each) for each in caught if each["type"] == "worker-heartbeat"]
        known = {"clock", "freq", "hostname", "pid", "sw_ident", "sw_sys", "sw_ver", "timestamp", "type", "utcoffset"}
        yield worker.alive, all(known <= beat for beat in beats)


@scene
def beat():
    """Entries as beat sends them."""
    from celery.beat import Scheduler

    scheduler = Scheduler(app)
    for name in ("often", "nightly", "pieces"):
        entry = scheduler.schedule[name]
        yield name, repr(entry.schedule), outcome(scheduler.apply_async(entry, advance=False))
    entry = scheduler.reserve(scheduler.schedule["often"])
    yield entry.total_run_count


if __name__ == "__main__":
    for name in sys.argv[1:] or SCENES:
        NOTES.delete("notes")
        for step in SCENES[name]():
            print(json.dumps([name, plain(step)], sort_keys=True), flush=True)
