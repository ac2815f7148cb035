"""Both command lines against both workers over Redis: what inspect, control, status, report and list print.

The workers have the same app. What is a number or a text of one worker alone may differ, the shape may not.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from celeriac.protocol.wire.commands import COMMANDS
from tests.worker.running import wait_until

pytestmark = pytest.mark.real

PROJ = """
from celery import Celery
app = Celery("proj", broker={url!r}, backend={url!r})
app.conf.update(worker_prefetch_multiplier=2, task_default_queue={queue!r}, control_exchange={queue!r})
@app.task(rate_limit="10/s")
def add(x, y):
    return x + y
@app.task
def nap(seconds):
    import time
    time.sleep(seconds)
"""

# What is asked, and of both workers in turn.
ASKED = (
    ("inspect", "ping"),
    ("inspect", "active"),
    ("inspect", "reserved"),
    ("inspect", "scheduled"),
    ("inspect", "revoked"),
    ("inspect", "registered"),
    ("inspect", "registered", "rate_limit"),
    ("inspect", "stats"),
    ("inspect", "active_queues"),
    ("inspect", "clock"),
    ("inspect", "conf"),
    ("inspect", "report"),
    ("inspect", "query_task", "nobody"),
    ("inspect", "memsample"),
    ("inspect", "memdump"),
    ("inspect", "objgraph", "Request"),
    ("control", "election"),
    ("control", "rate_limit", "proj.add", "20/s"),
    ("control", "rate_limit", "proj.nothing", "20/s"),
    ("control", "time_limit", "proj.add", "10", "20"),
    ("control", "enable_events"),
    ("control", "add_consumer", "other"),
    ("control", "cancel_consumer", "other"),
    ("control", "revoke", "an-id"),
    ("control", "disable_events"),
    ("control", "terminate", "TERM", "an-id"),
    ("control", "revoke_by_stamped_headers", "stamp=value"),
    ("control", "pool_grow", "1"),
    ("control", "pool_shrink", "1"),
    ("control", "pool_restart"),
    ("control", "autoscale", "3", "1"),
    ("control", "heartbeat"),
)


APART = {"shutdown"}  # at the end, for it is theirs too


@dataclass(frozen=True)
class Side:
    name: str
    command: tuple[str, ...]
    folder: Path
    env: dict[str, str]
    worker: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def running(self) -> subprocess.Popen[bytes]:
        return self.worker[0]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [*self.command, "-A", "proj", *words]
        return subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )

    def run_many(self, lines: list[list[str]]) -> Any:
        package = "celeriac.compat" if self.name == "celeriac" else "celery"
        program = [self.command[0], "-W", "ignore", str(Path(__file__).with_name("many_commands.py"))]
        done = subprocess.run(
            [*program, f"{package}.bin.celery"],
            cwd=self.folder,
            env={**self.env, "PYTHONPATH": str(self.folder)},
            input=json.dumps(lines),
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return json.loads(done.stdout)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        command = [*self.command, "-A", "proj", "worker", "-n", name, "-c", "2", "-l", "INFO", "--without-gossip"]
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=log, stderr=log)


@pytest.fixture(scope="module")
def sides(
    redis_server: Any, stock_python: Path, celeriac_env: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Side]]:
    env, found, running = celeriac_env.variables, {}, []
    for name, command in (
        ("stock", (str(stock_python), "-W", "ignore", "-m", "celery")),
        ("celeriac", (str(celeriac_env.python), "-m", "celeriac")),
    ):
        folder = tmp_path_factory.mktemp(name)
        (folder / "proj.py").write_text(PROJ.format(url=redis_server.url, queue="pairings"))
        found[name] = Side(name, command, folder, env)
        found[name].worker.append(found[name].start(f"{name}@here"))
        running.append((found[name], found[name].running))
    try:
        until = time.monotonic() + 30
        for side, process in running:
            log = side.folder / f"{side.name}@here.log"
            while b"ready." not in log.read_bytes():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.1)
        yield found
    finally:
        for _, process in running:
            process.terminate()
        for _, process in running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:  # noqa: PERF203 # two processes
                process.kill()


@pytest.fixture(scope="module")
def answers(sides: dict[str, Side]) -> dict[tuple[str, str, tuple[str, ...]], Any]:
    """By command line, worker and question."""

    found = {}
    for kind, cli in (("inspect", "stock"), ("inspect", "celeriac"), ("control", "stock"), ("control", "celeriac")):
        side = sides[cli]
        keys = [(cli, worker, words) for words in ASKED if words[0] == kind for worker in sides]
        lines = [
            ["-A", "proj", words[0], "-d", f"{worker}@here", "-t", "20", "--json", *words[1:]]
            for _, worker, words in keys
        ]
        found |= dict(zip(keys, side.run_many(lines), strict=True))
    return found


PAIRS = (("stock", "stock"), ("stock", "celeriac"), ("celeriac", "stock"), ("celeriac", "celeriac"))


@pytest.mark.parametrize(("cli", "worker"), PAIRS)
@pytest.mark.parametrize("words", ASKED, ids=" ".join)
def test_json_has_one_shape(
    cli: str, worker: str, words: tuple[str, ...], answers: dict[tuple[str, str, tuple[str, ...]], Any]
) -> None:
    code, out, err = answers[cli, worker, words]
    wanted_code, wanted, _ = answers["stock", "stock", words]
    assert code == wanted_code, out + err
    assert shape(loaded(out, worker), words) == shape(loaded(wanted, "stock"), words)


def loaded(out: str, worker: str) -> Any:
    if not out.strip():
        return None
    told = json.loads(out.splitlines()[0])
    values = [next(iter(each.values())) for each in told] if isinstance(told, list) else list(told.values())
    nodes = [name for each in (told if isinstance(told, list) else [told]) for name in each]
    assert nodes == [f"{worker}@here"]
    return [isinstance(told, list), *values]


# What stats say of the machine and the pool: the kinds of numbers in there are their own.
FREE = {"rusage", "transport_options", "total", "writes", "timeouts", "max-tasks-per-child", "processes", "broker"}


def shape(value: Any, words: tuple[str, ...]) -> Any:
    """Types and keys; the texts of replies too, which scripts compare."""
    if words[:2] == ("inspect", "conf"):
        return [value[0], type(value[1])]
    if words[:2] == ("inspect", "memsample"):  # stock knows it where psutil is installed
        assert isinstance(value[1], (str, type(None)))
        return value[0]
    if isinstance(value, dict):
        if {"ok", "error"} & value.keys():
            if words[1] == "report":
                return {"ok": str}
            return {key: each.replace("already ", "") if isinstance(each, str) else each for key, each in value.items()}
        return {key: type(each) if key in FREE else shape(each, words) for key, each in sorted(value.items())}
    if isinstance(value, list):
        return [shape(each, words) for each in value]
    return value if isinstance(value, (str, bool)) and words[1] == "registered" else type(value)


@pytest.mark.parametrize("cli", ["stock", "celeriac"])
def test_status_counts_all(cli: str, sides: dict[str, Side]) -> None:
    done = sides[cli].run("status", "-t", "2")
    assert done.returncode == 0
    assert "celeriac@here: OK" in done.stdout
    assert "stock@here: OK" in done.stdout
    assert "2 nodes online." in done.stdout
    told = json.loads(sides[cli].run("status", "-t", "2", "--json").stdout.splitlines()[0])
    assert told == {"celeriac@here": {"ok": "pong"}, "stock@here": {"ok": "pong"}}


@pytest.mark.parametrize(("command", "words"), [("list", ("bindings",)), ("report", ())])
def test_what_is_no_json_reads_alike(command: str, words: tuple[str, ...], sides: dict[str, Side]) -> None:
    ours, stocks = (sides[name].run(command, *words) for name in ("celeriac", "stock"))
    assert ours.returncode == stocks.returncode == 0, ours.stderr
    if command == "list":
        assert sorted(ours.stdout.splitlines()) == sorted(stocks.stdout.splitlines())
    else:
        assert keys(ours.stdout) == keys(stocks.stdout)


def keys(report: str) -> list[str]:
    return [line.partition(":")[0].partition("->")[0].strip() for line in report.splitlines() if "->" in line]


@pytest.mark.parametrize("cli", ["stock", "celeriac"])
def test_a_task_is_called_and_its_result_read(cli: str, sides: dict[str, Side]) -> None:
    called = sides[cli].run("call", "proj.add", "-a", "[2, 3]")
    assert called.returncode == 0, called.stderr
    other = sides["stock" if cli == "celeriac" else "celeriac"]
    found = other.run("result", called.stdout.strip())
    assert found.stdout.strip() == "5", found.stderr


@pytest.mark.parametrize("cli", ["stock", "celeriac"])
def test_nobody_answers(cli: str, sides: dict[str, Side]) -> None:
    for words in (("inspect", "ping"), ("status",), ("control", "heartbeat")):
        done = sides[cli].run(words[0], "-d", "nobody@here", "-t", "0.2", *words[1:])
        assert done.returncode == 69
        assert done.stderr.strip() == "Error: No nodes replied within time constraint"


def test_lists_of_commands_are_stocks(sides: dict[str, Side]) -> None:
    for command in ("inspect", "control"):
        names = []
        for side in sides.values():
            lines = side.run(command, "--list").stdout.splitlines()[1:]
            names.append({line.split()[0] for line in lines if line.startswith("  ") and line[2:3].strip()})
        assert names[0] == names[1]
        assert len(names[0]) > 10


def test_every_command_is_asked() -> None:
    visible = {(known.kind, name) for name, known in COMMANDS.items() if known.visible}
    assert visible - {("control", name) for name in APART} == {words[:2] for words in ASKED}


@pytest.mark.parametrize(("cli", "worker"), [("stock", "celeriac"), ("celeriac", "stock")])
def test_shutdown_is_told_alike_and_ends_a_worker(cli: str, worker: str, sides: dict[str, Side]) -> None:
    done = sides[cli].run("control", "-d", f"{worker}@here", "-t", "1", "shutdown")
    assert done.returncode == 69  # who leaves does not reply
    assert done.stderr.strip() == "Error: No nodes replied within time constraint"
    wait_until(lambda: sides[worker].running.poll() is not None, 30)
    assert sides[worker].running.poll() == 0
