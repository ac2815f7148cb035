"""How many jobs to hand over at once: many of the quick, one of the slow and of those that nobody has seen run.

Law: arithmetic on what was observed; the clock is elsewhere. A batch is a few milliseconds of work, so that whatever
waits behind its first job waits no longer than that, and the price of handing over is shared by all.
"""

from __future__ import annotations

from collections.abc import Iterable

AIM = 0.004
"""Seconds of work in one batch."""
MOST = 64
_QUICK = 8
"""From so many in a batch on, a child has a second one waiting."""
_FLOOR = 20e-6
"""No task counts for less: decoding it and storing what it returned take their time too."""
_WEIGHT = 0.2
_KNOWN = 4096
"""Names that are remembered; a worker that runs more kinds of tasks than that starts to learn anew."""


class Pace:
    """What the tasks run here have taken lately, by name."""

    __slots__ = ("_seconds", "overall")

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self.overall: float | None = None

    def saw(self, task: str, seconds: float) -> None:
        """One run. A long one counts at once, a short one little by little: surprises are dear on one side only."""
        before = self._seconds.get(task)
        if before is None:
            if len(self._seconds) >= _KNOWN:
                self._seconds.clear()
            self._seconds[task] = seconds
        else:
            self._seconds[task] = seconds if seconds > 4 * before else before + _WEIGHT * (seconds - before)
        self.overall = seconds if self.overall is None else self.overall + _WEIGHT * (seconds - self.overall)

    def expects(self, task: str) -> float:
        """Seconds that one will take; for one never seen, more than a batch may hold."""
        seconds = self._seconds.get(task, AIM)
        return seconds if seconds > _FLOOR else _FLOOR  # noqa: FURB136 - `max` takes three times as long

    def batch(self, tasks: Iterable[str], most: int = MOST) -> int:
        """How many of these, in this order, make a batch: at least one if there is one."""
        count, left = 0, AIM
        before, expected = "", 0.0
        for task in tasks:
            if task != before:
                before, expected = task, self.expects(task)
            left -= expected
            if count and (left < 0 or count >= most):
                break
            count += 1
        return count

    def depth(self) -> int:
        """How many jobs of the kind that is run here keep one child busy for a batch."""
        if self.overall is None:
            return 1
        return max(1, min(MOST, int(AIM / max(self.overall, _FLOOR))))

    def room(self, given: int) -> int:
        """How many more for a child that has so many. Of quick ones two batches, and never less than a whole one:
        a child that is fed a job for each that it has done makes everybody work for each job."""
        depth = self.depth()
        if depth < _QUICK:
            return max(0, depth - given)
        return 2 * depth - given if given <= depth else 0
