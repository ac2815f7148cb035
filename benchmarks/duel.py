"""Contenders in processes of their own, asked in turns (A B B A), and what their work cost as a table and as JSON.

Law: every contender of a run meets the same server in the same run, forwards and backwards in turns, so that what the
machine does meanwhile falls on all alike. A figure is a median with its spread; a ratio is of medians.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
STOCK = ROOT / ".peers" / "celery-5.7.0" / "bin" / "python"


class Contender:
    """One process of `contenders.py`."""

    def __init__(self, name: str, url: str, queue: str) -> None:
        self.name = name
        python = str(STOCK) if name.startswith("celery") else sys.executable
        command = [python, "-W", "ignore", str(HERE / "contenders.py"), name, url, queue]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CELERY"))}
        self._process = subprocess.Popen(command, env=kept, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.rows: list[str] = json.loads(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with code {self._process.wait()}")
        return line

    def do(self, row: str, count: int) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{row} {count}\n")
        self._process.stdin.flush()
        answer: dict[str, float] = json.loads(self._answer())
        return answer

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(20)


@contextmanager
def contenders(names: Sequence[str], url: str) -> Iterator[list[Contender]]:
    made: list[Contender] = []
    try:
        for name in names:
            made += [Contender(name, url, f"q-{name}")]
        yield made
    finally:
        for each in made:
            each.close()


@dataclass
class Figures:
    """Microseconds per message: of the client, and of the server where that can be asked."""

    client: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    server: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add(self, row: str, name: str, client: float, server: float | None) -> None:
        self.client.setdefault((row, name), []).append(client * 1e6)
        if server is not None:
            self.server.setdefault((row, name), []).append(server * 1e6)

    def table(self, title: str, goals: dict[str, str]) -> Iterator[str]:
        """Our ratio to each rival in the last column of its line: so many times our CPU."""
        yield f"{title}: CPU us per message, median (lowest-highest)"
        for row in dict.fromkeys(row for row, _ in self.client):
            yield f"  {row}" + (f"   goal {goals[row]}" if row in goals else "")
            ours = statistics.median(self.client[row, "celeriac"]) if (row, "celeriac") in self.client else None
            for (each, name), taken in self.client.items():
                if each != row:
                    continue
                middle = statistics.median(taken)
                line = f"    {name:16}{middle:8.1f} ({min(taken):.1f}-{max(taken):.1f})"
                if (row, name) in self.server:
                    line += f"   server {statistics.median(self.server[row, name]):6.1f}"
                if ours and name != "celeriac":
                    line += f"   {middle / ours:5.1f} x ours"
                yield line

    def data(self) -> list[dict[str, Any]]:
        return [
            {
                "row": row,
                "contender": name,
                "client_us": statistics.median(taken),
                "client_all_us": taken,
                "server_us": statistics.median(self.server[row, name]) if (row, name) in self.server else None,
                "times_ours": statistics.median(taken) / statistics.median(self.client[row, "celeriac"])
                if (row, "celeriac") in self.client
                else None,
            }
            for (row, name), taken in self.client.items()
        ]


def turns(count: int, names: list[Contender]) -> Iterator[Contender]:
    """A B B A: forwards and backwards."""
    for turn in range(count):
        yield from names if turn % 2 == 0 else reversed(names)


def measured(
    each: Contender, row: str, count: int, server_cpu: Callable[[], float] | None
) -> tuple[float, float | None]:
    """CPU seconds per message of the client, and of the server."""
    before = server_cpu() if server_cpu else 0.0
    spent = each.do(row, count)["cpu"] / count
    return spent, (server_cpu() - before) / count if server_cpu else None
