"""The channels of one link: who hears what, questions and their answers, and what happens when a channel is closed.

Law: a channel that is vital ends the connection when the broker closes it; any other is opened anew when it is needed,
and the question that broke it gets the reason (`ChannelClosed`). Answers come in the order of the questions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from ...protocol.hints import TYPE_CHECKING, Any
from ...protocol.wire.amqp import handshake
from ...protocol.wire.amqp.frames import write_call
from ...protocol.wire.amqp.inbox import Called, Event
from .amqp_link import Link, advice, trouble

if TYPE_CHECKING:
    from kombu.exceptions import OperationalError

Call = tuple[str, dict[str, Any]]
Hear = Callable[[Event], None]


class ChannelClosed(Exception):
    """The broker closed the channel over the question number `at` (from 0)."""

    def __init__(self, at: int, closed: handshake.Closed) -> None:
        super().__init__(at, closed)
        self.at = at
        self.closed = closed


class Channels:
    """All conversations over one link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._hear: dict[int, Hear] = {}
        self._asking: dict[int, str] = {}  # the channels that are not vital, and what they are for
        self._vital: dict[int, str] = {}
        self._answers: dict[int, deque[Called]] = {}
        self._closed: dict[int, handshake.Closed] = {}

    def open(self, channel: int, purpose: str, hear: Hear | None = None, first: Sequence[Call] = ()) -> None:
        """`hear` gets everything that is no answer; a channel with it is vital. `first` is asked in the same breath."""
        if channel in self._vital or channel in self._asking:
            return
        self._answers[channel] = deque()
        if hear is None:
            self._asking[channel] = purpose
        else:
            self._hear[channel] = hear
            self._vital[channel] = purpose
        self.ask(channel, [("channel.open", {}), *first])

    def ask(self, channel: int, calls: Sequence[Call]) -> list[dict[str, Any]]:
        """The answers to these calls, written at once. A channel that is not vital may raise ChannelClosed."""
        link = self.link
        link.write(b"".join([write_call(channel, name, args) for name, args in calls]))
        answers = self._answers[channel]
        deadline = monotonic() + link.timeout
        heard = 0
        while len(answers) < len(calls):
            if channel in self._closed:
                at = len(answers)
                self._forget(channel)
                raise ChannelClosed(at, self._closed.pop(channel))
            left = deadline - monotonic()
            if left <= 0:
                raise link.lose(f"no answer to {calls[len(answers)][0]} for {link.timeout:.1f} s")
            self.pump(left)
            if len(answers) > heard:
                heard, deadline = len(answers), monotonic() + link.timeout
        given = [each.args for each in answers]
        answers.clear()
        return given

    def pump(self, timeout: float = 0) -> bool:
        """Hand out what has come; waits up to `timeout` seconds for something. Whether anything came."""
        events = self.link.read(timeout)
        hear = self._hear
        for event in events:
            if isinstance(event, Called):
                self._called(event)
            else:
                hear[event.channel](event)
        return bool(events)

    def _called(self, event: Called) -> None:
        channel, name, args = event
        if name.endswith("-ok"):
            if channel in self._answers:
                self._answers[channel].append(event)
        elif name == "channel.close":
            self._close(channel, handshake.read_close(args))
        elif name == "channel.flow":
            self.link.write(write_call(channel, "channel.flow-ok", args))
        elif channel in self._hear:
            self._hear[channel](event)

    def _close(self, channel: int, closed: handshake.Closed) -> None:
        self.link.write(write_call(channel, "channel.close-ok", {}))
        purpose = self._vital.get(channel)
        if purpose is not None:
            raise self.link.lose(f"it refused {purpose}: {closed}{advice(closed)}")
        self._closed[channel] = closed

    def _forget(self, channel: int) -> None:
        self._asking.pop(channel, None)
        self._answers.pop(channel, None)

    def refused(self, what: str, closed: handshake.Closed) -> OperationalError:
        """The error of a question that was not vital: the connection is well, but what was asked cannot be."""
        return trouble(self.link.address, f"it refused {what}: {closed}{advice(closed)}")
