"""The memory broker against a model so simple that it can be seen to be right: lists, and nothing else."""

from __future__ import annotations

import itertools
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from celeriac.protocol.wire.message import Message
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Broker, Delivery, Parcel, Park, Queue, Verdict

QUEUES = ("one", "two")
CONNECTIONS = (0, 1)
HELD = (Verdict.ACK, Verdict.DROP, Verdict.REQUEUE, Verdict.RESTORE)


@dataclass(frozen=True)
class Item:
    number: int
    priority: int
    redelivered: bool = False


@dataclass
class View:
    """A connection, as the model knows it."""

    queues: list[str] = field(default_factory=list)
    credit: int = 0
    acks: bool = True
    held: dict[int, tuple[str, Item]] = field(default_factory=dict)


class MemoryAgainstLists(RuleBasedStateMachine):
    held = Bundle("held")

    @initialize()
    def connect(self) -> None:
        url = f"memory://{uuid.uuid4()}"
        self.open = lambda: brokers.connect(url)
        self.brokers: dict[int, Broker] = {each: self.open() for each in CONNECTIONS}
        self.views = {each: View() for each in CONNECTIONS}
        self.waiting: dict[str, list[Item]] = {name: [] for name in QUEUES}
        self.parked: list[tuple[float, str, Item]] = []
        self.numbers = itertools.count()
        self.sent = 0
        self.done = 0
        self.now = time.time()
        self.send("one", list(range(8)), 0)
        self.send("two", [0] * 8, 1)
        for each in CONNECTIONS:
            self.listen(each, list(QUEUES), 3, acks=True)

    @rule(
        name=st.sampled_from(QUEUES),
        priorities=st.lists(st.integers(-1, 11), min_size=1, max_size=6),
        by=st.sampled_from(CONNECTIONS),
    )
    def send(self, name: str, priorities: list[int], by: int) -> None:
        items = [Item(next(self.numbers), min(max(each, 0), 9)) for each in priorities]
        self.brokers[by].send(
            [
                Parcel(Message(str(item.number).encode(), properties={"priority": priority}), name)
                for item, priority in zip(items, priorities, strict=True)
            ]
        )
        self.waiting[name] += items
        self.sent += len(items)

    @rule(
        by=st.sampled_from(CONNECTIONS),
        names=st.lists(st.sampled_from(QUEUES), unique=True),
        credit=st.integers(0, 5),
        acks=st.sampled_from((True, True, True, False)),
    )
    def listen(self, by: int, names: list[str], credit: int, acks: bool) -> None:
        self.brokers[by].listen([Queue(name) for name in names], credit=credit, acks=acks)
        view = self.views[by]
        view.queues, view.credit, view.acks = names, credit, acks

    @rule(target=held, by=st.sampled_from(CONNECTIONS), limit=st.integers(1, 6))
    def take(self, by: int, limit: int) -> Any:
        view = self.views[by]
        room = min(limit, view.credit - len(view.held)) if view.acks else limit
        there = sum(len(self.waiting[name]) for name in view.queues)
        taken = self.brokers[by].take(limit, 0)
        assert len(taken) == min(max(room, 0), there)
        for delivery in taken:
            self.is_the_next(view, delivery)
        return multiple(*((by, delivery) for delivery in taken))

    def is_the_next(self, view: View, delivery: Delivery) -> None:
        line = self.waiting[delivery.queue]
        first = min(line, key=lambda item: item.priority)
        line.remove(first)
        assert delivery.queue in view.queues
        assert (int(delivery.message.body), delivery.redelivered, delivery.priority) == (
            first.number,
            first.redelivered,
            first.priority,
        )
        assert (delivery.tag is None) == (not view.acks)
        if delivery.tag is None:
            self.done += 1
        else:
            assert delivery.tag not in view.held
            view.held[delivery.tag] = delivery.queue, first

    @rule(which=consumes(held), verdict=st.sampled_from(HELD), twice=st.booleans())
    def settle(self, which: tuple[int, Delivery], verdict: Verdict, twice: bool) -> None:
        by, delivery = which
        self.brokers[by].settle([(delivery, verdict)] * (1 + twice))
        name, item = self.let_go(by, delivery)
        if item is None:
            return
        again = replace(item, redelivered=True)
        match verdict:
            case Verdict.REQUEUE:
                self.waiting[name].append(again)
            case Verdict.RESTORE:
                self.waiting[name].insert(0, again)
            case _:
                self.done += 1

    def let_go(self, by: int, delivery: Delivery) -> tuple[str, Item | None]:
        """None: it came without acknowledgement, or its connection has been closed since."""
        return self.views[by].held.pop(-1 if delivery.tag is None else delivery.tag, ("", None))

    @rule(which=consumes(held), after=st.floats(-5, 50))
    def park(self, which: tuple[int, Delivery], after: float) -> None:
        by, delivery = which
        self.brokers[by].settle([(delivery, Park(self.now + after))])
        name, item = self.let_go(by, delivery)
        if item is not None:
            self.parked.append((self.now + after, name, item))

    @rule(which=held)
    def settle_by_somebody_else(self, which: tuple[int, Delivery]) -> None:
        by, delivery = which
        self.brokers[1 - by].settle([(delivery, Verdict.ACK)])

    @rule(by=st.sampled_from(CONNECTIONS), seconds=st.floats(0, 20))
    def tend(self, by: int, seconds: float) -> None:
        self.now += seconds
        again = self.brokers[by].tend(self.now)
        self.parked.sort(key=lambda entry: entry[0])  # stable: those of one time in the order they came
        while self.parked and self.parked[0][0] <= self.now:
            _, name, item = self.parked.pop(0)
            self.waiting[name].append(item)
        assert again > self.now
        assert again == min([self.now + 60, *(until for until, _, _ in self.parked)])

    @rule(by=st.sampled_from(CONNECTIONS), name=st.sampled_from(QUEUES))
    def purge(self, by: int, name: str) -> None:
        count = len(self.waiting[name])
        assert self.brokers[by].purge(name) == count
        self.done += count
        self.waiting[name].clear()

    @rule(by=st.sampled_from(CONNECTIONS))
    def close_and_connect_anew(self, by: int) -> None:
        self.brokers[by].close()
        self.brokers[by].close()
        for name, item in reversed(self.views[by].held.values()):
            self.waiting[name].insert(0, replace(item, redelivered=True))
        self.brokers[by], self.views[by] = self.open(), View()

    @invariant()
    def as_many_wait_as_in_the_model(self) -> None:
        for name in QUEUES:
            assert self.brokers[0].size(name) == len(self.waiting[name])

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        there = [item.number for line in self.waiting.values() for item in line]
        there += [item.number for view in self.views.values() for _, item in view.held.values()]
        there += [item.number for _, _, item in self.parked]
        assert len(set(there)) == len(there)
        assert len(there) + self.done == self.sent

    def teardown(self) -> None:
        """What is left can be taken to the last message."""
        for broker in self.brokers.values():
            broker.close()
        left = sum(map(len, self.waiting.values())) + sum(len(view.held) for view in self.views.values())
        last = self.open()
        last.listen([Queue(name) for name in QUEUES], credit=1, acks=False)
        assert len(last.take(10_000, 0)) == left
        last.close()


TestMemoryAgainstLists = MemoryAgainstLists.TestCase
TestMemoryAgainstLists.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
