"""What a worker is told: plain frozen values, read once from the configuration and the command line.

Law: nothing of an app is in here. Times are seconds, `None` is «no limit» or «none». Who changes a value at run time
(a pool that grows, a rate limit) keeps the new one itself.
"""

from __future__ import annotations

from ..protocol.hints import Any
from ..protocol.values import dataclass, field
from ..protocol.wire.message import CODECS, Codecs
from .broker_options import BrokerOptions


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Where tasks run. `kind` is a name of the table of pools, a path, or a class. Memory is in KiB."""

    kind: Any = "prefork"
    concurrency: int = 1
    start_method: str = "fork"
    max_tasks: int | None = None
    max_memory: int | None = None
    soft_limit: float | None = None
    hard_limit: float | None = None
    alive_timeout: float = 4.0
    restarts: bool = False
    autoscale: tuple[int, int] | None = None
    """The most and the fewest places, if their number follows the load."""
    autoscaler: Any = "celery.worker.autoscale:Autoscaler"


@dataclass(frozen=True, slots=True)
class Taking:
    """What is taken from queues, and when. `prefetch` is for each place in the pool, 0 without limit."""

    prefetch: int = 4
    only_what_runs: bool = False
    """`worker_disable_prefetch`: nothing is taken that cannot run at once."""
    eta_limit: int | None = None
    eta_horizon: float | None = 60.0
    rate_limits: bool = True
    common_rate_limits: bool = False
    max_deliveries: int | None = 10
    dead_queue: str = ".dead"
    unknown_task: str = "fail"
    unknown_task_delay: float = 10.0
    unknown_task_retries: int = 6
    deduplicate: bool = False
    cancel_on_connection_loss: bool = False


@dataclass(frozen=True, slots=True)
class Telling:
    """Events, remote control and what watches a worker from outside."""

    events: bool = False
    event_serializer: str = "json"
    event_exchange: str = "celeryev"
    event_queue_prefix: str = "celeryev"
    event_queue_ttl: float | None = 5.0
    event_queue_expires: float | None = 60.0
    event_queue_exclusive: bool = True
    event_queue_durable: bool = False
    control: bool = True
    control_exchange: str = "celery"
    control_queue_ttl: float | None = 300.0
    control_queue_expires: float | None = 10.0
    control_queue_exclusive: bool = True
    control_queue_durable: bool = False
    control_serializer: str = "json"
    """Celery's control messages are written as its tasks are: `task_serializer`."""
    health: str | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """All of it."""

    broker: BrokerOptions
    pool: PoolOptions = field(default_factory=PoolOptions)
    taking: Taking = field(default_factory=Taking)
    telling: Telling = field(default_factory=Telling)
    accept: frozenset[str] = frozenset({"json"})
    """Serializers by name or content type, as `accept_content` has them."""
    codecs: Codecs = CODECS
    """Those that there are."""
    utc: bool = True
    state_db: str | None = None
    lasting_revokes: bool = False
    soft_shutdown: float = 0.0
    soft_shutdown_when_idle: bool = False
