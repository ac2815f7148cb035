"""Results and chords in memcached: Celery's bytes, stock workers in the same chord, workers that die half way."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from pymemcache.client.base import Client

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire import states
from celeriac.protocol.wire.children import Node
from celeriac.protocol.wire.chord_keys import Member
from celeriac.protocol.wire.result import Result
from celeriac.worker import backends
from celeriac.worker.backends.base import Claim, Settings
from celeriac.worker.backends.cache import CacheStore
from celeriac.worker.backends.counting import CountingStore
from tests import store_servers
from tests.conformance.backends import done, new_id
from tests.protocol.vectors import vector

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with store_servers.memcached() as port:
        yield port


@pytest.fixture
def raw(port: int) -> Iterator[Any]:
    client = Client(("127.0.0.1", port), default_noreply=False)
    yield client
    client.close()


@pytest.fixture
def store(port: int) -> Iterator[CacheStore]:
    store = backends.connect(f"cache+memcached://127.0.0.1:{port}/")
    assert isinstance(store, CacheStore)
    yield store
    store.close()


def part(store: CountingStore, group: str, number: int, token: str | None = None) -> Claim | None:
    return store.chord_part(group, Member(f"{group}-{number}", states.SUCCESS, number), number, token or new_id())


def header(group: str, size: int) -> Node:
    return Node(group, None, tuple(Node(f"{group}-{number}") for number in range(size)))


def stock_part(store: CacheStore, raw: Any, group: str, number: int) -> int:
    """A stock worker stores the result and counts; it leaves nothing else."""
    store.store(done(f"{group}-{number}", number))
    counted: int = raw.incr(f"chord-unlock-{group}", 1)
    return counted


def test_what_celery_wrote_is_read(store: CacheStore, raw: Any) -> None:
    """The commands of a captured worker, played again."""
    read = []
    for chunk in vector("result/memcached").capture["chunks"]:
        name, *rest = chunk["data"].split(" ", 2)
        if chunk["dir"] == ">" and name == "set":
            key, tail = rest
            value = tail.split("\r\n", 1)[1].removesuffix("\r\n")
            raw.set(key, value)
            if key.startswith("celery-task-meta-"):
                found = store.fetch(key.removeprefix("celery-task-meta-"))
                assert found is not None
                assert found.result == json.loads(value)["result"]
                read.append(found.result)
            elif key.startswith("celery-taskset-meta-"):
                group = store.fetch_group(key.removeprefix("celery-taskset-meta-"))
                assert group is not None
                assert group.members is not None
                assert len(group.members) == 2
    assert read == [3, 2, 4, 6]


def test_what_is_written_celery_reads(store: CacheStore, raw: Any) -> None:
    sent = Result("t", states.SUCCESS, 3, None, [], "2026-11-21T03:59:44.789245+00:00")
    store.store(sent)
    assert raw.get("celery-task-meta-t") == (
        b'{"status": "SUCCESS", "result": 3, "traceback": null, "children": [], '
        b'"date_done": "2026-11-21T03:59:44.789245+00:00", "task_id": "t"}'
    )
    group = new_id()
    store.chord_start(group, 1, header(group, 1))
    assert raw.get(f"chord-unlock-{group}") == b"0"
    assert json.loads(raw.get(f"celery-taskset-meta-{group}")) == {
        "result": [[group, None], [[[f"{group}-0", None], None]]]
    }


def test_a_stock_worker_counts_too(store: CacheStore, raw: Any) -> None:
    group = new_id()
    store.chord_start(group, 3, header(group, 3))
    assert stock_part(store, raw, group, 1) == 1
    assert part(store, group, 2) is None
    claim = part(store, group, 0)
    assert claim is not None
    assert [member.value for member in claim.members] == [0, 1, 2]


def test_the_body_is_the_stock_workers_if_it_counted_last(store: CacheStore, raw: Any) -> None:
    group = new_id()
    store.chord_start(group, 2, header(group, 2))
    assert part(store, group, 0) is None
    assert stock_part(store, raw, group, 1) == 2
    assert part(store, group, 0) is None


def test_a_chord_that_celery_started(store: CacheStore, raw: Any) -> None:
    """It says its size by the group alone."""
    group = new_id()
    store.store_group(header(group, 2))
    raw.set(f"chord-unlock-{group}", b"0")
    assert part(store, group, 1) is None
    claim = part(store, group, 0)
    assert claim is not None
    assert [member.value for member in claim.members] == [0, 1]


class Died(BaseException):
    """As a worker dies: nothing after it is done."""


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("call", range(12))
def test_a_worker_may_die_at_any_command(store: CacheStore, call: int, saved: bool) -> None:
    """The second of three dies before one of its commands; its message comes again. Each order completes it once."""
    for last in (0, 1):
        group = new_id()
        store.chord_start(group, 3, header(group, 3) if saved else None)
        assert part(store, group, 2) is None
        left = call

        def mortal(*args: Any, do: Any = store._do) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Died
            return do(*args)

        store._do = mortal  # type: ignore[method-assign]  # to die in it
        try:
            claims = [part(store, group, 1)]
        except Died:
            claims = []
        finally:
            del store._do
        order = [0, 1] if last else [1, 0]
        claims += [part(store, group, number) for number in order]
        made = [claim for claim in claims if claim is not None]
        assert [[member.value for member in claim.members] for claim in made] == [[0, 1, 2]]


def test_a_claim_that_ran_out_is_taken_again(store: CacheStore, raw: Any) -> None:
    group = new_id()
    store.chord_start(group, 1)
    claim = part(store, group, 0, "mine")
    assert claim is not None
    raw.delete(f"chord-unlock-{group}.c")
    assert store.chord_hold(claim, 30)
    assert raw.get(f"chord-unlock-{group}.c") == b"mine"
    store.chord_done(claim)
    assert not store.chord_hold(claim, 30)
    left = [name for name in ("", ".s", ".t", ".1", f".{group}-0:0") if raw.get(f"chord-unlock-{group}{name}")]
    assert left == []


def test_a_seat_that_cannot_be_read_fails_the_chord(store: CacheStore, raw: Any) -> None:
    group = new_id()
    store.chord_start(group, 2)
    part(store, group, 0)
    raw.set(f"chord-unlock-{group}.1", b"what is this")
    claim = part(store, group, 1)
    assert claim is not None
    assert sorted(member.failed for member in claim.members) == [False, True]


def test_a_group_that_cannot_be_read_fails_the_chord(store: CacheStore, raw: Any) -> None:
    group = new_id()
    store.chord_start(group, 1, header(group, 1))
    raw.set(f"celery-taskset-meta-{group}", b"}")
    claim = part(store, group, 0)
    assert claim is not None
    assert claim.members[-1].failed


def test_a_month_and_more_is_a_date(port: int, raw: Any) -> None:
    """memcached takes more than 30 days for a time that is long over."""
    store = backends.connect(f"cache+memcached://127.0.0.1:{port}", Settings(expires=40 * 86400))
    result = done(new_id())
    store.store(result)
    assert store.fetch(result.task_id) == result
    store.close()


def test_keys_are_spread_over_servers(port: int) -> None:
    with store_servers.memcached() as second:
        url = f"cache+memcached://127.0.0.1:{port};127.0.0.1:{second}/"
        store = backends.connect(url)
        results = [done(new_id(), number) for number in range(50)]
        for each in results:
            store.store(each)
        assert store.fetch_many(each.task_id for each in results) == {each.task_id: each for each in results}
        alone = backends.connect(f"cache+memcached://127.0.0.1:{second}/")
        assert 0 < len(alone.fetch_many(each.task_id for each in results)) < 50
        store.close()
        alone.close()


def test_options_are_celerys(port: int) -> None:
    given = {"behaviors": {"x": 1}, "binary": True, "timeout": 3, "retry_attempts": 2, "retry_delay": 0}
    store = backends.connect(f"cache+pylibmc://127.0.0.1:{port}/", Settings(options={"cache_backend_options": given}))
    result = done(new_id())
    assert store.store(result)
    store.close()
    plain = backends.connect("cache", Settings(options={"cache_backend": f"memcached://127.0.0.1:{port}/"}))
    assert plain.fetch(result.task_id) == result
    plain.close()
    with pytest.raises(BadCall, match="cache_backend_options"):
        backends.connect(
            f"cache+memcached://127.0.0.1:{port}/", Settings(options={"cache_backend_options": {"nonsense": 1}})
        ).fetch("t")


def test_too_big_for_memcached(store: CacheStore) -> None:
    with pytest.raises(OperationalError, match="memcached at 127"):
        store.store(done(new_id(), "x" * 17_000_000))
    assert store.fetch(new_id()) is None


def test_a_server_that_says_nothing_has_a_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        given = {"cache_backend_options": {"timeout": 0.2}}
        url = f"cache+memcached://127.0.0.1:{silent.getsockname()[1]}/"
        store = backends.connect(url, Settings(options=given))
        with pytest.raises(OperationalError, match="could not read, after 0"):
            store.fetch("t")
        store.close()
