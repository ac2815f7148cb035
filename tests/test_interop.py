"""The core run of the matrix, whole: real Celery 5.7, gocelery, node-celery and celery-node beside us and beside stock,
on every broker, and workers replaced one by one under kill -9. What docs/interop.md says of them must be seen again.

A peer that cannot be installed fails, it is not passed over; `make interop` tries the whole family.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from interop import peers, promises, recorded, runs
from interop.__main__ import main as interop_main
from interop.capabilities import HASTY
from interop.grid import columns, shown
from interop.matrix import Cell, How, Place, worse_than_promised, worse_than_stock
from interop.rolling import explained, until
from interop.rolling_record import Hands, Record, listened
from tests import servers

JOBS = runs.jobs(peers.CORE)
TASKS = 1000


class Core:
    """What this run has seen, and what of it should be otherwise."""

    def __init__(self, asked: list[runs.Job], *, rolled: bool) -> None:
        self.said: list[str] = []
        promised = runs.promised(asked)
        roll = TASKS if rolled else 0
        self.seen = runs.run(asked, promised=promised, roll=roll, patience=HASTY, say=self.said.append)
        self.wrong = self.seen.wrong(promised)


@pytest.fixture(scope="module")
def core(request: pytest.FixtureRequest) -> Core:
    """All pairs whose tests are run now, before the first of them: side by side, since most of the time is waiting."""
    if missing := [said for peer in peers.CORE if (said := peers.installed(peer))]:
        pytest.fail("\n".join(missing), pytrace=False)
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    jobs = {each["job"] for each in params if "job" in each}
    return Core([job for job in JOBS if job in jobs], rolled=any("rolled" in each for each in params))


@pytest.mark.real
@pytest.mark.interop
@pytest.mark.parametrize("job", JOBS, ids=str)
def test_what_works_with_stock_and_what_the_page_says_works(job: runs.Job, core: Core) -> None:
    assert any(job.has(place) for place in core.seen.cells), "nothing was tried"
    if wrong := {place: why for place, why in core.wrong.items() if job.has(place)}:
        pytest.fail("\n".join(f"{place}: {why}" for place, why in wrong.items()), pytrace=False)


@pytest.mark.real
@pytest.mark.interop
@pytest.mark.parametrize("rolled", runs.ROLLED)
def test_a_rolling_replacement_loses_nothing_of_ours(rolled: str, core: Core) -> None:
    said, balanced = core.seen.rolled[rolled]
    assert balanced, said
    assert f"{TASKS} tasks, celeriac killed 2 times, celery-5.7.0 killed 4 times" in said


def test_a_cell_that_stock_manages_and_we_do_not_is_named() -> None:
    ours, stock = Place("gocelery", peers.OURS, "redis", "read"), Place("gocelery", peers.STOCK, "redis", "read")
    cells = {ours: Cell(How.cannot, "no result came"), stock: Cell(How.works)}
    assert {str(place): why for place, why in worse_than_stock(cells).items()} == {
        "gocelery -> celeriac on redis: read": "cannot (no result came); stock: works"
    }
    assert not worse_than_stock({ours: Cell(How.works), stock: Cell(How.cannot, "no result came")})


def test_a_promise_that_is_not_kept_is_named() -> None:
    ours, stock = Place("gocelery", peers.OURS, "redis", "read"), Place("gocelery", peers.STOCK, "redis", "read")
    unknown = Place("gocelery", peers.OURS, "redis", "tell fortunes")
    cells = {ours: Cell(How.setting, "`a = 1`"), stock: Cell(How.cannot, "no result came")}
    assert worse_than_promised(cells, {ours: How.works, unknown: How.setting}) == {
        ours: "setting (`a = 1`); the page says: works; stock: cannot (no result came)",
        unknown: "cannot (nobody knows such a cell); the page says: setting",
    }
    assert not worse_than_promised(cells, {ours: How.setting})


def test_a_peer_that_does_not_build_is_named_and_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise peers.CannotInstall("go build ended with 1: no such host")

    monkeypatch.setattr(peers, "CORE", (replace(peers.GOCELERY, install=fails),))
    monkeypatch.setattr(sys, "argv", ["interop", "core", "--broker", "redis"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # pytest's own stay
    assert interop_main() == 1
    assert capsys.readouterr().err == "gocelery is missing: go build ended with 1: no such host\n"


def test_the_screen_shows_each_cell_and_what_is_worse() -> None:
    names = list(columns("gocelery", peers.OURS, "redis"))
    works, setting, cannot = Cell(How.works), Cell(How.setting, "`a = 1`"), Cell(How.cannot, "no result came")
    cells = {
        Place("gocelery", worker, "redis", names[at]): cell
        for worker, row in (
            (peers.OURS, (works, setting, cannot, cannot)),
            (peers.STOCK, (works, cannot, cannot, works)),
        )
        for at, cell in enumerate(row)
    }
    legend, heading, *rows = shown(cells).splitlines()
    assert "! worse" in legend
    assert heading == f"{', '.join(names)}:"
    assert [row.split() for row in rows] == [
        ["gocelery", "->", peers.OURS, "Redis", "+s-!"],
        ["gocelery", "->", peers.STOCK, "Redis", "+--+"],
    ]


def test_all_that_the_page_says_of_core_peers_is_tried() -> None:
    core = {peer.name for peer in peers.CORE}
    said = {place for place in promises.promised() if of(place) <= {*core, recorded.RECORDED}}
    assert said == runs.promised(JOBS).keys()
    for broker in ("redis", "rabbitmq", "quorum"):
        assert core <= {name for place in said if place.broker == broker for name in of(place)}, broker
    assert len(said) > 1000, "the page promises much less than it did"


def of(place: Place) -> set[str]:
    return {place.producer, *place.worker.split(" + ")}


# --- whose a loss was, by the server's own record

ENVELOPE = '{"headers": {"task": "interop.roll", "id": "roll-%d"}}'
TAKE = """
local raw = redis.call('LRANGE', 'celery', -1, -1)[1]
redis.call('HSET', 'unacked', ARGV[1], '[' .. raw .. ',"",""]')
redis.call('ZADD', 'unacked_index', 1, ARGV[1])
redis.call('LTRIM', 'celery', 0, -2)
"""


class Hand:
    """A connection that takes and lets go of messages as a worker does."""

    def __init__(self, server: servers.RedisServer, name: str, record: Record) -> None:
        self.client = server.connect()
        record.ascribe(name, {self.client.address})

    def put(self, number: int) -> None:
        self.client.call("LPUSH", "celery", ENVELOPE % number)

    def pop(self) -> None:
        self.client.call("BRPOP", "celery", "celery\x06\x163", 1)

    def note(self, number: int) -> None:
        for command in (
            ("MULTI",),
            ("ZADD", "unacked_index", 1, f"tag{number}"),
            ("HSET", "unacked", f"tag{number}", f'[{ENVELOPE % number}, "", "celery"]'),
            ("EXEC",),
        ):
            self.client.call(*command)

    def take(self, number: int) -> None:
        self.client.call("EVAL", TAKE, 0, f"tag{number}")

    def let_go(self, number: int) -> None:
        self.client.call("HDEL", "unacked", f"tag{number}")


@contextmanager
def hands(server: servers.RedisServer) -> Iterator[tuple[Hand, Hand, Hand, Record]]:
    server.call("FLUSHALL")
    with listened(server) as record:
        sender, stock, ours = (Hand(server, name, record) for name in ("sender", "stock w1", "ours w2"))
        with closing(sender.client), closing(stock.client), closing(ours.client):
            yield sender, stock, ours, record


@pytest.mark.real
def test_a_message_that_stock_popped_and_never_noted_is_told_of_its_window(redis_server: servers.RedisServer) -> None:
    with hands(redis_server) as (sender, stock, ours, record):
        for number in range(4):
            sender.put(number)
        stock.pop()
        stock.note(0)
        stock.let_go(0)
        ours.take(1)
        stock.pop()
        ours.take(3)
        ours.let_go(3)
    had = record.last_hands()
    assert {number: str(each) for number, each in had.items()} == {
        0: "let go of by stock w1",
        1: "noted by ours w2",
        2: "popped (BRPOP) by stock w1",
        3: "let go of by ours w2",
    }
    killed = {"stock w1": peers.STOCK, "ours w2": peers.OURS}
    assert explained({2}, had, killed) == (
        ["2: popped (BRPOP) by stock w1, killed before it had noted it anywhere (celery#4354)"],
        [],
    )
    assert explained({2}, had, {}) == ([], ["2: popped (BRPOP) by stock w1"]), "it was not killed"


@pytest.mark.real
def test_a_message_that_we_let_go_of_is_ours(redis_server: servers.RedisServer) -> None:
    with hands(redis_server) as (sender, stock, ours, record):
        for number in range(3):
            sender.put(number)
        ours.take(0)
        ours.let_go(0)
        ours.pop()
        stock.pop()
    killed = {"stock w1": peers.STOCK, "ours w2": peers.OURS}
    excused, others = explained({0, 1, 2, 7}, record.last_hands(), killed)
    assert others == ["0: let go of by ours w2", "1: popped (BRPOP) by ours w2", "7: no record of it"]
    assert [each[:2] for each in excused] == ["2:"]


@pytest.mark.real
def test_what_came_while_a_connection_waited_is_its_own(redis_server: servers.RedisServer) -> None:
    with hands(redis_server) as (sender, stock, ours, record):
        stock.client.send("BRPOP", "celery", 5)
        assert until(lambda: b"blocked_clients:1" in redis_server.call("INFO", "clients"))
        sender.put(0)
        assert stock.client.read()[0] == b"celery"
        sender.put(1)
        ours.take(1)
    assert str(record.last_hands()[0]) == "popped (BRPOP, for which it waited) by stock w1"
    assert str(record.last_hands()[1]) == "noted by ours w2"


def test_one_worker_dies_but_once() -> None:
    had = {number: Hands("stock w1", "popped (BRPOP)") for number in (1, 2)}
    excused, others = explained({1, 2}, had, {"stock w1": peers.STOCK})
    assert (len(excused), others) == (1, ["2: popped (BRPOP) by stock w1"])
