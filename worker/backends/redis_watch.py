"""Who waits for results in Redis: one subscriber connection for all who wait in this process.

Law: no thread of its own. Of those who wait, one reads for all; when it goes, another takes over. A waiter first
subscribes, then looks at what is stored, and is told when to look: after that nothing is missed. Only the reader
touches the connection. Whoever waits also looks by itself now and then, so nothing here is worth an exception:
a connection that fails is made anew.

Where the server speaks RESP3, the connection that subscribes asks in the same write for what is stored: what is there
already comes as if it had been published, and nobody need look before or after.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ...protocol.wire.resp import Command, ErrorReply, Push
from ...protocol.wire.stores import unwatch, watch
from .. import polling
from ..redis_link import Link, connect, operational_error
from ..redis_place import Place

_AT_ONCE = 500  # channels in one command
_SILENCE = 10.0  # seconds after which a silent connection is asked for a sign of life
_DEAF = 20.0
_AGAIN = 1.0  # seconds between two attempts to connect
_HELLO: Command = ("HELLO", 3)
_PING: Command = ("PING",)
_STORED = "MGET"


class Waiter:
    """One who waits for some channels."""

    __slots__ = ("arrived", "channels", "event", "look", "unconfirmed")

    def __init__(self, channels: Sequence[str]) -> None:
        self.channels = channels
        self.arrived: deque[tuple[str, bytes]] = deque()
        self.unconfirmed = set(channels)
        self.look = False
        self.event = threading.Event()

    def news(self) -> bool:
        return self.look or bool(self.arrived)


class Watch:
    """The subscriber connection and those who wait on it."""

    def __init__(self, place: Place, dial: Callable[[Place], Link] = connect) -> None:
        self.stores = 0
        self.closed = False
        self.looks = False
        """Whether it finds what is stored when one joins."""
        self._asks = True  # for what is stored, until it is refused
        self._asked: deque[Sequence[Any]] = deque()  # what has a reply of its own to come: channels, or a command
        self._place = place
        self._dial = dial
        self._link: Link | None = None
        self._lock = threading.Lock()  # for the tables; never held while reading, sending or connecting
        self._reading = threading.Lock()  # whoever holds it is the reader
        self._waiters: dict[str, list[Waiter]] = {}
        self._confirmed: set[str] = set()
        self._queued: list[Command] = []
        self._followers: dict[Waiter, None] = {}
        self._heard = self._retry = 0.0
        self._pinged = False
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)

    # --- who waits

    def join(self, channels: Sequence[str]) -> Waiter:
        waiter = Waiter(channels)
        fresh: list[str] = []
        with self._lock:
            for channel in channels:
                there = self._waiters.setdefault(channel, [])
                if not there:
                    fresh.append(channel)
                    self._confirmed.discard(channel)
                there.append(waiter)
            waiter.unconfirmed -= self._confirmed
            waiter.look = not waiter.unconfirmed
            self._queue(self._watching, fresh)
        self._ring()
        return waiter

    def _watching(self, channels: Sequence[str]) -> tuple[Command, ...]:
        """A result's channel has the name of its key."""
        return (*watch(channels), (_STORED, *channels)) if self._asks else watch(channels)

    def leave(self, waiter: Waiter) -> None:
        gone: list[str] = []
        with self._lock:
            for channel in waiter.channels:
                there = self._waiters[channel]
                there.remove(waiter)
                if not there:
                    del self._waiters[channel]
                    gone.append(channel)
            self._queue(unwatch, gone)
        self._ring()
        self._hand_on()

    def _queue(self, build: Callable[[Sequence[str]], tuple[Command, ...]], channels: list[str]) -> None:
        for start in range(0, len(channels), _AT_ONCE):
            self._queued.extend(build(channels[start : start + _AT_ONCE]))

    def hear(self, waiter: Waiter, seconds: float) -> None:
        """Until there is news for this waiter, for so many seconds at most. Sometimes for nothing: ask again."""
        with self._lock:
            self._followers[waiter] = None
        try:
            reads = self._reading.acquire(blocking=False)
            if not reads and not waiter.news():
                waiter.event.wait(seconds)
            waiter.event.clear()
        finally:
            with self._lock:
                self._followers.pop(waiter, None)
        if reads:
            try:
                self._read_for(waiter, seconds)
            finally:
                self._reading.release()
                self._hand_on()

    def _hand_on(self) -> None:
        """Wake the next reader. If there is none, what is to be sent is sent here, or by who reads at this moment."""
        while True:
            with self._lock:
                follower = next(iter(self._followers), None)
                idle = not self._queued or self._link is None
            if follower is not None:
                follower.event.set()
            if follower is not None or idle or not self._reading.acquire(blocking=False):
                return
            try:
                self._try(self._send_now)
            finally:
                self._reading.release()

    def _ring(self) -> None:
        """The reader has something to send. Who becomes the reader after this sees that by itself."""
        if self._reading.locked():
            with suppress(OSError):  # full: it is ringing already
                self._ringer.send(b"!")

    # --- the reader's part

    def _read_for(self, waiter: Waiter, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not waiter.news():
            left = end - time.monotonic()
            if left <= 0:
                return
            if not self._try(self._read_once, left):
                self._sleep(min(left, max(0.0, self._retry - time.monotonic())))

    def _try(self, do: Callable[[float], None], seconds: float = 0) -> bool:
        try:
            do(seconds)
        except operational_error():
            self._drop()
            return False
        return True

    def _read_once(self, seconds: float) -> None:
        """Send what is to be sent, and hand out what comes within so many seconds."""
        now = time.monotonic()
        link = self._reachable()
        self._send_queued(link)
        messages = link.read(0)
        if not messages:
            self._listen(link, min(seconds, _SILENCE))
            messages = link.read(0)
        if messages:
            self._heard, self._pinged = time.monotonic(), False
            self._hand_out(messages)
        elif now - self._heard > _DEAF and self._pinged:
            link.close("it does not answer")
        elif now - self._heard > _SILENCE and not self._pinged:
            self._pinged = True
            if self.looks:  # RESP2 answers it as it tells of messages
                self._asked.append(_PING)
            link.tell(_PING)

    def _reachable(self) -> Link:
        if self._link is not None and self._link.open:
            return self._link
        now = time.monotonic()
        if now < self._retry:
            raise operational_error()("too early to connect again")
        self._drop()
        self._retry = now + _AGAIN
        link = self._dial(self._place)
        with self._lock:
            channels = list(self._waiters)
            self._confirmed.clear()
            self._queued[:] = [_HELLO] if self._asks else []
            self._queue(self._watching, channels)
            for waiter in {each for there in self._waiters.values() for each in there}:
                waiter.unconfirmed = set(waiter.channels)
        self._heard, self._pinged = now, False
        self._link = link
        return link

    def _drop(self) -> None:
        link, self._link = self._link, None
        self.looks = False
        self._asked.clear()
        if link is not None:
            link.close()

    def _send_now(self, _seconds: float) -> None:
        if self._link is not None:
            self._send_queued(self._link)

    def _send_queued(self, link: Link) -> None:
        with self._lock:
            queued, self._queued = self._queued, []
        if queued:
            if not self._pinged:
                self._heard = time.monotonic()  # from now on something is to be heard
            self._asked.extend(
                command[1:] if command[0] == _STORED else command
                for command in queued
                if command is _HELLO or command[0] == _STORED
            )
            link.tell(*queued)

    def _listen(self, link: Link, seconds: float) -> None:
        poll = polling.poll()
        poll.register(link.fileno(), select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        if any(descriptor != link.fileno() for descriptor, _ in poll.poll(seconds * 1000)):
            self._silence_bell()

    def _sleep(self, seconds: float) -> None:
        poll = polling.poll()
        poll.register(self._bell, select.POLLIN)
        poll.poll(seconds * 1000)
        self._silence_bell()

    def _silence_bell(self) -> None:
        with suppress(OSError):
            self._bell.recv(4096)

    def _hand_out(self, messages: list[Any]) -> None:
        with self._lock:
            for message in messages:
                if type(message) is Push:
                    self._told(message.items)
                elif self._asked:
                    self._found(self._asked.popleft(), message)
                elif not self.looks and isinstance(message, list):
                    self._told(message)
                elif self.looks and type(message) is ErrorReply:
                    self._refused()

    def _told(self, items: Sequence[Any]) -> None:
        """What comes unasked: kind, channel, and what was published there."""
        if len(items) != 3 or not isinstance(items[1], bytes):  # noqa: PLR2004  # kind, channel, payload
            return
        kind, name, payload = items
        channel = name.decode(errors="replace")
        if kind == b"message" and isinstance(payload, bytes):
            self._arrived(channel, payload)
        elif kind == b"subscribe" and not self.looks:
            for waiter in self._settled(channel):
                if not waiter.unconfirmed:
                    waiter.look = True
                    waiter.event.set()

    def _found(self, channels: Sequence[Any], reply: Any) -> None:
        """What is stored, in the order in which it was asked for."""
        if channels is _PING:
            return
        if channels is _HELLO:
            self.looks = self._asks = type(reply) is not ErrorReply
            if not self.looks:
                self._asked.clear()
        elif not isinstance(reply, list) or len(reply) != len(channels):
            self._refused()
        else:
            for channel, stored in zip(channels, reply, strict=True):
                self._settled(channel)
                if isinstance(stored, bytes):
                    self._arrived(channel, stored)

    def _refused(self) -> None:
        """Something else was answered than was asked for, and one cannot tell to what: begin anew, and ask no more."""
        self._asks = False
        if self._link is not None:
            self._link.close("it refused to be asked for results")

    def _arrived(self, channel: str, document: bytes) -> None:
        for waiter in self._waiters.get(channel, ()):
            waiter.arrived.append((channel, document))
            waiter.event.set()

    def _settled(self, channel: str) -> Sequence[Waiter]:
        """From now on nothing is missed there."""
        waiters = self._waiters.get(channel, ())
        if waiters:
            self._confirmed.add(channel)
        for waiter in waiters:
            waiter.unconfirmed.discard(channel)
        return waiters

    def close(self) -> None:
        """For the last who leaves. Never raises."""
        self.closed = True
        self._drop()
        self._bell.close()
        self._ringer.close()


# --- one for each Redis in this process

_WATCHES: dict[Place, Watch] = {}
_WATCHES_LOCK = threading.Lock()


def enter(place: Place) -> Watch:
    """The watch on this Redis; whoever enters leaves."""
    with _WATCHES_LOCK:
        shared = _WATCHES.get(place)
        if shared is None:
            shared = _WATCHES[place] = Watch(place)
        shared.stores += 1
        return shared


def leave(place: Place, shared: Watch) -> None:
    with _WATCHES_LOCK:
        shared.stores -= 1
        if shared.stores == 0 and _WATCHES.get(place) is shared:
            del _WATCHES[place]
            shared.close()


def _after_fork() -> None:
    """Nothing of the parent's is used here: its locks may be held by threads that this process does not have."""
    global _WATCHES_LOCK  # noqa: PLW0603  # the child needs a lock of its own
    _WATCHES_LOCK = threading.Lock()
    for shared in _WATCHES.values():
        shared.close()
    _WATCHES.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
