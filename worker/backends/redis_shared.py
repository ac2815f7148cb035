"""Results in Redis for all threads: some links that are lent for one command each, and one that listens for all.

Law: who waits holds no link. What `RedisStore` says holds here; only who uses which link is said anew.
"""

from __future__ import annotations

from ..redis_link import Link
from ..redis_link import connect as dial
from .redis import RedisStore
from .redis_watch import Watch
from .shared import MOST, Lent


class SharedRedis(RedisStore):
    """Links are lent for one command each; who waits has none of its own."""

    def __init__(self, inner: RedisStore) -> None:
        super().__init__(inner.place, inner.settings, inner.policy)
        self._links: Lent[Link] = Lent(max(1, min(MOST, inner.place.max_connections or MOST)))

    def _linked(self) -> Link:
        link = self._links.take()
        try:
            return self._sound(link) or dial(self.place)
        except BaseException:
            self._links.give(None)
            raise

    def _leave(self, link: Link) -> None:
        self._links.give(link if link.open else None)

    def _watched(self) -> Watch:
        self._links.own()
        with self._links.lock:
            return super()._watched()

    def close(self) -> None:
        for link in self._links.empty():
            link.close()
        with self._links.lock:
            super().close()


def share(one: RedisStore) -> SharedRedis:
    return SharedRedis(one)
