"""A descriptor by which threads wake the worker's one thread, for pools that run jobs beside it in one process."""

from __future__ import annotations

import contextlib
import os


class Bell:
    """Readable once it has been rung, until it is heard. Ringing is cheap while it rings."""

    def __init__(self) -> None:
        self._heard, self._rings = os.pipe()
        os.set_blocking(self._heard, False)
        os.set_blocking(self._rings, False)
        self._ringing = False

    def fileno(self) -> int:
        return self._heard

    def ring(self) -> None:
        """After what is rung for is there to be seen."""
        if not self._ringing:
            self._ringing = True
            with contextlib.suppress(OSError):  # closed: nobody listens any more
                os.writev(self._rings, [b"!"])  # nor `write`, in a signal handler least of all

    def hear(self) -> None:
        """Before looking at what was rung for: who rings from now on rings anew."""
        with contextlib.suppress(BlockingIOError):
            os.readv(self._heard, [bytearray(64)])  # not `read`, which eventlet replaces by one that waits
        self._ringing = False

    def close(self) -> None:
        os.close(self._heard)
        os.close(self._rings)
