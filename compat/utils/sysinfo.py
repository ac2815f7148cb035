"""What this machine has: processors, load, disk space."""

from __future__ import annotations

import os
from functools import cached_property
from math import ceil
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

__all__ = (
    "AUTO_CONCURRENCY",
    "CpuBudget",
    "available_cpu_count",
    "cgroup_cpu_quota",
    "cpu_budget",
    "df",
    "is_auto_concurrency",
    "load_average",
)  # fmt: skip

AUTO_CONCURRENCY = "auto"
CGROUP_ROOT = "/sys/fs/cgroup"
PROC_SELF_CGROUP = "/proc/self/cgroup"


def is_auto_concurrency(value: Any) -> bool:
    """Whether the concurrency is to be found out."""
    return isinstance(value, str) and value.strip().lower() == AUTO_CONCURRENCY


def available_cpu_count() -> int:
    """How many processors this process may run on."""
    count: int | None = None
    if hasattr(os, "process_cpu_count"):
        count = os.process_cpu_count()
    elif hasattr(os, "sched_getaffinity"):
        try:
            count = len(os.sched_getaffinity(0))
        except OSError:
            count = None
    return count or os.cpu_count() or 2


def _text(*path: str) -> str:
    try:
        return Path(*path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _quota(words: list[str]) -> float | None:
    """Processors by quota and period; neither `max` nor -1 is a limit."""
    try:
        quota, period = map(int, words)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def _groups() -> dict[str, str]:
    """Where this process stands in each hierarchy of cgroups; the unified one has no name."""
    found = {}
    for line in _text(PROC_SELF_CGROUP).splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            found[parts[1]] = parts[2]
    return found


def _smallest(root: str, group: str, *files: str) -> float | None:
    """The smallest limit of a group and of all groups above it."""
    place = PurePosixPath(os.path.normpath("/" + group.lstrip("/")))
    limits = []
    for above in (place, *place.parents):
        where = str(above).lstrip("/")
        limits.append(_quota([word for file in files for word in _text(root, where, file).split()]))
    return min((limit for limit in limits if limit is not None), default=None)


def cgroup_cpu_quota() -> float | None:
    """How many processors this container may use; None when nothing limits it."""
    groups = _groups() or {"": "/", "cpu": "/"}
    if "" in groups:
        found = _smallest(CGROUP_ROOT, groups[""], "cpu.max")
        if found is not None:
            return found
    for controllers, group in groups.items():
        if "cpu" in controllers.split(","):
            for mount in dict.fromkeys((controllers, "cpu")):
                found = _smallest(f"{CGROUP_ROOT}/{mount}", group, "cpu.cfs_quota_us", "cpu.cfs_period_us")
                if found is not None:
                    return found
    return None


class CpuBudget(NamedTuple):
    """How many processes to start, how many processors there are, and the container's limit."""

    count: int  # type: ignore[assignment] # tuples have a method of this name; Celery has it so
    available: int
    quota: float | None


def cpu_budget(use_cgroup_quota: bool = True) -> CpuBudget:
    """What a pool may use: the processors, or the container's limit rounded up."""
    available = available_cpu_count()
    quota = cgroup_cpu_quota() if use_cgroup_quota else None
    count = available if quota is None else min(available, max(1, ceil(quota)))
    return CpuBudget(count, available, quota)


def load_average() -> tuple[float, ...]:
    """The load of the last 1, 5 and 15 minutes."""
    if not hasattr(os, "getloadavg"):
        return 0.0, 0.0, 0.0
    return tuple(ceil(load * 100) / 100 for load in os.getloadavg())


class df:
    """How full a disk is."""

    def __init__(self, path: str | bytes | os.PathLike[Any]) -> None:
        self.path = path

    @property
    def total_blocks(self) -> float:
        """Kilobytes in all."""
        return self.stat.f_blocks * self.stat.f_frsize / 1024

    @property
    def available(self) -> float:
        """Kilobytes left."""
        return self.stat.f_bavail * self.stat.f_frsize / 1024

    @property
    def capacity(self) -> int:
        """Per cent used."""
        used = self.stat.f_blocks - self.stat.f_bfree
        return ceil(used * 100.0 / (used + self.stat.f_bavail) + 0.5)

    @cached_property
    def stat(self) -> os.statvfs_result:
        return os.statvfs(os.path.abspath(self.path))  # noqa: PTH100 - the path may be bytes
