"""Rate limits of all workers together (`worker_common_rate_limits`): their buckets are in the Redis that is the broker.

Law: nothing that is limited begins before the Redis has given it its token. A Redis that fails costs a line in the
log, and is asked again; meanwhile what is limited waits, and all else goes on.
"""

from __future__ import annotations

import logging
from typing import Any

from ..protocol.errors import BadMessage
from ..protocol.rules.aside import AHEAD
from ..protocol.wire import redis_limits
from .kept import operational
from .redis_link import Link, connect

log = logging.getLogger("celery.worker.consumer.consumer")

NOT_THERE = "worker_common_rate_limits has no effect: %s is no Redis. Each worker keeps the rate limits for itself"


class SharedLimits:
    """One worker's way to them. `there`: the broker is one that can keep them."""

    AGAIN = 5.0
    """Seconds until a Redis that failed is asked again."""

    def __init__(self, shown_url: str) -> None:
        self.there = False
        self._shown = shown_url
        self._place: Any = None
        self._layout: Any = None
        self._link: Link | None = None
        self._told = False

    def connected(self, broker: Any) -> None:
        """Messages come from this broker from now on."""
        self.close()
        self._place, self._layout = getattr(broker, "place", None), getattr(broker, "layout", None)
        self.there = self._place is not None and self._layout is not None
        if not self.there and not self._told:
            self._told = True
            log.warning(NOT_THERE, self._shown)

    def ask(self, task: str, rate: float, wanted: int) -> tuple[int, float] | None:
        """How many tokens were given, and in how many seconds the first counts; None: nobody could be asked."""
        try:
            if self._link is None or not self._link.open:
                self._link = connect(self._place)
            reply = self._link.run(redis_limits.GRANT, *redis_limits.arguments(self._layout, task, rate, wanted, AHEAD))
            return redis_limits.parse(reply)
        except (operational(), BadMessage) as problem:
            log.error(  # noqa: TRY400 - the text says it all
                "The rate limit of %s cannot be asked for at %s: %s. Its tasks wait; asking again in %g seconds.",
                task,
                self._shown,
                problem,
                self.AGAIN,
            )
            return None

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
