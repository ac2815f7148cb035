"""What leaves through one link: publishes in as few writes as possible, and the broker's answers to them.

Law: a send is over when the broker has confirmed every message of it. A publish that nobody waits for (`post`) tells
its caller when it is answered. With confirms switched off, written counts as arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic

from ...protocol.hints import Any, Protocol
from ...protocol.wire.amqp.confirms import Confirms
from ...protocol.wire.amqp.contents import ContentWriter
from ...protocol.wire.amqp.frames import publish_call, write_ack, write_publish
from ...protocol.wire.amqp.inbox import Confirmed, Event, Returned
from .. import late
from .amqp_address import flag, number
from .amqp_channels import Call, Channels
from .base import Parcel

logger = late.logger("celeriac.broker")

PUBLISHING = 1
"""The channel for it."""
_PIECE = 1 << 16  # bytes of publishes in one write
_WINDOW = 4096  # publishes without an answer: more are not sent before some have come
_QUIET = 0.5  # seconds without a word, after which we look whether the connection still stands
_UNSEEN = 0.01  # seconds after a look, in which publishes that nobody confirms leave without another
_PLACES = 256

_ACK_BEGINS, _ACK_ENDS = write_ack(PUBLISHING, 0)[:11], write_ack(PUBLISHING, 0)[19:]  # around its number

Answered = Callable[[bool], None]
Piece = bytes | tuple[bytes, bytes]
"""A publish in its frames, or properties and body."""


class To(Protocol):
    """What knows where its messages go: the exchange, the routing key."""

    place: tuple[str, str]


class Outbox:
    def __init__(self, channels: Channels, options: Mapping[str, Any]) -> None:
        self._channels = channels
        self._link = channels.link
        self.confirming = flag(options, "confirm_publish", default=True)
        self._mandatory = flag(options, "mandatory", default=True)
        self._timeout = number(options, "confirm_timeout", self._link.timeout)
        self._opened = False
        self._places: dict[tuple[str, str], bytes] = {}
        self._contents = ContentWriter()
        self._confirms = Confirms()
        self._written = 0.0
        self._looked = 0.0
        self._refused = 0
        self._returned: list[Returned] = []
        self._posted: dict[int, Answered] = {}

    @property
    def posted(self) -> int:
        """How many posts have no answer yet."""
        return len(self._posted)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        usual, self._timeout = self._timeout, seconds
        try:
            yield
        finally:
            self._timeout = usual

    def send(self, parcels: Sequence[Parcel]) -> None:
        """All of them, in order; returns when all are confirmed."""
        self._send(map(self._publish_of, parcels))

    def _publish_of(self, parcel: Parcel) -> bytes:
        content = self._contents.write(parcel.message) if parcel.content is None else parcel.content
        call = self.call((parcel.exchange, parcel.routing_key))
        return write_publish(call, PUBLISHING, content, parcel.message.body, self._link.frame_max)

    @property
    def send_filled(self) -> Callable[[To, Sequence[Piece]], None]:
        """The same for what is bytes already, all to one place."""
        return self._send_and_hear if self.confirming else self._send_and_go

    def _send_and_go(self, form: To, filled: Sequence[Piece]) -> None:
        """Nobody answers, so the connection is looked at by the clock: who sends seldom looks before each."""
        link = self._link
        if len(filled) == 1 and link.blocked is None and monotonic() - self._looked < _UNSEEN:
            given = filled[0]
            link.write(given if type(given) is bytes else self._framed(form.place, *given), self._timeout)
        else:
            self._send_pieces(form, filled)

    def _send_and_hear(self, form: To, filled: Sequence[Piece]) -> None:
        link, confirms, now = self._link, self._confirms, monotonic()
        if (
            len(filled) == 1
            and self._opened
            and link.blocked is None
            and confirms.first > confirms.sent
            and now - link.heard < _QUIET
        ):
            given = filled[0]
            piece = given if type(given) is bytes else self._framed(form.place, *given)
            # When no other answer is awaited, the next that comes is nearly always the plain one to this.
            confirms.sent = number = confirms.sent + 1
            if link.exchange(piece, _ACK_BEGINS + number.to_bytes(8, "big") + _ACK_ENDS, self._timeout, now):
                confirms.first = number + 1
            else:
                self._written = link.spoke  # to write much may have taken long
                self._await(0, self._written)
            return
        self._send_pieces(form, filled)

    def _send_pieces(self, form: To, filled: Sequence[Piece]) -> None:
        self._send(piece if type(piece) is bytes else self._framed(form.place, *piece) for piece in filled)

    def _framed(self, where: tuple[str, str], content: bytes, body: bytes) -> bytes:
        return write_publish(self.call(where), PUBLISHING, content, body, self._link.frame_max)

    def _send(self, publishes: Iterable[bytes]) -> None:
        """Each in its frames."""
        quiet = monotonic() - self._link.heard > _QUIET if self.confirming else monotonic() - self._looked > _UNSEEN
        if quiet or not self._opened or self._link.blocked is not None:
            self._get_ready()
        pieces: list[bytes] = []
        size = 0
        for piece in publishes:
            pieces.append(piece)
            size += len(piece)
            if size >= _PIECE:
                self._write(pieces)
                self._await(_WINDOW)
                pieces, size = [], 0
        if pieces:
            self._write(pieces)
        if self.confirming:
            self._await(0)

    def post(self, exchange: str, routing_key: str, properties: bytes, body: bytes, answered: Answered) -> None:
        """Publish, and go on: whether the broker has it is told later, while something is read."""
        self._open()
        call = publish_call(PUBLISHING, exchange, routing_key)
        self._write([write_publish(call, PUBLISHING, properties, body, self._link.frame_max)])
        if self.confirming:
            self._posted[self._confirms.sent] = answered
        else:
            answered(True)

    def check(self) -> None:
        """Raises when an answer is overdue."""
        if len(self._confirms) and monotonic() - self._written > self._timeout:
            raise self._link.lose(self._unanswered())

    def _get_ready(self) -> None:
        """The channel is open, the connection stands, and the broker wants messages: so far nothing was sent."""
        self._channels.pump()
        self._open()
        deadline = monotonic() + self._timeout
        while self._link.blocked is not None:
            left = deadline - monotonic()
            if left <= 0:
                raise self._link.lose(
                    f"it has blocked publishers for {self._timeout:.1f} s ({self._link.blocked}): "
                    "free its memory or disk; nothing was sent"
                )
            self._channels.pump(left)
        self._looked = monotonic()
        if not self.confirming:
            self._tell_returned()

    def _open(self) -> None:
        if not self._opened:
            first: list[Call] = [("confirm.select", {})] if self.confirming else []
            self._channels.open(PUBLISHING, "publishing", self._hear, first)
            self._opened = True

    def call(self, where: tuple[str, str]) -> bytes:
        """How a publish to this exchange and routing key begins."""
        return self._places.get(where) or self._place(where)

    def _place(self, where: tuple[str, str]) -> bytes:
        if len(self._places) >= _PLACES:
            self._places.clear()
        exchange, routing_key = where
        mandatory = self._mandatory and not exchange
        call = self._places[where] = publish_call(PUBLISHING, exchange, routing_key, mandatory=mandatory)
        return call

    def _write(self, pieces: Sequence[bytes]) -> None:
        if self.confirming:
            self._confirms.published(len(pieces))
        self._link.write(pieces[0] if len(pieces) == 1 else b"".join(pieces), self._timeout)
        self._written = self._link.spoke

    def _await(self, window: int, since: float | None = None) -> None:
        """Until at most so many publishes are without an answer. Each answer gives the rest the full time again."""
        confirms = self._confirms
        if len(confirms) > window:
            deadline = (since or monotonic()) + self._timeout
            while (missing := len(confirms)) > window:
                left = deadline - monotonic()
                if left <= 0:
                    raise self._link.lose(self._unanswered())
                self._channels.pump(left)
                if len(confirms) < missing:
                    deadline = monotonic() + self._timeout
        if not self.confirming:
            self._tell_returned()
        elif self._returned:
            raise self._link.lose(self._nowhere())
        if self._refused:
            raise self._link.lose(
                f"it refused {self._refused} messages (basic.nack): a full queue with reject-publish, "
                "a quorum queue without its majority, or an internal error; its log says which"
            )

    def _tell_returned(self) -> None:
        """Without confirms nobody waits to hear it."""
        if self._returned:
            logger.warning("AMQP broker %s: %s", self._link.address, self._nowhere())
            self._returned.clear()

    def _nowhere(self) -> str:
        queues = sorted({each.routing_key for each in self._returned})
        return (
            f"there is no queue named {', '.join(queues)}: {len(self._returned)} messages had nowhere to go; "
            "start a worker that declares it, or mend the name"
        )

    def _unanswered(self) -> str:
        blocked = self._link.blocked
        why = "the broker is frozen or overloaded, or the network is gone"
        if blocked is not None:
            why = f"it has blocked publishers meanwhile: {blocked}"
        return f"{len(self._confirms)} messages were not confirmed within {self._timeout:.1f} s; {why}"

    def _hear(self, event: Event) -> None:
        if isinstance(event, Confirmed):
            numbers, posted = self._confirms.settle(event), self._posted
            mine = len(numbers)
            if posted:
                for number in numbers:
                    answered = posted.pop(number, None)
                    if answered is not None:
                        mine -= 1
                        answered(event.accepted)
            if not event.accepted:
                self._refused += mine
        elif isinstance(event, Returned):
            self._returned.append(event)
