"""A store that asks again when its store fails: `result_backend_always_retry` and its limits, for any store.

Law: only `OperationalError` is worth another attempt, and every call here may be made twice. A result that cannot be
stored in the end is logged in full: it may be nowhere else any more.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from ...protocol.wire import children
from ...protocol.wire.chord_keys import Member
from ...protocol.wire.result import Result, document
from ..redis_link import operational_error
from .base import POLL, Address, Claim, Found, Retry, Store

log = logging.getLogger(__name__)
T = TypeVar("T")


class Retrying(Store):
    """`inner` with patience. Waits grow twofold up to the longest, each a random part of itself."""

    def __init__(
        self,
        inner: Store,
        retry: Retry,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(inner.settings)
        self.inner = inner
        self.can = inner.can
        self._retry = retry
        self._sleep = sleep
        self._chance = chance

    def _try(self, what: str, do: Callable[[], T]) -> T:
        failures = 0
        while True:
            try:
                return do()
            except operational_error() as problem:  # noqa: PERF203  # a loop of attempts is what it is for
                failures += 1
                if failures > self._retry.most:
                    raise
                self._pause(self._delay(what, problem, failures))

    def _delay(self, what: str, problem: Exception, failures: int) -> float:
        grown = self._retry.first * 2.0 ** min(failures, 64)
        seconds = min(grown, self._retry.longest) * self._chance()
        log.warning("cannot %s, again (%d/%g) in %.2f s: %s", what, failures, self._retry.most, seconds, problem)
        return seconds

    def _pause(self, seconds: float) -> None:
        self._sleep(seconds)

    # --- one result

    def store(self, result: Result, address: Address | None = None) -> bool:
        try:
            return self._try(f"store the result of {result.task_id}", partial(self.inner.store, result, address))
        except operational_error() as problem:
            log.critical("the result of %s is not stored: %s: %s", result.task_id, problem, document(result))
            raise

    def fetch(self, task_id: str) -> Result | None:
        return self._try(f"fetch the result of {task_id}", partial(self.inner.fetch, task_id))

    def answer_to(self) -> str | None:
        return self._try("make ready for answers", self.inner.answer_to)

    def forget(self, task_id: str) -> None:
        self._try(f"forget the result of {task_id}", partial(self.inner.forget, task_id))

    # --- many

    def fetch_many(self, task_ids: Iterable[str]) -> dict[str, Found]:
        ids = list(task_ids)
        return self._try(f"fetch {len(ids)} results", partial(self.inner.fetch_many, ids))

    def wait(
        self,
        task_ids: Iterable[str],
        timeout: float,
        *,
        interval: float = POLL,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[str, Found]]:
        missing = dict.fromkeys(task_ids)
        end = time.monotonic() + timeout
        failures = 0
        while missing:
            left = max(0.0, end - time.monotonic())
            try:
                for task_id, found in self.inner.wait(list(missing), left, interval=interval, stop=stop):
                    del missing[task_id]
                    failures = 0
                    yield task_id, found
            except operational_error() as problem:
                failures += 1
                left = end - time.monotonic()
                if failures > self._retry.most or left <= 0:
                    raise
                self._pause(min(self._delay(f"wait for {len(missing)} results", problem, failures), left))
            else:
                return

    # --- groups and chords

    def store_group(self, group: children.Node) -> None:
        self._try(f"store the group {group.id}", partial(self.inner.store_group, group))

    def fetch_group(self, group_id: str) -> children.Node | None:
        return self._try(f"fetch the group {group_id}", partial(self.inner.fetch_group, group_id))

    def forget_group(self, group_id: str) -> None:
        self._try(f"forget the group {group_id}", partial(self.inner.forget_group, group_id))

    def chord_start(self, group_id: str, size: int, saved: children.Node | None = None) -> None:
        self._try(f"start the chord {group_id}", partial(self.inner.chord_start, group_id, size, saved))

    def chord_grow(self, group_id: str, by: int = 1) -> None:
        """Once: told twice, the chord would wait for members that never come."""
        self.inner.chord_grow(group_id, by)

    def chord_part(
        self, group_id: str, member: Member, index: int | None, token: str, size: int | None = None
    ) -> Claim | None:
        tell = partial(self.inner.chord_part, group_id, member, index, token, size)
        return self._try(f"count {member.task_id} in the chord {group_id}", tell)

    def chord_taken(self, group_id: str) -> bool:
        return self._try(f"look at the chord {group_id}", partial(self.inner.chord_taken, group_id))

    def chord_hold(self, claim: Claim, seconds: int) -> bool:
        return self._try(f"hold the chord {claim.group_id}", partial(self.inner.chord_hold, claim, seconds))

    def chord_done(self, claim: Claim) -> None:
        self._try(f"end the chord {claim.group_id}", partial(self.inner.chord_done, claim))

    def chord_failed(self, claim: Claim) -> None:
        self._try(f"end the chord {claim.group_id}", partial(self.inner.chord_failed, claim))

    # --- itself

    def expire(self, now: float) -> int:
        return self._try("delete old results", partial(self.inner.expire, now))

    def close(self) -> None:
        self.inner.close()
