"""What a consumer holds on a Redis broker: `unacked` and its index, from taking to acknowledging or putting back.

Law: a message is in a list or in `unacked`, never in neither. Entries have kombu's form, so that any stock worker
restores ours and we restore any stock worker's. A tag is `<owner>:<serial>`, made by the taker: unique whatever the
message says about itself, and it tells whose hands the message is in.

Two ways. Kombu's: `redis.block`, then `hold`, `ack`, `look` and `restore`. Ours, safe against a crash at any moment:
`take`, `ack`, `put_back`, `reclaim`; these are scripts (see redis_scripts).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import BadCall, BadMessage, shown
from ..values import dataclass
from .envelope import parse, redelivered
from .json import plain_dumps
from .redis import Layout
from .redis_bindings import Binding, reached
from .redis_scripts import PUT_BACK, RECLAIM, TAKE, UNLOCK
from .resp import Command, pack

MOST = 1000  # messages in one take: Lua passes them to HSET as arguments, of which there are 8000
_WHAT = "unacked entry"
_COLUMNS = 3  # of what a take answers: tag, list, message
_ADDRESS = 2  # of an entry: exchange, routing key
_NONE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept of a held message: its envelope, and where a restore sends it."""

    envelope: bytes
    exchange: str
    routing_key: str | None


class Taken(NamedTuple):
    """A message in our hands: under which tag, and from which queue and list it came."""

    tag: str
    queue: str
    list_key: str
    envelope: bytes


# Entries


def entry(envelope: bytes, exchange: str, routing_key: str | None) -> bytes:
    """Kombu's form, around the envelope as it came."""
    return b"[%b%b" % (envelope, _tail(exchange, routing_key).encode())


def _tail(exchange: str, routing_key: str | None) -> str:
    return f", {plain_dumps(exchange)}, {plain_dumps(routing_key)}]"


def parse_entry(data: bytes) -> Entry:
    """The envelope comes out as it lies in there, byte for byte."""
    text = data.decode(errors="surrogateescape")
    try:
        start = len(text) - len(text[1:].lstrip())
        value, end = _DECODER.raw_decode(text, start)
        address = json.loads(f"[{text[end:].lstrip().removeprefix(',')}")
        envelope = value if isinstance(value, str) else text[start:end]
        raw = envelope.encode(errors="surrogateescape")
    except (ValueError, RecursionError) as problem:
        raise BadMessage(_WHAT, f"not [message, exchange, routing key]: {type(problem).__name__}") from None
    if not text.startswith("[") or not isinstance(address, list) or len(address) != _ADDRESS:
        raise BadMessage(_WHAT, f"expected [message, exchange, routing key], got {shown(data)}")
    exchange, routing_key = address
    if not isinstance(exchange, str | None) or not isinstance(routing_key, str | None):
        raise BadMessage(_WHAT, f"an address that is no text: {shown(exchange)}, {shown(routing_key)}")
    return Entry(raw, exchange or "", routing_key)


_DECODER = json.JSONDecoder()


def marked(envelope: bytes, losses: int = 0) -> bytes:
    """Flagged as redelivered; what is no envelope goes back as it came."""
    try:
        return redelivered(envelope, losses)
    except BadMessage:
        return envelope


# Taking


def owner_of(tag: str) -> str | None:
    """Whose hands a tag is in; None for kombu's, which do not say."""
    owner, _, serial = tag.rpartition(":")
    return owner if owner and serial.isdigit() else None


def take(layout: Layout, queues: Sequence[str], count: int, owner: str, serial: int, now: float) -> Command:
    """Up to `count` messages: of each queue its part, or, where the order says so, from the queues in this order. The
    taker counts `serial` on by as many as it got."""
    if not 0 < count <= MOST:
        raise BadCall(f"1 to {MOST} messages can be taken at once, not {count}")
    return TAKE.call(
        (layout.unacked, layout.unacked_index, *layout.list_keys(*queues)),
        (now, count, f"{owner}:", serial, int(_in_turn(layout)), *(_tail("", queue) for queue in queues)),
    )


def parse_taken(layout: Layout, reply: Any, queues: Sequence[str]) -> list[Taken]:
    """The answer to `take` with the same queues."""
    return _taken(reply, queues, layout.list_keys(*queues), in_turn=_in_turn(layout))


def _in_turn(layout: Layout) -> bool:
    return layout.queue_order_strategy == "round_robin"


def _taken(reply: Any, queues: Sequence[str], keys: Sequence[str], *, in_turn: bool) -> list[Taken]:
    if not isinstance(reply, list) or len(reply) % _COLUMNS:
        raise BadMessage("take", f"expected rows of tag, list, message, got {shown(reply)}")
    try:
        taken = [
            Taken(tag.decode(), queues[row % len(queues)], keys[row], envelope)
            for tag, row, envelope in zip(reply[::3], reply[1::3], reply[2::3], strict=True)
        ]
        return _turns(taken, reply[1::3], len(queues)) if in_turn and len(queues) > 1 else taken
    except (AttributeError, TypeError, LookupError, ValueError, ZeroDivisionError) as problem:
        raise BadMessage("take", f"not a row of tag, list, message: {problem}") from None


def _turns(taken: Sequence[Taken], rows: Sequence[int], queues: int) -> list[Taken]:
    """One of each queue, then the next of each, within a priority. `rows` are the numbers of their lists."""
    seen: Counter[int] = Counter()
    places = []
    for row in rows:
        places.append((row // queues, seen[row]))
        seen[row] += 1
    return [taken[at] for at in sorted(range(len(taken)), key=places.__getitem__)]


class Taking:
    """`take` and `parse_taken` for who asks the same queues again and again: what stays the same is packed once."""

    __slots__ = ("_after", "_before", "_in_turn", "_keys", "_owner", "_queues")

    def __init__(self, layout: Layout, queues: Sequence[str], owner: str) -> None:
        self._queues = queues
        self._in_turn = _in_turn(layout)
        self._keys = layout.list_keys(*queues)
        name, sha, count, *rest = take(layout, queues, 1, owner, 0, 0.0)
        keys, (_, _, prefix, _, *tails) = rest[: int(count)], rest[int(count) :]
        whole = b"*%d\r\n" % (len(rest) + 3)
        self._before = whole + pack((name, sha, count, *keys)).partition(b"\r\n")[2]
        self._owner = pack((prefix,)).partition(b"\r\n")[2]
        self._after = pack(tuple(tails)).partition(b"\r\n")[2]

    def command(self, count: int, serial: int, now: float) -> bytes:
        """Packed; `count` is not more than MOST."""
        time, many, first = b"%r" % now, b"%d" % count, b"%d" % serial
        return b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n%b$%d\r\n%b\r\n%b" % (
            *(self._before, len(time), time, len(many), many),
            *(self._owner, len(first), first, self._after),
        )

    def taken(self, reply: Any) -> list[Taken]:
        return _taken(reply, self._queues, self._keys, in_turn=self._in_turn)


def hold(layout: Layout, tag: str, held: bytes, now: float) -> list[Command]:
    """Kombu's way: the message has already left its list."""
    return [("MULTI",), ("ZADD", layout.unacked_index, now, tag), ("HSET", layout.unacked, tag, held), ("EXEC",)]


# Keeping and letting go


def ack(layout: Layout, *tags: str) -> list[Command]:
    return [("MULTI",), *_removed(layout, tags), ("EXEC",)]


class Acking:
    """`ack`, packed, for who acknowledges again and again."""

    __slots__ = ("_hash", "_index")

    def __init__(self, layout: Layout) -> None:
        self._index = pack(("ZREM", layout.unacked_index)).partition(b"\r\n")[2]
        self._hash = pack(("HDEL", layout.unacked)).partition(b"\r\n")[2]

    def command(self, tags: Iterable[str]) -> bytes:
        """One run of bytes; four replies, of which the last tells of all."""
        packed = [b"$%d\r\n%b\r\n" % (len(tag), tag) for tag in map(str.encode, tags)]
        count, all_tags = len(packed) + 2, b"".join(packed)
        return b"*1\r\n$5\r\nMULTI\r\n*%d\r\n%b%b*%d\r\n%b%b*1\r\n$4\r\nEXEC\r\n" % (
            *(count, self._index, all_tags),
            *(count, self._hash, all_tags),
        )


def _removed(layout: Layout, tags: Sequence[str]) -> tuple[Command, Command]:
    return ("ZREM", layout.unacked_index, *tags), ("HDEL", layout.unacked, *tags)


def renew(layout: Layout, tags: Iterable[str], now: float) -> Command:
    """What is held stays held: a restore by the visibility timeout counts from now. Never brings a tag back."""
    scores = [part for tag in tags for part in (now, tag)]
    return ("ZADD", layout.unacked_index, "XX", *scores)


def put_back(layout: Layout, held: Sequence[Taken], *, front: bool, losses: Mapping[str, int] = _NONE) -> Command:
    """Into their lists, flagged. `front`: the first of them is served next (restore); else last (reject). `losses` by
    tag, of those that had any."""
    lists: dict[str, int] = {}
    rows: list[str | int | bytes] = []
    for each in reversed(held) if front else held:
        row = lists.setdefault(each.list_key, len(lists))
        rows += (each.tag, row, marked(each.envelope, losses.get(each.tag, 0)))
    return PUT_BACK.call((layout.unacked, layout.unacked_index, *lists), ("RPUSH" if front else "LPUSH", *rows))


def look(layout: Layout, tag: str) -> list[Command]:
    """Kombu's way of putting back, first half: the entry, under watch."""
    return [("WATCH", layout.unacked), ("HGET", layout.unacked, tag)]


def restore(layout: Layout, tag: str, found: Entry | None, queues: Sequence[str], *, front: bool) -> list[Command]:
    """Second half: a transaction that runs only if nobody else was quicker. Without an entry it only removes."""
    pushes: list[Command] = []
    if found is not None:
        envelope = marked(found.envelope)
        name = "RPUSH" if front else "LPUSH"
        pushes = [(name, _list_key(layout, queue, found), envelope) for queue in queues]
    return [("MULTI",), *_removed(layout, (tag,)), *pushes, ("EXEC",)]


def destinations(found: Entry, exchange_type: str, bindings: Iterable[Binding]) -> list[str]:
    """The queues a restore goes to. Where nothing is bound kombu drops the message; here it goes to its key's queue."""
    own = [found.routing_key or ""]
    if not found.exchange:
        return own
    return reached(exchange_type, bindings, own[0]) or own


def _list_key(layout: Layout, queue: str, found: Entry) -> str:
    try:
        priority = parse(found.envelope).priority
    except BadMessage:
        priority = 0
    return layout.list_key(queue, priority)


# Restoring what others hold


def lock(layout: Layout, token: str) -> Command:
    """One sweeper at a time."""
    return ("SET", layout.unacked_mutex, token, "NX", "PX", int(layout.unacked_mutex_expire * 1000))


def unlock(layout: Layout, token: str) -> Command:
    return UNLOCK.call((layout.unacked_mutex,), (token,))


def overdue(layout: Layout, now: float) -> Command:
    """Tags and times of what nobody has renewed within the visibility timeout, the latest first. Redis 6.2."""
    latest = now - layout.visibility_timeout
    return ("ZRANGE", layout.unacked_index, latest, 0, "BYSCORE", "REV", *_limited(layout), "WITHSCORES")


def overdue_before_6_2(layout: Layout, now: float) -> Command:
    """The same; here the limit comes last."""
    latest = now - layout.visibility_timeout
    return ("ZREVRANGEBYSCORE", layout.unacked_index, latest, 0, "WITHSCORES", *_limited(layout))


def _limited(layout: Layout) -> Command:
    return () if layout.unacked_restore_limit is None else ("LIMIT", 0, layout.unacked_restore_limit)


def everything_held(layout: Layout) -> Command:
    """All tags, for a peer that looks for those of a dead owner (`owner_of`)."""
    return ("ZRANGE", layout.unacked_index, 0, -1)


def entries(layout: Layout, tags: Iterable[str]) -> Command:
    return ("HMGET", layout.unacked, *tags)


def reclaim(
    layout: Layout,
    tag: str,
    raw_entry: bytes | None,
    queue: str,
    *,
    latest: float = float("inf"),
    dead_owner: str | None = None,
) -> Command:
    """Puts one message of somebody else into a queue, to be served next; answers 0 when it is no longer as it was.

    `latest`: only if it has not been renewed since. `dead_owner`: only if this owner's lease has run out.
    An entry that cannot be read goes to the queue as it is, for quarantine: nothing is lost for being ugly.
    """
    try:
        found = parse_entry(raw_entry) if raw_entry is not None else Entry(b"", "", None)
    except BadMessage:
        found = Entry(raw_entry or b"", "", None)
    keys = [layout.unacked, layout.unacked_index, _list_key(layout, queue, found)]
    if dead_owner is not None:
        keys.append(lease_key(layout, dead_owner))
    return RECLAIM.call(keys, (tag, raw_entry or b"", latest, marked(found.envelope)))


# Leases: who is alive


def lease_key(layout: Layout, owner: str) -> str:
    return layout.key(f"celeriac.owner.{owner}")


def lease(layout: Layout, owner: str, seconds: float) -> Command:
    """To be repeated well within `seconds`; when it runs out, peers put back what the owner held."""
    return ("SET", lease_key(layout, owner), "", "PX", int(seconds * 1000))


def release(layout: Layout, owner: str) -> Command:
    return ("DEL", lease_key(layout, owner))


def leases(layout: Layout, owners: Iterable[str]) -> Command:
    """None for each owner that is gone."""
    return ("MGET", *(lease_key(layout, owner) for owner in owners))
