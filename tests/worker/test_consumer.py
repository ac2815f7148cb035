"""The consumer against the memory broker, the solo pool and a program that is a script: turn by turn, no processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.rules.delivery import Stop
from celeriac.protocol.rules.outcome import Fate, Report
from celeriac.protocol.rules.revokes import Revokes
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.message_reading import Reader
from celeriac.worker.broker_options import BrokerOptions
from celeriac.worker.brokers.base import Parcel, Queue
from celeriac.worker.brokers.memory import MemoryBroker, Store
from celeriac.worker.consumer import Consumer
from celeriac.worker.dead_letters import HEADER
from celeriac.worker.dead_queue import dead_queues
from celeriac.worker.events import Dispatcher
from celeriac.worker.options import Options, Taking
from celeriac.worker.pools.base import Begun, Ended, Job, Lost, Returned

QUEUE = Queue("celery")


class Owner:
    """The app of these tests: `told` is what it was to record."""

    received_format = "Task %(name)s[%(id)s] received"

    def __init__(self) -> None:
        plain = {"acks_late": False, "rate_limit": None, "time_limit": None, "soft_time_limit": None}
        self.tasks = {
            "early": SimpleNamespace(name="early", **plain),
            "late": SimpleNamespace(name="late", **{**plain, "acks_late": True}),
            "fragile": SimpleNamespace(
                name="fragile", **{**plain, "acks_late": True}, reject_on_worker_lost=True, max_retries=None
            ),
            "again": SimpleNamespace(name="again", **{**plain, "acks_late": True}, retry_on_worker_lost=True),
            "seldom": SimpleNamespace(name="seldom", **{**plain, "rate_limit": "1/h"}),
            "odd": SimpleNamespace(name="odd", **{**plain, "rate_limit": "x"}),
        }
        self.told: list[tuple[Any, ...]] = []
        self.heard = True

    def queues(self) -> Any:
        return {"celery": (QUEUE,)}

    def add_queue(self, name: str, **_: Any) -> Any:
        self.told.append(("queue", name))
        return (Queue(name),)

    def drop_queue(self, name: str) -> None:
        self.told.append(("no queue", name))

    def forget_queue(self, name: str) -> None:
        self.told.append(("forgotten", name))

    def own_ways(self, task: Any) -> Any:
        return None, None

    def listens(self, signal: str) -> bool:
        return self.heard

    def signal(self, signal: str, sender: Any = None, /, **fields: Any) -> None:
        self.told.append((signal, *sorted(fields)))

    def request(self, request: Any) -> Any:
        return request

    def revoked(self, request: Any, reason: str, **how: Any) -> None:
        self.told.append(("revoked", request.id, reason))

    def timed_out(self, request: Any, limit: float) -> None:
        self.told.append(("timed out", request.id, limit))

    def lost(self, request: Any, why: str) -> None:
        self.told.append(("lost", request.id, why))

    def resend(self, request: Any, why: str) -> bool:
        self.told.append(("resend", request.id))
        return True

    def cancelled(self, request: Any) -> None:
        self.told.append(("cancelled", request.id))

    def unregistered(self, request: Any) -> None:
        self.told.append(("unregistered", request.id))


class Hand:
    """A pool that does what the test says, when it says it."""

    can = frozenset({"kill"})
    size = 2

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.released: list[int] = []
        self.recalled: list[int] = []
        self.killed: list[tuple[int, int]] = []
        self.happened: list[Any] = []

    def room(self) -> int:
        return max(0, self.size - len(self.jobs))

    def submit(self, jobs: Sequence[Job]) -> None:
        self.jobs.update({job.number: job for job in jobs})

    def release(self, numbers: Sequence[int]) -> None:
        self.released += numbers

    def recall(self, numbers: Sequence[int] | None = None) -> None:
        self.recalled += numbers or ()

    def kill(self, number: int, signal: int) -> bool:
        self.killed.append((number, signal))
        return True

    def collect(self) -> list[Any]:
        happened, self.happened = self.happened, []
        return happened


class Scene:
    """One consumer, with everything around it in this process."""

    def __init__(self, **taking: Any) -> None:
        self.store = Store()
        self.broker = MemoryBroker(self.store)
        self.other = MemoryBroker(self.store)
        self.other.declare([QUEUE])
        self.owner = Owner()
        self.pool = Hand()
        self.events = Dispatcher("w1@here", lambda: 1, on=True)
        self.sent: list[str] = []
        self.events.task = lambda kind, fields: self.sent.append(kind)  # type: ignore[method-assign]
        options = Options(BrokerOptions(("memory://",)), taking=Taking(**taking))
        self.consumer = Consumer(
            self.owner,
            options,
            self.pool,
            Revokes(),
            self.events,
            Reader(),
            "w1@here",  # type: ignore[arg-type]
        )
        self.consumer.connected(self.broker, time.time())

    def send(self, task: str = "early", id: str = "x", body: bytes = b"[[], {}, {}]", **headers: Any) -> None:  # noqa: A002
        message = Message(body, "application/json", "utf-8", {"task": task, "id": id, **headers}, {})
        self.other.send([Parcel(message, "celery")])

    def turn(self, *happened: Any) -> None:
        self.pool.happened += happened
        self.consumer.turn(time.time(), readable=True)

    def settle_down(self) -> None:
        for _ in range(3):
            self.turn()

    def waiting(self, queue: str = "celery") -> int:
        return self.other.size(queue)

    @property
    def held(self) -> int:
        return len(self.broker._held)


@pytest.fixture
def scene() -> Iterator[Scene]:
    return Scene()


DONE = Report("SUCCESS", Fate.DONE, 0.1, "1")


def test_an_early_task_is_acknowledged_before_it_is_released(scene: Scene) -> None:
    scene.send()
    scene.turn()
    (number,) = scene.pool.jobs
    assert scene.pool.jobs[number].held
    assert scene.held == 1
    scene.turn(Begun(number, 7, 1.0))
    assert (scene.held, scene.pool.released) == (0, [number])
    scene.turn(Ended(number, DONE))
    assert scene.consumer.deliveries.idle
    assert not scene.consumer.requests
    assert scene.sent == ["task-received", "task-started", "task-succeeded"]
    assert scene.consumer.done["early"] == 1


def test_a_late_task_is_acknowledged_by_what_it_came_to(scene: Scene) -> None:
    for name in ("a", "b"):
        scene.send("late", name)
    scene.turn()
    scene.turn()
    first, second = scene.pool.jobs
    assert not scene.pool.jobs[first].held
    scene.turn(Begun(first, 7, 1.0), Begun(second, 7, 1.0))
    assert scene.held == 2
    scene.turn(Ended(first, DONE), Ended(second, Report("REJECTED", Fate.REQUEUED)))
    scene.turn()
    assert scene.sent.count("task-succeeded") == scene.sent.count("task-rejected") == 1
    assert [request.id for request in scene.consumer.requests.values()] == ["b"]  # it came again


def test_what_is_no_task_is_buried_and_the_next_is_done(scene: Scene) -> None:
    scene.other.send([Parcel(Message(b"no json", "application/json", "utf-8", {}, {}), "celery")])
    scene.send()
    scene.settle_down()
    assert len(scene.pool.jobs) == 1
    assert scene.waiting("celery.dead") == 1
    reader = MemoryBroker(scene.store)
    reader.listen([Queue("celery.dead")], credit=1)
    (dead,) = reader.take(1, 0)
    assert dead.message.body == b"no json"
    assert "JSON" in dead.message.headers[HEADER]["reason"]
    assert scene.held == 1
    assert ("task_rejected", "exc", "message") in scene.owner.told


def test_what_nobody_has_thought_of_is_buried(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("celeriac.worker.consumer.open_request", fail)
    scene.send()
    scene.settle_down()
    assert (scene.waiting("celery.dead"), scene.held) == (1, 0)


def test_a_body_that_its_child_cannot_read_is_buried(scene: Scene) -> None:
    scene.send("late")
    scene.turn()
    (number,) = scene.pool.jobs
    scene.turn(Begun(number, 1, 1.0), Ended(number, Report("REJECTED", Fate.REJECTED, error="bad", internal=True)))
    scene.settle_down()
    assert (scene.waiting("celery.dead"), scene.held) == (1, 0)


def test_dead_letters_of_all_queues_in_one_queue() -> None:
    scene = Scene(dead_queue="graveyard")
    scene.other.send([Parcel(Message(b"no json", "application/json", "utf-8", {}, {}), "celery")])
    scene.settle_down()
    assert (scene.waiting("graveyard"), scene.held) == (1, 0)
    assert dead_queues(["celery", "b"], "graveyard") == {"celery": "graveyard", "b": "graveyard"}


def test_without_dead_letters_it_is_dropped() -> None:
    scene = Scene(dead_queue="")
    scene.other.send([Parcel(Message(b"no", None, None, {}, {}), "celery")])
    scene.settle_down()
    assert (scene.waiting(), scene.held) == (0, 0)


def test_an_unknown_task_is_refused_or_given_back(scene: Scene) -> None:
    scene.send("nobody's")
    scene.settle_down()
    assert ("unregistered", "x") in scene.owner.told
    assert ("task_unknown", "exc", "id", "message", "name") in scene.owner.told
    assert (scene.waiting(), scene.held, scene.sent) == (0, 0, ["task-failed", "task-rejected"])
    patient = Scene(unknown_task="requeue", unknown_task_delay=60)
    patient.send("nobody's")
    patient.settle_down()
    assert not patient.owner.told
    assert len(patient.store.parked) == 1


def test_a_far_eta_is_parked(scene: Scene) -> None:
    scene.send(eta="2090-01-01T00:00:00Z")
    scene.settle_down()
    assert len(scene.store.parked) == 1
    assert not scene.consumer.requests


def test_revoked_expired_and_terminated(scene: Scene) -> None:
    scene.consumer.revoke(["r"], {}, time.time())
    scene.send(id="r")
    scene.send(id="e", expires="2001-01-01T00:00:00Z")
    scene.send("late", id="t")
    scene.settle_down()
    (number,) = scene.pool.jobs
    scene.turn(Begun(number, 7, 1.0))
    scene.consumer.revoke(["t"], {}, time.time(), 9)
    assert scene.pool.killed == [(number, 9)]
    scene.turn(Lost(number, "killed", signal=9))
    scene.settle_down()
    revoked = [each for each in scene.owner.told if each[0] == "revoked"]
    assert revoked == [("revoked", "r", "revoked"), ("revoked", "e", "expired"), ("revoked", "t", "terminated")]
    assert scene.held == 0


def test_limits_come_from_the_message_then_from_the_task(scene: Scene) -> None:
    scene.owner.tasks["late"].time_limit = 30
    scene.send("late", "a", timelimit=[None, 5])
    scene.send("late", "b", timelimit=[9, None])
    scene.settle_down()
    assert sorted((job.hard, job.soft) for job in scene.pool.jobs.values()) == [(9, None), (30, 5)]
    assert scene.consumer.soonest_limit == 5, "when somebody has to look after the pool"


@pytest.mark.parametrize("wrong", ["soon", {}, [1], -1, float("nan"), "nan"])
def test_a_limit_that_is_none_limits_nothing(scene: Scene, wrong: object, caplog: pytest.LogCaptureFixture) -> None:
    scene.owner.tasks["late"].time_limit, scene.owner.tasks["late"].soft_time_limit = wrong, "2.5"
    scene.send("late", "a")
    scene.settle_down()
    (job,) = scene.pool.jobs.values()
    assert (job.hard, job.soft) == (None, 2.5)
    assert ("Task late: time_limit is no number of seconds" in caplog.text) == bool(wrong)


def test_a_hard_limit_and_a_death(scene: Scene) -> None:
    scene.send("late", "slow")
    scene.send("late", "dead")
    scene.settle_down()
    one, two = scene.pool.jobs
    scene.turn(Begun(one, 1, 1.0), Begun(two, 1, 1.0), Lost(one, "over", limit=3.0), Lost(two, "gone"))
    scene.settle_down()
    assert scene.owner.told[-2:] == [("timed out", "slow", 3), ("lost", "dead", "gone")]
    assert scene.sent.count("task-failed") == 3
    assert scene.held == 0


def test_what_destroys_its_process_is_sent_again_or_buried() -> None:
    scene = Scene(max_deliveries=1)
    scene.send("fragile", "f")
    scene.send("again", "g")
    scene.settle_down()
    one, two = scene.pool.jobs
    scene.turn(Begun(one, 1, 1.0), Begun(two, 1, 1.0), Lost(one, "gone"), Lost(two, "gone"))
    scene.settle_down()
    assert {("lost", "f", "gone"), ("resend", "g")} <= set(scene.owner.told)
    assert (scene.waiting("celery.dead"), scene.held) == (1, 0)


def test_a_rate_that_makes_no_sense_limits_nothing(scene: Scene) -> None:
    scene.send("odd", "a")
    scene.send("odd", "b")
    scene.send("seldom", "c")
    scene.send("seldom", "d")
    scene.settle_down()
    assert sorted(job.id for job in scene.pool.jobs.values()) == ["a", "b", "c"]
    assert len(scene.store.parked) == 1
    scene.owner.tasks["seldom"].rate_limit = None
    scene.consumer.changed("seldom", time.time())
    scene.send("seldom", "e")
    scene.pool.size = 9
    scene.settle_down()
    assert "e" in [job.id for job in scene.pool.jobs.values()]


def test_no_more_is_taken_than_there_are_slots() -> None:
    scene = Scene(prefetch=1)
    for number in range(5):
        scene.send(id=str(number))
    scene.settle_down()
    assert (len(scene.pool.jobs), scene.waiting()) == (2, 3)
    strict = Scene(only_what_runs=True, prefetch=9)
    for number in range(5):
        strict.send(id=str(number))
    strict.settle_down()
    assert len(strict.pool.jobs) == 2


def told_to(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the broker is told, from here on."""
    told: list[int] = []
    listen = scene.broker.listen
    monkeypatch.setattr(
        scene.broker, "listen", lambda queues, *, credit: (told.append(credit), listen(queues, credit=credit))
    )
    return told


def test_the_broker_gives_no_more_than_the_settings_say_once_nobody_waits_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(prefetch=1)
    told = told_to(scene, monkeypatch)
    now = time.time()
    for number in range(3):
        scene.send(id=str(number), eta=datetime.fromtimestamp(now + 5, timezone.utc).isoformat())
    for later in (0.0, 0.1, 2.0, 4.0):
        scene.consumer.turn(now + later, readable=True)
    assert told[-1] == 2 + 3, "its slots, and a place for each"
    scene.consumer.turn(now + 6, readable=True)
    assert told[-1] == 2, "at once"
    scene.send(id="another", eta=datetime.fromtimestamp(now + 20, timezone.utc).isoformat())
    scene.pool.happened = [each for number in scene.pool.jobs for each in (Begun(number, 1, now), Ended(number, DONE))]
    scene.pool.jobs.clear()
    scene.consumer.turn(now + 6.01, readable=True)
    assert scene.consumer.deliveries.aside == 1
    assert told[-1] == 2, "but not for each task by itself"
    again = scene.consumer.next()
    assert again <= now + 6.1
    scene.consumer.turn(again, readable=True)
    assert told[-1] == 3


class Parted(MemoryBroker):
    """A broker that gives each queue its part; what it was told."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.can |= {"share"}
        self.told: list[Any] = []

    def share(self, each: int) -> None:
        self.told.append(("share", each))

    def listen(self, queues: Sequence[Queue], *, credit: int, acks: bool = True) -> None:
        self.told.append(credit)
        super().listen(queues, credit=credit, acks=acks)


def _parted(scene: Scene, *queues: Queue) -> list[Any]:
    for queue in queues:
        scene.consumer.queues[queue.name] = (queue,)
    scene.consumer.disconnected(time.time())
    broker = scene.broker = Parted(scene.store)
    scene.consumer.connected(broker, time.time())
    return broker.told


def test_each_queue_has_its_part_until_something_is_kept_for_later() -> None:
    """It would use up the part of its queue, and nothing more would come from there."""
    scene = Scene(prefetch=4)
    told = _parted(scene, Queue("b"))
    assert told == [("share", 4), 8]
    scene.consumer.add_queue("c", time.time())
    assert told[2:] == [("share", 0), 8], (
        "a late task is in hand while it runs, and another should be ready for its process"
    )
    scene.owner.tasks = {name: task for name, task in scene.owner.tasks.items() if not task.acks_late}
    scene.consumer.drop_queue("c", time.time())
    scene.consumer.add_queue("c", time.time())
    assert told[4:] == [("share", 4), 8, ("share", 2), 8]
    now = time.time()
    for number in range(2):
        scene.send(id=str(number), eta=datetime.fromtimestamp(now + 50, timezone.utc).isoformat())
    for turn in range(20):
        scene.consumer.turn(now + turn, readable=True)
    scene.consumer.drop_queue("c", now)
    assert told[8:] == [("share", 0), 10, 10], "and no part is given out again on this connection"
    assert _parted(scene) == [("share", 4), 8]


def test_more_queues_than_parts_share_what_there_is() -> None:
    scene = Scene(prefetch=4)
    scene.owner.tasks = {}
    assert _parted(scene, *(Queue(name) for name in "bcdefgh")) == [("share", 1), 8]
    assert _parted(scene, Queue("i")) == [("share", 0), 8]


def test_a_strategy_that_keeps_messages_has_the_whole_window(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(prefetch=4)
    told = _parted(scene, Queue("b"))
    kept: list[Any] = []
    monkeypatch.setattr(scene.owner, "own_ways", lambda task: (kept.append, None))
    for number in range(4):
        scene.send(id=str(number))
    scene.settle_down()
    assert len(kept) == 4
    assert told[2:] == [("share", 0), 8]


@pytest.mark.parametrize("room", [0, 1])
def test_a_pool_that_waits_for_more_than_a_part_has_the_whole_window(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(prefetch=4)
    told = _parted(scene, Queue("b"))
    monkeypatch.setattr(scene.pool, "room", lambda: room)
    for number in range(4):
        scene.send(id=str(number))
    now = time.time()
    for turn in range(5):
        scene.consumer.turn(now + turn, readable=True)
    assert len(scene.pool.jobs) == 4
    assert told[2:] == ([("share", 0), 8] if room else [])


def test_many_who_wait_aside_are_told_to_the_broker_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(prefetch=1)
    told = told_to(scene, monkeypatch)
    now = time.time()
    for number in range(500):
        scene.send(id=str(number), eta=datetime.fromtimestamp(now + 50, timezone.utc).isoformat())
    for turn in range(1000):
        scene.consumer.turn(now + turn * 0.06, readable=True)
        if scene.consumer.deliveries.aside == 500:
            break
    assert scene.consumer.deliveries.aside == 500
    assert told[-1] >= 500
    assert len(told) < 30, told


def test_a_warm_stop_gives_back_what_has_not_begun(scene: Scene) -> None:
    scene.send("late", "runs")
    scene.send("late", "waits")
    scene.settle_down()
    one, two = scene.pool.jobs
    scene.turn(Begun(one, 1, 1.0))
    scene.consumer.stop(Stop.WARM, time.time())
    scene.settle_down()
    assert scene.pool.recalled == [two]
    scene.turn(Returned(two))
    scene.send("late", "later")
    scene.turn(Ended(one, DONE))
    scene.settle_down()
    assert scene.consumer.deliveries.idle
    assert (scene.waiting(), scene.held) == (2, 0)


class Broken:
    can = frozenset({"park"})

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> Any:
            raise OperationalError("gone")

        return fail


def test_a_broker_that_goes_away(scene: Scene) -> None:
    scene.send("late", "runs")
    scene.turn()
    (number,) = scene.pool.jobs
    scene.turn(Begun(number, 1, 1.0))
    scene.consumer.broker = Broken()  # type: ignore[assignment]
    scene.turn()
    assert isinstance(scene.consumer.trouble, OperationalError)
    scene.consumer.disconnected(time.time())
    scene.broker.close()  # what was ours is the broker's again
    again = MemoryBroker(scene.store)
    scene.consumer.trouble = None
    scene.consumer.connected(again, time.time())
    scene.settle_down()
    assert list(scene.consumer.requests) == [number]  # taken for the job that runs
    scene.turn(Ended(number, DONE))
    scene.settle_down()
    assert (len(again._held), scene.waiting(), list(scene.pool.jobs)) == (0, 0, [number])


def test_a_receiver_that_fails_costs_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ValueError("theirs")

    scene.owner.signal = fail  # type: ignore[method-assign]
    scene.send()
    scene.settle_down()
    assert len(scene.pool.jobs) == 1
    assert "While telling of Received" in caplog.text


def test_queues_change_while_it_runs(scene: Scene) -> None:
    for _ in range(2):
        scene.consumer.add_queue("more", time.time())
    message = Message(b"[[], {}, {}]", "application/json", "utf-8", {"task": "early", "id": "m"}, {})
    scene.other.send([Parcel(message, "more")])
    scene.settle_down()
    assert [job.queue for job in scene.pool.jobs.values()] == ["more"]
    assert scene.consumer.blind
    assert scene.consumer.fileno() == -1
    scene.consumer.drop_queue("more", time.time())
    scene.consumer.drop_queue("nobody's", time.time())
    assert list(scene.consumer.queues) == ["celery"]
    told = [each for each in scene.owner.told if "queue" in each[0]]
    assert told == [("queue", "more"), ("no queue", "more"), ("no queue", "nobody's")]
    scene.consumer.disconnected(time.time())
    with pytest.raises(ConnectionError, match="ask again"):
        scene.consumer.add_queue("more", time.time())


@pytest.mark.parametrize("problem", [OperationalError("406: not as it was declared"), TypeError("a text, not 5")])
def test_a_queue_that_cannot_be_is_none(scene: Scene, monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    """Nor the next time that the worker listens: one such command must not end it, nor hold it up."""
    listen = scene.broker.listen

    def refuse(queues: Any, *, credit: int) -> None:
        if any(queue.name == "bad" for queue in queues):
            raise problem
        listen(queues, credit=credit)

    monkeypatch.setattr(scene.broker, "listen", refuse)
    with pytest.raises(type(problem)):
        scene.consumer.add_queue("bad", time.time())
    assert list(scene.consumer.queues) == ["celery"]
    assert scene.owner.told == [("queue", "bad"), ("forgotten", "bad")]
    assert (scene.consumer.trouble is problem) == isinstance(problem, OperationalError), "then it connects anew"
    scene.consumer.trouble = None
    scene.consumer.listen(time.time())
    assert scene.consumer.trouble is None
