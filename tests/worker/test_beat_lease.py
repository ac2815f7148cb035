"""The lease of beats, in a Redis and in databases: who leads, what is fenced off, what is kept, and each message once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.errors import BadCall
from celeriac.worker.beat_lease import Kept, RedisLease
from celeriac.worker.beat_lease_database import DatabaseLease
from celeriac.worker.redis_place import parse
from tests.servers import RedisServer, free_port
from tests.store_servers import postgres, postgres_programs
from tests.worker.running import wait_until

pytestmark = pytest.mark.real
TTL = 30.0
Make = Callable[[], Any]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    programs = postgres_programs()
    if programs is None or not find_spec("psycopg"):
        pytest.skip("PostgreSQL or psycopg is not installed: .[dev-stores]")
    with postgres(programs) as url:
        yield url


@pytest.fixture(params=["redis", "sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path: Path) -> Iterator[Make]:
    """Doors to one lease, each of another beat."""
    redis_server.call("FLUSHALL")
    place = parse(redis_server.url, {})
    made: list[Any] = []

    def door() -> Any:
        name = f"lease-{tmp_path.name}"[-60:]
        if request.param == "redis":
            made.append(RedisLease(place, name))
        else:
            sqlite = request.param == "sqlite"
            url = f"sqlite:///{tmp_path / 'lease.db'}" if sqlite else request.getfixturevalue("postgresql")
            made.append(DatabaseLease(f"db+{url}", name, place))
        return made[-1]

    yield door
    for each in made:
        each.close()


def test_one_leads_until_it_is_gone(make: Make) -> None:
    first, second = make(), make()
    assert first.acquire(TTL).token == 1
    refused = second.acquire(TTL)
    assert refused.token == 0
    assert 0 < refused.free_in <= TTL
    assert first.acquire(TTL, 1).token == 1  # for longer
    first.release(1)
    assert second.acquire(TTL).token == 2
    assert first.acquire(TTL, 1).token == 0


def test_a_leader_who_says_nothing_is_followed(make: Make) -> None:
    first, second = make(), make()
    assert first.acquire(0.2).token == 1
    wait_until(lambda: second.acquire(0.2).token == 2)
    assert first.acquire(0.2, 1).token == 0
    first.release(1)  # which is nobody's any more
    assert second.acquire(0.2, 2).token == 2


def test_what_an_old_leader_writes_is_refused(make: Make, redis_server: RedisServer) -> None:
    first, second = make(), make()
    first.acquire(0.1)
    assert first.commit(1, "a", "one", ("jobs", b"1"))
    wait_until(lambda: second.acquire(0.1).token == 2)
    assert not first.commit(1, "a", "late", ("jobs", b"late"))
    assert second.commit(2, "a", "two", ("jobs", b"2"))
    assert second.load().state == {"a": "two"}
    assert redis_server.call("LRANGE", "jobs", 0, -1) == [b"2", b"1"]


def test_what_is_written_down_is_kept(make: Make) -> None:
    store = make()
    token = store.acquire(TTL).token
    store.begin({"a": "begins", "b": "begins"})
    store.begin({"a": "again"})
    assert store.commit(token, "b", "ran")
    before = store.acquire(TTL, token).version
    store.put("made", "definition")
    store.pause("a")
    assert store.acquire(TTL, token).version == before + 2
    assert make().load() == Kept({"a": "begins", "b": "ran"}, {"made": "definition"}, frozenset("a"))
    store.resume("a")
    assert store.remove("made")
    assert not store.remove("made")
    store.forget("b")
    store.forget()
    assert store.load() == Kept({}, {}, frozenset())


def test_many_who_come_at_once_find_one_leader(make: Make) -> None:
    doors = [make() for _ in range(5)]
    asked: list[int] = []
    threads = [threading.Thread(target=lambda door=door: asked.append(door.acquire(TTL).token)) for door in doors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(asked) == [0, 0, 0, 0, 1]


# --- a database, and the queues in a Redis


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"db+sqlite:///{tmp_path / 'lease.db'}"


def test_what_a_leader_did_not_come_to_is_finished_once(redis_server: RedisServer, database: str) -> None:
    redis_server.call("FLUSHALL")
    away = parse(f"redis://127.0.0.1:{free_port()}/0", {})
    with closing(DatabaseLease(database, queues_at=away)) as dies:
        dies.acquire(0.1)
        with pytest.raises(OperationalError):
            dies.commit(1, "a", "one", ("jobs", b"1"))
    with (
        closing(DatabaseLease(database, queues_at=parse(redis_server.url, {}))) as follows,
        closing(DatabaseLease(database, queues_at=parse(redis_server.url, {}))) as sleeper,
    ):
        wait_until(lambda: follows.acquire(0.1).token == 2)
        for _ in range(2):
            follows.finish()
        follows.commit(2, "a", "two", ("jobs", b"2"))
        sleeper._push("a", 1, "jobs", b"1")  # who was suspended just before
        sleeper.finish()
        assert redis_server.call("LRANGE", "jobs", 0, -1) == [b"2", b"1"]
        follows.acquire(TTL, 2)
        redis_server.call("FLUSHALL")
        follows.finish()
        assert redis_server.call("LLEN", "jobs") == 0, "it was queued, and the Redis forgot that"


def test_a_lease_that_is_made_anew_numbers_anew(redis_server: RedisServer, tmp_path: Path) -> None:
    redis_server.call("FLUSHALL")
    for number in range(2):
        url = f"db+sqlite:///{tmp_path / f'{number}.db'}"
        with closing(DatabaseLease(url, queues_at=parse(redis_server.url, {}))) as store:
            store.acquire(TTL)
            assert store.commit(1, "a", "one", ("jobs", b"1"))
    assert redis_server.call("LLEN", "jobs") == 2


def test_without_a_redis_it_only_writes_down(database: str) -> None:
    with closing(DatabaseLease(database)) as store:
        store.acquire(TTL)
        store.finish()
        assert store.commit(1, "a", "one")
        assert store.load().state == {"a": "one"}


def test_a_database_that_is_away_is_said_without_its_password() -> None:
    url = f"db+postgresql+psycopg2://me:secret@127.0.0.1:{free_port()}/x"
    store = DatabaseLease(url)
    assert "secret" not in store.where
    with pytest.raises((OperationalError, BadCall)) as caught:  # its driver may not be installed
        store.load()
    assert "secret" not in str(caught.value)
    with pytest.raises(BadCall, match="beat_lease_url"):
        DatabaseLease("db+nothing")


def test_the_time_until_it_may_be_free_runs_down(database: str) -> None:
    with closing(DatabaseLease(database)) as first, closing(DatabaseLease(database)) as second:
        first.acquire(TTL)
        early = second.acquire(TTL).free_in
        time.sleep(0.05)  # it is time that is measured
        late = second.acquire(TTL).free_in
        assert early is not None
        assert late is not None
        assert late <= early - 0.05
        first.acquire(TTL, 1)
        assert second.acquire(TTL).free_in == pytest.approx(TTL, abs=0.5)
