"""What every memory of the page must do, in a file or in a Redis: one suite for both. Then what is Redis' own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from celeriac import Celery
from celeriac.compat.bin.celery import celery
from celeriac.compat.web.search import conditions
from celeriac.compat.web.store import Limits, Store, kept_in
from celeriac.compat.web.store_redis import PREFIX, RedisStore
from celeriac.compat.web.watch import Watch
from tests.compat.web.telling import NOW, event, life, worker
from tests.servers import RedisServer, free_port, redis_server
from tests.worker.running import wait_until


@pytest.fixture
def app() -> Iterator[Celery]:
    made = Celery("history", broker="memory://", backend="cache+memory://", set_as_current=False)
    yield made
    made.close()


@pytest.fixture(params=["file", "redis"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place that holds nothing yet."""
    if request.param == "file":
        yield str(tmp_path / "history.db")
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    server.call("FLUSHALL")
    yield server.url
    server.call("FLUSHALL")


def tell(watch: Watch, *events: Any, now: float = NOW + 5) -> None:
    for each in events:
        watch.records.hear(each, now)
    watch._flush()


def found(store: Store, text: str = "", limit: int = 1000) -> list[str]:
    return [record.id for record in store.search(conditions(text), limit)]


def test_a_place_is_a_file_or_a_redis(where: str) -> None:
    with closing(kept_in(where)) as store:
        assert isinstance(store, RedisStore) == where.startswith("redis://")
        assert found(store) == []


def test_a_restart_forgets_nothing(where: str, app: Celery) -> None:
    now = time.time()
    told = [*life("a", at=now - 3, args="('Grüße',)"), *life("b", "shop.mail", at=now - 3)[:3]]
    with closing(kept_in(where)) as store:
        watch = Watch(app, store)
        tell(watch, *told, worker(), now=now)
        store.remember("note", {"kept": [1, "two"]})
        before = watch.overview(now), watch.points("hour", now), store.record("a")
    with closing(kept_in(where)) as store:
        watch = Watch(app, store)
        after = watch.overview(now), watch.points("hour", now), store.record("a")
        for name in ("totals", "workers"):
            assert after[0][name] == before[0][name]
        assert after[1:] == before[1:]
        assert store.remembered("note") == {"kept": [1, "two"]}
        assert store.remembered("none") is None
        assert found(store, "state:success grüße") == ["a"]
        tell(watch, event("succeeded", "b", at=now, runtime=2.0), now=now)
        record = store.record("b")
        assert record is not None
        assert (record.state, record.name, len(record.steps)) == ("SUCCESS", "shop.mail", 4)


def test_it_keeps_to_its_limits_over_a_restart_too(where: str, app: Celery) -> None:
    limits = Limits(tasks=100)
    with closing(kept_in(where, limits)) as store:
        watch = Watch(app, store)
        for number in range(250):
            tell(watch, *life(f"id-{number}"), worker(name=f"w{number % 3}@here"), now=NOW + number)
        watch._prune()
        kept = [f"id-{number}" for number in range(249, 149, -1)]
        assert found(store) == kept
    with closing(kept_in(where, limits)) as store:
        assert found(store) == kept
        assert sum(store.totals().values()) == 100


def test_it_keeps_to_its_size(where: str, app: Celery) -> None:
    limits = Limits(tasks=10_000, size=2_000_000)
    with closing(kept_in(where, limits)) as store:
        watch = Watch(app, store)
        for number in range(400):
            tell(watch, event("failed", f"id-{number}", traceback=f"{number}" * 6000), now=NOW + number)
        for _ in range(20):
            watch._prune()
        kept = found(store)
    assert 0 < len(kept) < 200
    assert kept[0] == "id-399"
    with closing(kept_in(where, limits)) as store:
        assert found(store) == kept


def test_what_is_pruned_is_told_once(where: str, app: Celery) -> None:
    with closing(kept_in(where, Limits(tasks=2))) as store:
        watch = Watch(app, store)
        for number in range(4):
            tell(watch, *life(f"id-{number}"), worker(), now=NOW + number)
        now = NOW + 10 * 86400
        watch.series.forget(now)
        gone = store.prune(watch.series, now)
        assert gone["tasks"] == ["id-0", "id-1"]
        assert gone["nodes"] == ["w1@here"]
        assert gone["buckets"]
        assert store.prune(watch.series, now) == {"tasks": [], "nodes": [], "buckets": []}


def test_pages_and_families(where: str, app: Celery) -> None:
    with closing(kept_in(where)) as store:
        watch = Watch(app, store)
        for number in range(30):
            tell(watch, event("received", f"id-{number:02}", name="a", root_id="id-00"), now=NOW + number // 7)
        first = store.search([], 20)
        rest = store.search([], 20, (first[-1].updated, first[-1].id))
        assert len({record.id for record in (*first, *rest)}) == 30
        member = store.record("id-07")
        assert member is not None
        assert len(store.family(member)) == 30


# --- Redis


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def stored(server: RedisServer, kind: str = "tasks") -> Callable[[], int]:
    return lambda: int(server.call("HLEN", f"{PREFIX}.{kind}"))


def test_a_redis_that_is_away_holds_nobody_up(
    own_redis: RedisServer, app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    """It refuses everybody for a while, as one that is replaced does."""
    with closing(kept_in(own_redis.url)) as store:
        watch = Watch(app, store)
        tell(watch, *life("before"))
        wait_until(lambda: stored(own_redis)() == 1)
        own_redis.call("CONFIG", "SET", "requirepass", "changed")
        own_redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        began = time.monotonic()
        for number in range(50):
            tell(watch, *life(f"id-{number}")[:3], now=NOW + number)
        assert time.monotonic() - began < 5
        assert len(found(store)) == 51
        wait_until(lambda: "does not take the history" in caplog.text)
        tell(watch, *life("id-0")[3:], now=NOW + 99)
        own_redis.call("CONFIG", "SET", "requirepass", "")
        wait_until(lambda: stored(own_redis)() == 51)
        wait_until(lambda: "is back" in caplog.text)
        assert caplog.text.count("does not take the history") == 1
    with closing(kept_in(own_redis.url)) as store:
        record = store.record("id-0")
        assert record is not None
        assert (record.name, record.state) == ("shop.pay", "SUCCESS"), "what changed last is what is kept"


def test_what_is_lost_at_the_end_is_said(own_redis: RedisServer, app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    store = kept_in(own_redis.url)
    own_redis.call("CONFIG", "SET", "requirepass", "changed")
    own_redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    tell(Watch(app, store), *life("a"))
    began = time.monotonic()
    store.close()
    assert time.monotonic() - began < 12
    assert "changes are not in the history" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (("SET", f"{PREFIX}.version", "99"), "history of another version: 99"),
        (("SET", f"{PREFIX}.tasks", "somebody's"), "WRONGTYPE"),
        (("HSET", f"{PREFIX}.tasks", "a", "no document"), "Expecting value"),
    ],
)
def test_what_is_no_history_is_left_alone(own_redis: RedisServer, spoil: tuple[str, ...], why: str) -> None:
    own_redis.call(*spoil)
    with pytest.raises(OSError, match=why):
        kept_in(own_redis.url)
    assert own_redis.call("TYPE", spoil[1]) in (b"string", b"hash")


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("AWAY", "cannot connect to redis://127.0.0.1:"),
        ("mysql://x", "mysql:// cannot keep a history"),
        ("redis://h/x", "is a number, not 'x'"),
    ],
)
def test_a_place_that_is_none_is_told_of(where: str, why: str) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0" if where == "AWAY" else where
    done = CliRunner().invoke(celery, ["-b", "memory://", "web", "--port", "0", "--history", url])
    assert done.exit_code == 1, done.output
    assert why in done.output
    assert "Name another place with --history" in done.output
    assert "Traceback" not in done.output
