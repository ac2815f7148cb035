"""A TLS connection whose bytes can be seen before they are sent: so that somebody else can complete what we began.

Law: it stands for a socket, as far as our links use one. What is encrypted goes out in the order in which it was, and
nothing between. Reading gives everything that has come: what is left behind would be where no poll sees it.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Any

_CHUNK = 1 << 16


class Veil:
    """Around a socket that is connected. Where that does not wait, `SSLWantReadError` and `SSLWantWriteError` say for
    what one waits, as of the standard library's; `send` is then called again with the same bytes."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self.plain = plain
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes, server_hostname=server_hostname)
        self._left = bytearray()
        self._taken = 0
        """Of what is to be sent so much is encrypted, and in `_left`."""

    def do_handshake(self) -> None:
        while not self._agreed():
            self._flush()
            self._fill()
        self._flush()

    def _agreed(self) -> bool:
        """False: the other side has to say something first."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            with suppress(OSError):
                self._flush()  # the other side is told why
            raise
        return True

    # --- writing

    def sealed(self, data: bytes) -> bytes:
        """What will go out for these bytes, which are to be sent next."""
        while self._taken < len(data):
            self._taken += self._tls.write(memoryview(data)[self._taken :])
        self._left += self._goes.read()
        return bytes(self._left)

    def send(self, data: Any) -> int:
        if not len(data):
            return 0
        if not self._taken:
            self._taken = self._tls.write(data)
        self._flush()
        taken, self._taken = self._taken, 0
        return taken

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self.send(rest) :]

    def _flush(self) -> None:
        left = self._left
        try:
            if not left:  # the usual way: at once and whole
                self._send_new()
            elif self._goes.pending:
                left += self._goes.read()
            while left:
                sent = self.plain.send(left)
                del left[:sent]
        except BlockingIOError:
            raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "the connection takes no more just now") from None

    def _send_new(self) -> None:
        data, sent = self._goes.read(), 0
        try:
            if data:
                sent = self.plain.send(data)
        finally:
            self._left += data[sent:]

    # --- reading

    def recv(self, _size: int) -> bytes:
        """Empty: the other side has ended it."""
        if not self._more():
            self._answer()
            self._fill()
        data = b""
        while True:
            try:
                part = self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                if data:
                    return data
                self._answer()
                self._fill()
                continue
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return data
            data = data + part if data else part
            if not part or not self._more():
                return data

    def _more(self) -> bool:
        """Whether something that has come is not read yet; it may be less than a record."""
        return bool(self._came.pending or self._tls.pending())

    def _answer(self) -> None:
        """TLS has things of its own to say, at times."""
        if self._goes.pending and not self._left:
            self._flush()

    def _fill(self) -> None:
        try:
            data = self.plain.recv(_CHUNK)
        except BlockingIOError:
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "nothing has come yet") from None
        if data:
            self._came.write(data)
        else:
            self._came.write_eof()

    # --- as of a socket

    def settimeout(self, seconds: float | None) -> None:
        self.plain.settimeout(seconds)

    def fileno(self) -> int:
        return self.plain.fileno()

    def shutdown(self, how: int) -> None:
        self.plain.shutdown(how)

    def close(self) -> None:
        self.plain.close()


Wire = socket.socket | Veil
