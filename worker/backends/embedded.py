"""`embedded://` and `embedded:///path`: results in the same private Valkey as the broker of that URL.

Law: a store here is one of the server's users, as a broker is; the process's end is the end of that.
"""

from __future__ import annotations

from typing import Any

from ..brokers.embedded import folder_of, join
from .base import Settings
from .redis import RedisStore
from .redis import connect as connect_redis


class EmbeddedStore(RedisStore):
    """A Redis store that keeps its server up."""

    def __init__(self, *given: Any, membership: Any) -> None:
        super().__init__(*given)
        self.membership = membership


def connect(url: str, settings: Settings) -> EmbeddedStore:
    membership = join(folder_of(url))
    try:
        made = connect_redis(f"redis+socket://{membership.address}", settings)
    except BaseException:
        membership.close()
        raise
    return EmbeddedStore(made.place, settings, made.policy, membership=membership)
