"""One connection to a Redis: commands out, replies in, each with a deadline.

Law: this is the only place where a Redis' socket is touched; brokers and result stores both use it. A link lives
until it fails: what the socket, TLS or the stream itself does wrong leaves here as kombu's `OperationalError`, and
the link is closed. It is for one thread at a time and for the process that opened it. What interrupts a call half way
closes the link too: nobody ever reads another one's reply.
"""

from __future__ import annotations

import _socket
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from types import BuiltinFunctionType

from ..protocol.errors import BadMessage
from ..protocol.hints import TYPE_CHECKING, Any, NoReturn, Protocol, cast
from ..protocol.values import replace
from ..protocol.wire.resp import Argument, Command, ErrorReply, Parser, pack
from . import sockets
from .forks import HERE, apart
from .redis_place import Place, Sentinels, Tls

if TYPE_CHECKING:
    import socket

    from .veil import Veil, Wire

WINDOW = 1000
"""So many replies may be owed before a sender must read some."""

LOST = "LOST"
"""The code of the error that stands for a reply that will not come: whether the command was done is unknown."""

_READ = 65_536
_AT_ONCE = 0.5  # seconds: who is cut off so soon has probably never been understood
_USELESS = frozenset(["READONLY", "LOADING", "MASTERDOWN", "NOAUTH"])  # the next connection may fare better

Then = Callable[[Any], None]


class Script(Protocol):
    """`protocol.wire.redis_scripts.Script`, or whatever knows its text and its sum."""

    @property
    def source(self) -> str: ...
    @property
    def sha(self) -> str: ...


class Link:
    """A connected Redis; `connect` makes it."""

    __slots__ = (
        "_armed",
        "_bare",
        "_owed",
        "_parser",
        "_pid",
        "_plain",
        "_replies",
        "_shared",
        "_since",
        "_socket",
        "place",
        "used",
    )

    def __init__(self, connected: Wire, place: Place) -> None:
        self.place = place
        self.used = self._since = time.monotonic()
        self._socket: Wire | None = connected
        veil = _veil(connected)
        self._bare = cast("socket.socket", connected if veil is None else veil.plain)
        self._armed = place.timeout
        self._pid = HERE.pid
        self._shared = False
        # Python asks for permission before each write to a socket with a deadline. Its descriptor takes what it has
        # room for, and says when it has none: the descriptor never blocks. TLS has no descriptor to write to, and with
        # eventlet `os` waits nonetheless.
        may = veil is None and isinstance(os.read, BuiltinFunctionType)
        self._plain = connected.fileno() if may else None
        apart(self._bare)
        self._parser = Parser()
        self._replies: deque[Any] = deque()
        self._owed: deque[Then | None] = deque()
        connected.settimeout(self._armed)

    # --- asking

    def ask(self, *commands: Command | bytes, timeout: float | None = None) -> list[Any]:
        """The replies to these in one round trip, errors among them as `ErrorReply`."""
        end = self._send(pack(*commands), timeout)
        try:
            while self._owed:
                self._hand_out(self._next(end))
            replies = [self._next(end) for _ in commands]
        except BaseException:
            self.close()
            raise
        if type(replies[0]) is ErrorReply and replies[0].code in _USELESS:
            self.close()
        return replies

    def exchange(self, command: bytes) -> Any:
        """The reply to one packed command: `ask` on the shortest way, for who sends one by one."""
        connected, plain = self._socket, self._plain
        if connected is None or plain is None or self._owed or self._replies or self._pid != HERE.pid:
            return self._exchanged(command, 0)
        try:
            if self._armed != self.place.timeout:
                self._arm(connected, self.place.timeout)
            self.used = time.monotonic()
            try:
                sent = os.write(plain, command)
            except BlockingIOError:
                sent = 0
            if sent != len(command):
                return self._exchanged(command, sent)
            data = connected.recv(_READ)
            replies = self._parser.feed(data)
        except (OSError, BadMessage) as problem:
            self._fail("waiting for a reply", problem)
        except BaseException:
            self.close()
            raise
        if len(replies) == 1:
            reply = replies[0]
            return reply if type(reply) is int else self._useful(reply)
        if not data:
            self._fail("reading", ConnectionResetError("the server closed the connection"))
        self._replies.extend(replies)
        return self._useful(self._answered(self.used + self.place.timeout))

    def _exchanged(self, command: bytes, sent: int) -> Any:
        """The same where it takes longer: `sent` bytes are on their way."""
        return self._useful(self._answered(self._send(command[sent:], None)))

    def _answered(self, end: float) -> Any:
        try:
            while self._owed:
                self._hand_out(self._next(end))
            return self._next(end)
        except BaseException:
            self.close()
            raise

    def _useful(self, reply: Any) -> Any:
        if type(reply) is ErrorReply and reply.code in _USELESS:
            self.close()
        return reply

    def call(self, *command: Argument, timeout: float | None = None) -> Any:
        """The reply to one command; an error that the server answers is raised."""
        (reply,) = self.ask(command, timeout=timeout)
        return self.checked(reply, command[0])

    def run(self, script: Script, *arguments: Argument, timeout: float | None = None) -> Any:
        """What a script answers. `arguments` follow its name: how many keys, the keys, the rest."""
        (reply,) = self.ask(("EVALSHA", script.sha, *arguments), timeout=timeout)
        if type(reply) is ErrorReply and reply.code == "NOSCRIPT":
            (reply,) = self.ask(("EVAL", script.source, *arguments), timeout=timeout)
        return self.checked(reply, "a script")

    def transaction(self, *commands: Command, timeout: float | None = None) -> list[Any]:
        """MULTI, these, EXEC: what each answered. An error of any is raised."""
        *queued, done = self.ask(("MULTI",), *commands, ("EXEC",), timeout=timeout)
        for reply in (*queued, *(done if isinstance(done, list) else (done,))):
            self.checked(reply, "MULTI")
        return list(done)

    def load(self, *scripts: Script) -> None:
        """Make scripts known, so that EVALSHA of them may be posted."""
        for reply in self.ask(*(("SCRIPT", "LOAD", script.source) for script in scripts)):
            self.checked(reply, "SCRIPT LOAD")

    def checked(self, reply: Any, doing: Argument) -> Any:
        """The reply, unless it is an error, which is raised."""
        if type(reply) is not ErrorReply:
            return reply
        name = doing.decode(errors="replace") if isinstance(doing, bytes) else doing
        raise operational(f"{self.place} answered {name} with an error: {advice().answer(reply)}", "ResponseError")

    # --- telling now, reading the replies later

    def post(self, *commands: Command, then: Then | None = None) -> None:
        """Send these; `then` gets the reply of each, in order, in some later call of any method here.

        A reply that will not come any more is an `ErrorReply` with the code LOST. `then` must not use the link.
        """
        self.post_packed(pack(*commands), len(commands), then)

    def post_packed(self, data: bytes, count: int, then: Then | None = None) -> None:
        """The same for so many commands, packed."""
        self._send(data, None)
        self._owed.extend([then] * count)
        if len(self._owed) >= WINDOW:
            self.settle(WINDOW // 2)

    def tell(self, *commands: Command | bytes) -> None:
        """Send these; the replies come out of `read`, among what arrives unasked. Not to be mixed with asking."""
        self._send(pack(*commands), None)

    def settle(self, owed: int = 0, timeout: float | None = None) -> None:
        """Wait until no more than so many replies are owed."""
        end = time.monotonic() + (timeout or self.place.timeout)
        try:
            while len(self._owed) > owed:
                self._hand_out(self._next(end))
        except BaseException:
            self.close()
            raise

    @property
    def owed(self) -> int:
        return len(self._owed)

    def read(self, timeout: float) -> list[Any]:
        """What arrives within so many seconds, unasked (pub/sub) or not owed to a `then`; nothing is no failure."""
        self._mine()
        end = time.monotonic() + timeout
        try:
            while True:
                while self._owed and self._replies:
                    self._hand_out(self._replies.popleft())
                if self._replies:
                    ready = list(self._replies)
                    self._replies.clear()
                    return ready
                left = end - time.monotonic()
                if not self._receive(max(left, 0.0), silence=True) and left <= 0:
                    return []
        except BaseException:
            self.close()
            raise

    # --- itself

    @property
    def open(self) -> bool:
        """Whether it may still be used here: not closed, and not a parent process'."""
        return self._socket is not None and self._pid == HERE.pid

    def alive(self) -> bool:
        """Whether the other side has not hung up, as far as one can see without asking. Reads nothing."""
        if not self.open:
            return False
        if self._owed or self._replies:
            return True
        try:
            return not self._receive(0.0, silence=True) or bool(self._replies)
        except operational_error():
            return False

    def share(self) -> socket.socket:
        """For another process to hold too. Our end of it is then its end for all."""
        self._shared = True
        self._mine()
        return self._bare

    def seen(self, data: bytes) -> bytes:
        """As these bytes, which are sent next, will be on the wire."""
        connected = self._mine()
        veil = _veil(connected)
        return data if veil is None else veil.sealed(data)

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def close(self, why: str = "the connection was closed") -> None:
        """Leave. Never raises, may be called twice. In a forked child it leaves the parent's connection alone."""
        connected, self._socket = self._socket, None
        if connected is not None:
            with suppress(OSError):
                if self._shared and self._pid == HERE.pid:
                    connected.shutdown(_socket.SHUT_RDWR)
                connected.close()  # without shutdown() where it may be a parent process' connection as well
        while self._owed:
            then = self._owed.popleft()
            if then is not None:
                then(ErrorReply(LOST, why))

    # --- the socket

    def _mine(self) -> Wire:
        connected = self._socket
        if connected is None:
            raise operational(f"the connection to {self.place} is closed")
        if self._pid != HERE.pid:
            raise operational(f"the connection to {self.place} belongs to the parent process")
        return connected

    def _send(self, data: bytes, timeout: float | None) -> float:
        """The end of the time for what was sent."""
        connected = self._mine()
        seconds = timeout or self.place.timeout
        try:
            if self._unlike(seconds):
                self._arm(connected, seconds)
            self.used = time.monotonic()
            if self._plain is None or (sent := self._write(self._plain, data)) == 0:
                connected.sendall(data)
            elif sent < len(data):
                connected.sendall(data[sent:])
        except OSError as problem:
            self._fail("sending", problem)
        except BaseException:
            self.close()
            raise
        return self.used + seconds

    def _write(self, plain: int, data: bytes) -> int:
        try:
            return os.write(plain, data)
        except BlockingIOError:
            return 0

    def _next(self, end: float) -> Any:
        while not self._replies:
            left = end - time.monotonic()
            if left <= 0:
                self._fail("waiting for a reply", TimeoutError())
            self._receive(left)
        return self._replies.popleft()

    def _receive(self, seconds: float, *, silence: bool = False) -> bool:
        """One read; False: nothing came in that time, which only `silence` allows."""
        connected = self._mine()
        try:
            if silence and seconds <= 0 and self._plain is not None:
                return self._took(os.read(self._plain, _READ))
            if self._unlike(seconds):
                self._arm(connected, seconds)
            data = connected.recv(_READ)
        except (TimeoutError, BlockingIOError) as problem:
            if silence:
                return False
            self._fail("waiting for a reply", problem)
        except OSError as problem:
            if silence and _wants(problem):
                return False
            self._fail("reading", problem)
        return self._took(data)

    def _took(self, data: bytes) -> bool:
        if not data:
            self._fail("reading", ConnectionResetError("the server closed the connection"))
        try:
            self._replies.extend(self._parser.feed(data))
        except BadMessage as problem:
            self._fail("reading", problem)
        return True

    def _unlike(self, seconds: float) -> bool:
        """Whether the socket waits longer, or not as long. Re-arming costs a system call: a deadline that is met to a
        hundredth is met."""
        return abs(self._armed - seconds) > self._armed / 100

    def _arm(self, connected: Wire, seconds: float) -> None:
        connected.settimeout(seconds)
        self._armed = seconds

    def _hand_out(self, reply: Any) -> None:
        then = self._owed.popleft()
        if then is not None:
            then(reply)

    def _fail(self, doing: str, problem: BaseException) -> NoReturn:
        spent = time.monotonic() - self.used
        late = isinstance(problem, (TimeoutError, BlockingIOError))
        what = "no answer" if late else f"{type(problem).__name__}: {problem}"
        at_once = isinstance(problem, ConnectionError) and time.monotonic() - self._since < _AT_ONCE
        ask = advice().hung_up_at_once(self.place) if at_once else ""
        self.close(what)
        raise operational(f"{self.place}: {what} while {doing}, after {spent:.1f} s{ask}") from problem


def advice() -> Any:
    """The words for what has gone wrong: loaded when it has."""
    from . import redis_advice

    return redis_advice


def _veil(connected: Wire) -> Veil | None:
    """Looked for where TLS has been loaded: sockets are of many classes."""
    loaded = sys.modules.get(f"{__package__}.veil")
    return connected if loaded is not None and isinstance(connected, loaded.Veil) else None


def _wants(problem: OSError) -> bool:
    """TLS has half a record, or none."""
    return type(problem).__name__ in ("SSLWantReadError", "SSLWantWriteError")


def operational_error() -> type[Exception]:
    """The class of errors that users catch. Kombu is loaded when it is needed: an `except` asks late enough."""
    from kombu.exceptions import OperationalError

    found: type[Exception] = OperationalError
    return found


def operational(text: str, kind: str = "ConnectionError") -> Exception:
    """An error of the kind that users catch: redis-py's, of this kind, as well in a program that has loaded it."""
    theirs = getattr(sys.modules.get("redis.exceptions"), kind, None)
    return (operational_error() if theirs is None else _of_both(theirs))(text)


@cache
def _of_both(theirs: type[Exception]) -> type[Exception]:
    """It goes by kombu's name, stored in a result too, and is kombu's alone where it is pickled."""
    ours = operational_error()

    def reduced(self: Exception) -> tuple[Any, ...]:
        return ours, self.args

    names = {"__module__": ours.__module__, "__qualname__": ours.__qualname__, "__reduce__": reduced}
    return type(ours.__name__, (ours, theirs), names)


# --- connecting


def connect(place: Place, timeout: float | None = None) -> Link:
    """A link that is authenticated and in its database. Behind Sentinels: to the master they agree on."""
    if place.sentinels is not None:
        return _through_sentinels(place, place.sentinels, timeout or place.connect_timeout)
    return _enter(place, timeout or place.connect_timeout)


def _enter(place: Place, timeout: float) -> Link:
    commands = _greeting(place)
    started = time.monotonic()
    try:
        link = Link(_dial(place, timeout), place)
    except (OSError, ValueError) as problem:  # ValueError: what a TLS option cannot be, a name with a NUL
        what = "no answer" if isinstance(problem, TimeoutError) else f"{type(problem).__name__}: {problem}"
        spent = time.monotonic() - started
        text = f"cannot connect to {place}: {what}, after {spent:.1f} s; {advice().unreachable(place, problem)}"
        raise operational(text) from problem
    if commands:
        left = max(timeout - (time.monotonic() - started), 0.1)
        for command, reply in zip(commands, link.ask(*commands, timeout=left), strict=True):
            if type(reply) is ErrorReply and command[0] != "CLIENT":
                link.close()
                raise operational(f"{place} refused {command[0]!s}: {advice().answer(reply)}")
    return link


def _greeting(place: Place) -> list[Command]:
    username, password = _credentials(place)
    commands: list[Command] = []
    if password is not None:
        commands.append(("AUTH", username, password) if username else ("AUTH", password))
    if place.client_name:
        commands.append(("CLIENT", "SETNAME", place.client_name))
    if place.db:
        commands.append(("SELECT", place.db))
    return commands


def _credentials(place: Place) -> tuple[str | None, str | None]:
    """A provider may ask somebody else, who may fail: then another try may fare better."""
    if place.credentials is None:
        return place.username, place.password
    try:
        given = tuple(place.credentials.get_credentials())
        return (None, given[0]) if len(given) == 1 else (given[0], given[1])
    except Exception as problem:
        name = type(place.credentials).__name__
        what = f"{type(problem).__name__}: {problem}"
        raise operational(f"cannot connect to {place}: the credential provider {name} failed: {what}") from problem


def _dial(place: Place, timeout: float) -> Wire:
    if place.path is not None:
        connected = sockets.make(_socket.AF_UNIX)
        try:
            connected.settimeout(timeout)
            connected.connect(place.path)
        except BaseException:
            connected.close()
            raise
        return connected
    connected = sockets.dial(place.host, place.port, timeout)
    try:
        connected.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        if place.keepalive:
            connected.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
            for option, value in place.keepalive_options:
                connected.setsockopt(_socket.IPPROTO_TCP, option, value)
        return connected if place.tls is None else _secured(connected, place.tls, place.host)
    except BaseException:
        connected.close()
        raise


def _secured(connected: socket.socket, tls: Tls, host: str) -> Veil:
    import ssl

    from .veil import Veil

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.check_hostname and tls.verify != "none"
    context.verify_mode = {
        "required": ssl.CERT_REQUIRED,
        "optional": ssl.CERT_OPTIONAL,
        "none": ssl.CERT_NONE,
    }[tls.verify]
    if tls.ca_certs or tls.ca_path or tls.ca_data:
        context.load_verify_locations(tls.ca_certs, tls.ca_path, tls.ca_data)
    else:
        context.load_default_certs()
    if tls.certfile:
        context.load_cert_chain(tls.certfile, tls.keyfile, tls.password)
    if tls.ciphers:
        context.set_ciphers(tls.ciphers)
    if tls.min_version is not None:
        context.minimum_version = ssl.TLSVersion(tls.min_version)
    veil = Veil(connected, context, host)
    veil.do_handshake()
    return veil


# --- Sentinel


def _through_sentinels(place: Place, sentinels: Sentinels, timeout: float) -> Link:
    """The first Sentinel that answers for a master which says itself that it is one."""
    refusals: list[str] = []
    end = time.monotonic() + timeout * len(sentinels.addresses)
    for host, port in sentinels.addresses:
        left = min(timeout, sentinels.timeout or timeout, end - time.monotonic())
        try:
            found = _ask_sentinel(host, port, sentinels, max(left, 0.1))
            if isinstance(found, str):
                refusals.append(f"{host}:{port}: {found}")
                continue
            return _enter_master(place, found, timeout)
        except operational_error() as problem:
            refusals.append(str(problem))
    raise operational(f"no Sentinel led to the master {sentinels.master}: {'; '.join(refusals)}")


def _ask_sentinel(host: str, port: int, sentinels: Sentinels, timeout: float) -> tuple[str, int] | str:
    """The master's address, or why this Sentinel cannot say."""
    there = Place(
        host, port, username=sentinels.username, password=sentinels.password, tls=sentinels.tls, timeout=timeout
    )
    link = _enter(there, timeout)
    try:
        (reply,) = link.ask(("SENTINEL", "MASTER", sentinels.master), timeout=timeout)
    finally:
        link.close()
    if type(reply) is ErrorReply:
        return reply.text
    known = _pairs(reply)
    flags = known.get("flags", "").split(",")
    if "master" not in flags or {"s_down", "o_down"} & set(flags):
        return f"the master is down ({','.join(flags)})"
    if int(known.get("num-other-sentinels") or 0) < sentinels.others:
        return f"it knows only {known.get('num-other-sentinels')} other Sentinels, asked for are {sentinels.others}"
    try:
        return known["ip"], int(known["port"])
    except (KeyError, ValueError):
        return "its answer names no address"


def _pairs(reply: Any) -> dict[str, str]:
    items: Sequence[Any] = reply if isinstance(reply, list) else ()
    texts = [item.decode(errors="replace") if isinstance(item, bytes) else str(item) for item in items]
    return dict(zip(texts[::2], texts[1::2], strict=False))


def _enter_master(place: Place, address: tuple[str, int], timeout: float) -> Link:
    link = _enter(replace(place, host=address[0], port=address[1], sentinels=None), timeout)
    (role,) = link.ask(("ROLE",), timeout=timeout)
    if isinstance(role, list) and role and role[0] != b"master":
        link.close()
        raise operational(f"{address[0]}:{address[1]} says that it is no master any more")
    return link
