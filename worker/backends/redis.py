"""Results in Redis or Valkey, by the scripts and key names of protocol.wire, on a plain connection.

Law: one round trip stores, tells who waits and keeps a SUCCESS. A connection is made when it is first used; one that
fails is made anew and what was asked is asked again as the retry policy says, unless asking twice would do it twice.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ...protocol.errors import BadCall, BadMessage, shown
from ...protocol.values import dataclass
from ...protocol.wire import chord_keys, states, stores
from ...protocol.wire.children import Node
from ...protocol.wire.chord_keys import ChordKeys, Member, build_member, done_seconds, parse_count
from ...protocol.wire.redis_scripts import Script
from ...protocol.wire.resp import Argument, Command
from ...protocol.wire.result import Result, build, build_group, parse_group, plain
from ...protocol.wire.stores import may_replace
from .. import redis_place
from ..redis_link import Link, operational, operational_error
from ..redis_link import connect as dial
from ..redis_place import Place
from . import redis_watch, unknown
from .base import POLL, Address, Claim, Found, KeyValueStore, Settings, read_member, unreadable

STORE = Script("store", stores.STORE)
STORE_ALL = Script("store_all", stores.STORE_ALL)
PART = Script("chord_part", chord_keys.PART.text)
PARTS = Script("chord_parts", chord_keys.PARTS.text)
EXTEND = Script("chord_extend", chord_keys.EXTEND.text)
CLEAN = Script("chord_clean", chord_keys.CLEAN.text)

LOOK = 0.8
"""Seconds between two looks at what is waited for: gocelery and others store and tell nobody."""
_FEW = 8  # results at once that only the connection which listens is asked for

_LONGEST = 512 * 1024 * 1024
_AT_ONCE = 500  # keys in one MGET
_TRIES = 100  # at a key that somebody else changes each time
_SHORTEST = 1.0  # seconds for one round trip, however little time who waits has left
_IDLE = 1.0  # seconds after which a connection is looked at before it is used

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a connection fails: so many more attempts (None: for ever), after these waits."""

    most: int | None = 20
    first: float = 0.0
    step: float = 1.0
    longest: float = 1.0
    within: float = math.inf

    def wait(self, retry: int) -> float:
        """Seconds before that retry, from 0."""
        from ...protocol.rules.retry import wait_before

        return wait_before(retry, self.first, self.step, self.longest)


def log_loss(most: int | None, _problem: BaseException, seconds: float, retry: int) -> float:
    """What is done about a connection that failed before it is tried again: how many seconds to wait."""
    log.error(
        "Connection to Redis lost: Retry (%s/%s) in %.2f seconds.", retry, "Inf" if most is None else most, seconds
    )
    return seconds


class _Ends(threading.local):
    """When who waits in this thread gives up: no attempt at a connection outlasts it by much."""

    at = math.inf


class RedisStore(KeyValueStore):
    """Results in one Redis."""

    can = frozenset({"push", "chord", "group", "shared", "expire"})

    def __init__(self, place: Place, settings: Settings | None = None, policy: RetryPolicy | None = None) -> None:
        super().__init__(settings)
        self.place = place
        self.policy = policy or RetryPolicy()
        self._link: Link | None = None
        self._watch: redis_watch.Watch | None = None
        self._ends = _Ends()
        self.on_lost: Callable[[int | None, BaseException, float, int], float] = log_loss

    # --- one result

    def store(self, result: Result, address: Address | None = None) -> bool:
        (key, value), expires = self.row(result), self.lifetime(result)
        seen: bytes | None = None
        for _ in range(_TRIES):
            reply = self._run(STORE, stores.store_arguments(key, value, expires, seen))
            if not isinstance(reply, bytes):
                return True
            if reply == value:  # an attempt before got through, its answer did not
                return True
            if not may_replace(reply, self.settings.codec):
                return False
            seen = reply
        raise operational(f"{self.place}: the result of {result.task_id} was changed by others at every attempt")

    def store_all(self, link: Link, rows: Sequence[tuple[str, bytes]]) -> list[int]:
        """Store these successes (`row`) on a link of the caller's, in one step, and tell who waits. The places of those
        that `store` must see to: something is stored there already."""
        there: list[int] = link.run(STORE_ALL, *stores.store_all_arguments(rows, self.settings.expires))
        return there

    def row(self, result: Result) -> tuple[str, bytes]:
        """Where a result is stored, and its document."""
        return self._row(result.task_id, build(result, self.settings.codec))

    def plain_row(
        self, task_id: str, value: Any, date_done: str | None, group_id: str | None, parent_id: str | None
    ) -> tuple[str, bytes] | None:
        """`row` of a success that says no more than this. None: `row` is to be asked."""
        document = plain(self.settings.codec, task_id, value, date_done, group_id, parent_id)
        return None if document is None else self._row(task_id, document)

    def _row(self, task_id: str, document: bytes) -> tuple[str, bytes]:
        if len(document) > _LONGEST:
            raise BadCall(f"the result of {task_id} has {len(document)} bytes; Redis keeps {_LONGEST} in one value")
        return self.settings.keys.task(task_id), document

    # --- keys

    def get(self, key: str) -> bytes | None:
        found: bytes | None = self._call("GET", key, within=self._reading())
        return found

    def put(self, key: str, value: bytes, expires: int) -> None:
        if expires:
            self._call("SETEX", key, expires, value)
        else:
            self._call("SET", key, value)

    def put_and_tell(self, key: str, value: bytes, expires: int) -> None:
        """Whatever is stored there."""
        self._do(lambda link: link.transaction(*stores.store(key, value, expires)))

    def delete(self, key: str) -> None:
        self._call("DEL", key, within=self._reading())

    def count(self, key: str) -> int:
        """One more, and how many that makes."""
        found: int = self._do(lambda link: link.call("INCR", key), twice=False)
        return found

    def keep_for(self, key: str, seconds: int) -> bool:
        return bool(self._call("EXPIRE", key, seconds))

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        commands = [("MGET", *keys[start : start + _AT_ONCE]) for start in range(0, len(keys), _AT_ONCE)]
        if not commands:
            return []
        return [value for values in self._ask(*commands, within=self._reading()) for value in values]

    # --- waiting

    def wait(
        self,
        task_ids: Iterable[str],
        timeout: float,
        *,
        interval: float = POLL,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[str, Found]]:
        missing = dict.fromkeys(task_ids)
        end = time.monotonic() + timeout
        listening = self._watch is not None and self._watch.looks
        if not listening or len(missing) > _FEW or timeout < LOOK:
            yield from self._look(missing, end)
            if not missing or time.monotonic() >= end or stop():
                return
        watch = self._watched()
        channels = {self.settings.keys.task(task_id): task_id for task_id in missing}
        waiter = watch.join(list(channels))
        try:
            looked = time.monotonic()
            while missing:
                now = time.monotonic()
                if waiter.look or now >= min(looked + LOOK, end):
                    waiter.look, looked = False, now
                    yield from self._look(missing, end)
                if not missing or now >= end or stop():
                    return
                watch.hear(waiter, max(0.0, min(interval, end - now, looked + LOOK - now)))
                while waiter.arrived:
                    channel, payload = waiter.arrived.popleft()
                    task_id = channels[channel]
                    found = self._read(task_id, payload)
                    if isinstance(found, BadMessage):
                        waiter.look = True  # what is stored decides
                    elif found.ready and task_id in missing:
                        del missing[task_id]
                        yield task_id, found
        finally:
            watch.leave(waiter)

    def _look(self, missing: dict[str, None], end: float) -> Iterator[tuple[str, Found]]:
        self._ends.at = end
        try:
            stored = self.fetch_many(list(missing))
        finally:
            self._ends.at = math.inf
        for task_id, found in stored.items():
            if isinstance(found, BadMessage) or found.ready:
                del missing[task_id]
                yield task_id, found

    def _watched(self) -> redis_watch.Watch:
        if self._watch is None or self._watch.closed:  # closed: by a fork
            self._watch = redis_watch.enter(self.place)
        return self._watch

    # --- chords

    def store_group(self, group: Node) -> None:
        """Kept as long as a chord that it may be the header of."""
        seconds = self.settings.chord_result_seconds
        self.put(self.settings.keys.group(group.id), build_group(group, self.settings.codec), seconds)

    def chord_start(self, group_id: str, size: int, saved: Node | None = None) -> None:
        keys, expires = self._chord(group_id), self.settings.chord_seconds
        commands = list(chord_keys.start(keys, size, expires))
        if saved is not None:
            commands.append(
                chord_keys.save_group(keys, build_group(saved, self.settings.codec), self.settings.chord_result_seconds)
            )
        self._ask(*commands)

    def chord_grow(self, group_id: str, by: int = 1) -> None:
        key = self._chord(group_id).added
        self._do(lambda link: link.call("INCRBY", key, by), twice=False)

    def chord_part(
        self, group_id: str, member: Member, index: int | None, token: str, size: int | None = None
    ) -> Claim | None:
        keys, settings = self._chord(group_id), self.settings
        arguments = chord_keys.part_arguments(
            keys,
            member.task_id,
            build_member(member, settings.codec),
            group_index=index,
            expires=settings.chord_seconds,
            saved_expires=settings.chord_result_seconds,
            claim=settings.chord_claim,
            token=token,
            ordered=settings.chord_ordered,
            size=size,
        )
        return self._claimed(group_id, self._run(PART, arguments), token, size)

    def chord_parts(
        self, link: Link, group_id: str, members: Sequence[tuple[str, int | None, bytes]], token: str
    ) -> Claim | None:
        """`chord_part` of several (`member`) on a link of the caller's, in one step."""
        settings = self.settings
        arguments = chord_keys.parts_arguments(
            self._chord(group_id),
            members,
            expires=settings.chord_seconds,
            saved_expires=settings.chord_result_seconds,
            claim=settings.chord_claim,
            token=token,
            ordered=settings.chord_ordered,
        )
        return self._claimed(group_id, link.run(PARTS, *arguments), token, None)

    def member(self, task_id: str, value: Any) -> bytes:
        """What a member that succeeded says in its chord."""
        return build_member(Member(task_id, states.SUCCESS, value), self.settings.codec)

    def _claimed(self, group_id: str, reply: Any, token: str, size: int | None) -> Claim | None:
        """What it means for us that so many are counted now."""
        keys, settings = self._chord(group_id), self.settings
        count = parse_count(reply, ordered=settings.chord_ordered)
        if count.over or not count.total or count.ready != count.total:
            return None
        if not count.claimed and not self._extended(keys, token, settings.chord_claim):
            return None
        values, document = self._ask(chord_keys.members(keys, count), ("GET", keys.saved))
        members = [read_member(value, settings.codec) for value in values]
        saved: Node | None = None
        if document:
            try:
                saved = parse_group(document, settings.codec)
            except BadMessage as bad:  # the body would get the values in another shape: the chord fails, and says why
                members.append(unreadable(bad))
        return Claim(group_id, token, members, saved, size)

    def chord_taken(self, group_id: str) -> bool:
        (claim,) = self._ask(("GET", self._chord(group_id).claim))
        return claim is not None and claim != chord_keys.DONE

    def chord_hold(self, claim: Claim, seconds: int) -> bool:
        return self._extended(self._chord(claim.group_id), claim.token, seconds)

    def _extended(self, keys: ChordKeys, token: str, seconds: int) -> bool:
        return bool(self._run(EXTEND, chord_keys.extend_arguments(keys, token, seconds)))

    def chord_done(self, claim: Claim) -> None:
        keys, seconds = self._chord(claim.group_id), done_seconds(self.settings.chord_claim)
        self._run(CLEAN, chord_keys.clean_arguments(keys, claim.token, seconds))

    def chord_failed(self, claim: Claim) -> None:
        seconds = 0 if claim.size is None else done_seconds(self.settings.chord_claim)
        self._ask(*chord_keys.give_up(self._chord(claim.group_id), done=seconds))

    def _chord(self, group_id: str) -> ChordKeys:
        return ChordKeys.of(self.settings.keys, group_id)

    # --- the connection

    def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
        watch, self._watch = self._watch, None
        if watch is not None:
            redis_watch.leave(self.place, watch)

    def _call(self, *command: Argument, within: float = math.inf) -> Any:
        return self._do(lambda link: link.call(*command), within=within)

    def _reading(self) -> float:
        """So long is a question that changes nothing asked again: whoever asks waits for it. A server that is frozen
        costs each try a whole deadline, and is told of after one."""
        policy = self.policy
        pauses = math.inf if policy.most is None else policy.most * policy.longest
        return max(self.place.timeout, pauses)

    def _run(self, script: Script, arguments: Sequence[Argument]) -> Any:
        return self._do(lambda link: link.run(script, *arguments))

    def _ask(self, *commands: Command, within: float = math.inf) -> list[Any]:
        def ask(link: Link) -> list[Any]:
            replies = link.ask(*commands, timeout=self._patience())
            return [link.checked(reply, command[0]) for reply, command in zip(replies, commands, strict=True)]

        return self._do(ask, within=within)

    def _do(self, use: Callable[[Link], T], *, twice: bool = True, within: float = math.inf) -> T:
        """With a connection that works; when it fails, with the next. An error that Redis answers is final.

        Without `twice` only connecting is tried again: of what was sent nobody knows whether it was done.
        """
        retry = 0
        given_up = time.monotonic() + min(self.policy.within, within)
        while True:
            link = None
            try:
                link = self._linked()
                return use(link)
            except operational_error() as problem:
                if link is not None and (link.open or not twice):
                    raise
                if self.policy.most is not None and retry >= self.policy.most:
                    raise
                if time.monotonic() > given_up:
                    raise
                seconds = self.on_lost(self.policy.most, problem, self.policy.wait(retry), retry)
                if seconds and time.monotonic() + seconds >= self._ends.at:
                    raise
            finally:
                if link is not None:
                    self._leave(link)
            time.sleep(seconds)
            retry += 1

    def _patience(self) -> float | None:
        """The deadline of one round trip, shorter when who waits has less time than that."""
        left = self._ends.at - time.monotonic()
        return max(_SHORTEST, left) if left < self.place.timeout else None

    def _linked(self) -> Link:
        link, self._link = self._link, None
        self._link = self._sound(link) or dial(self.place)
        return self._link

    def _sound(self, link: Link | None) -> Link | None:
        """The link, if it still works; what does not is closed."""
        if link is None:
            return None
        idle = time.monotonic() - link.used
        if link.open and (idle < _IDLE or (link.alive() and not self._unwell(link, idle))):
            return link
        link.close()
        return None

    def _leave(self, link: Link) -> None:
        """A link is not used any more, for now; here it stays ours."""

    def _unwell(self, link: Link, idle: float) -> bool:
        """Where health checks are asked for: it does not answer a PING any more."""
        if not self.place.health_check or idle < self.place.health_check:
            return False
        try:
            link.call("PING", timeout=min(self.place.timeout, self.place.connect_timeout))
        except operational_error():
            return True
        return False


# --- from the configuration

_TRANSPORT = (
    *("retry_policy", "global_keyprefix", "result_chord_ordered"),
    *("master_name", "min_other_sentinels", "sentinel_kwargs"),
    *("visibility_timeout", "additional_connection_errors"),  # of the broker; of redis-py's errors, which are all ours
)


def connect(url: str, settings: Settings) -> RedisStore:
    """By `redis://`, `rediss://`, `redis+socket://`, `sentinel://...;sentinel://...`, or `redis` and its settings."""
    options = settings.options
    transport = options.get("result_backend_transport_options") or {}
    unknown.name("result_backend_transport_options", transport, _TRANSPORT)
    names = ("host", "port", "db", "username", "password", "max_connections")
    given = {name: options.get(f"redis_{name}") for name in names} | {
        "socket_timeout": options.get("redis_socket_timeout"),
        "socket_connect_timeout": options.get("redis_socket_connect_timeout"),
        "socket_keepalive": options.get("redis_socket_keepalive"),
        "client_name": options.get("redis_client_name"),
        "health_check_interval": options.get("redis_backend_health_check_interval"),
    }
    own = options.get("redis_backend_credential_provider")
    if own is not None:
        given["credential_provider"] = redis_place.provider(own, "redis_backend_credential_provider")
    given |= {name: transport.get(name) for name in ("master_name", "min_other_sentinels", "sentinel_kwargs")}
    place = redis_place.parse(url if "://" in url else f"{url}://", given, options.get("redis_backend_use_ssl"))
    return RedisStore(place, settings, _policy(transport.get("retry_policy")))


_POLICY = {
    "max_retries": "most",
    "interval_start": "first",
    "interval_step": "step",
    "interval_max": "longest",
    "timeout": "within",
}


def _policy(given: Any) -> RetryPolicy:
    if given is None:
        return RetryPolicy()
    if not isinstance(given, Mapping):
        raise BadCall(f"retry_policy is a mapping, not {shown(given)}")
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _POLICY:
            raise BadCall(f"retry_policy knows {', '.join(_POLICY)}, not {shown(name)}")
        if value is None and name == "max_retries":
            found["most"] = None
        elif not value and name == "timeout":  # kombu's words for: without end
            found["within"] = math.inf
        elif isinstance(value, (int, float)) and value >= 0:
            found[_POLICY[name]] = int(value) if name == "max_retries" else float(value)
        else:
            raise BadCall(f"retry_policy: {name} is a number that is not negative, not {shown(value)}")
    return RetryPolicy(**found)
