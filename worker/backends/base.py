"""The contract of a result store: keep a result, give it back, forget it; the rest is inherited.

Law: a `Store` is for one thread at a time and connects when it is first used; in a forked child it connects anew.
What the store's own library raises leaves here as `OperationalError` (kombu's), what it holds as a value or
`BadMessage`, and what the caller does wrong as `BadCall`. A stored SUCCESS is never written over. Documents, keys and
chords are laid out by `protocol.wire`: nothing here invents a layout. `tests/conformance/backends.py` holds every
implementation to each sentence here.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...protocol.errors import BadCall, BadMessage
from ...protocol.values import dataclass, field
from ...protocol.wire import children, states
from ...protocol.wire.chord_keys import Member, parse_member
from ...protocol.wire.failure import Failure
from ...protocol.wire.result import Result, build, build_group, parse, parse_group
from ...protocol.wire.stored import JSON, Codec
from ...protocol.wire.stores import Keys, lifetime, may_replace

ABILITIES: Mapping[str, str] = {
    "push": "wakes who waits as soon as a result is stored, without being asked again",
    "chord": "counts the members of a chord itself, each once, and says who sends the body",
    "group": "keeps the members of a group, to be restored by its id",
    "shared": "is seen by other processes",
    "expire": "forgets results by itself when their time is over",
}

POLL = 0.5
"""Seconds between two looks at a store that does not tell."""


@dataclass(frozen=True, slots=True)
class Retry:
    """`result_backend_always_retry`: how often more (`math.inf`: for ever), and the waits between, in seconds."""

    most: float = math.inf
    first: float = 0.01
    longest: float = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What a store must know of the configuration (`settings.read` makes it). Times are seconds, 0 for ever.

    `chord_claim` is how long the one who completed a chord may take to send its body. `options` are the settings of
    one kind of store by Celery's names (`redis_db`, `database_engine_options`, `result_backend_transport_options`):
    each store reads its own.
    """

    codec: Codec = JSON
    keys: Keys = field(default_factory=Keys)
    expires: int = 86400
    failure_expires: int | None = None
    chord_expires: int | None = None
    chord_ordered: bool = True
    chord_claim: int = 6
    retry: Retry | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def chord_seconds(self) -> int:
        """How long a chord is kept that never completes."""
        return self.expires if self.chord_expires is None else self.chord_expires

    @property
    def chord_result_seconds(self) -> int:
        """How long its saved group is kept, which users read too: never shorter than a result."""
        return max(self.chord_seconds, self.expires) if self.chord_seconds and self.expires else 0


@dataclass(frozen=True, slots=True)
class Address:
    """Whom a result is sent to, for a store that sends (rpc): from the task's message."""

    reply_to: str | None = None
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """All members of a chord are counted, and it is ours to send its body: once, then `chord_done`.

    `members` are in the order of the header; one that cannot be read is a failed one. If any of them failed, errors
    are sent instead, then `chord_failed`. `saved` is the header's tree where it held groups. `size` is the one that
    `chord_part` was given.
    """

    group_id: str
    token: str
    members: Sequence[Member]
    saved: children.Node | None = None
    size: int | None = None


Found = Result | BadMessage
"""What is stored, or why it cannot be read."""


class Store(ABC):
    """One result store. Implementations give `store`, `fetch` and `forget`, and what they can do better."""

    can: frozenset[str] = frozenset()

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()

    # --- one result

    @abstractmethod
    def store(self, result: Result, address: Address | None = None) -> bool:
        """Keep this state and tell who waits. False: not kept, since a SUCCESS is stored already."""

    @abstractmethod
    def fetch(self, task_id: str) -> Result | None:
        """The last state that was stored, or None. `BadMessage`: what is stored cannot be read."""

    @abstractmethod
    def forget(self, task_id: str) -> None:
        """Delete what is stored for this task, if anything is."""

    def answer_to(self) -> str | None:
        """The queue that our tasks answer to (`reply_to`), there from now on. None: their results are stored."""
        return None

    # --- many

    def fetch_many(self, task_ids: Iterable[str]) -> dict[str, Found]:
        """What is stored of these, in as few round trips as the store allows. One bad document spoils no other."""
        found = {task_id: _found(self.fetch, task_id) for task_id in task_ids}
        return {task_id: result for task_id, result in found.items() if result is not None}

    def wait(
        self,
        task_ids: Iterable[str],
        timeout: float,
        *,
        interval: float = POLL,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[str, Found]]:
        """Each of these once, as it gets ready or is found to be unreadable, until all are.

        It ends earlier when `timeout` seconds are over (`math.inf`: never) or `stop` says so, which is asked at least
        every `interval` seconds. What was ready before counts too. Who needs to know what is missing counts what came.
        """
        missing = dict.fromkeys(task_ids)
        end = time.monotonic() + timeout
        while missing:
            for task_id, found in self.fetch_many(list(missing)).items():
                if isinstance(found, BadMessage) or found.ready:
                    del missing[task_id]
                    yield task_id, found
            left = end - time.monotonic()
            if not missing or left <= 0 or stop():
                return
            self._pause(min(interval, left))

    def _pause(self, seconds: float) -> None:
        time.sleep(seconds)

    # --- groups

    def store_group(self, group: children.Node) -> None:
        """Keep the members of a group under its id."""
        raise self._cannot("group", group.id)

    def fetch_group(self, group_id: str) -> children.Node | None:
        raise self._cannot("group", group_id)

    def forget_group(self, group_id: str) -> None:
        raise self._cannot("group", group_id)

    # --- chords

    def chord_start(self, group_id: str, size: int, saved: children.Node | None = None) -> None:
        """Before the last message of the header is sent: how many members will report. Starts a chord anew."""
        raise self._cannot("chord", group_id)

    def chord_grow(self, group_id: str, by: int = 1) -> None:
        """So many members more, before they are sent."""
        raise self._cannot("chord", group_id)

    def chord_part(
        self, group_id: str, member: Member, index: int | None, token: str, size: int | None = None
    ) -> Claim | None:
        """Count a finished member, once however often it is told. A `Claim` if the chord is complete and unclaimed.

        `token` is new for each member that finished; asked again with the same one (its answer was lost), the store
        answers the same. A claim that is not held on to lapses after `chord_claim` seconds, and the next who tells of
        any member gets it. `size` is the one in the body of a chord that Celery 4 sent.
        """
        raise self._cannot("chord", group_id)

    def chord_taken(self, group_id: str) -> bool:
        """Whether the chord is complete and somebody has a claim to its body, who may be dead: it lapses then, and the
        next who tells of a member gets it. False also where that cannot be known."""
        return False

    def chord_hold(self, claim: Claim, seconds: int) -> bool:
        """Right before the body is sent: keep the claim for so long. False: it is another's, send nothing."""
        raise self._cannot("chord", claim.group_id)

    def chord_done(self, claim: Claim) -> None:
        """The body is sent: the chord's keys may go, and no late copy of a member brings another claim."""
        raise self._cannot("chord", claim.group_id)

    def chord_failed(self, claim: Claim) -> None:
        """Its errors are sent: no late copy of a member brings another claim. What the members returned stays."""
        raise self._cannot("chord", claim.group_id)

    # --- by the clock

    def expire(self, now: float) -> int:
        """Delete results older than their time (epoch seconds) where the store does not do it itself. How many."""
        return 0

    def close(self) -> None:
        """Leave. Never raises, may be called twice; used again, it connects again."""

    # --- for implementations

    def lifetime(self, result: Result) -> int:
        return lifetime(result.status, self.settings.expires, self.settings.failure_expires)

    def _cannot(self, ability: str, ident: str) -> BadCall:
        name = type(self).__name__
        return BadCall(f"{name} cannot do this for {ident}: it is no store that {ABILITIES[ability]}")


class KeyValueStore(Store):
    """A store that keeps bytes by key. Implementations give `get`, `put` and `delete`, and `get_many` if they can.

    It looks before it writes; two who write the same result in the same instant are told apart by none of these stores.
    """

    can = frozenset({"group", "shared"})

    @abstractmethod
    def get(self, key: str) -> bytes | None: ...

    @abstractmethod
    def put(self, key: str, value: bytes, expires: int) -> None:
        """Keep the value for so many seconds, for ever if 0."""

    @abstractmethod
    def delete(self, key: str) -> None: ...

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def store(self, result: Result, address: Address | None = None) -> bool:
        key = self.settings.keys.task(result.task_id)
        if not may_replace(self.get(key), self.settings.codec):
            return False
        self.put(key, build(result, self.settings.codec), self.lifetime(result))
        return True

    def fetch(self, task_id: str) -> Result | None:
        value = self.get(self.settings.keys.task(task_id))
        return parse(value, self.settings.codec, task_id=task_id) if value else None

    def fetch_many(self, task_ids: Iterable[str]) -> dict[str, Found]:
        ids = list(task_ids)
        values = self.get_many([self.settings.keys.task(task_id) for task_id in ids])
        return {task_id: self._read(task_id, value) for task_id, value in zip(ids, values, strict=True) if value}

    def _read(self, task_id: str, value: bytes) -> Found:
        try:
            return parse(value, self.settings.codec, task_id=task_id)
        except BadMessage as bad:
            return bad

    def forget(self, task_id: str) -> None:
        self.delete(self.settings.keys.task(task_id))

    def store_group(self, group: children.Node) -> None:
        self.put(self.settings.keys.group(group.id), build_group(group, self.settings.codec), self.settings.expires)

    def fetch_group(self, group_id: str) -> children.Node | None:
        value = self.get(self.settings.keys.group(group_id))
        return parse_group(value, self.settings.codec) if value else None

    def forget_group(self, group_id: str) -> None:
        self.delete(self.settings.keys.group(group_id))


def _found(fetch: Callable[[str], Result | None], task_id: str) -> Found | None:
    try:
        return fetch(task_id)
    except BadMessage as bad:
        return bad


def read_member(data: bytes, codec: Codec) -> Member:
    """A member of a chord, be it `unreadable`."""
    try:
        return parse_member(data, codec)
    except BadMessage as bad:
        return unreadable(bad)


def unreadable(bad: BadMessage) -> Member:
    """What cannot be read, as a member that failed: its chord must end, and say why."""
    return Member("", states.FAILURE, Failure("DecodeError", (str(bad),), "kombu.exceptions"))
