"""The contract of a result store as a suite. A store proves itself by a subclass with one fixture, `connect`.

    class TestMemory(StoreContract):
        @pytest.fixture
        def connect(self) -> Iterator[Connect]: ...

`connect(settings)` gives another store on the same place each time. What a store does not claim in `can` is not asked
of it. One that keeps no bytes of its own (rows, say) overrides `spoil`.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.wire import states
from celeriac.protocol.wire.children import Node
from celeriac.protocol.wire.chord_keys import Member
from celeriac.protocol.wire.failure import Failure
from celeriac.protocol.wire.result import About, Result
from celeriac.protocol.wire.serializers import accepted
from celeriac.protocol.wire.stored import Codec
from celeriac.protocol.wire.stores import Keys
from celeriac.worker.backends.base import ABILITIES, Claim, KeyValueStore, Settings, Store

Connect = Callable[..., Store]
SOON = 30.0
WHEN = "2026-11-21T06:30:00.123456+00:00"
BOOM = Failure("ValueError", ("boom \u2603", 42), "builtins")


def new_id() -> str:
    return str(uuid.uuid4())


def done(task_id: str, value: Any = 3, **more: Any) -> Result:
    return Result(task_id, states.SUCCESS, value, date_done=WHEN, children=[], **more)


def failed(task_id: str, failure: Failure = BOOM) -> Result:
    return Result(task_id, states.FAILURE, failure, "Traceback: boom", [], WHEN)


def until(condition: Callable[[], bool], within: float = SOON) -> bool:
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class StoreContract:
    """Each test is a sentence of `worker/backends/base.py`."""

    @pytest.fixture
    def connect(self) -> Iterator[Connect]:
        raise NotImplementedError

    @pytest.fixture
    def store(self, connect: Connect) -> Iterator[Store]:
        store = connect()
        yield store
        store.close()

    @pytest.fixture
    def other(self, connect: Connect) -> Iterator[Store]:
        store = connect()
        yield store
        store.close()

    def needs(self, store: Store, ability: str) -> None:
        if ability not in store.can:
            pytest.skip(f"does not claim it: {ABILITIES[ability]}")

    def spoil(self, store: Store, task_id: str) -> None:
        """Leave something unreadable where this task's result belongs."""
        assert isinstance(store, KeyValueStore)
        store.put(store.settings.keys.task(task_id), b"\x80\x04 this is no JSON", 60)

    def test_it_claims_what_the_contract_knows(self, store: Store) -> None:
        assert store.can <= set(ABILITIES)

    # --- one result

    @pytest.mark.parametrize(
        "value",
        [
            None,
            0,
            1.5,
            True,
            "",
            "snow \u2603 \U0001f40d \x00 \ud7ff",
            [1, [2, {"a": None}]],
            {"k\u00e9y": [{}]},
            2**70,
        ],
        ids=["null", "zero", "float", "true", "empty", "unicode", "list", "dict", "big-int"],
    )
    def test_what_is_stored_is_fetched_as_it_was(self, store: Store, other: Store, value: Any) -> None:
        sent = done(new_id(), value)
        assert store.store(sent)
        assert other.fetch(sent.task_id) == sent
        assert type(other.fetch(sent.task_id).result) is type(value)  # type: ignore[union-attr]  # it is there

    def test_bytes_come_back_as_bytes(self, store: Store) -> None:
        sent = done(new_id(), {"raw": bytes(range(256))})
        store.store(sent)
        assert store.fetch(sent.task_id) == sent

    def test_a_big_result(self, store: Store) -> None:
        sent = done(new_id(), "x\u2603" * 1_000_000)
        store.store(sent)
        assert store.fetch(sent.task_id) == sent

    def test_nothing_stored_is_none(self, store: Store) -> None:
        assert store.fetch(new_id()) is None

    def test_odd_ids_are_ids(self, store: Store) -> None:
        ids = [f"{new_id()} a/b", f"../{new_id()}", f"\u2603-{new_id()}", f"{new_id()}:%2F*?"]
        for number, task_id in enumerate(ids):
            assert store.store(done(task_id, number))
        assert [store.fetch(task_id) for task_id in ids] == [done(task_id, n) for n, task_id in enumerate(ids)]

    def test_an_empty_id_is_refused(self, store: Store) -> None:
        with pytest.raises(BadCall):
            store.store(done(""))
        with pytest.raises(BadCall):
            store.fetch("")

    @pytest.mark.parametrize(
        ("status", "value"),
        [
            (states.STARTED, {"pid": 42, "hostname": "w1@h"}),
            (states.RETRY, Failure("OSError", ("again",))),
            (states.FAILURE, BOOM),
            (states.REVOKED, Failure("TaskRevokedError", ("terminated",), "celery.exceptions")),
            ("PROGRESS", {"done": 3, "of": 9}),
        ],
    )
    def test_every_state(self, store: Store, status: str, value: Any) -> None:
        sent = Result(new_id(), status, value, "the traceback" if status == states.FAILURE else None, [], WHEN)
        store.store(sent)
        found = store.fetch(sent.task_id)
        assert found is not None
        assert (found.status, found.result, found.traceback) == (status, value, sent.traceback)
        assert (found.ready, found.failed) == (status in states.READY, status in states.PROPAGATE)

    def test_children_and_where_it_belongs(self, store: Store) -> None:
        tree = [[["a", None], None], [["g", None], [[["b", ["p", None]], None]]]]
        sent = Result(new_id(), result=1, children=tree, date_done=WHEN, group_id=new_id(), parent_id=new_id())
        store.store(sent)
        self.check_relatives(store.fetch(sent.task_id), sent)

    def check_relatives(self, found: Result | None, sent: Result) -> None:
        """For a store that has no room for some of it, to say so."""
        assert found == sent

    def test_the_call_itself_is_kept_where_asked_for(self, store: Store) -> None:
        about = About("app.add", [1, "\u2603"], {"k": [None]}, "w1@h", 2, "celery")
        sent = replace(done(new_id()), about=about)
        store.store(sent)
        found = store.fetch(sent.task_id)
        assert found is not None
        self.check_about(found.about, about)

    def check_about(self, found: About | None, sent: About) -> None:
        assert found == sent

    def test_the_last_state_counts(self, store: Store, other: Store) -> None:
        task_id = new_id()
        chain = [
            Result(task_id, states.STARTED, {"pid": 1}),
            Result(task_id, states.RETRY, BOOM),
            Result(task_id, states.STARTED, {"pid": 2}),
            failed(task_id),
            Result(task_id, states.REVOKED, BOOM),
            done(task_id, "at last"),
        ]
        for number, state in enumerate(chain):
            assert (store, other)[number % 2].store(state)
            found = other.fetch(task_id)
            assert found is not None
            assert found.status == state.status
        assert store.fetch(task_id) == chain[-1]

    @pytest.mark.parametrize("status", [states.STARTED, states.RETRY, states.FAILURE, states.REVOKED, states.SUCCESS])
    def test_a_success_is_not_written_over(self, store: Store, other: Store, status: str) -> None:
        first = done(new_id(), "first")
        store.store(first)
        assert not other.store(Result(first.task_id, status, BOOM if status in states.EXCEPTIONS else "second"))
        assert store.fetch(first.task_id) == first

    def test_what_cannot_be_written_leaves_all_as_it_was(self, store: Store) -> None:
        task_id = new_id()
        store.store(Result(task_id, states.STARTED, {}))
        with pytest.raises((BadCall, TypeError, ValueError)):
            store.store(done(task_id, object()))
        found = store.fetch(task_id)
        assert found is not None
        assert found.status == states.STARTED
        assert store.store(done(task_id))

    def test_forgotten_is_gone(self, store: Store, other: Store) -> None:
        task_id = new_id()
        store.store(done(task_id))
        other.forget(task_id)
        assert store.fetch(task_id) is None
        other.forget(task_id)
        assert store.store(done(task_id, "again"))
        assert other.fetch(task_id) == done(task_id, "again")

    def test_what_cannot_be_read_is_a_bad_message(self, store: Store) -> None:
        task_id = new_id()
        self.spoil(store, task_id)
        with pytest.raises(BadMessage):
            store.fetch(task_id)
        assert store.store(done(task_id))
        assert store.fetch(task_id) == done(task_id)

    def test_two_writers_of_one_result(self, connect: Connect) -> None:
        task_id = new_id()
        connected = [connect() for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda store: [store.store(done(task_id, "same")) for _ in range(20)], connected))
        assert connected[0].fetch(task_id) == done(task_id, "same")
        for store in connected:
            store.close()

    # --- many

    def test_fetching_many(self, store: Store) -> None:
        ids = [new_id() for _ in range(1200)]
        stored = [done(task_id, number) for number, task_id in enumerate(ids[:50])]
        for each in stored:
            store.store(each)
        assert store.fetch_many(ids) == {each.task_id: each for each in stored}
        assert store.fetch_many(iter(ids[:2])) == {each.task_id: each for each in stored[:2]}
        assert store.fetch_many([]) == {}

    def test_a_bad_document_spoils_no_other(self, store: Store) -> None:
        good, bad, late = done(new_id()), new_id(), failed(new_id())
        store.store(good)
        self.spoil(store, bad)
        store.store(late)
        found = store.fetch_many([good.task_id, bad, late.task_id, new_id()])
        assert set(found) == {good.task_id, bad, late.task_id}
        assert (found[good.task_id], found[late.task_id]) == (good, late)
        assert isinstance(found[bad], BadMessage)
        assert dict(store.wait([good.task_id, bad, late.task_id], SOON)).keys() == found.keys()

    # --- waiting

    def test_what_was_ready_before_counts(self, store: Store) -> None:
        ready = [done(new_id()), failed(new_id())]
        for each in ready:
            store.store(each)
        started = time.monotonic()
        assert dict(store.wait([each.task_id for each in ready], SOON)) == {each.task_id: each for each in ready}
        assert time.monotonic() - started < SOON / 2

    def test_waiting_for_nothing_is_over(self, store: Store) -> None:
        assert list(store.wait([], SOON)) == []

    def test_what_gets_ready_meanwhile(self, store: Store, other: Store) -> None:
        early, late = done(new_id(), "early"), failed(new_id())

        def work() -> None:
            other.store(Result(late.task_id, states.STARTED, {}))
            other.store(early)
            time.sleep(0.2)
            other.store(late)

        worker = threading.Timer(0.2, work)
        worker.start()
        got = list(store.wait([late.task_id, early.task_id, late.task_id], SOON, interval=0.1))
        worker.join()
        assert got == [(early.task_id, early), (late.task_id, late)]

    def test_who_is_told_need_not_ask(self, store: Store, other: Store) -> None:
        self.needs(store, "push")
        result = done(new_id())
        worker = threading.Timer(0.3, other.store, [result])
        worker.start()
        started = time.monotonic()
        assert dict(store.wait([result.task_id], 30, interval=20)) == {result.task_id: result}
        worker.join()
        assert time.monotonic() - started < SOON

    def test_waiting_ends_in_time(self, store: Store) -> None:
        ready, missing = done(new_id()), new_id()
        store.store(ready)
        started = time.monotonic()
        assert list(store.wait([missing, ready.task_id], 0.4, interval=0.1)) == [(ready.task_id, ready)]
        assert 0.3 < time.monotonic() - started < SOON / 2
        assert list(store.wait([missing], 0)) == []

    def test_a_state_on_the_way_is_not_ready(self, store: Store) -> None:
        task_id = new_id()
        store.store(Result(task_id, states.RETRY, BOOM))
        assert list(store.wait([task_id], 0.2, interval=0.1)) == []

    def test_stop_ends_the_wait(self, store: Store) -> None:
        flag = threading.Event()
        timer = threading.Timer(0.3, flag.set)
        timer.start()
        started = time.monotonic()
        assert list(store.wait([new_id()], float("inf"), interval=0.1, stop=flag.is_set)) == []
        timer.join()
        assert time.monotonic() - started < SOON

    def test_a_wait_may_be_left(self, store: Store) -> None:
        results = [done(new_id()) for _ in range(3)]
        for each in results:
            store.store(each)
        for task_id, _ in store.wait([each.task_id for each in results], SOON):
            assert task_id
            break
        assert dict(store.wait([results[0].task_id], SOON)) == {results[0].task_id: results[0]}

    def test_waiting_for_thousands(self, store: Store, other: Store) -> None:
        results = [done(new_id(), number) for number in range(self.thousands)]
        half = len(results) // 2
        for each in results[:half]:
            other.store(each)
        worker = threading.Thread(target=lambda: [other.store(each) for each in results[half:]])
        worker.start()
        got = dict(store.wait([each.task_id for each in results], 60, interval=0.2))
        worker.join()
        assert got == {each.task_id: each for each in results}

    thousands = 3000

    def test_many_wait_at_once(self, connect: Connect, other: Store) -> None:
        results = [done(new_id(), number) for number in range(16)]
        stores = [connect() for _ in results]

        def get(number: int) -> Any:
            # each waits for its own and for one that all wait for
            wanted = [results[number].task_id, results[0].task_id]
            return dict(stores[number].wait(wanted, SOON, interval=0.2))

        with ThreadPoolExecutor(len(results)) as pool:
            waiting = [pool.submit(get, number) for number in range(len(results))]
            time.sleep(0.1)
            for each in reversed(results):
                other.store(each)
            for number, each in enumerate(waiting):
                assert each.result()[results[number].task_id] == results[number]
                assert each.result()[results[0].task_id] == results[0]
        for store in stores:
            store.close()

    # --- groups

    def test_groups_are_restored_by_their_id(self, store: Store, other: Store) -> None:
        self.needs(store, "group")
        inner = Node(new_id(), None, (Node("c"),))
        group = Node(new_id(), Node("parent"), (Node("a", Node("before")), inner, Node("\u2603")))
        store.store_group(group)
        assert other.fetch_group(group.id) == group
        other.forget_group(group.id)
        assert store.fetch_group(group.id) is None
        other.forget_group(group.id)

    def test_an_empty_group_is_a_group(self, store: Store) -> None:
        self.needs(store, "group")
        group = Node(new_id(), None, ())
        store.store_group(group)
        assert store.fetch_group(group.id) == group

    def test_what_it_cannot_do_it_refuses(self, store: Store) -> None:
        group = new_id()
        if "group" not in store.can:
            with pytest.raises(BadCall, match=group):
                store.store_group(Node(group, None, ()))
            with pytest.raises(BadCall, match=group):
                store.fetch_group(group)
        if "chord" not in store.can:
            with pytest.raises(BadCall, match=group):
                store.chord_start(group, 2)
            with pytest.raises(BadCall, match=group):
                store.chord_part(group, Member("a", states.SUCCESS, 1), 0, "t")

    # --- chords

    @pytest.fixture
    def counter(self, store: Store) -> Store:
        self.needs(store, "chord")
        return store

    def part(self, store: Store, group: str, number: int, value: Any = None, **more: Any) -> Claim | None:
        member = Member(f"t{number}-{group}", states.SUCCESS, number if value is None else value)
        return store.chord_part(group, member, number, more.pop("token", new_id()), **more)

    def values(self, claim: Claim | None) -> list[Any]:
        assert claim is not None
        return [member.value for member in claim.members]

    def test_the_last_member_completes_the_chord(self, counter: Store, other: Store) -> None:
        group = new_id()
        assert self.part(counter, group, 2, "c \u2603") is None
        counter.chord_start(group, 3)
        assert self.part(other, group, 0, "a") is None
        claim = self.part(counter, group, 1, ["b"])
        assert claim is not None
        assert self.values(claim) == ["a", ["b"], "c \u2603"]
        assert [member.task_id for member in claim.members] == [f"t{n}-{group}" for n in range(3)]
        assert (claim.group_id, claim.saved) == (group, None)
        assert counter.chord_hold(claim, 60)
        counter.chord_done(claim)

    def test_a_member_counts_once_however_often_it_is_told(self, counter: Store, other: Store) -> None:
        group = new_id()
        counter.chord_start(group, 2)
        for store in (counter, other, counter):
            assert self.part(store, group, 0, "a") is None
        claim = self.part(counter, group, 1, "b")
        assert self.values(claim) == ["a", "b"]
        assert self.part(other, group, 1, "b") is None
        assert self.part(other, group, 0, "a") is None

    def test_one_task_may_stand_in_a_header_twice(self, counter: Store) -> None:
        group, member = new_id(), Member("same", states.SUCCESS, 1)
        counter.chord_start(group, 2)
        assert counter.chord_part(group, member, 0, new_id()) is None
        assert counter.chord_part(group, member, 0, new_id()) is None
        self.check_twice(counter.chord_part(group, replace(member, value=2), 1, new_id()))

    def check_twice(self, claim: Claim | None) -> None:
        assert self.values(claim) == [1, 2]

    def test_a_lost_answer_may_be_asked_for_again(self, counter: Store) -> None:
        group = new_id()
        counter.chord_start(group, 2)
        self.part(counter, group, 0)
        first = self.part(counter, group, 1, token="mine")
        assert first is not None
        assert self.part(counter, group, 1, token="mine") == first
        assert self.part(counter, group, 1, token="another") is None

    def test_when_the_body_is_sent_it_is_over(self, counter: Store, other: Store) -> None:
        group = new_id()
        counter.chord_start(group, 1)
        claim = self.part(counter, group, 0)
        assert claim is not None
        counter.chord_done(claim)
        assert self.part(other, group, 0) is None
        assert self.part(other, group, 1) is None

    def test_a_chord_may_be_started_anew(self, counter: Store) -> None:
        group = new_id()
        for run in range(2):
            counter.chord_start(group, 2)
            assert self.part(counter, group, 0, f"a{run}") is None
            claim = self.part(counter, group, 1, f"b{run}")
            assert claim is not None
            assert self.values(claim) == [f"a{run}", f"b{run}"]
            counter.chord_done(claim)

    def test_a_chord_grows(self, counter: Store) -> None:
        group = new_id()
        counter.chord_start(group, 1)
        counter.chord_grow(group)
        counter.chord_grow(group, 2)
        assert [self.part(counter, group, number) for number in range(3)] == [None] * 3
        assert self.values(self.part(counter, group, 3)) == [0, 1, 2, 3]

    def test_failures_are_members(self, counter: Store) -> None:
        group = new_id()
        counter.chord_start(group, 2)
        bad = Member("bad", states.FAILURE, BOOM)
        assert counter.chord_part(group, bad, 1, new_id()) is None
        claim = self.part(counter, group, 0, "good")
        assert claim is not None
        assert [member.failed for member in claim.members] == [False, True]
        assert claim.members[1] == bad
        counter.chord_failed(claim)
        assert self.part(counter, group, 0, "good") is None
        assert counter.chord_part(group, bad, 1, new_id()) is None

    def test_a_member_without_a_place_comes_last(self, counter: Store) -> None:
        group = new_id()
        counter.chord_start(group, 3)
        assert counter.chord_part(group, Member("x", states.SUCCESS, "nowhere"), None, new_id()) is None
        assert self.part(counter, group, 1) is None
        assert self.values(self.part(counter, group, 0, "first")) == ["first", 1, "nowhere"]

    def test_many_members_keep_their_order(self, counter: Store) -> None:
        group = new_id()
        counter.chord_start(group, 120)
        for number in range(119, 0, -1):
            assert self.part(counter, group, number) is None
        assert self.values(self.part(counter, group, 0, "zero")) == ["zero", *range(1, 120)]

    def test_unordered_where_asked_for(self, connect: Connect, counter: Store) -> None:
        group = new_id()
        unordered = connect(Settings(chord_ordered=False))
        unordered.chord_start(group, 3)
        for number in (2, 0):
            assert self.part(unordered, group, number, f"v{number}") is None
        assert sorted(self.values(self.part(unordered, group, 1, "v1"))) == ["v0", "v1", "v2"]
        unordered.close()

    def test_the_size_may_come_with_the_member(self, counter: Store) -> None:
        group = new_id()
        assert self.part(counter, group, 0, size=2) is None
        claim = self.part(counter, group, 1, size=2)
        assert claim is not None
        assert (self.values(claim), claim.size) == ([0, 1], 2)
        counter.chord_failed(claim)
        assert self.part(counter, group, 1, size=2) is None

    def test_the_tree_of_a_header_with_groups_comes_with_the_claim(self, counter: Store) -> None:
        group = new_id()
        tree = Node(group, None, (Node("a"), Node("g", None, (Node("b"),))))
        counter.chord_start(group, 1, tree)
        claim = self.part(counter, group, 0)
        assert claim is not None
        assert claim.saved == tree

    def test_of_many_at_once_one_claims(self, connect: Connect, counter: Store) -> None:
        stores = [connect() for _ in range(8)]
        with ThreadPoolExecutor(len(stores)) as pool:
            for _ in range(10):
                group = new_id()
                counter.chord_start(group, len(stores))
                gate = threading.Barrier(len(stores))

                def tell(number: int, group: str = group, gate: threading.Barrier = gate) -> list[Claim | None]:
                    gate.wait()
                    return [self.part(stores[number], group, number) for _ in range(2)]

                told = pool.map(tell, range(len(stores)))
                assert len([claim for claims in told for claim in claims if claim is not None]) == 1
        for store in stores:
            store.close()

    def test_the_claim_of_one_who_died_lapses(self, connect: Connect, counter: Store) -> None:
        group = new_id()
        mortal = connect(Settings(chord_claim=1))
        mortal.chord_start(group, 2)
        self.part(mortal, group, 0)
        assert not mortal.chord_taken(group)
        dead = self.part(mortal, group, 1)
        assert dead is not None
        assert mortal.chord_taken(group)
        taken: list[Claim] = []

        def again() -> bool:
            claim = self.part(mortal, group, 1)
            taken.extend([claim] if claim is not None else [])
            return bool(taken)

        assert again() is False
        assert until(again)
        assert self.values(taken[0]) == [0, 1]
        assert not mortal.chord_hold(dead, 5)
        mortal.chord_done(dead)
        assert mortal.chord_hold(taken[0], 5)
        assert mortal.chord_taken(group)
        mortal.chord_done(taken[0])
        assert not mortal.chord_taken(group)
        assert self.part(mortal, group, 1) is None
        mortal.close()

    def test_a_claim_that_is_held_does_not_lapse(self, connect: Connect, counter: Store) -> None:
        group = new_id()
        mortal = connect(Settings(chord_claim=1))
        mortal.chord_start(group, 1)
        claim = self.part(mortal, group, 0)
        assert claim is not None
        assert mortal.chord_hold(claim, 30)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            assert self.part(mortal, group, 0) is None
            time.sleep(0.1)
        mortal.close()

    # --- by the clock

    def test_results_are_forgotten_when_their_time_is_over(self, connect: Connect, store: Store) -> None:
        brief, lasting = connect(Settings(expires=1)), connect(Settings(expires=0))
        old, kept = done(new_id()), done(new_id())
        brief.store(old)
        lasting.store(kept)
        if "expire" in store.can:
            assert until(lambda: brief.fetch(old.task_id) is None)
        else:
            assert brief.fetch(old.task_id) == old
            assert brief.expire(time.time()) == 0
            assert brief.expire(time.time() + 5) >= 1
            assert brief.fetch(old.task_id) is None
            lasting.store(kept)
        assert lasting.expire(time.time()) == 0
        assert lasting.fetch(kept.task_id) == kept
        brief.close()
        lasting.close()

    # --- settings

    @pytest.mark.parametrize("serializer", ["json", "pickle", "msgpack", "yaml"])
    @pytest.mark.parametrize("compress", [None, "gzip", "bzip2"])
    def test_any_serializer_and_compression(self, connect: Connect, serializer: str, compress: str | None) -> None:
        codec = Codec(serializer, accepted([serializer]), compress)
        store = connect(Settings(codec))
        sent = [done(new_id(), {"a": ["\u2603", 1, None]}), failed(new_id())]
        for each in sent:
            assert store.store(each)
            assert not store.store(done(sent[0].task_id, "no"))
        assert store.fetch_many(each.task_id for each in sent) == {each.task_id: each for each in sent}
        if "chord" in store.can:
            group = new_id()
            store.chord_start(group, 2)
            store.chord_part(group, Member("a", states.FAILURE, BOOM), 0, new_id())
            claim = self.part(store, group, 1, "b")
            assert self.values(claim) == [BOOM, "b"]
        store.close()

    def test_prefixes_keep_applications_apart(self, connect: Connect, store: Store) -> None:
        prefixed = connect(Settings(keys=Keys.under("mine")))
        result = done(new_id(), "mine")
        prefixed.store(result)
        self.check_apart(store, result)
        assert prefixed.fetch(result.task_id) == result
        prefixed.close()

    def check_apart(self, store: Store, result: Result) -> None:
        """For a store whose names no prefix changes, to say so."""
        assert store.fetch(result.task_id) is None

    # --- itself

    def test_closed_it_connects_again(self, store: Store) -> None:
        result = done(new_id())
        store.store(result)
        assert list(store.wait([result.task_id], SOON))
        store.close()
        store.close()
        assert store.fetch(result.task_id) == result
        assert list(store.wait([result.task_id], SOON))
