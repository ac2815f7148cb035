"""One connection to a RabbitMQ: the socket, the login, heartbeats, and a deadline for every wait.

Law: whatever the system or the broker does to the connection leaves here as `OperationalError`, and then the link is
over: it says so again to whoever asks. What came before the end is handed out first. Nothing is read or written
without a deadline, and while we wait to write we read, so that two full buffers cannot wait for each other.
"""

from __future__ import annotations

import _socket
import select
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic

from ...protocol.errors import BadMessage
from ...protocol.hints import TYPE_CHECKING, Any
from ...protocol.wire.amqp import handshake
from ...protocol.wire.amqp.frames import HEARTBEAT_FRAME, PROTOCOL_HEADER, write_call
from ...protocol.wire.amqp.inbox import Called, Event, Inbox
from .. import polling, sockets
from ..forks import apart
from .amqp_address import Address, wrap

if TYPE_CHECKING:
    import socket

    from kombu.exceptions import OperationalError

    from ..veil import Veil, Wire

_CHUNK = 1 << 16  # larger ones are mapped and unmapped for every read
_ANSWER = 256  # room for one; the allocator has it at hand
_FAREWELL = 1.0  # seconds that a closing link waits for the broker's answer

_SOCKET = {
    (_socket.IPPROTO_TCP, _socket.TCP_NODELAY): 1,
    (_socket.SOL_SOCKET, _socket.SO_KEEPALIVE): 1,
}
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 9}


def trouble(address: Address, what: str) -> OperationalError:
    """What went wrong, for the person on call."""
    from kombu.exceptions import OperationalError

    return OperationalError(f"AMQP broker {address}: {what}")


class Link:
    """A connected and logged-in socket: writes frames, reads events."""

    def __init__(self, address: Address, timeout: float) -> None:
        self.address = address
        self.timeout = timeout
        self.server: Mapping[str, Any] = {}
        self.frame_max = handshake.FRAME_MIN
        self.heartbeat = 0
        self.blocked: str | None = None
        self.heard = self.spoke = monotonic()
        self._inbox = Inbox(handshake.FRAME_LIMIT)
        self._kept: list[Event] = []  # came while we wrote
        self._answers: list[Called] = []  # what the broker says about the connection as a whole
        self._over: OperationalError | None = None
        self._veil: Veil | None = None
        self._shared = False
        self._again: tuple[type[OSError], ...] = (BlockingIOError,)
        self._usual = True  # no TLS, and what comes next begins with a whole frame

    # -- coming and going --

    @classmethod
    def connect(
        cls,
        address: Address,
        *,
        connect_timeout: float,
        timeout: float,
        properties: Mapping[str, Any],
        settings: Mapping[Any, int],
    ) -> Link:
        """`timeout` is for everything that comes after connecting."""
        link = cls(address, timeout)
        started = monotonic()
        doing = "connecting"
        try:
            link._use(_reach(address, started + connect_timeout), settings)
            if address.tls is not None:
                doing = "the TLS handshake"
                link._secure(started + connect_timeout)
            doing = "logging in"
            link._log_in(started + connect_timeout, properties)
        except OSError as error:
            link.drop()
            why = f"{doing} failed after {monotonic() - started:.1f} s: {_reason(error)}"
            raise link._trouble(why + (_SPEAKS_TLS if "WRONG_VERSION_NUMBER" in str(error) else "")) from error
        except BaseException:
            link.drop()
            raise
        return link

    def _use(self, made: socket.socket, settings: Mapping[Any, int]) -> None:
        self._plain = made
        self._socket: Wire = made
        apart(made)
        wanted = dict(_SOCKET) if made.family != getattr(_socket, "AF_UNIX", None) else {}
        for name, value in _KEEPALIVE.items():
            if hasattr(_socket, name):
                wanted[_socket.IPPROTO_TCP, getattr(_socket, name)] = value
        for option, value in settings.items():
            wanted[option if isinstance(option, tuple) else (_socket.IPPROTO_TCP, option)] = value
        for (level, option), value in wanted.items():
            made.setsockopt(level, option, value)
        made.setblocking(False)
        self._readable = polling.poll()
        self._readable.register(made, select.POLLIN)

    def _secure(self, deadline: float) -> None:
        import ssl

        self._socket = self._veil = secure = wrap(self._plain, self.address)
        self._again = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
        self._usual = False
        self._readable = polling.poll()
        self._readable.register(secure, select.POLLIN)
        while True:
            try:
                return secure.do_handshake()
            except ssl.SSLWantReadError:
                wanted = select.POLLIN
            except ssl.SSLWantWriteError:
                wanted = select.POLLOUT
            if not _ready(secure, wanted, deadline - monotonic()):
                raise TimeoutError("no answer; does this port speak TLS?")

    def _log_in(self, deadline: float, properties: Mapping[str, Any]) -> None:
        address = self.address
        self.write(PROTOCOL_HEADER)
        try:
            start = self._answer("connection.start", deadline, "; is it an AMQP port, and one without TLS?")
            answer = handshake.start_ok(
                start,
                address.user,
                address.password,
                login_methods=address.login_methods,
                properties=properties,
            )
            self.server = start["server_properties"]
            self.write(write_call(0, "connection.start-ok", answer))
            refused = f"; does the password of user {address.user} hold?"
            tune = self._answer("connection.tune", deadline, refused)
            agreed = handshake.tune_ok(tune, address.heartbeat)
        except BadMessage as why:
            raise self._trouble(f"logging in failed: {why}") from why
        self.write(
            write_call(0, "connection.tune-ok", agreed)
            + write_call(0, "connection.open", handshake.open_connection(address.virtual_host))
        )
        self._inbox.frame_max = self.frame_max = agreed["frame_max"]
        self.heartbeat = agreed["heartbeat"]
        self._answer("connection.open-ok", deadline, "; does the virtual host exist?")

    def _answer(self, name: str, deadline: float, hint: str) -> dict[str, Any]:
        while not self._answers:
            left = deadline - monotonic()
            if left <= 0:
                raise TimeoutError(f"no {name} came{hint}")
            try:
                self._kept += self._receive(left)
            except ConnectionError as error:
                raise ConnectionError(f"{_reason(error)} before {name}{hint}") from error
            if self._over is not None and not self._answers:
                raise self._over
        called = self._answers.pop(0)
        if called.name != name:
            raise BadMessage("login", f"expected {name}, got {called.name}")
        return called.args

    def close(self) -> None:
        """Say goodbye, and wait a moment for the answer. Never raises."""
        deadline = monotonic() + _FAREWELL
        with suppress(Exception):  # it may be over already, in whatever way
            self.write(write_call(0, "connection.close", handshake.orderly_close()), _FAREWELL)
            while not any(each.name == "connection.close-ok" for each in self._answers):
                left = deadline - monotonic()
                if left <= 0:
                    break
                self.read(left)
        self.drop()

    def drop(self) -> None:
        """Let go of the socket, without a word."""
        if self._over is None:
            self._over = self._trouble("this connection was closed")
        if getattr(self, "_socket", None) is not None:
            self._end()

    def share(self) -> socket.socket:
        """For another process to hold too. Our end of it is then its end for all."""
        self._shared = True
        return self._plain

    def seen(self, data: bytes) -> bytes:
        """As these bytes, which are written next, will be on the wire."""
        return data if self._veil is None else self._veil.sealed(data)

    def abandon(self) -> None:
        """In a forked child: let go of the parent's socket."""
        self._shared = False
        self.drop()

    def _end(self) -> None:
        if self._shared:
            with suppress(OSError):
                self._socket.shutdown(_socket.SHUT_RDWR)
        self._socket.close()

    @property
    def over(self) -> bool:
        return self._over is not None

    def fileno(self) -> int:
        return self._socket.fileno()

    # -- writing --

    def write(self, data: bytes, timeout: float | None = None) -> None:
        """All of it, or the link is over."""
        if self._over is not None:
            raise self._over
        try:
            sent = self._socket.send(data)
        except self._again:
            sent = 0
        except OSError as error:
            raise self.lose(f"writing failed: {_reason(error)}") from error
        if sent < len(data):
            self._write_rest(memoryview(data)[sent:], self.timeout if timeout is None else timeout)
        self.spoke = monotonic()

    def _write_rest(self, rest: memoryview, timeout: float) -> None:
        deadline = monotonic() + timeout
        while rest:
            left = deadline - monotonic()
            ready = _ready(self._socket, select.POLLIN | select.POLLOUT, left) if left > 0 else 0
            if not ready:
                raise self.lose(f"it took none of our bytes for {timeout:.1f} s{self._blocked_since()}")
            try:
                if ready & select.POLLIN:
                    self._kept += self._receive(0)
                    if self._over is not None:
                        raise self._over
                sent = self._socket.send(rest)
            except self._again:
                continue
            except OSError as error:
                raise self.lose(f"writing failed: {_reason(error)}") from error
            rest = rest[sent:]
            deadline = monotonic() + timeout

    def _blocked_since(self) -> str:
        return "" if self.blocked is None else f"; it has blocked publishers: {self.blocked}"

    # -- reading --

    def read(self, timeout: float = 0) -> list[Event]:
        """What has come for our channels. Waits up to `timeout` seconds for something, whatever it is."""
        if self._kept:
            events, self._kept = self._kept, []
            return events
        if self._over is not None:
            raise self._over
        try:
            events = self._receive(timeout)
        except OSError as error:
            raise self.lose(f"the connection broke: {_reason(error)}") from error
        if not events and self._over is not None:
            raise self._over
        return events

    def exchange(self, data: bytes, expected: bytes, timeout: float, now: float) -> bool:
        """Write; and whether what comes next is exactly this frame and no more. All else waits to be `read`."""
        if not self._usual or self._kept or self._over is not None:
            self.write(data, timeout)
            return False
        try:
            sent = self._socket.send(data)
        except OSError as error:
            if not isinstance(error, self._again):
                raise self.lose(f"writing failed: {_reason(error)}") from error
            sent = 0
        self.spoke = now
        if sent < len(data):
            self._write_rest(memoryview(data)[sent:], timeout)
            self.spoke = monotonic()
            return False
        try:
            if not self._readable.poll(timeout * 1000):
                return False
            came = self._socket.recv(_ANSWER)
            if not came:
                raise ConnectionResetError("it closed the connection")
        except self._again:
            return False
        except OSError as error:
            raise self.lose(f"the connection broke: {_reason(error)}") from error
        self.heard = monotonic()
        if came == expected:
            return True
        self._kept = self._feed(came)
        return False

    def _receive(self, timeout: float) -> list[Event]:
        if timeout > 0 and not self._readable.poll(timeout * 1000):
            return []
        try:
            data = self._socket.recv(_CHUNK)
        except self._again:
            return []
        if not data:
            raise ConnectionResetError("it closed the connection")
        self.heard = monotonic()
        return self._feed(data)

    def _feed(self, data: bytes) -> list[Event]:
        try:
            events = [event for event in self._inbox.feed(data) if event.channel or self._govern(event)]
            self._usual = len(self._again) == 1 and self._inbox.between_frames
            return events  # noqa: TRY300 - the same reader
        except BadMessage as why:
            self.lose(f"what it sent cannot be read: {why}")
            return []

    def _govern(self, event: Event) -> bool:
        """Channel 0, the connection itself. False: nobody else needs to know."""
        if not isinstance(event, Called):
            return False
        match event.name:
            case "connection.close":
                closed = handshake.read_close(event.args)
                with suppress(OSError):
                    self._socket.send(write_call(0, "connection.close-ok", {}))
                self._over = self._trouble(f"it closed the connection: {closed}{advice(closed)}")
                self._end()
            case "connection.blocked":
                self.blocked = event.args["reason"]
            case "connection.unblocked":
                self.blocked = None
            case _:
                self._answers.append(event)
        return False

    # -- heartbeats --

    def beat(self) -> float:
        """Send a heartbeat when one is due, notice a silent broker. Seconds until the next look."""
        if self._over is not None:
            raise self._over
        if not self.heartbeat:
            return 60.0
        now = monotonic()
        silent = now - self.heard
        if silent > 2 * self.heartbeat:
            raise self.lose(
                f"nothing was heard for {silent:.1f} s, with a heartbeat of {self.heartbeat} s: "
                "the broker is frozen, or the network between us is gone"
            )
        if now - self.spoke >= self.heartbeat / 2:
            self.write(HEARTBEAT_FRAME)
        return max(min(self.spoke + self.heartbeat / 2, self.heard + 2 * self.heartbeat) - now, 0.01)

    # -- ending --

    def _trouble(self, what: str) -> OperationalError:
        return trouble(self.address, what)

    def lose(self, what: str) -> OperationalError:
        """The end of this link. Whoever calls this raises it."""
        if self._over is None:
            self._over = self._trouble(what)
        self._end()
        return self._over


def _reach(address: Address, deadline: float) -> socket.socket:
    """A connected socket: each address of the host gets its share of the time."""
    found = sockets.addresses(address.host, address.port)
    last: OSError = TimeoutError("no time left")
    for number, (family, kind, protocol, _, where) in enumerate(found):
        left = deadline - monotonic()
        if left <= 0:
            break
        made = sockets.make(family, kind, protocol)
        try:
            made.settimeout(left / (len(found) - number))
            made.connect(where)
        except OSError as error:
            made.close()
            last = error
        else:
            return made
    raise last


def _ready(made: Wire, flags: int, timeout: float) -> int:
    poll = polling.poll()
    poll.register(made, flags)
    ready = poll.poll(max(timeout, 0) * 1000)
    if not ready:
        return 0
    # An error or the end is for the next read or write to say.
    return ready[0][1] if ready[0][1] & flags else flags


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


# -- what to do about a close --

_SPEAKS_TLS = "; does this port speak TLS? RabbitMQ's does on 5671, amqp:// without TLS on 5672"

_HELD_TOO_LONG = (
    "a delivery was held longer than the broker's consumer_timeout: acknowledge before running (acks_late off), "
    "lower the prefetch, or raise consumer_timeout in rabbitmq.conf"
)
_EXCLUSIVE = (
    "the queue is exclusive to another connection: a second worker of the same name is running, "
    "or the broker has not yet noticed that our last connection died"
)
_ADVICE = (
    (406, "timed out", _HELD_TOO_LONG),
    (406, "size", "the message is larger than the broker's max_message_size: pass a reference instead of the data"),
    (404, "no exchange", "nobody has declared this exchange, or it was deleted"),
    (404, "no queue", "nobody has declared this queue, or it was deleted"),
    (405, "", _EXCLUSIVE),
    (403, "Login", "wrong user or password, or this user may only connect from localhost"),
    (403, "", "the user lacks a permission: see `rabbitmqctl list_permissions`"),
    (530, "vhost", "the virtual host does not exist, or the user has no access to it"),
    (320, "", "the broker is stopping, or an operator closed the connection: connect again"),
    (540, "global qos", "this queue type takes no global prefetch; declare it with its x-queue-type"),
    (541, "transient", "this broker no longer has transient queues that are not exclusive: declare it durable"),
)


def advice(closed: handshake.Closed) -> str:
    """What the person on call can do, with a separator in front; empty when we know nothing better."""
    for code, words, text in _ADVICE:
        if closed.code == code and words in closed.text:
            return f"; {text}"
    return ""
