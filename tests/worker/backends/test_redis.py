"""What is the Redis store's own: its bytes, its connection, its retries; and the one connection that all waiters share."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire import chord_keys, states
from celeriac.protocol.wire.chord_keys import Member
from celeriac.protocol.wire.result import Result, build
from celeriac.worker import backends
from celeriac.worker.backends import redis as redis_module
from celeriac.worker.backends import redis_watch
from celeriac.worker.backends.base import Settings, Store
from celeriac.worker.backends.redis import RedisStore, RetryPolicy
from celeriac.worker.backends.settings import read
from celeriac.worker.redis_link import connect
from celeriac.worker.redis_place import Place, Tls, parse
from tests import servers
from tests.conformance.backends import BOOM, done, failed, new_id, until
from tests.conftest import Environment
from tests.servers import RedisServer
from tests.worker.test_redis_link import listening

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A Redis of its own: connections and channels are counted here."""
    with servers.redis_server() as server:
        yield server


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisStore]:
    server.call("FLUSHALL")
    store = RedisStore(parse(server.url))
    yield store
    store.close()


def subscribers(server: RedisServer) -> list[bytes]:
    clients: bytes = server.call("CLIENT", "LIST", "TYPE", "pubsub")
    return [line for line in clients.splitlines() if line]


def channels(server: RedisServer) -> list[bytes]:
    found: list[bytes] = server.call("PUBSUB", "CHANNELS")
    return found


def key(task_id: str) -> str:
    return f"celery-task-meta-{task_id}"


class TestBytes:
    def test_a_result_is_stored_and_published_as_celery_does(self, server: RedisServer) -> None:
        store = RedisStore(parse(server.url), Settings(expires=1000, failure_expires=50))
        ear = server.connect()
        with closing(store), closing(ear):
            result = done(new_id())
            ear.call("SUBSCRIBE", key(result.task_id))
            store.store(result)
            assert ear.read() == [b"message", key(result.task_id).encode(), build(result)]
            assert server.call("GET", key(result.task_id)) == build(result)
            assert server.call("TTL", key(result.task_id)) == 1000
            bad = failed(new_id())
            store.store(bad)
            assert server.call("TTL", key(bad.task_id)) == 50
            for_ever = RedisStore(parse(server.url), Settings(expires=0))
            for_ever.store(result)
            for_ever.forget(result.task_id)
            for_ever.store(result)
            assert server.call("TTL", key(result.task_id)) == -1
            for_ever.close()

    def test_storing_is_one_round_trip(self, server: RedisServer, store: RedisStore) -> None:
        store.store(done(new_id()))
        before = calls(server)
        store.store(done(new_id()))
        grown = {name: count - before.get(name, 0) for name, count in calls(server).items()}
        assert (grown["cmdstat_evalsha"], grown.get("cmdstat_eval", 0)) == (1, 0)

    def test_chords_live_where_celery_has_them(self, server: RedisServer) -> None:
        settings = Settings(expires=1000, chord_expires=100)
        store = RedisStore(parse(server.url), settings)
        server.call("FLUSHALL")
        with closing(store):
            store.chord_start("g", 2)
            store.chord_grow("g", 0)
            store.chord_part("g", Member("a", states.SUCCESS, 1), 0, "t1")
            names = [f"celery-taskset-meta-g.{end}".encode() for end in "djst"]
            assert sorted(server.call("KEYS", "*")) == names
            assert {server.call("TTL", name) for name in names} == {100}
            claim = store.chord_part("g", Member("b", states.FAILURE, BOOM), 1, "t2")
            assert claim is not None
            assert server.call("GET", "celery-taskset-meta-g.c") == b"t2"
            assert server.call("ZRANGE", "celery-taskset-meta-g.j", 0, -1) == [
                chord_keys.build_member(member) for member in claim.members
            ]
            store.chord_done(claim)
            assert server.call("KEYS", "*") == [b"celery-taskset-meta-g.c"]
            assert 0 < server.call("TTL", "celery-taskset-meta-g.c") <= 300

    def test_members_and_groups_that_cannot_be_read_fail_the_chord(
        self, server: RedisServer, store: RedisStore
    ) -> None:
        store.chord_start("g", 2)
        server.call("ZADD", "celery-taskset-meta-g.j", 0, b"\x80 no JSON")
        server.call("SET", "celery-taskset-meta-g", b"[]")
        claim = store.chord_part("g", Member("b", states.SUCCESS, 1), 1, "t")
        assert claim is not None
        assert [member.failed for member in claim.members] == [True, False, True]
        assert "no JSON" in str(claim.members[0].value)
        assert claim.saved is None

    def test_a_result_that_redis_cannot_hold(self, store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_module, "_LONGEST", 100)
        with pytest.raises(BadCall, match="Redis keeps 100 in one value"):
            store.store(done("x", "y" * 200))

    def test_many_at_once_are_stored_as_one_by_one(self, server: RedisServer) -> None:
        """Where nothing is stored; what is in the way of the others is left to `store`."""
        store = RedisStore(parse(server.url), Settings(expires=1000))
        server.call("FLUSHALL")
        fresh, known, over, last = (done(new_id()) for _ in range(4))
        store.store(Result(known.task_id, states.STARTED, {}))
        store.store(Result(over.task_id, states.SUCCESS, "before"))
        server.call("LPUSH", key("no text"), "x")
        odd = done("no text")
        ear, link = server.connect(), connect(store.place)
        with closing(store), closing(ear), closing(link):
            ear.call("PSUBSCRIBE", key("*"))
            rows = [store.row(result) for result in (fresh, known, over, odd, last)]
            assert rows[0] == (key(fresh.task_id), build(fresh))
            before = calls(server)
            assert store.store_all(link, rows) == [1, 2, 3]
            grown = {name: count - before.get(name, 0) for name, count in calls(server).items()}
            assert (grown["cmdstat_eval"], grown["cmdstat_publish"]) == (1, 2)
            for result in (fresh, last):
                assert ear.read() == [b"pmessage", key("*").encode(), key(result.task_id).encode(), build(result)]
                assert server.call("GET", key(result.task_id)) == build(result)
                assert server.call("TTL", key(result.task_id)) == 1000
            assert [store.store(result) for result in (known, over)] == [True, False]
            assert store.store_all(link, rows) == [0, 1, 2, 3, 4]
            assert (store.fetch(known.task_id), store.fetch(over.task_id).result) == (known, "before")  # type: ignore[union-attr]  # it was stored above
            assert calls(server)["cmdstat_evalsha"] > before.get("cmdstat_evalsha", 0)  # known by its sum now

    def test_many_at_once_are_kept_for_ever_where_the_settings_say_so(self, server: RedisServer) -> None:
        store = RedisStore(parse(server.url), Settings(expires=0))
        link = connect(store.place)
        with closing(store), closing(link):
            result = done(new_id())
            assert store.store_all(link, [store.row(result)]) == []
            assert server.call("TTL", key(result.task_id)) == -1
            assert store.fetch(result.task_id) == result


def calls(server: RedisServer) -> dict[str, int]:
    info: bytes = server.call("INFO", "commandstats")
    rows = [line.split(":") for line in info.decode().splitlines() if ":" in line]
    return {name: int(row.split(",")[0].removeprefix("calls=")) for name, row in rows}


class TestConnection:
    def test_a_connection_that_was_cut_is_made_anew(
        self, server: RedisServer, store: RedisStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        result = done(new_id())
        store.store(result)
        server.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with caplog.at_level(logging.ERROR):
            assert store.fetch(result.task_id) == result
        assert "Connection to Redis lost: Retry (0/20) in 0.00 seconds." in caplog.text

    def test_one_that_was_idle_is_looked_at_first(
        self, server: RedisServer, store: RedisStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(redis_module, "_IDLE", 0.0)
        store.policy = RetryPolicy(most=0)
        store.fetch("x")
        server.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert until(lambda: store._link is not None and not store._link.alive())
        assert store.fetch("x") is None
        store.place = replace(store.place, health_check=0.001)
        before = calls(server).get("cmdstat_ping", 0)
        time.sleep(0.002)
        store.fetch("x")
        assert calls(server)["cmdstat_ping"] == before + 1
        assert not caplog.text

    def test_a_health_check_that_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_module, "_IDLE", 0.0)
        asked: list[bytes] = []

        def answer_one(connected: Any) -> None:
            asked.append(connected.recv(100))
            connected.sendall(b"$-1\r\n")
            asked.append(connected.recv(100))

        with listening(answer_one) as place:
            store = RedisStore(replace(place, health_check=1e-9), policy=RetryPolicy(0))
            assert store.fetch("x") is None
            assert store.fetch("x") is None
            store.close()
        assert b"PING" in asked[1]

    def test_a_server_that_is_down_is_tried_as_the_policy_says(self, caplog: pytest.LogCaptureFixture) -> None:
        policy = RetryPolicy(3, 0.0, 0.01, 0.02)
        store = RedisStore(Place("127.0.0.1", servers.free_port()), policy=policy)
        with pytest.raises(OperationalError, match="cannot connect to redis://127"):
            store.store(done("x"))
        lost = [record.getMessage() for record in caplog.records]
        assert lost == [f"Connection to Redis lost: Retry ({n}/3) in 0.0{n} seconds." for n in range(3)]
        assert [RetryPolicy().wait(n) for n in range(4)] == [0, 1, 1, 1]

    def test_it_is_given_up_after_the_time_that_the_policy_says(self, caplog: pytest.LogCaptureFixture) -> None:
        policy = RetryPolicy(None, 0.01, 0.0, 0.01, within=0.5)
        store = RedisStore(Place("127.0.0.1", servers.free_port()), policy=policy)
        with pytest.raises(OperationalError, match="cannot connect to redis://127"):
            store.store(done("x"))
        assert len(caplog.records) > 1

    def test_one_that_comes_back_is_waited_for(self, tmp_path: Path) -> None:
        port = servers.free_port()
        store = RedisStore(Place("127.0.0.1", port), policy=RetryPolicy(None, 0.05, 0.0, 0.05))
        with ThreadPoolExecutor(1) as pool:
            stored = pool.submit(store.store, done("x"))
            time.sleep(0.2)
            command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
            with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
                try:
                    assert stored.result(20)
                    store.close()
                finally:
                    process.terminate()

    @pytest.mark.parametrize("read", [lambda store: store.fetch("x"), lambda store: store.forget("x")])
    def test_a_frozen_server_is_not_asked_for_twenty_deadlines(self, read: Callable[[RedisStore], Any]) -> None:
        with listening(lambda connected: None) as place:
            store = RedisStore(replace(place, timeout=0.5), policy=RetryPolicy(20, 0, 0, 0.01))
            started = time.monotonic()
            with pytest.raises(OperationalError, match="no answer"):
                read(store)
            assert time.monotonic() - started < 5
            store.close()

    def test_an_error_that_redis_answers_is_final(self, store: RedisStore, caplog: pytest.LogCaptureFixture) -> None:
        store.put(key("x"), b"", 0)
        store._call("DEL", key("x"))
        store._call("LPUSH", key("x"), 1)
        with pytest.raises(OperationalError, match="WRONGTYPE"):
            store.fetch("x")
        assert not caplog.text
        store.delete(key("x"))

    def test_a_member_is_added_to_a_chord_once(self) -> None:
        got: list[bytes] = []

        def cut(connected: Any) -> None:
            got.append(connected.recv(100))
            raise OSError("and gone")

        with listening(cut) as place:
            store = RedisStore(place)
            with pytest.raises(OperationalError):
                store.chord_grow("g")
        assert [each for each in got if each] == got[:1]

    def test_a_key_that_changes_at_every_look(self, store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
        number = iter(range(10**6))
        started = [build(Result("x", states.STARTED, {"n": n})) for n in range(101)]
        monkeypatch.setattr(store, "_run", lambda *_: started[next(number)])
        with pytest.raises(OperationalError, match="was changed by others at every attempt"):
            store.store(done("x"))

    def test_stored_by_an_attempt_whose_answer_was_lost(
        self, store: RedisStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        result = done("x")
        monkeypatch.setattr(store, "_run", lambda *_: build(result))
        assert store.store(result)

    def test_a_child_has_a_connection_of_its_own(self, store: RedisStore) -> None:
        before, after = done(new_id()), done(new_id())
        store.store(before)
        list(store.wait([before.task_id, "never"], 0.05))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                store.store(after)
                got = dict(store.wait([before.task_id, after.task_id], 10))
                list(store.wait(["never"], 0.05))
                code = 0 if len(got) == 2 else 2
                store.close()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert dict(store.wait([before.task_id, after.task_id], 10)).keys() == {before.task_id, after.task_id}
        assert list(store.wait(["never"], 0.05)) == []


class TestSettings:
    def test_all_that_celery_knows(self) -> None:
        provider = "tests.worker.backends.test_redis.Provider"
        settings = read({
            "redis_host": "h",
            "redis_port": 7,
            "redis_db": 3,
            "redis_username": "u",
            "redis_password": "p",
            "redis_max_connections": 9,
            "redis_socket_timeout": 120.0,
            "redis_socket_connect_timeout": 2,
            "redis_socket_keepalive": True,
            "redis_retry_on_timeout": True,
            "redis_client_name": "me",
            "redis_backend_health_check_interval": 30,
            "redis_backend_use_ssl": {"ssl_cert_reqs": "CERT_OPTIONAL"},
            "redis_backend_credential_provider": provider,
            "result_backend_transport_options": {"retry_policy": {"max_retries": 5, "interval_max": 3}},
        })  # fmt: skip
        store = backends.connect("redis", settings)
        assert isinstance(store, RedisStore)
        assert isinstance(store.place.credentials, Provider)
        assert replace(store.place, credentials=None) == Place(
            "h", 7, db=3, username="u", password="p", max_connections=9, timeout=120, connect_timeout=2,
            client_name="me", health_check=30, tls=Tls("optional"),
        )  # fmt: skip
        assert store.policy == RetryPolicy(5, 0, 1, 3)
        for timeout, within in ((2.5, 2.5), (0, math.inf), (None, math.inf)):
            told = {"result_backend_transport_options": {"retry_policy": {"timeout": timeout}}}
            store = backends.connect("redis://", read(told))
            assert isinstance(store, RedisStore)
            assert store.policy == RetryPolicy(within=within)

    def test_schemes(self) -> None:
        options = {"result_backend_transport_options": {"master_name": "m", "retry_policy": {"max_retries": None}}}
        for url, shown in {
            "redis://h/1": "redis://h:6379/1",
            "rediss://h?ssl_cert_reqs=none": "rediss://h:6379/0",
            "redis+socket:///s": "redis+socket:///s?virtual_host=0",
            "sentinel://a/2;sentinel://b:1": "sentinel://a:26379;sentinel://b:1/2 (master m)",
        }.items():
            store = backends.connect(url, read(options))
            assert isinstance(store, RedisStore)
            assert (str(store.place), store.policy.most) == (shown, None)

    @pytest.mark.parametrize(
        ("conf", "says"),
        [
            ({"redis_socket_timeout": "x"}, "socket_timeout is a number of seconds"),
            ({"redis_db": "x"}, "is a number"),
            ({"redis_backend_credential_provider": "no.such.Thing"}, "cannot load no.such.Thing"),
            ({"redis_backend_credential_provider": "nothing"}, "cannot load nothing"),
            ({"result_backend_transport_options": {"retry_policy": 3}}, "retry_policy is a mapping"),
            ({"result_backend_transport_options": {"retry_policy": {"max": 3}}}, "retry_policy knows max_retries"),
            ({"result_backend_transport_options": {"retry_policy": {"interval_max": -3}}}, "not negative"),
            ({"result_backend_transport_options": {"retry_policy": {"interval_max": None}}}, "not negative"),
        ],
    )
    def test_what_is_wrong_is_named(self, conf: dict[str, Any], says: str) -> None:
        with pytest.raises(BadCall, match=says):
            backends.connect("redis://", read(conf))

    def test_what_it_does_not_know_is_named_once(self, caplog: pytest.LogCaptureFixture) -> None:
        told = {"result_chord_orderd": True, "retry_policy": {"max_retries": 1}, "visibility_timeout": 9}
        for _ in range(2):
            backends.connect("redis://", read({"result_backend_transport_options": told}))
        (said,) = [each.getMessage() for each in caplog.records]
        assert said.startswith("result_backend_transport_options has 'result_chord_orderd', which this result store")
        assert said.endswith("did you mean result_chord_ordered?")

    def test_no_client_library_is_loaded(self, server: RedisServer, celeriac_env: Environment) -> None:
        program = (
            "import sys\nfrom celeriac.worker import backends\nfrom celeriac.protocol.wire.result import Result\n"
            f"store = backends.connect({server.url!r})\nstore.store(Result('x'))\nassert list(store.wait(['x'], 5))\n"
            "assert list(store.wait(['y'], 0.01)) == []\nstore.close()\n"
            "print([name for name in ('kombu', 'redis', 'amqp', 'asyncio', 'ssl') if name in sys.modules])"
        )
        done = celeriac_env.run("-W", "error", "-c", program)
        assert (done.stdout, done.stderr) == ("[]\n", "")


class Provider:
    def get_credentials(self) -> tuple[str, str]:
        return ("u", "p")


def waited(store: Store, task_ids: list[str], timeout: float = 20) -> dict[str, Any]:
    return dict(store.wait(task_ids, timeout, interval=timeout))


class TestWaiting:
    def test_a_result_that_nobody_announced_wakes_within_a_second(self, server: RedisServer, store: RedisStore) -> None:
        """As gocelery leaves it."""
        took: list[float] = []
        for _ in range(3):
            task_id = new_id()
            stored: list[float] = []

            def leave(task_id: str = task_id, stored: list[float] = stored) -> None:
                server.call("SETEX", key(task_id), 60, build(done(task_id)))
                stored.append(time.monotonic())

            timer = threading.Timer(0.3, leave)
            timer.start()
            assert waited(store, [task_id]) == {task_id: done(task_id)}
            timer.join()
            took.append(time.monotonic() - stored[0])
        assert min(took) < 1

    def test_many_waiters_share_one_connection_and_leave_nothing(self, server: RedisServer, store: RedisStore) -> None:
        count = 10_000
        results = [done(f"{number}-{new_id()}") for number in range(count)]
        shares = [results[start::20] for start in range(20)]
        stores = [RedisStore(store.place) for _ in shares]
        with ThreadPoolExecutor(len(shares)) as pool:
            waiting = [
                pool.submit(waited, each, [result.task_id for result in share], 60)
                for each, share in zip(stores, shares, strict=True)
            ]
            assert until(lambda: len(channels(server)) == count)
            assert len(subscribers(server)) == 1
            for result in results:
                store.store(result)
            for each, share in zip(waiting, shares, strict=True):
                assert each.result() == {result.task_id: result for result in share}
        for each in stores[1:]:
            each.close()
        assert until(lambda: not channels(server))
        assert store.place in redis_watch._WATCHES
        stores[0].close()
        assert store.place not in redis_watch._WATCHES

    def test_one_channel_for_all_who_wait_for_the_same(self, server: RedisServer, store: RedisStore) -> None:
        result = done(new_id())
        stores = [RedisStore(store.place) for _ in range(8)]
        with ThreadPoolExecutor(len(stores)) as pool:
            waiting = [pool.submit(waited, each, [result.task_id]) for each in stores]
            assert until(lambda: server.call("PUBSUB", "NUMSUB", key(result.task_id))[1] == 1)
            assert until(lambda: all(each._watch is not None for each in stores))
            store.store(result)
            assert [each.result() for each in waiting] == [{result.task_id: result}] * len(stores)
        for each in stores:
            each.close()

    def test_when_the_reader_leaves_another_one_reads(self, store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_module, "LOOK", 30.0)
        first, second = RedisStore(store.place), RedisStore(store.place)
        result = done(new_id())
        with ThreadPoolExecutor(2) as pool:
            early = pool.submit(waited, first, [new_id()], 0.5)
            time.sleep(0.2)
            late = pool.submit(waited, second, [result.task_id], 25)
            assert early.result() == {}
            started = time.monotonic()
            store.store(result)
            assert late.result() == {result.task_id: result}
            assert time.monotonic() - started < 5
        first.close()
        second.close()

    def test_who_listens_finds_what_is_stored(self, store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
        """In one round trip: nobody looks beside it, once it is known that the server can do that."""
        monkeypatch.setattr(redis_module, "LOOK", 25.0)
        assert waited(store, [new_id()], 0.2) == {}
        assert store._watch is not None
        assert store._watch.looks
        monkeypatch.setattr(store, "_look", None)
        results = [done(new_id()) for _ in range(3)]
        for result in results:
            store.store(result)
        started = time.monotonic()
        for result in results:
            assert waited(store, [result.task_id], 26) == {result.task_id: result}
        assert waited(store, [result.task_id for result in results], 26) == {each.task_id: each for each in results}
        late = done(new_id())
        other = RedisStore(store.place)
        timer = threading.Timer(0.2, other.store, [late])
        timer.start()
        assert waited(store, [late.task_id], 26) == {late.task_id: late}
        assert time.monotonic() - started < 20
        timer.join()
        other.close()

    @pytest.mark.parametrize("refused", ["hello", "mget"])
    def test_a_server_that_refuses_to_be_asked_while_one_listens(
        self, server: RedisServer, refused: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if refused == "hello":
            monkeypatch.setattr(redis_watch, "_HELLO", ("HELLO", 99))
        server.call("ACL", "SETUSER", "plain", "reset", "on", ">x", "~*", "&*", "+@all", "-mget")
        store = RedisStore(parse(f"redis://plain:x@127.0.0.1:{server.port}"))
        monkeypatch.setattr(store, "get_many", lambda keys: [store.get(each) for each in keys])
        other = RedisStore(parse(f"redis://127.0.0.1:{server.port}"))
        for _ in range(3):
            result = done(new_id())
            timer = threading.Timer(0.2, other.store, [result])
            timer.start()
            assert waited(store, [result.task_id]) == {result.task_id: result}
            timer.join()
        assert store._watch is not None
        assert until(lambda: not store._watch.looks)  # type: ignore[union-attr]
        store.close()
        other.close()
        server.call("ACL", "DELUSER", "plain")

    def test_an_answer_that_was_not_asked_for_is_nobodys_result(self) -> None:
        """Which answer is to which question is known by their order alone: where that is in doubt, all begin anew."""
        watch = redis_watch.Watch(parse("redis://127.0.0.1:1"))
        waiter = watch.join(["a", "b"])
        watch._asked.extend([redis_watch._HELLO, ("a", "b")])
        watch._hand_out([{b"proto": 3}, [b"{}"]])
        assert watch.looks
        assert not watch._asks
        assert not waiter.news()
        watch.leave(waiter)
        watch.close()
        assert not watch.looks

    def test_a_connection_that_is_cut_is_made_anew_and_nothing_is_missed(
        self, server: RedisServer, store: RedisStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_module, "LOOK", 30.0)
        monkeypatch.setattr(redis_watch, "_AGAIN", 0.1)
        result, late = done(new_id()), done(new_id())
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(waited, store, [result.task_id, late.task_id], 25)
            assert until(lambda: len(channels(server)) == 2)
            # Stored, and told to nobody: whoever comes back must look.
            server.call("SET", key(result.task_id), build(result))
            server.call("CLIENT", "KILL", "TYPE", "pubsub")
            assert until(lambda: len(channels(server)) == 2)
            other = RedisStore(store.place)
            other.store(late)
            started = time.monotonic()
            assert waiting.result() == {result.task_id: result, late.task_id: late}
            assert time.monotonic() - started < 10
            other.close()

    def test_one_that_was_cut_while_nobody_waited(
        self, server: RedisServer, store: RedisStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_module, "LOOK", 30.0)
        monkeypatch.setattr(redis_watch, "_AGAIN", 0.0)
        assert waited(store, [new_id()], 0.05) == {}
        assert until(lambda: not channels(server))
        server.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        result = done(new_id())
        other = RedisStore(store.place)
        timer = threading.Timer(0.3, other.store, [result])
        timer.start()
        assert waited(store, [result.task_id]) == {result.task_id: result}
        timer.join()
        other.close()

    def test_a_subscriber_that_hears_nothing_asks_and_gives_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_watch, "_SILENCE", 0.05)
        monkeypatch.setattr(redis_watch, "_DEAF", 0.15)
        monkeypatch.setattr(redis_watch, "_AGAIN", 0.0)
        asked: list[bytes] = []

        def hear(connected: Any) -> None:
            while data := connected.recv(1000):
                asked.append(data)
            asked.append(b"gone")

        with listening(hear) as place:
            watch = redis_watch.Watch(place)
            waiter = watch.join(["a"])
            end = time.monotonic() + 5
            while asked.count(b"gone") < 1 and time.monotonic() < end:
                watch.hear(waiter, 0.1)
            watch.leave(waiter)
            watch.close()
        said = b"".join(asked)
        assert said.index(b"SUBSCRIBE") < said.index(b"PING") < said.index(b"gone")

    def test_without_a_subscriber_one_still_looks(self, server: RedisServer) -> None:
        """An ACL that allows no channel, say."""
        server.call("ACL", "SETUSER", "deaf", "on", ">x", "~*", "resetchannels", "+@all")
        store = RedisStore(parse(f"redis://deaf:x@127.0.0.1:{server.port}"))
        task_id = new_id()
        value = build(done(task_id))
        timer = threading.Timer(0.2, lambda: server.call("SET", key(task_id), value))
        timer.start()
        assert waited(store, [task_id]) == {task_id: done(task_id)}
        timer.join()
        store.close()

    def test_rubbish_on_the_channel_is_not_the_result(self, server: RedisServer, store: RedisStore) -> None:
        result = done(new_id())
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(waited, store, [result.task_id])
            assert until(lambda: channels(server))
            server.call("PUBLISH", key(result.task_id), b"\x80 no JSON")
            server.call("PUBLISH", key(result.task_id), build(Result(result.task_id, states.STARTED)))
            other = RedisStore(store.place)
            other.store(result)
            assert waiting.result() == {result.task_id: result}
            other.close()

    def test_a_wait_that_is_left_unsubscribes(self, server: RedisServer, store: RedisStore) -> None:
        results = [done(new_id()), done(new_id())]
        timer = threading.Timer(0.2, lambda: server.call("PUBLISH", key(results[0].task_id), build(results[0])))
        timer.start()
        waiting = store.wait([each.task_id for each in results], 20)
        assert next(waiting)[0] == results[0].task_id
        timer.join()
        assert len(channels(server)) == 2
        waiting.close()  # type: ignore[attr-defined]  # it is a generator
        assert until(lambda: not channels(server))

    def test_nobody_subscribes_to_what_is_there(self, server: RedisServer, store: RedisStore) -> None:
        result = done(new_id())
        store.store(result)
        before = calls(server).get("cmdstat_subscribe", 0)
        assert waited(store, [result.task_id]) == {result.task_id: result}
        assert calls(server).get("cmdstat_subscribe", 0) == before

    def test_redis_gone_for_good_ends_the_wait_with_an_error(self) -> None:
        with servers.redis_server() as server:
            store = RedisStore(parse(server.url), policy=RetryPolicy(1, 0.01, 0, 0.01))
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(waited, store, [new_id()], 60)
                assert until(lambda: bool(channels(server)))
                server.call("CONFIG", "SET", "maxclients", "1")
                server.client._socket.sendall(b"SHUTDOWN NOSAVE\r\n")
                with pytest.raises(OperationalError):
                    waiting.result(30)
            store.close()


def test_a_wait_costs_little(server: RedisServer, store: RedisStore) -> None:
    """From store to waiter; generous, for slow machines: what is measured is that nobody sleeps in between."""
    other = RedisStore(store.place)
    best = min(round_trip(store, other) for _ in range(20))
    other.close()
    assert best < 0.05


def round_trip(store: Store, other: Store) -> float:
    result = done(new_id())
    at: list[float] = []

    def answer() -> None:
        time.sleep(0.01)
        at.append(time.monotonic())
        other.store(result)

    thread = threading.Thread(target=answer)
    thread.start()
    assert waited(store, [result.task_id])
    took = time.monotonic()
    thread.join()
    return took - at[0]
