"""What is remembered of events, how it is counted, found and drawn: values in, values out, whatever the events say."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from celeriac.compat.web.family import drawing
from celeriac.compat.web.records import Node, Record, Records
from celeriac.compat.web.search import Condition, conditions
from celeriac.compat.web.series import SPANS, Series, quantile
from tests.compat.web.telling import NOW, event, life, worker


def heard(*events: Any, now: float = NOW + 5) -> Records:
    records = Records(Series())
    for each in events:
        records.hear(each, now)
    return records


def record_of(*events: Any) -> Record:
    found = heard(*events).changed
    assert len(found) == 1
    return next(iter(found.values()))


def test_a_life_is_remembered_whole() -> None:
    record = record_of(*life("id-1", root_id="root", parent_id="parent", group_id="group", retries=1))
    assert (record.name, record.state, record.worker, record.queue) == ("shop.pay", "SUCCESS", "w1@here", "celery")
    assert (record.args, record.result, record.runtime, record.retries) == ("(1,)", "'fine'", 1.0, 1)
    assert (record.root_id, record.parent_id, record.group_id) == ("root", "parent", "group")
    assert [step.kind for step in record.steps] == ["sent", "received", "started", "succeeded"]
    assert (record.sent, record.received, record.ended) == (NOW, NOW + 0.1, NOW + 1.2)
    assert Record.read(json.loads(json.dumps(record.document()))) == record


def test_the_order_of_arrival_does_not_matter() -> None:
    told = life("id-1", end="failed")
    for seed in range(24):
        shuffled = random.Random(seed).sample(told, len(told))
        record = record_of(*shuffled)
        assert (record.state, record.name, record.exception) == ("FAILURE", "shop.pay", "ValueError('no')")
        assert [step.kind for step in record.steps] == ["sent", "received", "started", "failed"]


def test_retries_are_steps_with_their_reasons() -> None:
    first = [event("received", name="a", retries=0), event("started"), event("retried", exception="OSError('gone')")]
    second = [
        event("received", at=NOW + 2, retries=1),
        event("started", at=NOW + 2.1),
        event("succeeded", at=NOW + 3, runtime=0.5),
    ]
    record = record_of(*first, *second)
    assert record.state == "SUCCESS"
    assert record.retries == 1
    assert [step.told for step in record.steps if step.kind == "retried"] == ["OSError('gone')"]


def test_a_retry_that_is_told_late_ends_nothing_anew() -> None:
    """The worker's process that tried first may be heard after the one that ended it."""
    record = record_of(event("received", name="a"), event("started"), event("succeeded"), event("retried"))
    assert record.state == "SUCCESS"
    assert [step.kind for step in record.steps].count("retried") == 1


@pytest.mark.parametrize(
    ("last", "state", "told"),
    [
        (event("revoked", terminated=True, signum="15"), "REVOKED", "it was ended 15"),
        (event("revoked", expired=True), "REVOKED", "it had expired"),
        (event("rejected", requeue=True), "REJECTED", "put back"),
        (event("rejected", requeue=False), "REJECTED", "dropped"),
        (event("progress", percent=40), "STARTED", "{'percent': 40}"),
    ],
)
def test_how_else_a_task_goes_on(last: Any, state: str, told: str) -> None:
    record = record_of(event("received", name="a"), event("started"), last)
    assert (record.state, record.steps[-1].told) == (state, told)


@pytest.mark.parametrize(
    "nonsense",
    [
        None, 3, "task-received", [], {}, {"type": 7}, {"type": "task-sent"}, {"type": "task-sent", "uuid": 3},
        {"type": "task-sent", "uuid": ""}, {"type": "task-sent", "uuid": "x" * 256}, {"type": "worker-online"},
        {"type": "worker-online", "hostname": ""},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_counted_and_passed_over(nonsense: Any) -> None:
    records = heard(nonsense)
    assert (records.heard, records.senseless, records.changed, records.nodes) == (1, 1, {}, {})


@pytest.mark.parametrize(
    "value", [None, [], {}, "x", float("nan"), float("inf"), -1, 1e300, True, 10**400, "\ud800", [[]] * 9]
)
def test_no_field_of_an_event_does_harm(value: Any) -> None:
    fields = (
        "timestamp",
        "name",
        "args",
        "kwargs",
        "retries",
        "eta",
        "runtime",
        "exception",
        "traceback",
        "root_id",
        "group_id",
        "signum",
    )
    for kind in ("sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected", "own"):
        record = record_of({**event(kind), **dict.fromkeys(fields, value)})
        json.dumps(record.document(), allow_nan=False, ensure_ascii=False).encode()
        assert all(0 < step.at <= NOW + 30 for step in record.steps)
    records = heard({**worker(), **dict.fromkeys(("freq", "active", "processed", "loadavg", "sw_ver", "pid"), value)})
    json.dumps(records.nodes["w1@here"].document(), allow_nan=False)
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    record_of(event("received", args=nested))


def test_texts_and_steps_have_their_room() -> None:
    record = record_of(event("failed", traceback="x" * 10**6), *(event("own", at=NOW + n / 100) for n in range(200)))
    assert len(record.traceback) == 16000
    assert len(record.steps) <= 40


def test_old_tasks_are_let_go_and_recalled() -> None:
    kept: dict[str, Record] = {}
    records = Records(Series(), kept.get, room=3)
    for number in range(10):
        records.hear(event("received", f"id-{number}", name=f"n{number}"), NOW + 1)
    kept.update((record.id, record) for record in records.flushed()[0])
    assert len(kept) == 10
    assert len(records._tasks) == 3
    records.hear(event("started", "id-0"), NOW + 1)
    assert records.changed["id-0"].name == "n0"


def test_workers_come_and_go() -> None:
    records = heard(worker("online"), worker(active=3))
    node = records.nodes["w1@here"]
    assert (node.active, node.processed, node.software, node.load) == (3, 5, "py-celery 5.7.0 Linux", (0.5, 0.2, 0.1))
    assert node.alive(NOW + 6)
    assert not node.alive(NOW + 60)
    records.hear(worker("offline"), NOW + 6)
    assert not node.alive(NOW + 6)
    assert not Node("new").alive(NOW)


# --- charts


def test_ends_are_counted_once_and_times_in_their_bins() -> None:
    records = heard(*life("a"), *life("b", end="failed"), *life("a"), event("retried", "c"))
    for span, (width, kept) in SPANS.items():
        points = records.series.points(span, NOW + 5)
        assert len(points) == kept
        assert points[1]["at"] - points[0]["at"] == width
        total = {name: sum(point[name] for point in points) for name in ("succeeded", "failed", "retried")}
        assert total == {"succeeded": 1, "failed": 1, "retried": 1}
        assert next(point["run50"] for point in points if point["run50"]) == pytest.approx(1.0, rel=0.15)
        assert next(point["wait95"] for point in points if point["wait95"]) == pytest.approx(0.2, rel=0.15)


def test_a_percentile_is_right_to_an_eighth() -> None:
    series = Series()
    for number in range(1, 1001):
        series.ran(NOW, number / 1000)
    (bucket,) = series.buckets["hour"].values()
    assert quantile(bucket.runs, 0.5) == pytest.approx(0.5, rel=0.13)
    assert quantile(bucket.runs, 0.95) == pytest.approx(0.95, rel=0.13)
    assert quantile({}, 0.5) is None
    series.waited(NOW, 0.0)
    assert quantile(bucket.waits, 0.5) == 0.0


def test_buckets_are_read_back_and_forgotten_in_time() -> None:
    series, again = Series(), Series()
    series.count(NOW, "succeeded")
    series.ran(NOW, 2.5)
    for span, start in series.changed:
        again.take(span, start, json.loads(json.dumps(series.buckets[span][start].document())))
    assert again.buckets == series.buckets
    again.take("century", 1, [])
    again.forget(NOW + 3700)
    assert not again.buckets["hour"]
    assert again.buckets["week"]
    again.forget(NOW - 10 * 86400)
    assert not again.buckets["week"], "what a wrong clock has put into the future goes too"


# --- search


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("", []),
        ("Pay", [Condition("words", "pay")]),
        ("state:failure", [Condition("state", "FAILURE", True)]),
        ('name:shop arg:"a B" x', [Condition("name", "shop"), Condition("arguments", "a b"), Condition("words", "x")]),
        ("http://x", [Condition("words", "http://x")]),
        ("state:", [Condition("words", "state:")]),
        ('"', []),
        ("group:G1", [Condition("group_id", "G1", True)]),
        ("id:ABC", [Condition("id", "abc")]),
    ],
)  # fmt: skip
def test_every_text_is_a_search(typed: str, found: list[Condition]) -> None:
    assert conditions(typed) == found


def test_a_search_has_an_end() -> None:
    assert len(conditions("a " * 10_000)) <= 12


# --- families


def member(
    uuid: str, parent: str = "", at: float = 0.0, ended: float = 0.0, group: str = "", state: str = "SUCCESS"
) -> Record:
    return Record(uuid, name=uuid, state=state, parent_id=parent, sent=NOW + at, ended=NOW + ended, group_id=group)


def places(*records: Record) -> dict[str, tuple[int, int]]:
    return {box.id: (box.column, box.row) for box in drawing(records).boxes}


def test_a_chain_is_a_line() -> None:
    chain = (member("a", ended=1), member("b", "a", 1, 2), member("c", "b", 2, 3))
    assert places(*chain) == {"a": (0, 0), "b": (1, 0), "c": (2, 0)}
    assert drawing(chain).lines == [("a", "b", "chain"), ("b", "c", "chain")]


def test_a_call_is_told_from_a_link() -> None:
    assert drawing([member("a", ended=5), member("b", "a", 1, 2)]).lines == [("a", "b", "call")]


def test_a_chord_waits_for_its_whole_group() -> None:
    header = [member(f"h{n}", "a", 1, 2 + n, "g") for n in range(3)]
    # What follows in the chain carries the id of the group too, as Celery sends it.
    drawn = drawing([member("a", ended=1.5), *header, member("body", "h2", 4, 5), member("next", "body", 5, 6, "g")])
    assert drawn.groups == {"g": ["h0", "h1", "h2"]}
    assert [line for line in drawn.lines if line[2] == "chord"] == [(f"h{n}", "body", "chord") for n in range(3)]
    at = {box.id: (box.column, box.row) for box in drawn.boxes}
    assert [at[each][0] for each in ("a", "h0", "h1", "h2", "body", "next")] == [0, 1, 1, 1, 2, 3]
    assert len({at[f"h{n}"][1] for n in range(3)}) == 3
    early = drawing([member("h0", ended=2, group="g"), member("h1", group="g", state="STARTED"), member("b", "h0", 3)])
    assert not [line for line in early.lines if line[2] == "chord"], "not all have ended: it is no body"


def test_no_family_is_without_end() -> None:
    circle = [member("a", "b", group="g"), member("b", "c", group="g"), member("c", "a"), member("d", "d")]
    assert len(drawing(circle).boxes) == 4
    assert drawing([]).boxes == []
    assert drawing([member(str(n), str(n - 1)) for n in range(300)], most=200).hidden == 100
    rng = random.Random(7)
    for _ in range(200):
        names = [str(n) for n in range(rng.randrange(1, 12))]
        some = [
            member(each, rng.choice([*names, ""]), rng.random(), rng.random(), rng.choice(["", "g", "h"]))
            for each in names
        ]
        drawn = drawing(some)
        assert sorted(box.id for box in drawn.boxes) == sorted(names)
        assert len({(box.column, box.row) for box in drawn.boxes}) == len(names), "no box hides another"
