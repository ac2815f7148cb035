"""The threads pool: so many threads of this process, each running one job at a time.

Law: a thread cannot be ended from outside. A soft limit is raised in the task's own code; a job that is over its hard
limit, or killed, has an exception raised in it as well, is given up, and its thread is replaced: what it still does,
nobody hears of.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from typing import Any

from ...protocol.values import dataclass, field
from .. import limit
from ..limit import GivenUp
from .base import Begun, Ended, Happening, Job, Lost, Overdue, Program, Returned, taken_out
from .bell import Bell

_IDLE_TEND = 1.0
_log = logging.getLogger("celery.concurrency.threads")


@dataclass(eq=False)
class Hand:
    """One thread. `job` is what it runs, since `since`."""

    place: int
    queue: SimpleQueue[Job | None] = field(default_factory=SimpleQueue)
    thread: threading.Thread | None = None
    job: Job | None = None
    since: float = 0.0
    told: bool = False
    done: int = 0
    given_up: bool = False


class Threads:
    """See `base.Pool`."""

    can = frozenset({"soft", "hard", "kill", "resize"})

    def __init__(self, program: Program, size: int) -> None:
        self.size = size
        self._program = program
        self._bell = Bell()
        self._lock = threading.Lock()
        self._happened: deque[Happening] = deque()
        self._waiting: deque[Job] = deque()
        self._held: dict[int, tuple[Job, Hand]] = {}
        self._idle: list[Hand] = []
        self._dead: list[Hand] = []
        self._hands: list[Hand] = []
        self._places = 0
        self._closing = False

    # --- the contract

    def start(self) -> None:
        self._staff()

    def room(self) -> int:
        return max(0, len(self._idle) - len(self._waiting))

    def submit(self, jobs: Sequence[Job]) -> None:
        self._waiting.extend(jobs)
        self._hand_out()

    def release(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            job, hand = self._held.pop(number, (None, None))
            if job is not None and hand is not None:
                self._set_to(hand, job)

    def recall(self, numbers: Sequence[int] | None = None) -> None:
        for job in taken_out(self._waiting, numbers):
            self._say(Returned(job.number))

    def collect(self) -> list[Happening]:
        self._bell.hear()
        happened = []
        while self._happened:
            happened.append(self._happened.popleft())
        while self._dead:
            self._hands.remove(self._dead.pop())
            self._staff()
        if self._waiting:
            self._hand_out()
        return happened

    def fileno(self) -> int:
        return self._bell.fileno()

    def tend(self, now: float) -> float:
        again = now + _IDLE_TEND
        for hand in list(self._hands):
            job = hand.job
            if job is None:
                continue
            ran = now - hand.since
            if job.hard and ran >= job.hard:
                self._give_up(hand, Lost(job.number, f"over its time limit of {job.hard:g} s", True, job.hard))
                continue
            if job.soft and ran >= job.soft and not hand.told:
                hand.told = self._strike(hand)
                if hand.told:
                    self._say(Overdue(job.number, job.soft))
            again = min([again, *(now + limit - ran for limit in (job.soft, job.hard) if limit and limit > ran)])
        return again

    def kill(self, number: int, signal: int) -> bool:
        for hand in self._hands:
            if hand.job is not None and hand.job.number == number:
                return self._give_up(hand, Lost(number, f"ended by signal {signal}", True, None, signal))
        return False

    def resize(self, size: int) -> None:
        self.size = max(size, 0)
        while len(self._hands) > self.size and self._idle:
            self._dismiss(self._idle.pop())
        self._staff()

    def restart(self) -> None:
        while self._idle:
            self._dismiss(self._idle.pop())
        self._staff()

    def members(self) -> Sequence[Mapping[str, Any]]:
        return [
            {
                "place": hand.place,
                "pid": os.getpid(),
                "done": hand.done,
                "running": hand.job.number if hand.job else None,
            }
            for hand in self._hands
        ]

    def close(self, timeout: float) -> None:
        self._closing = True
        self.recall()
        for number in list(self._held):
            job, hand = self._held.pop(number)
            self._say(Returned(job.number))
            self._dismiss(hand)
        end = time.monotonic() + timeout
        while any(hand.job for hand in self._hands) and time.monotonic() < end:
            self.tend(time.monotonic())
            time.sleep(0.005)
        for hand in list(self._hands):
            if hand.job is not None:
                self._give_up(hand, Lost(hand.job.number, "the worker stopped before it ended", True))
            else:
                self._dismiss(hand)
        for hand in self._idle:
            self._dismiss(hand)
        self._idle.clear()

    # --- threads

    def _staff(self) -> None:
        while len(self._hands) < self.size and not self._closing:
            hand = Hand(self._places)
            self._places += 1
            hand.thread = threading.Thread(target=self._work, args=(hand,), name=f"task-{hand.place}", daemon=True)
            self._hands.append(hand)
            self._idle.append(hand)
            hand.thread.start()
        self._hand_out()

    def _dismiss(self, hand: Hand) -> None:
        if hand in self._hands:
            self._hands.remove(hand)
            hand.queue.put(None)

    def _hand_out(self) -> None:
        while self._waiting and self._idle:
            hand, job = self._idle.pop(), self._waiting.popleft()
            self._say(Begun(job.number, os.getpid(), time.time()))
            if job.held:
                self._held[job.number] = (job, hand)
            else:
                self._set_to(hand, job)

    def _set_to(self, hand: Hand, job: Job) -> None:
        hand.told = False
        hand.since = time.monotonic()
        hand.job = job
        hand.queue.put(job)

    def _work(self, hand: Hand) -> None:
        """What a thread does."""
        program = self._program
        try:
            program.begin(hand.place)
            while (job := hand.queue.get()) is not None:
                hand.since = time.monotonic()
                reports = program.flush([program.run(job)])
                if not self._finish(hand, Ended(job.number, reports[0])):
                    return
            program.end(0)
        except GivenUp:
            return
        except BaseException as problem:  # noqa: BLE001 - SystemExit of a task, or our own fault: the thread is over
            self._die(hand, problem)

    def _die(self, hand: Hand, problem: BaseException) -> None:
        with self._lock:
            job, hand.job, given_up, hand.given_up = hand.job, None, hand.given_up, True
        if given_up:
            return
        if job is not None:
            _log.error(
                "Thread %s was ended by a task, and is replaced: %s[%s]", hand.place, job.task, job.id, exc_info=problem
            )
            self._happened.append(Lost(job.number, f"{type(problem).__name__}: {problem}"))
        self._dead.append(hand)
        self._bell.ring()

    def _finish(self, hand: Hand, happening: Happening) -> bool:
        with self._lock:
            if hand.given_up:
                return False
            hand.job = None
            hand.done += 1
        self._happened.append(happening)
        self._idle.append(hand)
        self._bell.ring()
        return True

    def _say(self, happening: Happening) -> None:
        self._happened.append(happening)
        self._bell.ring()

    # --- limits

    def _strike(self, hand: Hand) -> bool:
        thread = hand.thread
        return thread is not None and limit.strike(thread.ident or 0, self._program.overdue)

    def _give_up(self, hand: Hand, loss: Lost) -> bool:
        with self._lock:
            if hand.job is None or hand.job.number != loss.number:
                return False
            hand.given_up = True
            hand.job = None
        if hand.thread is not None:
            limit.strike(hand.thread.ident or 0, GivenUp)
        self._hands.remove(hand)
        self._say(loss)
        self._staff()
        return True
