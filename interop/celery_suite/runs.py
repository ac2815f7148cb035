"""One run: the suite on one side, against servers of its own, and what became of each test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from interop.celery_suite.known import differences
from interop.celery_suite.places import HOME, STOCK, SUITE, Side
from tests.servers import rabbitmq_server, redis_server

SETUPS = ("redis+redis", "rabbitmq+redis", "rabbitmq+rpc")
PREFIX = "t/integration/"
LOGS = HOME / "logs"
WITHOUT = ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "PYTHONPATH", "PYTEST_ADDOPTS")


class How(Enum):
    passed = "passed"
    failed = "failed"
    skipped = "skipped"


@dataclass(frozen=True)
class Test:
    how: How
    why: str = ""
    seconds: float = 0.0

    __test__ = False


Tests = dict[str, Test]


@dataclass(frozen=True)
class Told:
    """How pytest is to run."""

    words: tuple[str, ...] = ()
    seconds: float = 120
    whole: float = 3600

    def command(self, record: Path, tests: Sequence[str], expected: Sequence[str] = ()) -> list[str]:
        plain = ("-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "--tb=short", "-rN")
        ours = (
            "-p",
            "celery.contrib.pytest",
            "--continue-on-collection-errors",
            "-p",
            "celery_suite_record",
            f"--record={record}",
            f"--at-most={self.seconds}",
        )
        once = (f"--once-for={test}" for test in expected)
        return [*plain, *ours, *once, *self.words, *(test if test.startswith("-") else PREFIX + test for test in tests)]


@contextmanager
def servers(setup: str) -> Iterator[dict[str, str]]:
    """The variables that lead the suite to servers of its own."""
    broker, _, backend = setup.partition("+")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        url = redis.url if broker == "redis" else stack.enter_context(rabbitmq_server()).url.rstrip("/") + "//"
        yield {
            "TEST_BROKER": url,
            "TEST_BACKEND": redis.url if backend == "redis" else "rpc",
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(redis.port),
        }


def run(side: Side, setup: str, told: Told, tests: Sequence[str] = ("",), name: str = "") -> Tests:
    """The tests named, or all of them; what was said is kept under the name. On ours, what is listed is tried once."""
    listed = () if side == STOCK else [each.test for each in differences() if each.covers(setup, each.test)]
    logs, name = LOGS, f"{side.name}-{setup}-{name or 'all'}"
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="celeriac-suite-") as folder, servers(setup) as leading:
        record = Path(folder) / "record"
        inherited = {name: value for name, value in os.environ.items() if name not in WITHOUT}
        path = f"{side.folder / 'bin'}{os.pathsep}{inherited.get('PATH', '')}"
        variables = {**inherited, **leading, "PATH": path, "PYTHONPATH": side.pythonpath}
        with (logs / f"{name}.log").open("wb") as log:
            command = [*side.command(), *told.command(record, tests, listed)]
            finished = _run(command, variables, log.fileno(), told.whole)
        lines = record.read_text().splitlines() if record.exists() else []
        (logs / f"{name}.jsonl").write_text("\n".join(lines))
    found = outcomes(map(json.loads, lines))
    return found if finished else {**found, "(the run)": Test(How.failed, f"not finished in {told.whole:.0f} s")}


def recorded(side: Side, setup: str, names: Iterable[str]) -> Tests:
    """What the runs of these names have come to; of a test in several the last one counts."""
    files = [LOGS / f"{side.name}-{setup}-{name}.jsonl" for name in names]
    found: Tests = {}
    for file in sorted((file for file in files if file.exists()), key=lambda file: file.stat().st_mtime):
        found.update(outcomes(map(json.loads, file.read_text().splitlines())))
    return found


def _run(command: Sequence[str], variables: Mapping[str, str], log: int, seconds: float) -> bool:
    process = subprocess.Popen(
        command,
        cwd=SUITE,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return True


def outcomes(reports: Iterator[Mapping[str, object]] | Sequence[Mapping[str, object]]) -> Tests:
    """What counts for each test: its last run, and in that the worst of its parts."""
    found: Tests = {}
    again: set[str] = set()
    for report in reports:
        name = str(report["test"]).removeprefix(PREFIX)
        if report["outcome"] == "rerun":
            again.add(name)
            continue
        if name in again:
            again.discard(name)
            found.pop(name, None)
        how, before = How(report["outcome"]), found.get(name, Test(How.passed))
        seconds = before.seconds + float(str(report["seconds"]))
        if before.how is How.failed or how is How.passed:
            found[name] = Test(before.how, before.why, seconds)
        else:
            found[name] = Test(how, str(report["why"]), seconds)
    return found
