"""The golden captures as test material: what a vector holds, who claims it, and what was seen in it.

A claim is a function over one vector. It asserts that what it finds parses to the expected value and, where
celeriac would write the thing, that building it again gives the same bytes; and it says what it saw in a tally.
`test_golden.py` runs every claim and fails on a vector that nobody claimed.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True)
class Blob:
    """Bytes that somebody wrote, and the record around them (`text`, `body_decoded`, ...)."""

    where: str
    data: bytes
    record: dict[str, Any]


@dataclass(frozen=True)
class Command:
    """One Redis command as MONITOR showed it. Arguments are bytes."""

    where: str
    args: tuple[bytes, ...]
    record: dict[str, Any]

    @property
    def name(self) -> str:
        return self.args[0].decode().upper()


@dataclass(frozen=True)
class Vector:
    case: str
    what: str
    client: str
    call: str
    notes: Any
    capture: Any

    def walk(self) -> Iterator[tuple[str, Any]]:
        """Every value in the capture with the path that leads to it, outermost first."""
        stack: list[tuple[str, Any]] = [("", self.capture)]
        while stack:
            where, value = stack.pop()
            yield where, value
            if isinstance(value, dict):
                stack.extend((f"{where}/{key}", item) for key, item in reversed(value.items()))
            elif isinstance(value, list):
                stack.extend((f"{where}/{i}", value[i]) for i in reversed(range(len(value))))

    def blobs(self) -> Iterator[Blob]:
        for where, value in self.walk():
            if isinstance(value, dict) and isinstance(value.get("b64"), str):
                yield Blob(where, base64.b64decode(value["b64"]), value)

    def commands(self) -> Iterator[Command]:
        for where, value in self.walk():
            if isinstance(value, dict) and isinstance(value.get("cmd"), list):
                yield Command(where, tuple(map(_argument, value["cmd"])), value)

    def frames(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """AMQP methods in the order they crossed the wire, content included."""
        for where, value in self.walk():
            if isinstance(value, dict) and isinstance(value.get("method"), str) and "args" in value:
                yield where, value


def _argument(value: Any) -> bytes:
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else str(value).encode()


@dataclass
class Tally:
    """What the claims saw: per kind of thing, how many were parsed and how many were built again."""

    parsed: Counter[str] = field(default_factory=Counter)
    rebuilt: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def saw(self, kind: str, *, rebuilt: bool = False, refused: bool = False) -> None:
        """One thing of this kind: read; built again to the same bytes; or rightly answered with BadMessage."""
        (self.refused if refused else self.parsed)[kind] += 1
        if rebuilt:
            self.rebuilt[kind] += 1

    @property
    def total(self) -> int:
        return self.parsed.total() + self.refused.total()


Claim = Callable[[Vector, Tally], None]
CLAIMS: list[tuple[tuple[str, ...], Claim]] = []


def claim(*patterns: str) -> Callable[[Claim], Claim]:
    """This function answers for the vectors whose case name matches one of the patterns (fnmatch; `*` spans `/`)."""

    def register(function: Claim) -> Claim:
        CLAIMS.append((patterns, function))
        return function

    return register


def claims_of(case: str) -> list[Claim]:
    return [function for patterns, function in CLAIMS if any(fnmatchcase(case, pattern) for pattern in patterns)]


@cache
def index() -> tuple[str, ...]:
    cases = json.loads((GOLDEN / "INDEX.json").read_text())["cases"]
    return tuple(sorted(entry["case"] for entry in cases))


@cache
def vector(case: str) -> Vector:
    raw = json.loads((GOLDEN / f"{case}.json").read_text())
    return Vector(raw["case"], raw["what"], raw["client"], raw["call"], raw.get("notes"), raw["capture"])
