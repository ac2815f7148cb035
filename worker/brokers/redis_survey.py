"""What stands in a Redis broker: queues with their depth, what is held, parked and left behind; and its removal.

Law: looking changes nothing. What is removed is what nobody has touched for the time that the caller names, never a
queue of tasks; each key is looked at once more in the moment in which it goes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...protocol.errors import BadMessage
from ...protocol.wire import envelope, redis_held, redis_parked
from ...protocol.wire.dates import parse_iso
from ...protocol.wire.json import loads
from ...protocol.wire.message import Message
from ...protocol.wire.redis import Layout
from ...protocol.wire.redis_bindings import parse_members
from ...protocol.wire.resp import ErrorReply
from ..redis_link import Link, connect
from ..redis_place import parse
from .embedded import reached
from .redis_ages import Age, Ages

_STEP = 500
_MOST_HELD = 20_000
_PRIVATE = ("*.reply.*pidbox", "celeryev.*", "*.pidbox")
"""Queues of one process: of replies, of events, of commands."""
_BUSY = 60.0
"""Seconds in which somebody sends events, if anybody does."""
_FAR = 1e11  # no time in seconds is beyond it; one in milliseconds is
_ZONED = re.compile(r"(Z|[+-]\d\d:\d\d)\Z")


@dataclass(frozen=True, slots=True)
class Depth:
    """One queue. `unacked` are messages that somebody holds; `oldest`: since when the oldest waits, if known."""

    name: str
    ready: int = 0
    unacked: int = 0
    parked: int = 0
    oldest: Age | None = None


@dataclass(frozen=True, slots=True)
class Litter:
    """A queue of a process that is gone: its list, or what is left of it in a table of bindings."""

    kind: str
    name: str
    messages: int | None = None
    """Unknown before Redis 7.2, where to count is to use: the list would look as if somebody had come back to it."""
    idle: float | None = None


class Survey:
    """One look at one broker. `options` are `broker_transport_options`."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None, timeout: float = 4.0) -> None:
        given = {"socket_timeout": timeout, "socket_connect_timeout": timeout, **(options or {})}
        url, self._membership = reached(url)
        place = parse(url, given)
        self.where = str(place)
        self.layout = Layout.from_options(given, place.db)
        self.link: Link = connect(place)
        (answer,) = self.link.ask(("CLIENT", "NO-TOUCH", "ON"))
        self._looks_unseen = type(answer) is not ErrorReply
        (answer,) = self.link.ask(("LPOS", self.layout.key("celeriac.none"), ""))  # since Redis 6.0.6
        self._finds = type(answer) is not ErrorReply

    def close(self) -> None:
        self.link.close()
        if self._membership is not None:
            self._membership.close()

    def depths(
        self,
        names: Iterable[str],
        ages: Ages | None = None,
        sent: Callable[[str], float | None] = lambda _: None,
        now: float = 0.0,
    ) -> list[Depth]:
        """These queues, and all others that anything is bound to; the private ones apart.

        `ages` is the memory of who looks again, `sent` knows of a task by its id when it was sent, or None.
        """
        private = {name for name, _ in self.private_keys()}
        known = {*names, *(queue for _, queue in self.bound())}
        known = {name for name in known if name not in private and not _is_private(name)}
        held, parked = self._held(), self._parked()
        known |= {name for name in (*held, *parked) if name and not _is_private(name)}
        if ages is not None:
            ages.keep(self.layout.list_keys(*known))
        return [
            replace(self._depth(name, ages, sent, now), unacked=held.get(name, 0), parked=parked.get(name, 0))
            for name in sorted(known)
        ]

    def others(self, known: Iterable[str]) -> set[str]:
        """Lists in which messages wait, and which nobody has declared: a client that only pushes declares nothing."""
        seen = {*self.layout.list_keys(*known), *(key for _, key in self.private_keys())}
        found: set[str] = set()
        for key in self._keys(f"{_literal(self.layout.global_keyprefix)}*", "list"):
            name = key.removeprefix(self.layout.global_keyprefix).partition(self.layout.sep)[0]
            if key in seen or not name or name in found or _is_private(name):
                continue
            try:
                envelope.parse(self.link.call("LINDEX", key, -1) or b"")
            except BadMessage:
                continue  # somebody else's
            found.add(name)
        return found

    def _depth(self, name: str, ages: Ages | None, sent: Callable[[str], float | None], now: float) -> Depth:
        ready = 0
        found: list[Age | None] = []
        for key in self.layout.list_keys(name):
            if _text(self.link.call("TYPE", key)) != "list":
                if ages is not None:
                    ages.empty(key, now)
                continue
            length, tail, age = self._list(key, ages, now)
            if length:
                ready += length
                told = _sent(tail, sent)
                found.append(age if told is None else Age(told, sure=True))
        return Depth(name, ready, oldest=_oldest(found))

    def _list(self, key: str, ages: Ages | None, now: float) -> tuple[int, Any, Age | None]:
        """How many there are, the oldest, and what looking again tells of it."""
        if ages is None or not self._finds:
            length, tail = self.link.transaction(("LLEN", key), ("LINDEX", key, -1))
            return length, tail, None
        tail, length, *answers = self.link.transaction(("LINDEX", key, -1), ("LLEN", key), *ages.commands(key))
        return length, tail, ages.told(key, length, answers, now)

    def totals(self) -> tuple[int, int]:
        """How many are held, and how many are parked, in all."""
        return self.link.call("HLEN", self.layout.unacked), self.link.call("HLEN", redis_parked.parked(self.layout))

    def _held(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for _, data in self._pairs(self.layout.unacked):
            try:
                entry = redis_held.parse_entry(data)
            except BadMessage:
                continue
            found[entry.routing_key or ""] += 1
        return found

    def _parked(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for _, data in self._pairs(redis_parked.parked(self.layout)):
            length, _, rest = data.partition(b":")
            if length.isdigit():
                key = rest[: int(length)].decode(errors="replace").removeprefix(self.layout.global_keyprefix)
                found[key.partition(self.layout.sep)[0]] += 1
        return found

    def _pairs(self, key: str) -> Iterator[tuple[bytes, bytes]]:
        cursor, seen = b"0", 0
        while seen < _MOST_HELD:
            cursor, row = self.link.call("HSCAN", key, cursor, "COUNT", _STEP)
            seen += len(row) // 2
            yield from zip(row[::2], row[1::2], strict=True)
            if cursor == b"0":
                return

    def bound(self) -> Iterator[tuple[str, str]]:
        """Exchange and queue of every binding."""
        for beginning in (self.layout.binding(""), self.layout.permanent_binding("")):
            for key in self._keys(f"{_literal(beginning)}*", "set"):
                for binding in parse_members(self.link.call("SMEMBERS", key), self.layout.sep):
                    yield key.removeprefix(beginning), binding.queue

    def private(self) -> list[Litter]:
        """The lists of queues that belong to one process, with the time since anybody has used them."""
        return [
            Litter("queue", name, self.link.call("LLEN", key) if self._looks_unseen else None, self._unused(key))
            for name, key in sorted(set(self.private_keys()))
        ]

    def private_keys(self) -> Iterator[tuple[str, str]]:
        """Names and keys."""
        for pattern in _PRIVATE:
            for key in self._keys(_literal(self.layout.global_keyprefix) + pattern, "list"):
                yield key.removeprefix(self.layout.global_keyprefix), key

    def litter(self, older: float) -> list[Litter]:
        """What nobody has used for so many seconds."""
        return [each for each in self.private() if each.idle is not None and each.idle >= older]

    def unused_replies(self) -> list[Litter]:
        """Bindings of reply queues in which nothing waits: of processes that are gone, and of some that are not."""
        lists = {name for name, _ in self.private_keys()}
        return [
            Litter("binding", queue)
            for exchange, queue in sorted(set(self.bound()))
            if exchange.startswith("reply.") and queue and queue not in lists
        ]

    def remove(self, litter: Litter, older: float) -> bool:
        """Remove it with its bindings, if nobody has come back to it."""
        key = self.layout.key(litter.name)
        idle = self._unused(key)
        if litter.kind == "queue":
            if idle is None or idle < older:
                return False
            self.link.call("DEL", *self.layout.list_keys(litter.name))
        elif idle is not None:
            return False
        for beginning in (self.layout.binding(""), self.layout.permanent_binding("")):
            for table in self._keys(f"{_literal(beginning)}*", "set"):
                members = self.link.call("SMEMBERS", table)
                ours = [
                    member
                    for member in members
                    if any(each.queue == litter.name for each in parse_members([member], self.layout.sep))
                ]
                if ours:
                    self.link.call("SREM", table, *ours)
        return True

    def _unused(self, key: str) -> float | None:
        """Seconds since anybody has taken from it. To a queue of events others go on sending: its oldest tells."""
        idle = self._idle(key)
        if idle is None or not key.startswith(self.layout.key("celeryev.")):
            return idle
        if self._looks_unseen or idle < _BUSY:  # else to look would be to use
            told = _told_at(self.link.call("LINDEX", key, -1))
            return idle if told is None else max(idle, self.clock() - told)
        return idle

    def _idle(self, key: str) -> float | None:
        if not self.link.call("EXISTS", key):
            return None
        return float(self.link.call("OBJECT", "IDLETIME", key))

    def _keys(self, pattern: str, kind: str) -> Iterator[str]:
        cursor = b"0"
        while True:
            cursor, keys = self.link.call("SCAN", cursor, "MATCH", pattern, "COUNT", _STEP, "TYPE", kind)
            yield from (key.decode(errors="replace") for key in keys)
            if cursor == b"0":
                return

    def clock(self) -> float:
        """The server's own time."""
        seconds, micros = self.link.call("TIME")
        return int(seconds) + int(micros) / 1e6

    # --- what waits in a queue, as it lies there

    def peek(self, queue: str, most: int) -> list[bytes]:
        """Envelopes, the oldest first; they stay where they are."""
        found: list[bytes] = []
        for key in self.layout.list_keys(queue):
            if len(found) < most:
                found += reversed(self.link.call("LRANGE", key, len(found) - most, -1))
        return found


def _told_at(data: Any) -> float | None:
    """When this event happened; of several in one message, the first."""
    try:
        told = loads(envelope.parse(data).message.body)
        first = told[0] if isinstance(told, list) else told
        at = first["timestamp"]
    except (BadMessage, LookupError, TypeError, ValueError):
        return None
    return float(at) if isinstance(at, (int, float)) and not isinstance(at, bool) else None


def _is_private(name: str) -> bool:
    return name.startswith("celeryev.") or name.endswith("pidbox")


def _literal(text: str) -> str:
    """For a pattern, with nothing special in it."""
    return "".join(f"\\{char}" if char in "*?[]\\^-" else char for char in text)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _oldest(found: Iterable[Age | None]) -> Age | None:
    """Of several lists: since when the oldest of them all waits."""
    known = [age for age in found if age is not None]
    if not known:
        return None
    first = min(known)
    return Age(first.since, sure=first.sure and None not in found and all(age.sure for age in known))


def _sent(data: Any, known: Callable[[str], float | None]) -> float | None:
    """When it was sent, as it says: a dead letter, one with a timestamp, one that expires; or as events said."""
    if not isinstance(data, bytes):
        return None
    try:
        message = envelope.parse(data).message
    except BadMessage:
        return None
    dead = message.headers.get("celeriac_dead")
    told = dead.get("at") if isinstance(dead, dict) else message.properties.get("timestamp")
    if isinstance(told, (int, float)) and not isinstance(told, bool) and 0 < told < _FAR:
        return float(told)
    uuid = message.headers.get("id") or message.properties.get("correlation_id")
    return _expiring(message) or (known(uuid) if isinstance(uuid, str) else None)


def _expiring(message: Message) -> float | None:
    """Celery writes both when it expires and how long that was off."""
    left, expires = message.properties.get("expiration"), message.headers.get("expires")
    if not isinstance(left, str) or not left.isdecimal() or left == "0" or not isinstance(expires, str):
        return None
    try:
        return parse_iso(expires, what="expires").timestamp() - int(left) / 1000 if _ZONED.search(expires) else None
    except BadMessage:
        return None
