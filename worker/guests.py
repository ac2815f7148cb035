"""What others run in the worker's pool: functions that a package calls there, and requests of a class of its own.

Law: a guest is a job like any other, told by its number; who brought it hears of it instead of the rules, in the
worker's thread. Where its number is a delivery's too, what the host says is the fate of that delivery.
"""

from __future__ import annotations

from typing import Protocol

from ..protocol.rules.outcome import Fate, Report
from .pools.base import Begun, Job, Lost


class Host(Protocol):
    """Who brought a guest."""

    def begun(self, begun: Begun) -> None: ...

    def overdue(self, seconds: float) -> None: ...

    def ended(self, report: Report) -> Fate: ...

    def lost(self, lost: Lost) -> Fate: ...


class Guest:
    __slots__ = ("host", "job")

    def __init__(self, job: Job, host: Host) -> None:
        self.job = job
        self.host = host
