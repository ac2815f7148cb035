"""The prefork pool: child processes over socketpairs, fed with small batches; a child's death costs one job.

Law: the parent never waits for a child. It hands jobs over, reads what came back, and judges a dead child by its mark
and its journal: what the journal holds is done, the job under the mark is lost, the rest goes to the others.

Taking back jobs from a living child (it runs something slow, and another is idle): the parent marks the batch as
recalled, waits a moment longer than a processor may keep a store to itself, and reads which job is running. The child
looks at the recall after it has marked a job as running; if it finds one, it gives that job back by its socket. So each
job has one owner, and a job that the parent saw as running stays the child's until the child says otherwise.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...protocol.values import dataclass, field
from . import vigil
from .base import Begun, Ended, Happening, Job, Lost, Overdue, Program, Returned, taken_out
from .batching import AIM, MOST, Pace
from .forking import Forked
from .frames import Reader, job_values, pack, report_of
from .marks import Journal, Mark, Marks
from .processes import memory, reap, send, watch, why
from .witness import Witness

if TYPE_CHECKING:
    from .spawning import Spawned

_WRITING = 1.0
"""A child that takes longer to write what it has done waits for a store or a broker that is away."""
_CHUNK = 1 << 16
"""Read at once. From 128 KiB on, each read would have the system map memory, and unmap it."""
_SETTLING = 0.002
"""Seconds after a recall until a child's mark can be believed."""
_DEAF = 5.0
"""Seconds that a child has to die of the signal it was sent, before it is sent the last."""
_PATIENCE = 0.004
"""So long a quick job's end need not be heard of, if nobody waits for it."""
_PAIR = 2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_FITS = 1 << 16
"""Bytes that a child's socket takes without a doubt, though it reads none."""
_IDLE_TEND = 1.0
_OWED = 2.0
"""Seconds until what the dead have left to send is tried again, while the broker is away."""
_NONE: tuple[int, Job | None] = (0, None)
_log = logging.getLogger("celery.concurrency.prefork")


@dataclass(eq=False)
class Child:
    """One process as the parent sees it. `given` are its jobs in order, by number, each with its batch."""

    place: int
    seat: int
    """Its index among those that are to stay: its name in the logs, and its successor's."""
    pid: int
    socket: socket.socket
    mark: Mark
    journal: Journal
    watch: int
    born: float
    reader: Reader = field(default_factory=Reader)
    out: bytearray = field(default_factory=bytearray)
    given: OrderedDict[int, tuple[int, Job]] = field(default_factory=OrderedDict)
    holds: OrderedDict[int, set[int]] = field(default_factory=OrderedDict)
    unread: int = 0
    """So many bytes may be in its socket, or on their way there."""
    unsaid: list[int] = field(default_factory=list)
    """Jobs that it has when the last of them has been written."""
    load: float = 0.0
    """Seconds that those will take."""
    handed: float = 0.0
    recalled: tuple[int, float] | None = None
    told_overdue: int = 0
    ended_by: tuple[int, int | None, float | None] | None = None
    ended_at: float = 0.0
    leaving: bool = False
    looked: float = 0.0
    stopped: float = 0.0
    """Since when it has been seen to be stopped; 0: it was not, at the last look."""
    warned: bool = False
    """Somebody was told that it is stopped, or slow to come up."""
    told: int = 0
    """How many jobs it has told of; its mark says how many it has done."""
    delayed: int = -1
    """`told` when somebody was last told that it has been writing for long."""


class Prefork:
    """See `base.Pool`. `max_tasks` and `max_memory` (KiB) are what a child may do and hold before it is replaced.

    `spawn`: its processes begin anew (`spawning`) instead of being forked, and the program is pickled for them.
    """

    can = frozenset({"soft", "hard", "kill", "resize", "processes", "promise"})

    def __init__(
        self,
        program: Program,
        size: int,
        *,
        max_tasks: int | None = None,
        max_memory: int | None = None,
        places: int = 1024,
        alive_timeout: float = 4.0,
        spawn: bool = False,
    ) -> None:
        self.size = size
        self.deaths = 0
        """How many children died that nobody had told to."""
        self._alive_timeout = alive_timeout
        self._program = program
        self._max_tasks = max_tasks
        self._max_memory = max_memory
        self.before_child: Callable[[], object] = lambda: None
        """Called each time before a child is made, here."""
        self._marks = Marks(max(places, size), shared=spawn)
        self._births = _births(program, self._marks, spawn=spawn)
        self._witness = Witness(self._marks)
        self._free_places = deque(range(self._marks.places))
        self._children: dict[int, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._waiting: deque[Job] = deque()
        self._promised: list[tuple[Child, int]] = []
        self._said: set[int] = set()
        self._free: set[int] = set()
        self._moving: set[int] = set()
        self._unwanted: dict[int, int] = {}
        """Jobs that must not begin any more, and the signal for those that do so all the same; 0: none."""
        self._pace = Pace()
        self._batch = 0
        self._happened: list[Happening] = []
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
        self._closing = False
        self._owed: deque[tuple[Job, bytes]] = deque()
        self._pay_at = 0.0

    # --- the contract

    def start(self) -> None:
        # What is alive now stays shared with the children: the collector must not touch, and thereby copy, it. Only the
        # young are collected before: to look through all that was loaded takes 15 ms of CPU, and makes holes in pages.
        gc.collect(1)
        gc.freeze()
        self._call_witness()
        self._staff(time.monotonic())

    def room(self) -> int:
        room = self._pace.room
        most = sum(room(len(child.given)) for child in self._children.values() if not child.leaving)
        return max(0, most - len(self._waiting))

    def patience(self) -> float:
        """Seconds for which nobody misses what `collect` would say: another child is idle, and the one job that runs
        is quick and nothing is owed for it."""
        if self._waiting or self._closing:
            return 0.0
        busy = None
        for child in self._children.values():
            if child.given:
                if busy is not None:
                    return 0.0
                busy = child
        if busy is None or len(busy.given) > 1 or len(self._children) < _PAIR or busy.leaving:
            return 0.0
        ((_, job),) = busy.given.values()
        if not job.held or self._pace.expects(job.task) >= _PATIENCE:
            return 0.0
        return busy.handed + _PATIENCE - time.monotonic()

    def submit(self, jobs: Sequence[Job]) -> None:
        self._waiting.extend(jobs)
        self._hand_out()

    def promise(self, numbers: Sequence[int]) -> None:
        promised = set(numbers)
        for child in self._children.values():
            last = 0
            for batch, held in child.holds.items():
                if not held <= promised:
                    break
                last = batch
            if last:
                self._promised.append((child, last))

    def keep(self, connection: socket.socket | None) -> None:
        self._witness.keep(connection)

    def telling(self, data: bytes) -> None:
        place = self._witness.place()
        # As late as may be: a child that has its job before the broker was told must wait for that.
        for child, last in self._promised:
            if child.out:
                self._write(child)
            child.mark.promise(last)
        self._promised.clear()
        self._witness.telling(data, place)

    def told(self) -> None:
        self._promised.clear()
        self._marks.told()

    def release(self, numbers: Sequence[int]) -> None:
        released = set(numbers)
        self._free |= released & self._said
        for child in self._children.values():
            if not child.holds:
                continue
            for held in child.holds.values():
                held.difference_update(released)
            self._let_go(child)
            if child.out and not child.holds:
                self._write(child)

    def recall(self, numbers: Sequence[int] | None = None) -> None:
        for job in taken_out(self._waiting, numbers):
            self._return(job)
        if numbers is not None:
            self._call_back(dict.fromkeys(numbers, 0))

    def _call_back(self, unwanted: Mapping[int, int]) -> None:
        """What is some child's and has not begun comes back, and goes to nobody else."""
        now = time.monotonic()
        for child in self._children.values():
            running = child.mark.running
            these = {number: signal for number, signal in unwanted.items() if number in child.given}
            these.pop(running, None)
            if these:
                self._unwanted.update(these)
                child.recalled = (self._batch, now)
                child.mark.recall(self._batch)

    def collect(self) -> list[Happening]:
        if not self._happened:  # what is known already is told first
            self._look()
        if self._waiting:
            self._hand_out()
        happened, self._happened = self._happened, []
        return happened

    def _look(self) -> None:
        for key, events in self._selector.select(0):
            child: Child
            child, what = key.data
            if what == "watch":
                self._gone(child)
            elif what == "witness":
                self._call_witness()
            elif self._children.get(child.pid) is child:
                if events & selectors.EVENT_WRITE:
                    self._write(child)
                if events & selectors.EVENT_READ:
                    self._read(child)

    def fileno(self) -> int:
        return self._selector.fileno()

    def tend(self, now: float) -> float:
        again = now + _IDLE_TEND
        for child in list(self._children.values()):
            if not child.watch:
                self._look_after(child)
            again = min(again, self._limits(child, now), self._unstick(child, now))
            if now - child.looked >= vigil.EVERY:
                vigil.look_at(child, now, self._alive_timeout)
        if not self._closing:
            again = min(again, self._staff(now))
        if self._owed:
            if now >= self._pay_at or self._closing:
                self._pay(now)
            again = min(again, self._pay_at)
        if self._waiting:
            self._hand_out()
        return again

    def kill(self, number: int, signal: int) -> bool:
        for child in self._children.values():
            if child.mark.running == number and number in child.given:
                child.ended_by = (number, signal, None)
                child.ended_at = time.monotonic()
                child.mark.condemn(number)
                send(child.pid, signal)
                return True
        self._call_back({number: signal})
        return False

    def resize(self, size: int) -> None:
        self.size = max(size, 0)
        surplus = [child for child in self._children.values() if not child.leaving]
        surplus.sort(key=lambda child: len(child.given))
        for child in surplus[: max(0, len(surplus) - self.size)]:
            self._leave(child)
        if not self._closing:
            self._staff(time.monotonic())

    def restart(self) -> None:
        for child in list(self._children.values()):
            self._leave(child)
        self._staff(time.monotonic())

    def members(self) -> Sequence[Mapping[str, Any]]:
        return [
            {
                "place": child.place,
                "pid": child.pid,
                "done": child.mark.done,
                "running": child.mark.running or None,
                "waiting": len(child.given),
                "memory": memory(child.pid),
                "frozen": bool(child.stopped),
            }
            for child in self._children.values()
        ]

    def close(self, timeout: float) -> None:
        self._closing = True
        self.recall()
        for child in list(self._children.values()):
            self._leave(child)
        end = time.monotonic() + timeout
        happened: list[Happening] = []
        while self._children:
            left = end - time.monotonic()
            if left <= 0:
                self._end_all()
            self._selector.select(min(max(left, 0.0), 0.1))
            happened += self.collect()
            self.tend(time.monotonic())
            for job in self._waiting:
                self._return(job)
            self._waiting.clear()
        self._pay(time.monotonic())
        self._happened = happened + self._happened
        self._dismiss_witness()
        self._births.close()

    # --- the witness

    def _call_witness(self) -> None:
        """A first one, or another in the place of one that died."""
        self._dismiss_witness()
        if not self._closing:
            self._witness.start(lambda ours, theirs: self._births.witness(ours, theirs, self._apart))
            if self._witness.watch:
                self._selector.register(self._witness.watch, selectors.EVENT_READ, (None, "witness"))

    def _dismiss_witness(self) -> None:
        if self._witness.watch:
            self._selector.unregister(self._witness.watch)
        self._witness.close()

    def _apart(self) -> None:
        """In a new process: it holds nothing of the parent's and of its siblings."""
        self._witness.leave()
        for other in self._children.values():
            other.socket.close()
            if other.watch:
                os.close(other.watch)
        self._selector.close()

    # --- children

    def _staff(self, now: float) -> float:
        """As many children as there should be; not again and again at once where they die as they are born."""
        missing = self.size - sum(not child.leaving for child in self._children.values())
        if missing <= 0:
            return now + _IDLE_TEND
        if now < self._not_before:
            return self._not_before
        for _ in range(missing):
            self._fork(now)
        return now + _IDLE_TEND

    def _fork(self, now: float) -> None:
        ours, theirs = socket.socketpair()
        place = self._free_places.popleft()
        mark, journal = self._marks.at(place), Journal(shared=self._births.apart)
        mark.clear()
        journal.clear()
        self.before_child()
        seat = self._free_seat()
        pid = self._births.child(ours, theirs, journal, place, seat, self._apart)
        theirs.close()
        ours.setblocking(False)
        child = Child(place, seat, pid, ours, mark, journal, watch(pid), now)
        self._children[pid] = child
        self._selector.register(ours, selectors.EVENT_READ, (child, "socket"))
        if child.watch:
            self._selector.register(child.watch, selectors.EVENT_READ, (child, "watch"))

    def _free_seat(self) -> int:
        taken = {child.seat for child in self._children.values() if not child.leaving}
        return next(seat for seat in range(len(taken) + 1) if seat not in taken)

    def _leave(self, child: Child) -> None:
        """It gets no more jobs, and goes when it has done those it has."""
        child.leaving = True
        if not child.given and not child.out:
            _hang_up(child)

    def _end_all(self) -> None:
        for child in self._children.values():
            send(child.pid, signal.SIGKILL)

    def _recycle(self, child: Child) -> None:
        """Let it go when it has done its share, or has grown too big."""
        if not child.leaving and (
            self._share(child) <= 0 or (self._max_memory and memory(child.pid) > self._max_memory)
        ):
            self._leave(child)

    def _share(self, child: Child) -> int:
        """How many jobs more it may be given in its life."""
        return self._max_tasks - child.told - len(child.given) if self._max_tasks else sys.maxsize

    # --- handing over

    def _hand_out(self) -> None:
        if not self._waiting:
            return
        idle = [child for child in self._children.values() if not child.given and not child.leaving]
        while idle and self._waiting:
            share = -(-len(self._waiting) // len(idle))
            child = idle.pop()
            self._give(child, self._next(child, share))
        if self._waiting:
            self._hand_ahead()

    def _hand_ahead(self) -> None:
        """A second batch for who is busy with quick jobs, so that it finds one when it is done."""
        for child in self._children.values():
            if not self._waiting:
                return
            # While some is called back, what it has done is counted from the first of those it has.
            if child.leaving or child.recalled or self._share(child) <= 0 or len(self._batches(child)) > 1:
                continue
            if child.load < AIM:
                self._give(child, self._next(child, len(self._waiting)))

    def _batches(self, child: Child) -> set[int]:
        return {batch for batch, _ in child.given.values()}

    def _next(self, child: Child, most: int) -> list[Job]:
        count = self._pace.batch((job.task for job in self._waiting), min(MOST, most, self._share(child)))
        return [self._waiting.popleft() for _ in range(count)]

    def _give(self, child: Child, jobs: Sequence[Job]) -> None:
        self._batch += 1
        batch = self._batch
        held = set()
        frame = pack(batch, [job_values(job) for job in jobs])
        child.unread = child.unread + len(frame) if child.given else len(frame)
        expects = self._pace.expects
        for job in jobs:
            child.given[job.number] = (batch, job)
            child.load += expects(job.task)
            if job.held and job.number not in self._free:
                held.add(job.number)
        child.holds[batch] = held
        child.handed = time.monotonic()
        child.out += frame
        if self._moving:
            self._write(child)
            self._have_moved(jobs)
        self._let_go(child)
        child.unsaid += [job.number for job in jobs if job.number not in self._said]
        if child.unread > _FITS:
            self._write(child)  # it is not its child's before all of it is in there
            return
        self._say_begun(child)
        if not child.holds:
            self._write(child)  # else when it is promised: a child that must wait for that only burns its time

    # A job that another child was given before, and may still have in its socket. `held` counts how often it went on,
    # so that if we die each child knows whether it is the one that has it; the word in shared memory says it to both.

    def _took(self, job: Job) -> Job:
        """Back from a child that lives."""
        if not job.held:
            return job
        self._moving.add(job.number)
        return job._replace(held=job.held + 1)

    def _widowed(self, job: Job) -> Job:
        """Back from a child that died: nobody else has it, and it need not wait for what others wait for."""
        return job._replace(held=0) if job.number in self._free else job

    def _have_moved(self, jobs: Sequence[Job]) -> None:
        """The next has them now."""
        for job in jobs:
            if job.number in self._moving:
                self._moving.discard(job.number)
                self._marks.move(job.number, job.held - 1)

    def _say_begun(self, child: Child) -> None:
        now = time.time()
        for number in child.unsaid:
            if number in child.given:
                self._said.add(number)
                self._happened.append(Begun(number, child.pid, now))
        child.unsaid.clear()

    def _let_go(self, child: Child) -> None:
        """Tell the child how far its batches are released: up to the first that still waits for one."""
        last = 0
        for batch in list(child.holds):
            if child.holds[batch]:
                break
            last = batch
            del child.holds[batch]
        if last:
            child.mark.release(last)

    def _write(self, child: Child) -> None:
        try:
            while child.out:
                sent = child.socket.send(child.out[:_CHUNK])
                del child.out[:sent]
        except BlockingIOError:
            self._selector.modify(child.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, (child, "socket"))
            return
        except OSError:
            child.out.clear()  # it is gone, which its watch will tell
            child.unsaid.clear()
        if child.unsaid:
            self._say_begun(child)
        if self._selector.get_key(child.socket).events & selectors.EVENT_WRITE:
            self._selector.modify(child.socket, selectors.EVENT_READ, (child, "socket"))

    # --- what comes back

    def _read(self, child: Child) -> None:
        try:
            data = child.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone(child)
            return
        self._hear(child, data)
        if not child.given:
            self._recycle(child)
            if child.leaving and not self._closing:
                self._staff(time.monotonic())
        if child.leaving and not child.given:
            _hang_up(child)

    def _hear(self, child: Child, data: bytes) -> None:
        for batch, reports in child.reader.feed(data):
            for values in reports:
                self._done(child, batch, values)
            child.handed = time.monotonic()

    def _done(self, child: Child, batch: int, values: Sequence[Any]) -> None:
        number, took, report = report_of(values)
        if took >= 0:
            child.told += 1
        own, job = child.given.get(number, _NONE)
        if own != batch or job is None:
            return  # taken back before, by its mark; it may even be here again, in a later batch
        del child.given[number]
        child.load = child.load - self._pace.expects(job.task) if child.given else 0.0
        if took < 0:
            self._put_back(self._took(job))
            return
        self._pause = _FIRST_PAUSE
        self._pace.saw(job.task, took)
        self._forget(number)
        self._happened.append(Ended(number, report))

    def _forget(self, number: int) -> None:
        self._said.discard(number)
        self._free.discard(number)
        if self._unwanted:
            self._unwanted.pop(number, None)

    def _put_back(self, job: Job) -> None:
        """A child has it no more: it waits again, before all others, or is not wanted any more."""
        if job.number in self._unwanted:
            self._return(job)
        else:
            self._waiting.appendleft(job)

    def _return(self, job: Job) -> None:
        self._have_moved((job,))
        self._forget(job.number)
        self._happened.append(Returned(job.number))

    # --- death

    def _gone(self, child: Child) -> None:
        """Its process has ended, or its socket has: either way it is nobody's any more."""
        if self._children.get(child.pid) is not child:
            return
        self._drain(child)
        status = reap(child.pid)
        del self._children[child.pid]
        self._selector.unregister(child.socket)
        child.socket.close()
        if child.watch:
            self._selector.unregister(child.watch)
            os.close(child.watch)
        self._inherit(child)
        meant = child.ended_by is not None and child.ended_by[0]
        self.deaths += bool(status) and not meant and not self._closing
        running = child.mark.running
        early = not child.mark.done and not running and not child.leaving
        entry = child.given.pop(running, None)
        if entry is not None:
            self._forget(running)
            self._happened.append(_loss(child, running, status))
        for _, job in reversed(child.given.values()):
            self._put_back(self._widowed(job))
        child.given.clear()
        child.journal.close()
        self._free_places.append(child.place)
        if status and entry is None and child.ended_by is None and not self._closing:
            _log.error(
                "Child process %s died between tasks: %s. Its place is taken by a new one.", child.pid, why(status)
            )
        if early and status:
            self._not_before = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        if not self._closing:
            self._staff(time.monotonic())

    def _drain(self, child: Child) -> None:
        """What it had written before it went."""
        try:
            while data := child.socket.recv(_CHUNK):
                self._hear(child, data)
        except OSError:
            pass

    def _inherit(self, child: Child) -> None:
        """What it had done and not told."""
        for batch, (reports, debts) in Reader().feed(child.journal.read()):
            for values in reports:
                if values[0] in child.given:
                    job = child.given[values[0]][1]
                    if debts and not self._program.pay(job, debts):
                        _log.warning(
                            "What %s[%s], whose child died, had to send waits for the broker, and is sent when that "
                            "is back",
                            job.task,
                            job.id,
                        )
                        self._owed.append((job, debts))
                        self._pay_at = time.monotonic() + _OWED
                    self._done(child, batch, values)

    def _pay(self, now: float) -> None:
        """What is still owed of the dead, in its order: what comes behind one that waits would wait as well."""
        while self._owed and self._program.pay(*self._owed[0], last=self._closing):
            self._owed.popleft()
        self._pay_at = now + _OWED

    def _look_after(self, child: Child) -> None:
        """Where the system has no descriptor for a process."""
        try:
            ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            ended = True
        if ended:
            self._gone(child)

    # --- limits, and children that do not move

    def _limits(self, child: Child, now: float) -> float:
        """When to look at its limits again."""
        running = child.mark.running
        entry = child.given.get(running)
        soonest = min(
            (limit for _, job in child.given.values() for limit in (job.soft, job.hard) if limit), default=_IDLE_TEND
        )
        if entry is None:
            return now + soonest
        _, job = entry
        since = child.mark.since
        if child.mark.running != running:
            return now  # it has just gone on to the next
        ran = now - since
        if child.ended_by is not None and child.ended_by[0] == running and now - child.ended_at > _DEAF:
            send(child.pid, signal.SIGKILL)
        if job.hard and ran >= job.hard:
            if child.ended_by is None:
                child.ended_by = (running, None, job.hard)
                send(child.pid, signal.SIGKILL)
            return now + _IDLE_TEND
        if job.soft and ran >= job.soft and child.told_overdue != running:
            child.told_overdue = running
            child.mark.overrun(running)
            self._happened.append(Overdue(running, job.soft))
            send(child.pid, signal.SIGUSR1)
        waits = [limit - ran for limit in (job.soft, job.hard) if limit and limit > ran]
        return now + min([*waits, _IDLE_TEND])

    def _unstick(self, child: Child, now: float) -> float:
        """Take back what waits behind a slow job while another child is idle; end a child that does not begin."""
        if not child.given:
            return now + _IDLE_TEND
        if child.recalled is not None:
            batch, at = child.recalled
            if now < at + _SETTLING:
                return at + _SETTLING
            child.recalled = None
            self._take_back(child, batch)
            return now + _IDLE_TEND
        vigil.unmoved(child, now)
        running = child.mark.running
        if len(child.given) > 1 and self._idle():
            slow = running in child.given and now - child.mark.since > 0.02  # noqa: PLR2004 - five batches' worth
            writing = not running and child.mark.done > child.told and now - child.handed > _WRITING
            if slow or writing:
                child.recalled = (self._batch, now)
                child.mark.recall(self._batch)
                return now + _SETTLING
            return now + 0.02
        return now + (0.02 if len(child.given) > 1 else _IDLE_TEND)

    def _idle(self) -> bool:
        return any(not child.given and not child.leaving for child in self._children.values())

    def _take_back(self, child: Child, batch: int) -> None:
        """Jobs are run in order, so what it has done and not told are the first of those it was given."""
        running = child.mark.running
        finished = child.mark.done - child.told
        back = [
            job
            for place, (own, job) in enumerate(child.given.values())
            if place >= finished and own <= batch and job.number != running
        ]
        for job in reversed(back):
            del child.given[job.number]
            self._put_back(self._took(job))
        late = self._unwanted.pop(running, 0)
        if late:
            self.kill(running, late)


def _births(program: Program, marks: Marks, *, spawn: bool) -> Forked | Spawned:
    """How children begin."""
    if spawn:
        from .spawning import Spawned

        return Spawned(program, marks)
    return Forked(program, marks)


def _loss(child: Child, number: int, status: int) -> Lost:
    limit = sent = None
    if child.ended_by is not None and child.ended_by[0] == number:
        _, sent, limit = child.ended_by
    return Lost(number, why(status), True, limit, sent)


def _hang_up(child: Child) -> None:
    with contextlib.suppress(OSError):
        child.socket.shutdown(socket.SHUT_WR)
