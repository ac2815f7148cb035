"""`app.clock`: the logical clock of events and remote control, under kombu's name and with kombu's methods.

Law: which value follows is decided by `protocol.rules.clock`. Any number of threads use one clock.
"""

from __future__ import annotations

from kombu.clocks import LamportClock

from ...protocol.rules.clock import adjusted, forwarded


class Clock(LamportClock):
    """kombu's, kept within what peers can read: they refuse whoever is beyond it."""

    def adjust(self, other: int) -> int:
        with self.mutex:
            self.value = adjusted(self.value, other)
            return self.value

    def forward(self) -> int:
        with self.mutex:
            self.value = forwarded(self.value)
            return self.value
