"""What a Redis consumer hears while it waits: that one of its lists has changed, and what is published to all.

Law: waiting takes nothing, so a death while waiting loses nothing. Redis is told which keys we have looked at
(`CLIENT TRACKING`, since 6.0) and says once when one of them changes: any number of lists on one connection, whoever
pushes, with nothing configured. See docs/decisions/0001-waiting-on-redis.md.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from ...protocol.wire.redis import Layout
from ...protocol.wire.resp import Command, ErrorReply, Push, pack
from ..redis_link import Link, connect, operational
from ..redis_place import Place

POLL = 0.1
"""Where Redis cannot tell (a proxy, an ACL, Redis before 6.0) the lists are looked at so often."""

_LEAST, _LONGEST = 0.001, 1.0
_POLL_WHOLE = 1  # Redis before 6.0 pauses for whole seconds
_RESTING, _ASKED, _ARMED = "resting", "asked", "armed"
_CACHING: Final[Command] = ("CLIENT", "CACHING", "YES")


class Ear:
    """One connection in RESP3; where that is refused two in RESP2, and the lists are polled.

    `look`: somebody should try to take. `roused`: because of a change that all who wait have heard of.
    `news`: what was published, as (pattern, channel, message).
    """

    def __init__(self, place: Place, layout: Layout) -> None:
        self._place = place
        self._pause_key = layout.key("celeriac.pause")
        self._link = connect(place)
        self._voice = self._link
        self._keys: tuple[str, ...] = ()
        self.question: tuple[bytes, bytes] = (b"", b"")
        """What a taker asks of Redis after it has taken, if this link is told on its behalf (`told_for`)."""
        self._patterns: frozenset[str] = frozenset()
        self._state = _RESTING
        self._replies: deque[bool] = deque()  # of what we asked: whether it is the answer about the lists
        self._asked_at = 0.0
        self._others = False
        """What was asked about are not the lists that we follow now."""
        self.look = True
        self.roused = False
        self.news: deque[tuple[str, bytes, bytes]] = deque()
        self._poll = self._refused()

    def _refused(self) -> float:
        """How long to pause between looks; 0: Redis tells."""
        hello, tracking = self._link.ask(("HELLO", 3), ("CLIENT", "TRACKING", "ON", "OPTIN"))
        if type(hello) is ErrorReply:
            return _POLL_WHOLE if "unknown command" in hello.text.lower() else POLL
        return POLL if type(tracking) is ErrorReply else 0

    @property
    def tells(self) -> bool:
        return not self._poll

    def follow(self, keys: Sequence[str], patterns: Sequence[str]) -> None:
        """From now on these lists and these channels. Returns when nothing published later is missed."""
        if self._keys != tuple(keys):
            self._keys = tuple(keys)
            self.question = pack(_CACHING), pack(("EXISTS", *self._keys))
            if self._state is _ARMED:
                self._state = _RESTING
            self._others = self._state is _ASKED
        self.look = True
        wanted = frozenset(patterns)
        gone, new = self._patterns - wanted, wanted - self._patterns
        self._patterns = wanted
        if gone or new:
            if self._poll and self._voice is self._link:
                self._voice = connect(self._place)
            for name, channels in (("PUNSUBSCRIBE", gone), ("PSUBSCRIBE", new)):
                if channels:
                    self._voice.tell((name, *sorted(channels)))
            self._await_confirmations(len(gone) + len(new))

    def _await_confirmations(self, count: int) -> None:
        end = time.monotonic() + self._place.timeout
        while count > 0:
            left = end - time.monotonic()
            if left <= 0:
                raise self._silent(self._place.timeout)
            for frame in self._voice.read(left):
                items = _items(frame)
                if items is not None and items[0] in (b"psubscribe", b"punsubscribe"):
                    count -= 1
                else:
                    self._heard(frame)

    def arm(self, pause: float = 0.0) -> None:
        """Ask to be told of the next change, unless that is so already. `pause`: look again only after so long.

        The pause is spent inside Redis, so that the descriptor tells when it is over.
        """
        if self._state is not _RESTING or not self._keys:
            return
        commands: list[Command] = []
        pause = self._poll if self._poll and not self.look else min(pause, _LONGEST)
        if pause:
            # Never 0, which is for ever.
            commands.append(("BLPOP", self._pause_key, pause if self._poll else max(round(pause, 4), _LEAST)))
        if not self._poll:
            commands.append(_CACHING)
        commands.append(("EXISTS", *self._keys))
        self._link.tell(*commands)
        self._replies.extend([False] * (len(commands) - 1) + [True])
        self._state, self._asked_at = _ASKED, time.monotonic() + pause
        self.look = self.roused = False

    def told_for(self, link: Link) -> bool:
        """Whether Redis tells us of what is asked on that link: then its taker may put our `question` itself."""
        if self._poll:
            return False
        (ours,) = self._link.ask(("CLIENT", "ID"))
        if type(ours) is not int:
            return False
        (reply,) = link.ask(("CLIENT", "TRACKING", "ON", "REDIRECT", ours, "OPTIN"))
        return type(reply) is not ErrorReply

    def asked(self, there: int) -> None:
        """Its taker put our question; `there`: how many lists hold something."""
        self.look, self.roused = there > 0, False
        if not there and self._state is _RESTING:
            self._state, self._asked_at = _ARMED, time.monotonic()

    def served(self, *, more: bool) -> None:
        """Something was taken, or put back; whether to look again at once."""
        self.look, self.roused = more, False

    def hear(self, timeout: float) -> None:
        """Read what has come; wait up to so long for it."""
        for frame in self._link.read(timeout):
            self._heard(frame)
        if self._voice is not self._link:
            for frame in self._voice.read(0):
                self._heard(frame)

    def check(self) -> None:
        """What is silent for too long is dead, whatever the socket says. Asks anew, for the next check."""
        late = time.monotonic() - self._asked_at
        if self._replies and late > self._place.timeout:
            raise self._silent(late)
        if self._state is _ARMED:
            self._state = _RESTING
            self.arm()

    def _silent(self, seconds: float) -> Exception:
        self.close()
        return operational(f"{self._place}: no answer on the waiting connection for {seconds:.1f} s")

    def _heard(self, frame: Any) -> None:
        items = _items(frame)
        if items is None:
            self._answered(frame)
        elif items[0] == b"pmessage":
            self.news.append((items[1].decode(errors="replace"), items[2], items[3]))
        elif items[0] == b"invalidate" and self._state is _ARMED:
            self._state, self.look, self.roused = _RESTING, True, True

    def _answered(self, reply: Any) -> None:
        about_lists = self._replies.popleft() if self._replies else False
        if type(reply) is ErrorReply:
            raise operational(f"{self._place} refused to let us wait: {reply.text}")
        if not about_lists:
            return
        if reply:
            self._state, self.look = _RESTING, True
        elif self._poll or self._others:
            self._state, self._others = _RESTING, False
            self.arm()
        else:
            self._state = _ARMED

    def fileno(self) -> int:
        return self._link.fileno()

    def close(self) -> None:
        self._link.close()
        self._voice.close()


def _items(frame: Any) -> Sequence[Any] | None:
    """What was sent unasked: RESP3 marks it, in RESP2 it is known by its first word."""
    if type(frame) is Push:
        return frame.items
    if isinstance(frame, list) and frame and frame[0] in (b"pmessage", b"psubscribe", b"punsubscribe"):
        return frame
    return None
