"""Key names and commands; on a real Redis, that nothing is written over a SUCCESS."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire import result, stores
from celeriac.protocol.wire.result import Result
from celeriac.protocol.wire.stores import Keys


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        (None, "celery-task-meta-x"),
        ("", "celery-task-meta-x"),
        ("res", "res_celery-task-meta-x"),
        ("res_", "res_celery-task-meta-x"),
        ("res:", "res:celery-task-meta-x"),
        ("res-", "res-celery-task-meta-x"),
        ("res.", "res.celery-task-meta-x"),
    ],
)
def test_keys(prefix, key):
    keys = Keys.under(prefix)
    assert keys.task("x") == key
    assert keys.group("x") == key.replace("task", "taskset")
    assert keys.chord("x") == key.replace("celery-task-meta-", "chord-unlock-")
    assert keys.task_id(key) == keys.task_id(key.encode()) == "x"


def test_keys_that_are_none_of_ours():
    assert Keys.under("res").task_id("celery-task-meta-x") is None
    assert Keys().task_id("celery-task-meta-") is None
    assert Keys().task_id(b"\xff") is None
    with pytest.raises(BadCall):
        Keys().task("")


@given(st.text(min_size=1), st.text())
def test_key_round_trip(task_id, prefix):
    keys = Keys.under(prefix)
    assert keys.task_id(keys.task(task_id)) == task_id


def test_lifetime():
    assert stores.lifetime("SUCCESS", 60, 5) == 60
    assert stores.lifetime("FAILURE", 60, 5) == 5
    assert stores.lifetime("FAILURE", 60, 0) == 0
    assert stores.lifetime("FAILURE", 60) == 60


def test_commands():
    assert stores.store("k", b"v", 60) == (("SETEX", "k", 60, b"v"), ("PUBLISH", "k", b"v"))
    assert stores.store("k", b"v", 0)[0] == ("SET", "k", b"v")
    assert stores.forget("k") == ("DEL", "k")
    assert stores.watch(["a", "b"]) == (("SUBSCRIBE", "a", "b"),)
    assert stores.unwatch(["a"]) == (("UNSUBSCRIBE", "a"),)
    assert stores.fetch(["a"]) == (("GET", "a"),)
    assert stores.fetch(["a", "b"]) == (("MGET", "a", "b"),)
    assert stores.watch([]) == stores.unwatch([]) == stores.fetch([]) == ()


def test_may_replace():
    assert stores.may_replace(None)
    assert stores.may_replace(b"")
    assert stores.may_replace(b"garbage")
    assert stores.may_replace(result.build(Result("t", "PROGRESS", {"status": "SUCCESS"})))
    assert not stores.may_replace(b"null")
    assert not stores.may_replace(result.build(Result("t")))


def test_store_arguments():
    seen = hashlib.sha1(b"old").hexdigest()
    assert stores.store_arguments("k", b"v", 60) == (1, "k", b"v", 60, "")
    assert stores.store_arguments("k", b"v", 60, b"old") == (1, "k", b"v", 60, seen)


def test_store_all_arguments():
    assert stores.store_all_arguments([("a", b"1"), ("b", b"2")], 60) == (2, "a", "b", 60, b"1", b"2")


@pytest.fixture
def redis(redis_server):
    redis_server.call("FLUSHALL")
    return redis_server


@pytest.mark.real
def test_store_script(redis):
    listener = redis.connect()
    listener.call("SUBSCRIBE", "k")

    def run(value, expires=60, seen=None):
        return redis.call("EVAL", stores.STORE, *stores.store_arguments("k", value, expires, seen))

    assert run(b"started") == 1
    assert listener.read() == [b"message", b"k", b"started"]
    assert redis.call("TTL", "k") == 60
    assert run(b"done") == b"started"
    assert run(b"done", 0, b"other") == b"started"
    assert run(b"done", 0, b"started") == 1
    assert listener.read() == [b"message", b"k", b"done"]
    assert redis.call("GET", "k") == b"done"
    assert redis.call("TTL", "k") == -1
    listener.close()


@pytest.mark.real
@pytest.mark.parametrize(("expires", "lives"), [(60, 60), (0, -1)])
def test_store_all_script(redis, expires, lives):
    listener = redis.connect()
    listener.call("PSUBSCRIBE", "*")
    redis.call("SET", "b", "there")
    rows = [("a", b"1"), ("b", b"2"), ("c", b"3")]
    assert redis.call("EVAL", stores.STORE_ALL, *stores.store_all_arguments(rows, expires)) == [1]
    assert [listener.read()[2:], listener.read()[2:]] == [[b"a", b"1"], [b"c", b"3"]]
    assert redis.call("MGET", "a", "b", "c") == [b"1", b"there", b"3"]
    assert (redis.call("TTL", "a"), redis.call("TTL", "c")) == (lives, lives)
    listener.close()


@pytest.mark.real
def test_nothing_is_written_over_a_success(redis):
    """The loop that a writer runs, against every state that may be there."""

    def write(one):
        data, seen = result.build(one), None
        for _ in range(3):
            reply = redis.call("EVAL", stores.STORE, *stores.store_arguments("t", data, 60, seen))
            if reply == 1:
                return True
            if not stores.may_replace(reply):
                return False
            seen = reply
        raise AssertionError("never")

    assert write(Result("t", "STARTED"))
    assert write(Result("t", "RETRY"))
    assert write(Result("t"))
    assert not write(Result("t", "FAILURE"))
    assert redis.call("GET", "t") == result.build(Result("t"))
