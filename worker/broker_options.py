"""What is told to who sends to a broker or takes from it: one plain frozen value, read from the configuration.

Law: as for `options`, which has it as a part. Who only sends loads this much of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..protocol.hints import Any
from ..protocol.values import dataclass, field


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """Where the broker is, and how it is spoken to. `options` are what `brokers.connect` takes.

    `pool_limit` and `pool_wait` are for those who send: connections kept at most (0: none), and how long one waits for
    its turn.
    """

    urls: tuple[str, ...] = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    timeout: float = 4.0
    pool_limit: int = 10
    pool_wait: float | None = None
    retry: bool = True
    retry_at_start: bool = True
    max_retries: int | None = 100
