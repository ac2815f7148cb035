"""In which order a consumer asks its queues (kombu's `queue_order_strategy`).

Law: a value; what was served turns it into the next one.
"""

from __future__ import annotations

from ..errors import BadCall, shown
from ..values import dataclass, replace

STRATEGIES = ("round_robin", "sorted", "priority")


@dataclass(frozen=True, slots=True)
class ConsumeOrder:
    """round_robin: who has delivered goes to the end. sorted: by name. priority: as the queues were given."""

    queues: tuple[str, ...]
    strategy: str = "round_robin"

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise BadCall(f"queue_order_strategy is one of {', '.join(STRATEGIES)}, not {shown(self.strategy)}")

    @property
    def asked(self) -> tuple[str, ...]:
        return tuple(sorted(self.queues)) if self.strategy == "sorted" else self.queues

    def served(self, queue: str) -> ConsumeOrder:
        if self.strategy != "round_robin" or queue not in self.queues or queue == self.queues[-1]:
            return self
        return replace(self, queues=(*(name for name in self.queues if name != queue), queue))
