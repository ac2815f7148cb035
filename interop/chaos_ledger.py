"""What became of everything that chaos sent, and in whose hands it went wrong.

Law: a task that was accepted is done, or its caller can read that its process was lost (early acknowledgements promise
no more). Who was seen to have it last, at the broker or in a log, has lost it. A task may run again where nobody could
prevent it: its connection, its broker or its producer came to harm meanwhile, or, acknowledged late, what ran it did.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from interop.peers import OURS, STOCK
from tests import servers

WORKER, PRODUCER = "worker", "producer"
EARLY = frozenset({"early", "eta"})
OF_PROCESSES = frozenset({"kill the parent", "kill a child", "SIGTERM"})
BEFORE = 1.0
"""Seconds before a task's first line at which what harmed it may have begun."""
NOBODY = "nobody"
SEEN = "seen"
"""Where all that a broker of Redis was told is written."""
_NAMED = re.compile(r"[a-z_.]+\[((?:early|late|eta|retry|chain|group|chord)-producer\d-\d+)[^\]]*\]")
_AT = re.compile(r"^\[([\d-]+ [\d:,]+):")


@dataclass(frozen=True)
class Fault:
    at: float
    kind: str
    slot: str
    seconds: float


@dataclass(frozen=True)
class Sent:
    """`keys` are what the ledger must show; `first`: those that need no other to be done before."""

    name: str
    kind: str
    keys: tuple[str, ...]
    producer: str
    began: float
    ended: float
    accepted: bool
    first: tuple[str, ...]


@dataclass
class Account:
    """`missing`, `doubled` and `late` are keys, each with whose it was.

    `complete`: canvases of which all is done; `once`: of them, those of which nothing began twice.
    `last`: when the last task that was done had ended; `seconds`: how long after the faults that was.
    """

    sent: int = 0
    unknown: int = 0
    canvases: int = 0
    complete: int = 0
    once: int = 0
    told: int = 0
    runs: int = 0
    excused: int = 0
    last: float = 0.0
    seconds: float = 0.0
    missing: dict[str, str] = field(default_factory=dict)
    doubled: dict[str, str] = field(default_factory=dict)
    late: dict[str, str] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)

    def by(self, names: Mapping[str, str]) -> Counter[str]:
        return Counter(names.values())

    @property
    def wrong(self) -> int:
        """What must not be: anything that went wrong, and was not stock's."""
        wrong = [*self.missing.values(), *self.doubled.values(), *self.late.values()]
        return sum(whose in {OURS, NOBODY} for whose in wrong)

    def said(self) -> str:
        return (
            f"{self.sent} calls, {sum(self.faults.values())} faults: lost {dict(self.by(self.missing))}, wrongly "
            f"doubled {dict(self.by(self.doubled))}, run again with reason {self.excused}, told of {self.told}, "
            f"late {dict(self.by(self.late))}, canvases {self.complete} of {self.canvases}, {self.once} with no "
            f"second run, the last done {self.seconds:.0f} s after; {self.missing} {self.doubled} {self.late}"
        )


def settled(
    sent: Sequence[Sent],
    faults: Sequence[Fault],
    kinds: Mapping[str, str],
    folder: Path,
    results: str,
    *,
    hands: bool = True,
) -> Account:
    """`kinds`: whose each slot is. In whose `hands` something went wrong takes long to find out."""
    starts, ends, last = _read(folder / "ledger")
    made = Account(faults=Counter(fault.kind for fault in faults), last=last)
    for each in list(sent):
        if not each.accepted:
            made.unknown += 1
            continue
        made.sent += 1
        missing = [key for key in each.keys if key not in ends]
        if missing and each.kind in EARLY and _was_told(results, each.name):
            made.told += 1
            missing = []
        if missing:
            whose = _whose(each, missing[0], ends, kinds, folder) if hands else NOBODY
            made.missing |= dict.fromkeys(missing, whose)
        ran = {slot for key in each.keys for _, slot in starts[key]}
        if each.kind in {"chain", "group", "chord"}:
            made.canvases += 1
            made.complete += not missing
            made.once += not missing and all(len(starts[key]) == 1 for key in each.keys)
        for key in each.keys:
            made.runs += len(starts[key])
            if len(starts[key]) > 1:
                if _excused(each, starts[key], ran, faults):
                    made.excused += 1
                else:
                    made.doubled[key] = kinds[_culprit(key, starts[key], folder)] if hands else NOBODY
    return made


def _read(ledger: Path) -> tuple[dict[str, list[tuple[float, str]]], dict[str, str], float]:
    """When and where each was begun, where it ended, and when the last of them did."""
    starts: dict[str, list[tuple[float, str]]] = defaultdict(list)
    ends: dict[str, str] = {}
    last = 0.0
    for line in ledger.read_text().splitlines() if ledger.exists() else ():
        what, key, at, slot = line.split()
        if what == "start":
            starts[key].append((float(at), slot))
        else:
            ends[key], last = slot, max(last, float(at))
    return starts, ends, last


def _excused(sent: Sent, runs: Sequence[tuple[float, str]], ran: set[str], faults: Sequence[Fault]) -> bool:
    """Every further run has its reason. `ran`: who ran any step of this call; a step is sent by who ran the one before.

    Who ran it last may have had it first, and have lost its hold of it (an ETA) when its connection came to harm.
    """
    runs = sorted(runs)
    for (first, slot), (second, other) in pairwise(runs):
        since = {other: sent.began, slot: first - BEFORE, "broker": first - BEFORE}
        if sent.kind not in EARLY:
            since["store"] = first - BEFORE
        reasons = (
            fault
            for fault in faults
            if (
                (fault.slot in since and since[fault.slot] - fault.seconds <= fault.at <= second)
                or (fault.slot == sent.producer and sent.began - fault.seconds <= fault.at <= sent.ended)
                or (
                    len(sent.keys) > 1
                    and fault.slot in {*ran, "broker"}
                    and sent.began - fault.seconds <= fault.at <= second
                )
            )
            and not (sent.kind in EARLY and fault.kind in OF_PROCESSES)
        )
        if next(reasons, None) is None:
            return False
    return True


def _culprit(key: str, runs: Sequence[tuple[float, str]], folder: Path) -> str:
    """The slot, among those that ran it, that received it first: it did not let go of it."""
    slots = [slot for _, slot in sorted(runs)]
    received = [
        (moment[1], slot)
        for log in folder.glob(f"{WORKER}*.log")
        if (slot := log.name.partition(".")[0]) in slots
        for line in log.read_text(errors="replace").splitlines()
        if f"[{key}] received" in line and (moment := _AT.match(line))
    ]
    return min(received)[1] if received else slots[0]


def _hands(folder: Path) -> dict[str, str]:
    """Whose log names each call last."""
    last: dict[str, tuple[str, str]] = {}
    for log in folder.glob(f"{WORKER}*.log"):
        whose, at = log.name.split(".", 2)[2].removesuffix(".log"), ""
        for line in log.read_text(errors="replace").splitlines():
            if moment := _AT.match(line):
                at = moment[1]
            for name in _NAMED.findall(line):
                if (at, whose) >= last.get(name, ("", "")):
                    last[name] = (at, whose)
    return {name: whose for name, (_, whose) in last.items()}


def _whose(each: Sent, key: str, ended: Mapping[str, str], kinds: Mapping[str, str], folder: Path) -> str:
    """Who had it last; what should have followed it is lost with it.

    On Redis all is known. A message that was put and never noted as taken was popped by stock kombu, which notes it
    only afterwards (celery#4354); celeriac takes and notes in one step, by a script. What was never put is its
    sender's.
    """
    seen = folder / SEEN
    if not seen.exists():
        return _hands(folder).get(each.name, NOBODY)
    ident = b'\\"id\\": \\"%b\\"' % (each.name if each.kind == "retry" else key).encode()
    last = next((line for line in reversed(seen.read_bytes().splitlines()) if ident in line), b"")
    if last:
        return OURS if b" lua] " in last and b'"HSET"' in last else STOCK
    before = [name for name in each.keys if name in ended]
    return kinds[each.producer if key in each.first or not before else ended[before[-1]]]


def _was_told(results: str, name: str) -> bool:
    """Whether who waits for its result hears that what ran it is lost."""
    client = servers.RespClient(int(results.rpartition(":")[2].partition("/")[0]))
    try:
        raw = client.call("GET", f"celery-task-meta-{name}")
    finally:
        client.close()
    result = json.loads(raw)["result"] if raw is not None else None
    return isinstance(result, dict) and result.get("exc_type") == "WorkerLostError"
