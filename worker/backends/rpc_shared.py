"""Results as messages for all threads: one queue for answers, and one thread at a time that listens for all.

Law: who listens keeps what it hears where all find it; who waits meanwhile is told, and looks by itself now and then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from .rpc import RpcStore

_TURN = 0.05  # seconds after which who waits for another's reading looks by itself

T = TypeVar("T")


class SharedRpc(RpcStore):
    """`RpcStore` for all threads."""

    def _begin(self) -> None:
        super()._begin()
        self._mouth = threading.RLock()
        self._ears = threading.RLock()
        self._news = threading.Condition()

    def _sending(self, use: Callable[[Any], T]) -> T:
        with self._mouth:
            return super()._sending(use)

    def _drain(self) -> None:
        """Whoever listens at this moment drains for us."""
        if self._ears.acquire(blocking=False):
            try:
                super()._drain()
            finally:
                self._ears.release()

    def _probe(self) -> None:
        if self._ears.acquire(blocking=False):
            try:
                super()._probe()
            finally:
                self._ears.release()

    def _take(self, timeout: float) -> int:
        if not self._ears.acquire(blocking=False):
            with self._news:
                self._news.wait(min(timeout, _TURN))
            return 1  # as good as heard: the connection is another's care
        try:
            return super()._take(timeout)
        finally:
            self._ears.release()
            with self._news:
                self._news.notify_all()

    def close(self) -> None:
        with self._mouth, self._ears:
            super().close()


def share(one: RpcStore) -> SharedRpc:
    return SharedRpc(one._dial_send, one._dial_listen, one.settings)  # noqa: SLF001  # the same connections
