"""Where results are kept: key names for every key-value store, and the command lists for Redis.

Law: one atomic step writes a result, tells those who wait for it on the channel of the same name, and never
writes over a SUCCESS. Whoever waits subscribes first and reads afterwards; celery-ts and node-celery subscribe to the
pattern of all tasks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ..errors import BadCall, BadMessage
from ..values import dataclass
from . import result, states
from .stored import JSON, Codec

Command = tuple[str | bytes | int, ...]

TASK = "celery-task-meta-"
GROUP = "celery-taskset-meta-"
CHORD = "chord-unlock-"

DAY = 86400
_NEEDS_NO_SEPARATOR = (":", "_", "-", ".")


@dataclass(frozen=True, slots=True)
class Keys:
    """The key names under one `global_keyprefix` (the result backend's own, not the broker's)."""

    prefix: str = ""

    @classmethod
    def under(cls, global_keyprefix: str | None) -> Keys:
        """Unless it ends in a separator, the configured prefix gets one."""
        if not global_keyprefix:
            return cls()
        tied = global_keyprefix.endswith(_NEEDS_NO_SEPARATOR)
        return cls(global_keyprefix if tied else f"{global_keyprefix}_")

    def task(self, task_id: str) -> str:
        return self._of(TASK, task_id)

    def group(self, group_id: str) -> str:
        return self._of(GROUP, group_id)

    def chord(self, group_id: str) -> str:
        """The counter of chords in stores that count but run no scripts: memcached."""
        return self._of(CHORD, group_id)

    def task_id(self, key: str | bytes) -> str | None:
        """The task of a key or channel; None when it is none of ours."""
        text = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
        start = self.prefix + TASK
        return text[len(start) :] or None if text.startswith(start) else None

    def _of(self, kind: str, ident: str) -> str:
        if not ident:
            raise BadCall("a result needs an id that is not empty")
        return f"{self.prefix}{kind}{ident}"


def lifetime(status: str, expires: int, failure_expires: int | None = None) -> int:
    """How many seconds a result is kept, 0 for ever; failures may have their own."""
    return failure_expires if status == states.FAILURE and failure_expires is not None else expires


# --- Redis


def store(key: str, value: bytes, expires: int) -> tuple[Command, Command]:
    """Two commands for one MULTI: write, then tell. As stock does it, after it has read what was there."""
    write: Command = ("SETEX", key, expires, value) if expires else ("SET", key, value)
    return write, ("PUBLISH", key, value)


STORE = """
local stored = redis.call('GET', KEYS[1])
if stored and redis.sha1hex(stored) ~= ARGV[3] then
    return stored
end
if ARGV[2] == '0' then
    redis.call('SET', KEYS[1], ARGV[1])
else
    redis.call('SETEX', KEYS[1], ARGV[2], ARGV[1])
end
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
"""
"""Write and tell, if nothing is stored or exactly what ARGV[3] is the sha1 of; else return what is stored.

One round trip when the key is free, which it nearly always is. A value that comes back is judged by `may_replace`
and, when it may go, named in the next try: no serializer and no compression needs to be known to Lua.
"""


def store_arguments(key: str, value: bytes, expires: int, seen: bytes | None = None) -> Command:
    """What follows EVALSHA <sha of STORE>: one key, the value, its seconds, the sha1 of the value to replace."""
    return 1, key, value, expires, "" if seen is None else hashlib.sha1(seen, usedforsecurity=False).hexdigest()


STORE_ALL = """
local there = {}
for i = 1, #KEYS do
    local kept
    if ARGV[1] == '0' then
        kept = redis.call('SET', KEYS[i], ARGV[i + 1], 'NX')
    else
        kept = redis.call('SET', KEYS[i], ARGV[i + 1], 'NX', 'EX', ARGV[1])
    end
    if kept then
        redis.call('PUBLISH', KEYS[i], ARGV[i + 1])
    else
        there[#there + 1] = i - 1
    end
end
return there
"""
"""The same for many results at once, each where nothing is stored; answers the places (from 0) where something is.

Those are for `STORE`, which tells what it is.
"""


def store_all_arguments(rows: Sequence[tuple[str, bytes]], expires: int) -> Command:
    """What follows EVALSHA <sha of STORE_ALL>: keys with their values, and the seconds that all are kept."""
    return (len(rows), *[key for key, _ in rows], expires, *[value for _, value in rows])


def may_replace(stored: bytes | None, codec: Codec = JSON) -> bool:
    """Whether a new state may be written over what is stored: over anything but a SUCCESS.

    What cannot be read may go: a writer with other settings left it, or a broken one.
    """
    if not stored:
        return True
    try:
        return result.parse(stored, codec, task_id="?").status != states.SUCCESS
    except BadMessage:
        return True


def forget(key: str) -> Command:
    return "DEL", key


def watch(keys: Sequence[str]) -> tuple[Command, ...]:
    """On the subscriber's connection, before anything is read."""
    return (("SUBSCRIBE", *keys),) if keys else ()


def unwatch(keys: Sequence[str]) -> tuple[Command, ...]:
    return (("UNSUBSCRIBE", *keys),) if keys else ()


def fetch(keys: Sequence[str]) -> tuple[Command, ...]:
    """What to read after subscribing, and what a reader that polls asks again and again."""
    if len(keys) == 1:
        return (("GET", keys[0]),)
    return (("MGET", *keys),) if keys else ()
