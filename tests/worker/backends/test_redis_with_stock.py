"""Results of ours in Redis read by stock Celery, stock's by us, and chords that both count at once."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac.protocol.wire import states
from celeriac.protocol.wire.children import Node
from celeriac.protocol.wire.chord_keys import Member
from celeriac.protocol.wire.failure import Failure
from celeriac.protocol.wire.result import Result
from celeriac.worker import backends
from celeriac.worker.backends.base import Claim, Store
from celeriac.worker.backends.settings import read
from tests.conformance.backends import WHEN, new_id
from tests.servers import RedisServer

pytestmark = pytest.mark.real
CONF: list[dict[str, Any]] = [
    {},
    {"result_serializer": "pickle", "accept_content": ["json", "pickle"], "result_compression": "gzip"},
    {"result_serializer": "msgpack", "accept_content": ["json", "msgpack"]},
    {"result_backend_transport_options": {"global_keyprefix": "app", "result_chord_ordered": False}},
]


class Peer:
    """Stock Celery in a process of its own."""

    def __init__(self, python: Path, url: str, conf: dict[str, Any]) -> None:
        command = [str(python), str(Path(__file__).with_name("stock_results.py")), url, json.dumps(conf)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(self, *line: Any) -> Callable[[], Any]:
        """Sends the question; the answer is fetched by calling what this returns."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        return lambda: json.loads(self._process.stdout.readline())  # type: ignore[union-attr]  # it is a pipe

    def __call__(self, *line: Any) -> Any:
        return self.ask(*line)()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


Pair = tuple[Store, Peer]


@pytest.fixture(scope="module", params=range(len(CONF)), ids=["json", "pickle-gzip", "msgpack", "prefix-unordered"])
def pair(request: pytest.FixtureRequest, redis_server: RedisServer, stock_python: Path) -> Iterator[Pair]:
    conf = CONF[request.param]
    store, peer = backends.connect(redis_server.url, read(conf)), Peer(stock_python, redis_server.url, conf)
    yield store, peer
    store.close()
    peer.close()


def test_stock_reads_ours(pair: Pair) -> None:
    store, peer = pair
    task_id = new_id()
    children = [[["kid", None], None], [["g", None], [[["a", None], None]]]]
    store.store(Result(task_id, states.SUCCESS, {"snow": ["\u2603", None, 1.5]}, children=children, date_done=WHEN))
    assert peer("meta", task_id) == ["SUCCESS", {"snow": ["\u2603", None, 1.5]}, None, ["kid", "g"]]
    failed = new_id()
    store.store(Result(failed, states.FAILURE, Failure("ValueError", ("boom", 1)), "the traceback", [], WHEN))
    assert peer("meta", failed) == ["FAILURE", ["ValueError", ["boom", 1]], "the traceback", []]


def test_we_read_stocks(pair: Pair) -> None:
    store, peer = pair
    task_id, failed = new_id(), new_id()
    peer("store", task_id, "SUCCESS", {"snow": "\u2603"})
    peer("store", failed, "FAILURE", ["boom", 1], "the traceback")
    found = store.fetch(task_id)
    assert found is not None
    assert (found.status, found.result) == ("SUCCESS", {"snow": "\u2603"})
    bad = store.fetch(failed)
    assert bad is not None
    assert (bad.status, bad.traceback) == ("FAILURE", "the traceback")
    failure = bad.result
    assert failure in (Failure("ValueError", ("boom", 1)), failure if isinstance(failure, ValueError) else None)


def test_neither_writes_over_a_success_of_the_other(pair: Pair) -> None:
    store, peer = pair
    ours, theirs = new_id(), new_id()
    store.store(Result(ours, result=1, date_done=WHEN))
    peer("store", ours, "FAILURE", ["late"])
    peer("store", theirs, "SUCCESS", 2)
    assert not store.store(Result(theirs, states.FAILURE, Failure("ValueError", ("late",))))
    assert [peer("meta", each)[:2] for each in (ours, theirs)] == [["SUCCESS", 1], ["SUCCESS", 2]]


def test_each_wakes_the_other(pair: Pair) -> None:
    store, peer = pair
    ours, theirs = new_id(), new_id()
    answer = peer.ask("get", ours, 20)
    timer = threading.Timer(0.3, store.store, [Result(ours, result="from us", date_done=WHEN)])
    timer.start()
    assert answer() == "from us"
    timer.join()  # a store is for one thread at a time
    other = peer.ask("store", theirs, "SUCCESS", "from stock")
    ((task_id, found),) = store.wait([theirs], 20)
    other()
    assert (task_id, found.result) == (theirs, "from stock")  # type: ignore[union-attr]  # it could be read


def test_groups_are_restored_by_both(pair: Pair) -> None:
    store, peer = pair
    ours, theirs = new_id(), new_id()
    store.store_group(Node(ours, None, (Node("a"), Node("b"))))
    assert peer("restore_group", ours) == ["a", "b"]
    peer("save_group", theirs, ["c", "d"])
    assert store.fetch_group(theirs) == Node(theirs, None, (Node("c"), Node("d")))


SIZE = 6


@pytest.mark.parametrize("starter", ["ours", "stock"])
def test_a_chord_that_both_count_completes_once(pair: Pair, starter: str, redis_server: RedisServer) -> None:
    store, peer = pair
    for _ in range(10):
        group, queue = new_id(), f"bodies-{new_id()}"
        if starter == "ours":
            store.chord_start(group, SIZE)
        else:
            peer("chord_start", group, SIZE)
        answer = peer.ask("chord_parts", group, queue, list(range(0, SIZE, 2)), 2)
        claims: list[Claim] = []
        for number in [*range(1, SIZE, 2)] * 2:
            claim = store.chord_part(group, Member(f"t{number}-{group}", "SUCCESS", number), number, new_id())
            claims += [] if claim is None else [claim]
        answer()
        bodies = redis_server.call("LLEN", queue)
        assert len(claims) + bodies == 1
        for claim in claims:
            assert sorted(member.value for member in claim.members) == list(range(SIZE))
            assert store.chord_hold(claim, 10)
            store.chord_done(claim)
        # Whoever was last, no copy of a member brings the body again.
        peer("chord_parts", group, queue, [0], 1)
        assert store.chord_part(group, Member(f"t1-{group}", "SUCCESS", 1), 1, new_id()) is None
        assert redis_server.call("LLEN", queue) == bodies
        assert redis_server.call("KEYS", f"*{group}*") in ([key] for key in redis_server.call("KEYS", f"*{group}.c"))
        redis_server.call("DEL", queue)
