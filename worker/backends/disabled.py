"""No result store: what is stored is dropped, as a worker does it all day; who asks for a result is told the reason.

Law: only who needs an answer is refused. The errors are `NotImplementedError` too, which is what Celery raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ...protocol.errors import BadCall
from ...protocol.wire import children
from ...protocol.wire.chord_keys import Member
from ...protocol.wire.result import Result
from .base import POLL, Address, Claim, Found, Settings, Store

NO_RESULT = (
    "No result backend is configured: results are not kept, so there is none to ask for. "
    "Set result_backend (app.conf.result_backend = 'redis://...', or Celery(..., backend=...))."
)
NO_CHORD = (
    "Starting chords requires a result backend to be configured: their members are counted there. "
    "A group that is chained with a task is a chord as well. "
    "Set result_backend to one that counts: Redis, a database, memcached or another."
)


class NoStore(BadCall, NotImplementedError):
    """There is no result store, and this cannot be done without one."""


class DisabledStore(Store):
    """Drops results, and says so to who wants one."""

    def store(self, result: Result, address: Address | None = None) -> bool:
        return True

    def forget(self, task_id: str) -> None:
        return None

    def fetch(self, task_id: str) -> Result | None:
        raise NoStore(NO_RESULT)

    def fetch_many(self, task_ids: Iterable[str]) -> dict[str, Found]:
        raise NoStore(NO_RESULT)

    def wait(
        self,
        task_ids: Iterable[str],
        timeout: float,
        *,
        interval: float = POLL,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[str, Found]]:
        raise NoStore(NO_RESULT)

    def store_group(self, group: children.Node) -> None:
        raise NoStore(NO_RESULT)

    def fetch_group(self, group_id: str) -> children.Node | None:
        raise NoStore(NO_RESULT)

    def chord_start(self, group_id: str, size: int, saved: children.Node | None = None) -> None:
        raise NoStore(NO_CHORD)

    def chord_grow(self, group_id: str, by: int = 1) -> None:
        raise NoStore(NO_CHORD)

    def chord_part(
        self, group_id: str, member: Member, index: int | None, token: str, size: int | None = None
    ) -> Claim | None:
        """A worker without a store cannot count; that the chord stalls is for whoever sent it to hear."""
        raise NoStore(NO_CHORD)


def connect(_url: str, settings: Settings) -> DisabledStore:
    return DisabledStore(settings)
