"""Whole workers and messages that are none: what is no task is buried with its reason, every good task is done.

Nothing that arrives stops a worker or wedges it. Poison is what the captures call odd, shapes of our own, and changed
real messages (`--poison`), on Redis as raw bytes and on RabbitMQ as raw content.
"""

from __future__ import annotations

import base64
import json
import pickle
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.errors import BadMessage, ProtocolError
from celeriac.protocol.wire import envelope
from celeriac.protocol.wire.message import Message
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Parcel, Queue
from tests import servers
from tests.faults import ground
from tests.faults.ground import Ground, Hurt
from tests.protocol import mutation
from tests.protocol.vectors import index, vector

pytestmark = pytest.mark.real

_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_DEEP = 20_000
_ODD_VALUES: tuple[Any, ...] = (None, True, -1, 2**70, 1.5, "", "x" * 70_000, [], [[]], {}, {"a": 1}, "\x00", "\ud800")
_FIELDS = ("id", "task", "retries", "timelimit", "eta", "expires", "stamps", "group")


def test_the_poison_cupboard_is_full() -> None:
    shapes = list(own_shapes())
    assert len(shapes) == 113
    assert len({(repr(each)) for each in shapes}) == 113


def task(body: bytes | None = None, **headers: Any) -> Message:
    """A good message, but for what is told."""
    fields = {
        "lang": "py",
        "task": "hurt.work",
        "id": str(uuid.uuid4()),
        "retries": 0,
        "timelimit": [None, None],
        **headers,
    }
    body = json.dumps([[-1], {}, _EMBED]).encode() if body is None else body
    return Message(body, "application/json", "utf-8", fields, {"correlation_id": str(fields["id"])[:200]})


def own_shapes() -> Iterator[Message]:
    """One wrong value in each field, and bodies of every wrong kind."""
    yield task(id="\ud800", shape="no key can be made of it")
    for field in _FIELDS:
        for number, value in enumerate(_ODD_VALUES[:9]):
            yield task(**{field: value, "shape": f"{field}-{number}"})
    bodies = (
        *(
            b"",
            b"\x00",
            b"\xff\xfe",
            b"null",
            b"1",
            b'"text"',
            b"[]",
            b"[[]]",
            b"[[],{}]",
            b"[[],{},{},{}]",
            b"[1,2,3]",
        ),
        *(b"{}", b'{"task": "hurt.work"}', b"[[1],", b"[" * _DEEP, b'{"a":' * _DEEP, b"[NaN,{},{}]", b"9" * 5000),
        *(b'[[],{"":1},{}]', b"[[],[],{}]", b"[{},{},{}]", b"[[],{},[]]", b"\x80\x04.", pickle.dumps([[], {}, {}])),
        json.dumps([[-1], {}, {"callbacks": [5]}]).encode(),
        json.dumps([[-1], {}, {"chord": "x", "chain": 7}]).encode(),
    )
    for body in bodies:
        yield task(body)
    for content_type in (None, "", "application/x-python-serialize", "application/nonsense", "text/plain", "\x00"):
        yield Message(task().body, content_type, "utf-8", task().headers, {})
    for encoding in (None, "", "binary", "utf-7", "klingon"):
        yield Message(task().body, "application/json", encoding, task().headers, {})
    for compression in ("zlib", "gzip", "nonsense"):
        yield task(compression=compression)


def odd_envelopes() -> Iterator[bytes]:
    """What the captures pushed at stock workers on Redis."""
    for case in index():
        if case.startswith("redis/odd/"):
            yield from (blob.data for blob in vector(case).blobs() if blob.where == "/pushed")


def odd_contents() -> Iterator[Message]:
    """What the captures published to stock workers on RabbitMQ."""
    for case in index():
        if case.startswith("amqp/odd/"):
            body, given = vector(case).capture["body"], dict(vector(case).capture["properties"])
            headers = given.pop("application_headers", {})
            kind, encoding = given.pop("content_type", None), given.pop("content_encoding", None)
            data = base64.b64decode(body["b64"]) if isinstance(body, dict) else str(body).encode()
            yield Message(data, kind, encoding, headers, given)


def as_message(data: bytes) -> Message:
    try:
        return envelope.parse(data).message
    except BadMessage:
        return Message(data, "application/json", "utf-8", {}, {})


class Cupboard:
    """Puts poison and good tasks on one queue, and sees what became of them."""

    def __init__(self, ground: Ground, server: Any, queue: str) -> None:
        self.ground = ground
        self.server = server
        self.queue = queue
        self.put = 0
        self.good = 0
        self.refused = 0
        self.broker = brokers.connect(server.url, {}, 5)
        self.broker.declare([Queue(queue)])

    def close(self) -> None:
        self.broker.close()

    @property
    def is_redis(self) -> bool:
        return hasattr(self.server, "call")

    def raw(self, data: bytes) -> None:
        """To Redis as it is; to RabbitMQ what can be said there."""
        if self.is_redis:
            self.server.call("LPUSH", self.queue, data)
            self.put += 1
        else:
            self.message(as_message(data))

    def message(self, message: Message) -> bool:
        before = self.put
        try:
            self.broker.send([Parcel(message, self.queue)])
        except ProtocolError:  # what no client can send reaches nobody
            self.refused += 1
        except OperationalError:  # nor what RabbitMQ itself breaks down at: it ends the connection with a 541
            self.refused += 1
            self.broker.close()
            self.broker = brokers.connect(self.server.url, {}, 5)
        else:
            self.put += 1
        return self.put > before

    def work(self, number: int = 1) -> None:
        for _ in range(number):
            self.good += 1
            while not self.message(task(json.dumps([[self.good], {}, _EMBED]).encode())):
                pass  # the broker has given up a connection that was silent for minutes: there is a new one

    def size(self, queue: str) -> int:
        with closing(brokers.connect(self.server.url, {}, 5)) as broker:
            return broker.size(queue)

    def done(self) -> bool:
        return set(range(1, self.good + 1)) <= set(self.ground.seen("end"))

    def held(self) -> int:
        return int(self.server.call("HLEN", "unacked")) if self.is_redis else 0


@pytest.fixture(params=["redis", "amqp"])
def server(request: pytest.FixtureRequest) -> Any:
    server = request.getfixturevalue({"redis": "redis_server", "amqp": "rabbitmq_server"}[request.param])
    if request.param == "redis":
        server.call("FLUSHALL")
    return server


def fates(worker: Hurt) -> dict[str, int]:
    """What the log says of how many messages. Some are seen to be poison only where they would run: told twice."""
    text = worker.text
    return {
        "received": ground.count(r"^\[.*/MainProcess\] Task .*received$", text),
        "poison": ground.count(r"Can't decode message body", text),
        "unknown": ground.count(r"Received unregistered task of type", text),
    }


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_poison_between_good_tasks(
    server: Any, pool: str, tmp_path: Path, poison: int, figures: list[str], redis_server: servers.RedisServer
) -> None:
    queue = f"poison-{pool}"
    results = redis_server.url.replace("/0", "/7")
    with ground.on(tmp_path, server.url, results, queue) as place, closing(Cupboard(place, server, queue)) as cupboard:
        fill(cupboard, Random(f"{pool}{server.url[:4]}"), poison)
        worker = place.start(pool=pool)
        patience = 40 + poison / 20
        assert ground.until(lambda: cupboard.done() or not worker.alive, patience), f"{fates(worker)}\n{place.logs()}"
        assert ground.until(lambda: not cupboard.size(queue), 20)
        cupboard.work(20)
        assert ground.until(cupboard.done, 10), place.logs()
        assert worker.alive
        assert "nobody has thought of" not in worker.text
        told = fates(worker)
        assert ground.until(lambda: cupboard.size(f"{queue}.dead") == told["poison"], 5)
        kind = "redis" if cupboard.is_redis else "amqp"
        figures.append(f"poison on {kind}, {pool}: {cupboard.put} put, {cupboard.refused} unspeakable, log: {told}")
        assert sum(told.values()) >= cupboard.put
        assert ground.until(lambda: not cupboard.held(), 5)
        tended(place, cupboard, told["poison"])


def fill(cupboard: Cupboard, chance: Random, mutations: int) -> None:
    puts: list[Callable[[], None]] = [lambda each=each: cupboard.message(each) for each in own_shapes()]
    puts += [lambda each=each: cupboard.raw(each) for each in odd_envelopes()]
    puts += [lambda each=each: cupboard.message(each) for each in odd_contents()]
    puts += [lambda each=each: cupboard.raw(each) for each in (mutation.mutate(chance) for _ in range(mutations))]
    chance.shuffle(puts)
    for number, put in enumerate(puts):
        put()
        if number % 5 == 0:
            cupboard.work()
    cupboard.work(5)


def tended(place: Ground, cupboard: Cupboard, dead: int) -> None:
    """`celeriac dead` lists all of it, shows one, replays some and drops the rest."""
    patience = 60 + dead / 200
    listed = place.command("dead", "list", "--json", "-n", "1000000", timeout=patience)
    assert listed.returncode == 0, listed.stderr
    rows = json.loads(listed.stdout)
    assert len(rows) == dead
    assert all(row["reason"] and row["queue"] == cupboard.queue for row in rows)
    named = next(row for row in rows if row["id"] and row["task"] and " " not in row["id"])
    shown = place.command("dead", "show", named["id"], timeout=patience)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["reason"]
    again = place.command("dead", "replay", named["id"], timeout=patience)
    assert again.returncode == 0, again.stderr
    grave = f"{cupboard.queue}.dead"
    back = ground.until(lambda: cupboard.size(grave) == dead, 10)
    assert back, f"{dead} were dead, {cupboard.size(grave)} are: {named} is poison no more: {again.stdout}"
    dropped = place.command("dead", "drop", "--all", "--force", timeout=patience)
    assert dropped.returncode == 0, dropped.stderr
    assert cupboard.size(f"{cupboard.queue}.dead") == 0


ODD_CONTROL = """
from celery import current_app
from celeriac.protocol.wire.commands import BY_NAME
odd = [None, True, -1, 2**70, float("nan"), "", "x" * 70_000, [[]], {"a": 1}, "\\ud800", [None], "hurt.work"]
good = {
    "task_name": "hurt.work", "task_id": "x", "rate_limit": "5/s", "queue": "other", "headers": {"a": "b"}, "ids": ["x"],
    "id": "e", "topic": "task", "from_node": "z@z", "soft": 1, "hard": 2, "n": 1, "modules": ["json"],
}
told = 0
with app.connection_for_write() as connection:
    for name, command in BY_NAME.items():
        fields = [*command.needs, *command.takes]
        for value in odd if name != "shutdown" else ():
            for field in (*fields, "unheard_of"):
                if not (value == 2**70 and name in ("pool_grow", "autoscale")):  # what the machine can bear is asked for
                    app.control.broadcast(
                        name, {**{each: good[each] for each in fields if each in good}, field: value}, connection=connection
                    )
                    told += 1
    assert app.control.broadcast("ping", reply=True, timeout=60, limit=1, connection=connection)  # after all of it
app.control.pool_grow(2)
app.control.rate_limit("hurt.work", 0)
print(told)
work.delay(1)
"""


def test_no_remote_control_ends_a_worker(server: Any, tmp_path: Path, figures: list[str]) -> None:
    """Each command with each odd value in each of its fields; what it sets is what the next task runs by."""
    with ground.on(tmp_path, server.url, None, "odd-control") as place:
        worker = place.start("--loglevel", "CRITICAL", "--quiet")
        told = int(place.run(ODD_CONTROL))
        assert told > 800
        assert ground.until(lambda: place.seen("end")[1] == 1, 30), place.logs()
        assert worker.alive
        figures.append(f"odd remote control on {server.url[:5]}: {told} commands, the worker alive")
