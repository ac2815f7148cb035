"""A chord in Redis: its keys, the scripts that count its members, and what a member says.

All keys lie under `celery-taskset-meta-<group id>`: `.j` what the members returned (a sorted set by group index, or
a list), `.s` how many there are, `.t` how many were added later, `.d` which ones were counted, `.c` who sends the
body (or `done`), and the bare key a saved group when the header holds groups.
Law: stock workers count the same chord with their own scripts at the same time, and it completes exactly once.
KEYS, ARGV and replies are theirs; ours adds a ninth argument and a fifth reply, behind.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ..errors import BadMessage, shown
from ..values import dataclass
from . import failure, states
from .failure import Failure
from .stored import JSON, Codec
from .stores import Command, Keys

_WHAT = "chord member"
_PARTS = 4  # of a member
_STOCK = 4  # values in the reply of stock's script
_REPLIES = (_STOCK, _STOCK + 1)
DONE: Final = b"done"


@dataclass(frozen=True, slots=True)
class Script:
    text: str

    @property
    def sha(self) -> str:
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class ChordKeys:
    """The keys of one chord."""

    saved: str

    @classmethod
    def of(cls, keys: Keys, group_id: str) -> ChordKeys:
        return cls(keys.group(group_id))

    @property
    def joined(self) -> str:
        return f"{self.saved}.j"

    @property
    def size(self) -> str:
        return f"{self.saved}.s"

    @property
    def added(self) -> str:
        return f"{self.saved}.t"

    @property
    def counted(self) -> str:
        return f"{self.saved}.d"

    @property
    def claim(self) -> str:
        return f"{self.saved}.c"


# --- the producer's side


def start(keys: ChordKeys, size: int, expires: int) -> tuple[Command, Command]:
    """Before the last message of the header is sent: a claim of an earlier run goes, the size is set."""
    return ("DEL", keys.claim), _set(keys.size, size, expires)


def save_group(keys: ChordKeys, document: bytes, expires: int) -> Command:
    """Only when the header holds groups: `result.build_group` of it, so that the body gets nested lists."""
    return _set(keys.saved, document, expires)


def add(keys: ChordKeys) -> Command:
    """One member more, before it is sent (`add_to_chord`)."""
    return "INCRBY", keys.added, 1


def _set(key: str, value: bytes | int, expires: int) -> Command:
    return ("SET", key, value, "EX", expires) if expires else ("SET", key, value)


def size_in(body: Any) -> int | None:
    """The size in a chord's body signature, where Celery 3.1 and 4 write it; 4 writes no `.s` at all."""
    size = body.get("chord_size") if isinstance(body, Mapping) else None
    return size if isinstance(size, int) and not isinstance(size, bool) and 0 < size < 2**31 else None


# --- members


@dataclass(frozen=True, slots=True)
class Member:
    """What one task of the header left in `.j`: its value, or its `Failure` in the states of exceptions."""

    task_id: str
    state: str
    value: Any

    @property
    def failed(self) -> bool:
        return self.state in states.PROPAGATE


def build_member(member: Member, codec: Codec = JSON) -> bytes:
    value = member.value.build() if isinstance(member.value, Failure) else member.value
    return codec.encode([1, member.task_id, member.state, value])


def parse_member(data: bytes, codec: Codec = JSON) -> Member:
    value = codec.decode(data)
    if not isinstance(value, (list, tuple)) or len(value) != _PARTS:
        raise BadMessage(_WHAT, f"expected [1, id, state, value], got {shown(value)}; it begins {shown(data)}")
    _, task_id, state, item = value
    for name, text in (("id", task_id), ("state", state)):
        if not isinstance(text, str):
            raise BadMessage(_WHAT, f"expected a text, got {shown(text)}", field=name)
    if state in states.EXCEPTIONS and item is not None and not isinstance(item, BaseException):
        item = failure.parse(item)
    return Member(task_id, state, item)


# --- counting

_OPEN = """
local joined, added, size, counted, saved, claim = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

if redis.call('GET', claim) == 'done' then
    return {-1, 0, 0, 0, 'none'}
end

-- A fleet may disagree on result_chord_ordered: whoever came first decides.
local kind = redis.call('TYPE', joined).ok
if kind == 'none' then
    kind = ordered == '1' and 'zset' or 'list'
end

-- Celery 4 sends the size in the body and sets no key; set, it serves stock workers of the same chord too.
if given and given ~= '' then
    redis.call('SET', size, given, 'NX')
end
local more, total = redis.call('GET', added), redis.call('GET', size)
local ready, claimed = 0, 0

-- Counted once, however often the message is delivered. The mark comes last: what fails midway is not counted.
local function tell(id, index, member)
    local mark = id .. ':' .. index
    if redis.call('SISMEMBER', counted, mark) == 0 then
        if kind == 'zset' then
            redis.call('ZADD', joined, index, member)
        else
            redis.call('RPUSH', joined, member)
        end
        redis.call('SADD', counted, mark)
    end
    if claimed == 0 then
        ready = redis.call(kind == 'zset' and 'ZCARD' or 'LLEN', joined)
        if total and ready == tonumber(total) + tonumber(more or 0) then
            if redis.call('SET', claim, token, 'NX', 'EX', seconds) then
                claimed = 1
            end
        end
    end
end
"""
_CLOSE = """
if ttl > 0 then
    redis.call('EXPIRE', joined, ttl)
    redis.call('EXPIRE', added, ttl)
    redis.call('EXPIRE', size, ttl)
    redis.call('EXPIRE', counted, ttl)
    if saved_ttl > 0 then
        redis.call('EXPIRE', saved, saved_ttl)
    end
end
return {ready, more, total, claimed, kind}
"""

PART = Script(f"""
local ordered, ttl, saved_ttl, seconds = ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local token, given = ARGV[8], ARGV[9]
{_OPEN}
tell(ARGV[1], ARGV[4], ARGV[2])
{_CLOSE}""")
"""Add a member and count; who completes the chord holds the claim. KEYS .j .t .s .d <saved> .c"""

PARTS = Script(f"""
local ordered, ttl, saved_ttl, seconds = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local token, given = ARGV[5], nil
{_OPEN}
for i = 6, #ARGV, 3 do
    tell(ARGV[i], ARGV[i + 1], ARGV[i + 2])
end
{_CLOSE}""")
"""The same for several members, one after the other, whose chord has its size in a key. KEYS .j .t .s .d <saved> .c"""

EXTEND = Script("""
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
    return redis.call('EXPIRE', KEYS[1], ARGV[2])
end
-- Ours ran out and nobody took it, while the chord is still open: take it again.
if not holder and redis.call('EXISTS', KEYS[2]) == 1 then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
    return 1
end
return 0
""")
"""Hold the claim for longer, before the body is sent; 0 means that it is somebody else's. KEYS .c .s"""

CLEAN = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
if tonumber(ARGV[2]) > 0 then
    redis.call('SET', KEYS[1], 'done', 'EX', ARGV[2])
end
return 1
""")
"""The body is sent: remove all but a mark that late copies of members will meet. KEYS .c .j .t .s .d"""


def part_arguments(
    keys: ChordKeys,
    task_id: str,
    member: bytes,
    *,
    group_index: int | None,
    expires: int,
    saved_expires: int,
    claim: int,
    token: str,
    ordered: bool = True,
    size: int | None = None,
) -> Command:
    """What follows EVALSHA <sha of PART>. `size` is `size_in(body)`."""
    values = (task_id, member, 1 if ordered else 0, _place(group_index), expires, saved_expires, claim, token)
    return (*_named(keys), *values) if size is None else (*_named(keys), *values, size)


def parts_arguments(
    keys: ChordKeys,
    members: Iterable[tuple[str, int | None, bytes]],
    *,
    expires: int,
    saved_expires: int,
    claim: int,
    token: str,
    ordered: bool = True,
) -> Command:
    """What follows EVALSHA <sha of PARTS>. Of each member: its task's id, its index in the group, what it says."""
    told = [word for task_id, index, member in members for word in (task_id, _place(index), member)]
    values = (1 if ordered else 0, expires, saved_expires, claim, token)
    return (*_named(keys), *values, *told)


def _place(group_index: int | None) -> int | str:
    """In the order of the header: who has no place there comes last."""
    return "+inf" if group_index is None else group_index


def _named(keys: ChordKeys) -> Command:
    return 6, keys.joined, keys.added, keys.size, keys.counted, keys.saved, keys.claim


def extend_arguments(keys: ChordKeys, token: str, seconds: int) -> Command:
    return 2, keys.claim, keys.size, token, seconds


def clean_arguments(keys: ChordKeys, token: str, seconds: int) -> Command:
    return 5, keys.claim, keys.joined, keys.added, keys.size, keys.counted, token, seconds


@dataclass(frozen=True, slots=True)
class Count:
    """What PART answers. `claimed`: all are in, and it is on us to send the body. `over`: it was sent before."""

    ready: int
    total: int | None
    claimed: bool
    over: bool
    ordered: bool


def parse_count(reply: Any, *, ordered: bool = True) -> Count:
    """The reply of PART, or of stock's script (which does not say in which `ordered` the members are)."""
    if not isinstance(reply, Sequence) or isinstance(reply, (str, bytes)) or len(reply) not in _REPLIES:
        raise BadMessage("chord count", f"expected 4 or 5 values, got {shown(reply)}")
    ready, more, size, claimed = (_count(item) for item in reply[:_STOCK])
    kind = reply[4] if len(reply) > _STOCK else None
    if kind in (b"zset", "zset", b"list", "list"):
        ordered = kind in (b"zset", "zset")
    total = None if not size else size + (more or 0)
    return Count(ready or 0, total, claimed == 1, ready == -1, ordered)


def _count(value: Any) -> int | None:
    if value is None or isinstance(value, bool):  # RESP3 clients may give false for Lua's
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise BadMessage("chord count", f"expected a number, got {shown(value)}") from None


def members(keys: ChordKeys, count: Count) -> Command:
    """All members, in the order of the header or, unordered, as they came."""
    return ("ZRANGE", keys.joined, 0, -1) if count.ordered else ("LRANGE", keys.joined, 0, count.total or -1)


def give_up(keys: ChordKeys, *, done: int = 0) -> tuple[Command, ...]:
    """A member failed. Without a size, a late copy of a member fails the chord no second time.

    A size that came in the body would be set again by that copy: then a mark of `done` seconds must stop it.
    """
    drop: Command = ("DEL", keys.size)
    return (drop, ("SET", keys.claim, DONE, "EX", done)) if done else (drop,)


# --- for how long


def claim_seconds(join_timeout: float | None) -> int:
    """How long the one who completed the chord may take to collect its members (`result_chord_join_timeout`)."""
    return max(5, int((join_timeout or 5.0) * 2))


def done_seconds(claim: int) -> int:
    return max(claim * 2, 300)


def sending_seconds(
    claim: int,
    connect_timeout: float | None = 4.0,
    *,
    retries: int = 3,
    first: float = 0.0,
    step: float = 0.2,
    longest: float = 1.0,
) -> int:
    """How long sending the body may take, by the publish retry policy; the claim is extended by it."""
    if connect_timeout is None:
        return claim * 2
    timeout = max(0.0, connect_timeout)
    retries = max(0, retries)
    waits = sum(min(first + step * n, longest) for n in range(retries))
    return max(claim, math.ceil((retries + 1) * timeout + waits + max(timeout, 1.0)))
