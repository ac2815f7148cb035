"""How long the oldest message has waited, as looking again and again tells it: proven bounds, on a model and on a Redis."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from celeriac.worker.brokers.redis_ages import _DEEPEST, _PROBES, _SLACK, Age, Ages, List
from celeriac.worker.brokers.redis_survey import Survey

NOW = 1_800_000_000.0


class Model:
    """A list whose messages know when they came."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = NOW
        self.waiting: deque[tuple[float, int]] = deque()
        self.sent = 0
        self.known = List()

    def live(self) -> None:
        chance, waiting = self.chance, self.waiting
        self.now += chance.choice([0.1, 1, 2, 2, 2, 5, 60])
        for _ in range(chance.choice([0, 0, 1, 5, 50, 500])):
            self.sent += 1
            waiting.appendleft((self.now - chance.random() * 0.05, self.sent))
        served = [waiting.pop() for _ in range(min(chance.choice([0, 0, 1, 3, 40, 400, 1000]), len(waiting)))]
        match chance.randrange(30):
            case 0 if waiting:  # back to the end of the queue, as new
                waiting.appendleft((self.now, waiting.pop()[1]))
            case 1:
                waiting.clear()
            case 2:  # a worker died, and what it held is put back
                waiting.extend(reversed(served[-20:]))

    def look(self) -> Age | None:
        place = {message: number for number, message in enumerate(reversed(self.waiting))}
        found = []
        for distance, data in self.known.probes:
            at = place.get(data)  # type: ignore[call-overload] # messages are no bytes here
            found.append(at if at is not None and at < distance + _SLACK else None)
        age = self.known.taken_in(len(self.waiting), found, self.now)
        seen = {each: self.waiting[-1 - each] for each in _PROBES if each < len(self.waiting)}
        if 0 < len(self.waiting) <= _DEEPEST:
            seen[len(self.waiting) - 1] = self.waiting[0]
        self.known.probes = sorted(seen.items())  # type: ignore[assignment] # as above
        return age


@pytest.mark.parametrize("seed", range(100))
def test_what_is_told_is_so(seed: int) -> None:
    model, told, sure = Model(seed), 0, 0
    for _ in range(model.chance.randrange(20, 150)):
        model.live()
        age = model.look()
        assert (age is None) == (not model.waiting)
        if age is None:
            continue
        waited, true = model.now - age.since, model.now - model.waiting[-1][0]
        assert waited <= true + 0.06, "it has waited at least so long"
        if age.sure:
            assert true - waited <= max(10, waited / 5) + 0.06, "and not much longer"
        told, sure = told + 1, sure + age.sure
    assert told == 0 or sure or told < 20


@pytest.fixture
def url(redis_server: Any) -> Iterator[str]:
    redis_server.call("FLUSHALL")
    yield redis_server.url
    redis_server.call("FLUSHALL")


def put(server: Any, *names: str) -> None:
    for name in names:
        server.call("LPUSH", "jobs", json.dumps({"body": "", "headers": {"id": name, "task": "t"}, "properties": {}}))


@pytest.mark.real
def test_a_queue_is_watched(url: str, redis_server: Any) -> None:
    ages = Ages()

    def look(after: float) -> tuple[int, float | None, bool]:
        with closing(Survey(url)) as survey:
            (jobs,) = survey.depths(["jobs"], ages, now=NOW + after)
        waited = None if jobs.oldest is None else NOW + after - jobs.oldest.since
        return jobs.ready, waited, jobs.oldest is not None and jobs.oldest.sure

    put(redis_server, "before")
    assert look(0) == (1, 0, False), "it may have waited for long"
    put(redis_server, "first", "second")
    assert look(2) == (3, 2, False)
    redis_server.call("RPOP", "jobs")
    assert look(4) == (2, 2, True), "it was not there at 0, and was at 2"
    assert look(90) == (2, 88, True)
    redis_server.call("RPOP", "jobs")
    put(redis_server, *map(str, range(30)))
    assert look(92) == (31, 90, True)
    ages = Ages(json.loads(json.dumps(ages.document())))  # whoever looks was started anew
    redis_server.call("RPOP", "jobs")
    assert look(94) == (30, 2, True)
    redis_server.call("DEL", "jobs")
    assert look(96) == (0, None, False)
    put(redis_server, "after")
    assert look(98) == (1, 0, True)
    for _ in range(500):
        look(98.5)
    assert len(json.dumps(ages.document())) < 10_000


@pytest.mark.real
def test_a_long_queue_is_watched_where_it_is_served(url: str, redis_server: Any) -> None:
    """Its head is too far to be looked for: it is known by how many have been served."""
    many = [f"m{number}" for number in range(30_000)]
    for first in range(0, len(many), 5000):
        redis_server.call("LPUSH", "jobs", *many[first : first + 5000])
    ages = Ages()
    with closing(Survey(url)) as survey:
        for after, served in ((0, 0), (2, 3000), (4, 9000), (6, 9000), (8, 8999)):
            if served:
                redis_server.call("RPOP", "jobs", served)
            (jobs,) = survey.depths(["jobs"], ages, now=NOW + after)
            assert jobs.oldest == Age(NOW, sure=False), after
        put(redis_server, "new")
        redis_server.call("RPOP", "jobs", 1)
        (jobs,) = survey.depths(["jobs"], ages, now=NOW + 10)
    assert jobs.oldest == Age(NOW + 10, sure=True)


@pytest.mark.real
def test_the_oldest_of_several_priorities(url: str, redis_server: Any) -> None:
    ages = Ages()
    with closing(Survey(url)) as survey:
        redis_server.call("LPUSH", survey.layout.list_keys("jobs")[-1], "low")
        survey.depths(["jobs"], ages, now=NOW)
        put(redis_server, "high")
        (jobs,) = survey.depths(["jobs"], ages, now=NOW + 5)
    assert (jobs.ready, jobs.oldest) == (2, Age(NOW, sure=False))
