"""Where stock's behaviour is the wrong one: the short list of tests that pass on stock and are not to pass on ours.

Law: one line of interop/celery_suite/differences.txt each, `setups | test | reason`, and the reason says what stock
does wrong, not what celeriac does not do yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

FILE = Path(__file__).parent / "differences.txt"
CORE = Path(__file__).parent / "core.txt"


@dataclass(frozen=True)
class Difference:
    setups: str
    test: str
    reason: str

    def covers(self, setup: str, test: str) -> bool:
        return fnmatchcase(setup, self.setups) and fnmatchcase(test.replace("[", "("), self.test.replace("[", "("))


def differences(text: str | None = None) -> list[Difference]:
    lines = (line.strip() for line in (FILE.read_text() if text is None else text).splitlines())
    return [_read(line) for line in lines if line and not line.startswith("#")]


def core() -> tuple[str, ...]:
    """The tests that CI runs, on Redis and Redis; stock passes them all."""
    lines = (line.strip() for line in CORE.read_text().splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def _read(line: str) -> Difference:
    parts = [part.strip() for part in line.split("|", 2)]
    if len(parts) < 3 or not all(parts):
        raise ValueError(f"differences.txt: not `setups | test | reason`: {line!r}")
    return Difference(*parts)
