"""What the worker's one thread waits for: descriptors by name, and a bell for everything that has none."""

from __future__ import annotations

import select

from .polling import poll
from .pools.bell import Bell

_READABLE = select.POLLIN | select.POLLPRI | select.POLLHUP | select.POLLERR
_LONGEST = 60.0


class Loop:
    """Who is watched stays registered until that changes: a turn costs one system call."""

    def __init__(self) -> None:
        self.bell = Bell()
        self._poll = poll()
        self._descriptors: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._deaf: str | None = None
        self.watch("bell", self.bell.fileno())

    def watch(self, name: str, descriptor: int) -> None:
        """Wake when this is readable; -1: no more."""
        before = self._descriptors.get(name, -1)
        if before == descriptor:
            return
        if before >= 0:
            self.forget(name)
        if descriptor >= 0:
            self._poll.register(descriptor, _READABLE)
            self._descriptors[name] = descriptor
            self._names[descriptor] = name

    def ignore(self, name: str | None) -> None:
        """Sleep through what this one has to say, until another is named, or nobody."""
        if name == self._deaf:
            return
        before = self._descriptors.get(self._deaf or "", -1)
        if before >= 0:
            self._poll.register(before, _READABLE)
        descriptor = self._descriptors.get(name or "", -1)
        if descriptor >= 0:
            self._poll.unregister(descriptor)
        self._deaf = name if descriptor >= 0 else None

    def forget(self, name: str) -> None:
        """Before its descriptor is closed: the next to have that number is somebody else."""
        if name == self._deaf:
            self.ignore(None)
        descriptor = self._descriptors.pop(name, -1)
        if descriptor >= 0 and self._names.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def wait(self, seconds: float) -> set[str]:
        """The names of what is readable; at once if `seconds` is 0 or less."""
        found = self._poll.poll(max(0.0, min(seconds, _LONGEST)) * 1000)
        names = {self._names[descriptor] for descriptor, _ in found}
        if "bell" in names:
            self.bell.hear()
        return names

    def close(self) -> None:
        for name in list(self._descriptors):
            self.forget(name)
        self.bell.close()
