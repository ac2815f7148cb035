"""How many tasks ended and how long they took, in buckets of time: what the charts are drawn from.

Law: nothing here reads a clock. Times are counted in bins that grow by a quarter, so that a bucket of a million tasks
is as small as one of ten, and a percentile is right to an eighth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SPANS = {"hour": (10, 360), "week": (1800, 336)}
"""Name -> seconds of a bucket, and how many are kept."""
_GROWTH = math.log(1.25)
_LEAST, _MOST = -60, 80  # bins: a microsecond, a year
_COUNTS = ("succeeded", "failed", "retried")


@dataclass(slots=True)
class Bucket:
    """What happened in one stretch of time."""

    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    waits: dict[int, int] = field(default_factory=dict)
    runs: dict[int, int] = field(default_factory=dict)

    def document(self) -> list[Any]:
        bins = ([[key, count] for key, count in sorted(each.items())] for each in (self.waits, self.runs))
        return [self.succeeded, self.failed, self.retried, *bins]

    @classmethod
    def read(cls, document: Any) -> Bucket:
        """What `document` gave. Raises TypeError or ValueError."""
        *counts, waits, runs = document
        succeeded, failed, retried = (int(each) for each in counts)
        waits, runs = ({int(key): int(n) for key, n in each} for each in (waits, runs))
        return cls(succeeded, failed, retried, waits, runs)


class Series:
    """Buckets of every span. `changed` are those that are to be written down: (span, beginning)."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[int, Bucket]] = {span: {} for span in SPANS}
        self.changed: set[tuple[str, int]] = set()

    def count(self, at: float, what: str) -> None:
        for bucket in self._at(at):
            setattr(bucket, what, getattr(bucket, what) + 1)

    def waited(self, at: float, seconds: float) -> None:
        for bucket in self._at(at):
            _add(bucket.waits, seconds)

    def ran(self, at: float, seconds: float) -> None:
        for bucket in self._at(at):
            _add(bucket.runs, seconds)

    def take(self, span: str, start: int, document: Any) -> None:
        """A bucket as it was written down."""
        if span in SPANS:
            self.buckets[span][start] = Bucket.read(document)

    def forget(self, now: float) -> None:
        """What is older than its span, and what another machine's clock has put after tomorrow."""
        for span, (width, kept) in SPANS.items():
            buckets = self.buckets[span]
            for start in [each for each in buckets if not now - width * (kept + 1) < each < now + 86400]:
                del buckets[start]

    def points(self, span: str, now: float) -> list[dict[str, Any]]:
        """Each bucket of the span until now, those without events too."""
        width, kept = SPANS[span]
        last = int(now // width) * width
        return [
            _point(start, self.buckets[span].get(start, _NOTHING))
            for start in range(last - width * (kept - 1), last + 1, width)
        ]

    def _at(self, at: float) -> Iterable[Bucket]:
        for span, (width, _) in SPANS.items():
            start = int(at // width) * width
            self.changed.add((span, start))
            yield self.buckets[span].setdefault(start, Bucket())


_NOTHING = Bucket()


def _point(start: int, bucket: Bucket) -> dict[str, Any]:
    point: dict[str, Any] = {"at": start, **{name: getattr(bucket, name) for name in _COUNTS}}
    for name, bins in (("wait", bucket.waits), ("run", bucket.runs)):
        point[f"{name}50"], point[f"{name}95"] = (quantile(bins, share) for share in (0.5, 0.95))
    return point


def _add(bins: dict[int, int], seconds: float) -> None:
    key = _LEAST if seconds <= 0 else min(max(math.ceil(math.log(seconds) / _GROWTH), _LEAST), _MOST)
    bins[key] = bins.get(key, 0) + 1


def quantile(bins: Mapping[int, int], share: float) -> float | None:
    """Of the times that were counted, the one below which this share lies."""
    left = sum(bins.values()) * share
    for key in sorted(bins):
        left -= bins[key]
        if left <= 0:
            return 0.0 if key == _LEAST else round(math.exp((key - 0.5) * _GROWTH), 6)
    return None
