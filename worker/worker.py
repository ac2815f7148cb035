"""A worker: the page to read first.

    pool         where tasks run: starts before there are connections and threads, since it may fork
    tasks        the connection that messages are taken from (`kept`), and what is done with them (`consumer`)
    telling      a second connection: events, remote control, gossip
    heart        worker-heartbeat events
    statedb      what must outlive this process: revoked tasks, the clock
    lasting      revoked tasks in the broker's Redis, if they are to outlive all workers
    health       /livez, /readyz, /metrics, if they are asked for

One thread does it all, in turns: hear the pool, take from the broker, answer who asks, wait. Nothing in a turn waits
without a deadline. `stop` may be called from a signal handler or another thread; it only leaves a note.

    warm   nothing more is begun, what has not begun goes back, what runs ends
    soft   warm for as long as `worker_soft_shutdown_timeout` says, then cold
    cold   what runs is ended; its messages go back if they were not acknowledged
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..protocol.errors import BadCall
from ..protocol.rules.delivery import Stop
from ..protocol.rules.revokes import Revokes
from ..protocol.wire.control import Speech
from ..protocol.wire.message_reading import Reader
from ..protocol.wire.serializers import accepted
from . import brokers, mingle
from .brokers import failover
from .brokers.base import Broker
from .consumer import Consumer
from .control.mailbox import Mailbox
from .control.registry import Desk
from .events import Dispatcher
from .gossip import Gossip
from .heartbeat import Heart
from .insisting import Insistence
from .kept import GivenUp, Kept, operational
from .loop import Loop
from .options import Options
from .pools.base import Pool
from .ports import Owner
from .statedb import StateDb

if TYPE_CHECKING:
    from .health import Health
    from .lasting import Lasting

log = logging.getLogger("celery.worker")
connection_log = logging.getLogger("celery.worker.consumer.connection")
apps_log = logging.getLogger("celery.apps.worker")

_BLIND = 0.02  # how often a broker is asked that cannot tell by itself
_LAST_WORDS = 1.0
_NEVER = float("inf")


def _in_no_patience() -> float:
    return 0.0


class Worker:
    """`pool` is made stopped. `without` names services that are not wanted: gossip, mingle, heartbeat.

    For who adds to a worker: `up` is called before messages are taken from a new connection and `down` when it is
    lost; `chores` when the bell has rung, and at the time that it returned. `insistence` is that of the pool's program.
    """

    def __init__(
        self,
        owner: Owner,
        options: Options,
        pool: Pool,
        hostname: str,
        *,
        without: Sequence[str] = (),
        commands: Mapping[str, Any] | None = None,
        heartbeat: float | None = None,
        ready: Callable[[], None] = lambda: None,
        up: Callable[[], None] = lambda: None,
        down: Callable[[], None] = lambda: None,
        chores: Callable[[float], float] = lambda _now: _NEVER,
        insistence: Insistence | None = None,
    ) -> None:
        self.insistence = insistence
        self.owner = owner
        self.options = options
        self.pool = pool
        self.hostname = hostname
        self.started = time.time()
        self.pid = os.getpid()
        self.revokes = Revokes()
        self.bounds = options.pool.autoscale
        self.stopping = Stop.NOT
        self.without = frozenset(without)
        self.controller: Any = None
        """Whose it is, if somebody is: its `autoscaler` keeps the bounds, its steps tell of themselves."""
        self._notes: deque[Stop] = deque()
        self._cold_at = _NEVER
        self._ready = ready
        self._up = up
        self._down = down
        self._chores = chores
        self._is_ready = self._begun = self._left = False
        self._awake = {"tasks"}
        self.loop = Loop()
        telling = options.telling
        reader = Reader(accept=accepted(options.accept, options.codecs.serializers), codecs=options.codecs)
        exists = telling.events or not {"gossip", "heartbeat"} <= self.without
        self.events = Dispatcher(
            hostname, owner.clock_forward, on=telling.events, exists=exists, exchange=telling.event_exchange
        )
        self.consumer = Consumer(owner, options, pool, self.revokes, self.events, reader, hostname)
        self.statedb = StateDb(options.state_db, self.revokes, owner)
        self.lasting: Lasting | None = None
        if options.lasting_revokes:
            from .lasting import Lasting

            self.lasting = Lasting(self.revokes, self.shown_url)
        self.desk = Desk(self, commands or {})
        self.speech = Speech(reader, telling.control_serializer)
        self.mailbox = Mailbox(self.desk, telling, self.speech)
        self.gossip = None if "gossip" in self.without else Gossip(hostname, owner, self.events, telling)
        self.heart = None if "heartbeat" in self.without else Heart(self.events, self.counts, heartbeat, self._alive)
        self._reached: WeakKeyDictionary[Broker, str] = WeakKeyDictionary()  # of several URLs, which
        self.tasks = self._kept(self._tasks_up, self._tasks_down)
        self.telling = self._kept(self._telling_up, self._telling_down)
        self._pool_at = self._services_at = 0.0
        self._patience: Callable[[], float] = getattr(pool, "patience", _in_no_patience)
        self.health: Health | None = None
        if telling.health:
            from .health import Health

            self.health = Health(self, telling.health)

    def _kept(self, up: Callable[[Broker, float], None], down: Callable[[float], None]) -> Kept:
        told = self.options.broker
        return Kept(
            self.connect,
            shown=self.shown_url,
            wake=self.loop.bell.ring,
            up=up,
            down=down,
            retry=told.retry,
            retry_at_start=told.retry_at_start,
            most=told.max_retries,
        )

    # --- life

    def begin(self) -> None:
        """Bring the pool up, before there are connections and threads."""
        if not self._begun:
            self._begun = True
            self.statedb.load(time.time())
            self.pool.start()
            self._tell_limits()
            self.loop.watch("pool", self.pool.fileno())
            if self.health is not None:
                self.health.open(time.time())

    def _tell_limits(self) -> None:
        """Which time limits are asked for and will not be kept."""
        told = self.options.pool
        for ability, setting, attribute, limit in (
            ("soft", "task_soft_time_limit", "soft_time_limit", told.soft_limit),
            ("hard", "task_time_limit", "time_limit", told.hard_limit),
        ):
            if ability in self.pool.can:
                continue
            asking = [setting] if limit else []
            asking += sorted(name for name, task in self.owner.tasks.items() if getattr(task, attribute, None))
            if asking:
                log.warning("This pool keeps no %s time limits; asked for by: %s", ability, ", ".join(asking))

    def run(self) -> None:
        """Until it is stopped."""
        self.begin()
        try:
            self.serve()
        finally:
            self.finish()

    def serve(self) -> None:
        """Until it is told to stop."""
        while not self.stopping:
            self._awake = self.loop.wait(self._turn(self._awake))

    def finish(self) -> None:
        """What runs ends, as far as the way of stopping lets it; then everything is closed."""
        if not self._begun or self._left:
            return
        self._left = True
        try:
            while self.stopping and not self._over():
                self._awake = self.loop.wait(self._turn(self._awake))
        finally:
            self._leave()

    def stop(self, how: Stop = Stop.WARM) -> None:
        """A note for the next turn. Whoever asks twice for a cold one does not want the soft one."""
        if self.insistence is not None:
            self.insistence.give_up()
        self._notes.append(how)
        self.loop.bell.ring()

    def _turn(self, ready: set[str]) -> float:
        """One turn; how long to wait before the next."""
        now = time.time()
        if self._notes or now >= self._cold_at:
            self._begin_stop(now)
        if "telling" in ready:
            self._tell(now)  # what was revoked before a task was sent is known before the task is taken
        blind = self.consumer.blind
        more = self.consumer.turn(now, readable=blind or "tasks" in ready)
        if self.consumer.trouble is not None:
            trouble, self.consumer.trouble = self.consumer.trouble, None
            self.tasks.lost(trouble, now)
        if self.events.waiting:
            self._tell(now)
        steady = time.monotonic()
        if steady >= self._pool_at or steady + self.consumer.soonest_limit < self._pool_at:
            self._pool_at = self.pool.tend(steady)
        self.consumer.soonest_limit = _NEVER
        if now >= self._services_at or "bell" in ready:
            self._services_at = self._tend(now)
        self.loop.watch("tasks", self.consumer.fileno())
        if more:
            self.loop.ignore(None)
            return 0.0
        wait = min(self.consumer.next(), self._services_at, now + self._pool_at - steady, self._cold_at) - now
        if blind or self._telling_blind():
            wait = min(wait, _BLIND)
        # A task whose end nobody waits for is heard of when something else happens: one waking less.
        calm = 0.0 if self.events.on or self.stopping else self._patience()
        self.loop.ignore("pool" if calm > 0 else None)
        return min(wait, calm) if calm > 0 else wait

    def _tend(self, now: float) -> float:
        """Everything that happens by the clock."""
        again = [self.tasks.tend(now), self.telling.tend(now), self.statedb.tend(now)]
        if self.heart is not None:
            again.append(self._safely(self.heart.tend, now))
        if self.gossip is not None:
            again.append(self.gossip.tend(now))
        if self.lasting is not None:
            again.append(self.lasting.tend(now))
        if self.health is not None:
            again.append(self.health.tend(now))
        again.append(self._chores(now))
        if self.telling.broker is not None:
            again.append(self._safely(self.telling.broker.tend, now))
            self._tell(now)  # tending may have heard what nobody will hear again
        return min(again)

    def _tell(self, now: float) -> None:
        """Send what was gathered, answer who asks."""

        def tell(now: float) -> float:
            self.events.flush()
            broker = self.telling.broker
            if broker is not None:
                for delivery in broker.take(100, 0):
                    if self.gossip is not None and self.gossip.is_for(delivery):
                        self.gossip.heard(delivery, now)
                    else:
                        self.mailbox.heard(broker, delivery, now)
            return now

        self._safely(tell, now)

    def _safely(self, what: Callable[[float], float], now: float) -> float:
        """Something on the second connection."""
        try:
            return what(now)
        except operational() as problem:
            self.telling.lost(problem, now)
            self._services_at = now
            return now

    def _telling_blind(self) -> bool:
        return self.telling.broker is not None and "descriptor" not in self.telling.broker.can

    # --- connections

    def connect(self) -> Broker:
        told = self.options.broker

        def one(url: str) -> Broker:
            broker = brokers.connect(url, told.options, told.timeout)
            if len(told.urls) > 1:
                self._reached[broker] = url
            return broker

        return failover.first_that_answers(told.urls, one, told.options.get("failover_strategy"))

    @property
    def shown_url(self) -> str:
        return self.owner.shown_url(self.options.broker.urls[0])

    def _tasks_up(self, broker: Broker, now: float) -> None:
        url = self._reached.get(broker, self.options.broker.urls[0])
        connection_log.info("Connected to %s", self.owner.shown_url(url))
        if not self._is_ready and "mingle" not in self.without:
            mingle.ask(self.connect, self.hostname, self.owner, self.revokes, self.options.telling, self.speech)
        if self.lasting is not None:
            self.lasting.connected(broker, now)
        self._up()
        self.consumer.connected(broker, now)
        if not self._is_ready:
            self._is_ready = True
            apps_log.info("%s ready.", self.hostname)
            self._ready()

    def _tasks_down(self, now: float) -> None:
        self.loop.forget("tasks")
        self.consumer.disconnected(now)
        self._down()

    def _telling_up(self, broker: Broker, now: float) -> None:
        kind = brokers.TABLE.get(self.options.broker.urls[0].partition("://")[0].partition("+")[0])
        topic = "fanout" if kind in (".redis", ".embedded") else "topic"
        self.events.connected(broker, topic)
        queues = list(self.mailbox.queues(self.hostname)) if self.options.telling.control else []
        if self.gossip is not None:
            queues += self.gossip.queues(topic)
        if queues:
            try:
                broker.listen(queues, credit=100, acks=False)
            except BadCall as problem:
                log.error("No remote control and no gossip: %s", problem)  # noqa: TRY400 - the text says it all
            else:
                self.loop.watch("telling", broker.fileno() if "descriptor" in broker.can else -1)
        if self.lasting is not None:
            self.lasting.look(now)  # what was said to others while this connection was away
        if self.heart is not None:
            self.heart.begin(now)

    def _telling_down(self, _now: float) -> None:
        self.loop.forget("telling")
        self.events.disconnected()

    # --- leaving

    def _begin_stop(self, now: float) -> None:
        """Act on the notes that `stop` left, and on the end of a soft shutdown."""
        while self._notes:
            how, soft = self._notes.popleft(), self.options.soft_shutdown
            runs = self.consumer.deliveries.busy or self.options.soft_shutdown_when_idle
            if how is Stop.COLD and soft and runs and self._cold_at == _NEVER and self.stopping is not Stop.COLD:
                log.warning("Initiating Soft Shutdown, terminating in %g seconds", soft)
                self._cold_at = now + soft
                how = Stop.WARM
            self._apply(how, now)
        if now >= self._cold_at:
            self._cold_at = _NEVER
            self._apply(Stop.COLD, now)

    def _apply(self, how: Stop, now: float) -> None:
        if how > self.stopping:
            self.stopping = how
            self.consumer.stop(how, now)

    def _over(self) -> bool:
        return bool(self.stopping) and (self.stopping is Stop.COLD or self.consumer.idle)

    def _leave(self) -> None:
        """All that still happens is heard and settled; then everything is closed, whatever fails."""
        now = time.time()
        for step in (
            lambda: self.pool.close(0.0 if self.stopping is not Stop.WARM else _LAST_WORDS),
            lambda: self.consumer.turn(now, readable=False),
            lambda: self.consumer.turn(now, readable=False),
            self.events.flush,
            self._last_beat,
            self.telling.close,
            self.tasks.close,
            lambda: self.statedb.save(now),
            self.lasting.close if self.lasting is not None else lambda: None,
            self.consumer.close,
            self.loop.close,
            self.health.close if self.health is not None else lambda: None,
        ):
            try:
                step()
            except operational() as problem:  # noqa: PERF203 - each step gets its turn
                log.warning("While leaving: %r", problem)
            except Exception:
                log.exception("While leaving")

    def _alive(self, heart: Heart) -> None:
        """Probes of containers live by this signal: a file that they touch when it comes."""
        if self.owner.listens("heartbeat_sent"):
            self.owner.signal("heartbeat_sent", heart)

    def _last_beat(self) -> None:
        if self.heart is not None:
            self.heart.end()

    # --- what others ask

    def resize(self, size: int) -> None:
        self.pool.resize(size)

    def autoscale(self, most: int | None, fewest: int | None) -> tuple[int, int]:
        """New bounds for the pool; what is None stays. Who follows the load keeps them."""
        follower = getattr(self.controller, "autoscaler", None)
        if follower is not None:
            self.bounds = most, fewest = follower.update(most, fewest)
            return most, fewest
        before = self.bounds or (self.pool.size, self.pool.size)
        bounds = int(most or before[0]), int(before[1] if fewest is None else fewest)
        self.bounds = max(bounds), min(bounds)
        self.pool.resize(min(max(self.pool.size, self.bounds[1]), self.bounds[0]))
        return self.bounds

    def broker_info(self) -> Mapping[str, Any]:
        """As `inspect stats` shows it."""
        return self.owner.broker_info()

    def revoked(self, ids: Sequence[str], stamps: Mapping[str, Any], now: float) -> None:
        """Have it outlive this process, where that is wanted."""
        self.statedb.save(now)
        if self.lasting is not None:
            self.lasting.keep(ids, stamps, now)

    def counts(self) -> tuple[int, int]:
        """How many tasks run, how many were accepted."""
        return sum(request.begun is not None for request in self.consumer.requests.values()), self.consumer.accepted


__all__ = ("GivenUp", "Worker")
