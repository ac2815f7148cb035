"""Where several beats agree which of them leads, and what was sent: the state that outlives any leader, in a Redis.

Law: what a leader writes carries its token, and one step inside Redis looks at the token, writes the run down and puts
the message into its queue. So there is no moment at which a leader can die between the two: a tick is sent and written
down, or neither. A message that does not go to a list of the same Redis is sent after its run was written down.

Keys, all of them beginning with the name of the lease in braces:

    lease      the token of who leads; expires with the lease
    token      the highest token that was given
    state      hash: entry -> JSON of its last run
    entries    hash: entry -> JSON of its definition, for those that are made at run time
    paused     set: entries that are not sent
    version    goes up with each change of `entries` and `paused`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..protocol.wire.envelope import priority_of
from ..protocol.wire.redis import Layout
from ..protocol.wire.redis_scripts import Script
from .brokers.base import Parcel, Queue
from .brokers.redis_envelopes import Envelopes
from .redis_link import Link, connect
from .redis_place import Place

# KEYS: lease, token, version. ARGV: ttl in ms, our token (0: none yet).
# Answers our token, the version; or 0, ms until it may be free.
ACQUIRE = Script(
    "acquire",
    """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[2] then return {0, redis.call('PTTL', KEYS[1])} end
if held then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
    return {tonumber(held), tonumber(redis.call('GET', KEYS[3]) or '0')}
end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], token, 'PX', ARGV[1])
return {token, tonumber(redis.call('GET', KEYS[3]) or '0')}
""",
)

# KEYS: token, state, and a list if there is a message. ARGV: our token, entry, its state, the message.
COMMIT = Script(
    "commit",
    """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if #KEYS == 3 then redis.call('LPUSH', KEYS[3], ARGV[4]) end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 1
""",
)

# KEYS: lease. ARGV: our token.
RELEASE = Script("release", "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1")


class Asked(NamedTuple):
    """`token` 0: somebody else leads, for so many seconds at the most."""

    token: int
    version: int = 0
    free_in: float | None = None


class Kept(NamedTuple):
    """All that is written down."""

    state: dict[str, str]
    entries: dict[str, str]
    paused: frozenset[str]


class RedisLease:
    """One beat's, or an operator's, door to it. What fails raises kombu's OperationalError; the next call connects."""

    def __init__(self, place: Place, name: str = "celeriac-beat") -> None:
        self.place = place
        self.name = name
        self.where = str(place)
        self._link: Link | None = None

    def _key(self, part: str) -> str:
        return f"{{{self.name}}}:{part}"

    @property
    def _open(self) -> Link:
        if self._link is None or not self._link.open:
            self._link = connect(self.place)
        return self._link

    # --- the lease

    def acquire(self, ttl: float, token: int = 0) -> Asked:
        """The lease, if nobody has it; longer, if it is ours."""
        keys = (self._key("lease"), self._key("token"), self._key("version"))
        got, second = self._open.run(ACQUIRE, 3, *keys, int(ttl * 1000), token)
        return Asked(got, version=second) if got else Asked(0, free_in=max(second, 0) / 1000)

    def is_held(self) -> bool:
        """Whether somebody leads."""
        return bool(self._open.call("EXISTS", self._key("lease")))

    def release(self, token: int) -> None:
        self._open.run(RELEASE, 1, self._key("lease"), token)

    def commit(self, token: int, entry: str, state: str, message: tuple[str, bytes] | None = None) -> bool:
        """Write a run down and put its message into that list; False if a newer leader was made."""
        keys = [self._key("token"), self._key("state")]
        arguments: list[Any] = [token, entry, state]
        if message is not None:
            keys.append(message[0])
            arguments.append(message[1])
        return bool(self._open.run(COMMIT, len(keys), *keys, *arguments))

    @property
    def queues_at(self) -> Place:
        """The Redis that a message can be put into as its run is written down."""
        return self.place

    def finish(self) -> None:
        """Nothing: no leader ever leaves a message unsent whose run is written down."""

    # --- what is written down

    def load(self) -> Kept:
        state, entries, paused = self._open.transaction(
            ("HGETALL", self._key("state")), ("HGETALL", self._key("entries")), ("SMEMBERS", self._key("paused"))
        )
        return Kept(_pairs(state), _pairs(entries), frozenset(each.decode() for each in paused))

    def begin(self, states: Mapping[str, str]) -> None:
        """Write down where entries begin that never ran; who has a state keeps it."""
        if states:
            self._open.transaction(*(("HSETNX", self._key("state"), name, text) for name, text in states.items()))

    def forget(self, *names: str) -> None:
        """The states of entries that there are no more."""
        if names:
            self._open.call("HDEL", self._key("state"), *names)

    # --- at run time

    def put(self, entry: str, definition: str) -> None:
        self._change(("HSET", self._key("entries"), entry, definition))

    def remove(self, entry: str) -> bool:
        """Whether there was one."""
        gone, *_ = self._change(
            ("HDEL", self._key("entries"), entry),
            ("SREM", self._key("paused"), entry),
            ("HDEL", self._key("state"), entry),
        )
        return bool(gone)

    def pause(self, entry: str) -> None:
        self._change(("SADD", self._key("paused"), entry))

    def resume(self, entry: str) -> None:
        """It begins anew: what was missed in the pause is not made up for."""
        self._change(("SREM", self._key("paused"), entry), ("HDEL", self._key("state"), entry))

    def _change(self, *commands: tuple[Any, ...]) -> list[Any]:
        return self._open.transaction(*commands, ("INCR", self._key("version")))

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


def pushed(
    parcel: Parcel, queues: Sequence[Queue], place: Place, options: Mapping[str, Any]
) -> tuple[str, bytes] | None:
    """The list and the envelope, where sending this is nothing but that."""
    if parcel.exchange or any(queue.expires is not None for queue in queues):
        return None
    priority = priority_of(parcel.message.properties)
    layout = Layout.from_options(options, place.db)
    envelopes = Envelopes(options.get("body_encoding", "base64"))
    return layout.list_key(parcel.routing_key, priority), envelopes.seal(parcel, priority)


def _pairs(flat: list[bytes]) -> dict[str, str]:
    return {name.decode(): text.decode() for name, text in zip(flat[::2], flat[1::2], strict=True)}
