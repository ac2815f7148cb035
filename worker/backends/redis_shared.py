"""Results in Redis for all threads: some links that are lent for one command each, and one that listens for all.

Law: who waits holds no link. What `RedisStore` says holds here; only who uses which link is said anew.
"""

from __future__ import annotations

import weakref

from ..redis_link import Link
from ..redis_link import connect as dial
from ..redis_place import Place
from .redis import RedisStore
from .redis_watch import Watch, leave
from .shared import MOST, Lent


class SharedRedis(RedisStore):
    """Links are lent for one command each; who waits has none of its own."""

    def __init__(self, inner: RedisStore) -> None:
        super().__init__(inner.place, inner.settings, inner.policy)
        self._links: Lent[Link] = Lent(max(1, min(MOST, inner.place.max_connections or MOST)))
        self._entered: list[Watch] = []
        weakref.finalize(self, _farewell, self._links, self._entered, self.place)

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
            watch = super()._watched()
            self._entered[:] = [watch]
            return watch

    def close(self) -> None:
        for link in self._links.empty():
            link.close()
        with self._links.lock:
            self._entered.clear()
            super().close()


def _farewell(links: Lent[Link], entered: list[Watch], place: Place) -> None:
    """What is left to close when nobody has the store any more."""
    for link in links.empty():
        link.close()
    for watch in entered:
        leave(place, watch)


def share(one: RedisStore) -> SharedRedis:
    return SharedRedis(one)
