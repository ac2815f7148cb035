"""The language of multi agrees with stock's, and real workers are started, restarted and stopped by it."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from celeriac.compat.apps.multi import Cluster, Node
from celeriac.compat.bin.multi import MultiTool
from tests.compat.bin.multi_cases import ACTS, ALIVE, CASES
from tests.compat.stock import ask

STOCK = """
import io, os, shlex, tempfile
from celery.bin.multi import MultiTool
os.chdir(tempfile.mkdtemp())
answer = []
for command, line in question:
    out = io.StringIO()
    tool = MultiTool(stdout=out, stderr=out, nosplash=True, no_color=True, quiet=True)
    code = tool.execute_from_commandline(["multi", command, *shlex.split(line)])
    answer.append([code if isinstance(code, int) else None, out.getvalue()])
"""


# The same in both: no process is begun, none is signalled, and who waits does not wait.
ACTING = """
import errno, importlib, io, os, shlex, tempfile
package, alive, lines = question
apps = importlib.import_module(package + ".apps.multi")
MultiTool = importlib.import_module(package + ".bin.multi").MultiTool
answer = []
class Child:
    def __init__(self, argv, env=None):
        notes.append(["begin", *sorted(argv)])
        self.code = 3 if any("fails" in word for word in argv) else -15 if any("killed" in word for word in argv) else 0
    def wait(self):
        return self.code
def kill(pid, sig):
    notes.append(["signal", pid, int(sig)])
    looks[pid] = looks.get(pid, 0) + 1
    if looks[pid] > pid % 10:
        raise ProcessLookupError(errno.ESRCH, "gone")
apps.Popen, apps.sleep, os.kill = Child, lambda seconds: None, kill
for command, line in lines:
    notes, looks, out = [], {}, io.StringIO()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        for name, pid in alive.items():
            with open(name + ".pid", "w") as file:
                file.write(f"{pid}\\n")
        tool = MultiTool(stdout=out, stderr=out, no_color=True)
        code = tool.execute_from_commandline(["multi", command, *shlex.split(line)])
        os.chdir("/")
    answer.append([code if isinstance(code, int) else None, notes, out.getvalue()])
"""


def run(command: str, *words: str) -> tuple[int | None, str]:
    out = io.StringIO()
    tool = MultiTool(stdout=out, stderr=out, nosplash=True, no_color=True, quiet=True)
    code = tool.execute_from_commandline(["multi", command, *words])
    return code, out.getvalue()


def pieces(text: str) -> list[tuple[str, list[str]]]:
    """Each line as the command's words and its options, whose order says nothing."""
    lines = []
    for line in text.splitlines():
        words = line.replace("-m celeriac", "-m celery").split(" ")
        lines.append((words[0], sorted(words)))
    return lines


@pytest.fixture(scope="module")
def stocks(stock_python: Path) -> list[list[Any]]:
    answers: list[list[Any]] = ask(
        stock_python, STOCK, [(command, line.replace("HOST", socket.gethostname())) for command, line in CASES]
    )
    return answers


@pytest.mark.real
@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{command} {line}" for command, line in CASES])
def test_the_language_is_stocks(
    number: int, stocks: list[list[Any]], stock_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command, line = CASES[number]
    code, text = run(command, *shlex.split(line.replace("HOST", socket.gethostname())))
    stock_code, stock_text = stocks[number]
    theirs = stock_text.replace(f"{stock_python}3", sys.executable).replace(str(stock_python), sys.executable)
    if stock_code:  # wrong: the words may be ours
        assert code == stock_code
        assert bool(text) == bool(stock_text)
    else:
        assert not code
        assert pieces(text) == pieces(theirs)


@pytest.fixture(scope="module")
def acts(stock_python: Path) -> dict[str, list[list[Any]]]:
    """By whose it is: exit code, what was done, what was said."""
    whose = (("celery", stock_python), ("celeriac.compat", Path(sys.executable)))
    return {package: ask(python, ACTING, [package, ALIVE, ACTS]) for package, python in whose}


@pytest.mark.real
@pytest.mark.parametrize("number", range(len(ACTS)), ids=[f"{command} {line}" for command, line in ACTS])
def test_what_is_done_is_stocks(number: int, acts: dict[str, list[list[Any]]], stock_python: Path) -> None:
    ours, stocks = acts["celeriac.compat"][number], acts["celery"][number]
    pythons = (sys.executable, f"{stock_python}3", str(stock_python))
    done = []
    for notes in (ours[1], stocks[1]):
        plain = [["python" if word in pythons else word for word in note] for note in notes]
        plain = [["celery" if word == "celeriac" else word for word in note] for note in plain]
        plain = [[word for word in note if not str(word).startswith("--executable=")] for note in plain]
        done.append(sorted(map(repr, (sorted(map(str, note)) for note in plain))))
    assert done[0] == done[1]
    assert bool(ours[0]) == bool(stocks[0])
    if not stocks[0]:
        assert sorted(words(ours[2])) == sorted(words(stocks[2]))


def words(text: str) -> list[str]:
    """What was said, in whatever order of workers, and however often it was said that one waits for them.

    The commands that --verbose shows are compared as what was done.
    """
    said = "\n".join(line for line in text.splitlines() if " -m " not in line)
    return re.sub(r"> Waiting for \d+ nodes? -> [\d, ]*\.*", " ", said).split()


def test_a_wrong_command_is_told_with_the_right_one() -> None:
    code, text = run("strat", "3")
    assert code == 1
    assert "Invalid command: strat (did you mean start?)" in text
    assert "usage:" in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("start", "Which workers? Name them, or say how many: multi start w1 w2"),
        ("restart -A proj", "Which workers?"),
        ("stop", "Which workers?"),
        ("stopwait --pidfile=%n.pid", "Which workers?"),
        ("kill", "Which workers?"),
        ("get", "get needs the name of a worker"),
        ("expand", "expand needs a template"),
    ],
)
def test_what_needs_a_name_says_so(line: str, said: str) -> None:
    code, text = run(*line.split())
    assert code == 1
    assert said in text


def test_help_tells_the_language() -> None:
    code, text = run("help")
    assert code == 0
    assert "-Q:1-3 images,video" in text


def test_a_pid_file_of_the_dead_or_of_rubbish_is_nobody(tmp_path: Path) -> None:
    downs: list[str] = []
    nodes = [Node(f"{name}@here", options={"--pidfile": str(tmp_path / name), "--logfile": "x.log"}) for name in "abc"]
    (tmp_path / "a").write_text("rubbish")
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    (tmp_path / "b").write_text(f"{done.pid}\n")
    cluster = Cluster(nodes, on_node_down=lambda node: downs.append(node.name))
    cluster.stopwait(retry=0.1)
    assert sorted(downs) == ["a@here", "b@here", "c@here"]


def test_a_node_is_made_of_arguments_by_name(tmp_path: Path) -> None:
    node = Node.from_kwargs("foo@bar.com", max_tasks_per_child=30, A="foo", Q="q1,q2", pidfile=str(tmp_path / "%n.pid"))
    assert node.getopt("-A") == "foo"
    assert "--max-tasks-per-child=30" in node.argv
    assert node.pidfile == str(tmp_path / "foo.pid")
    assert "celeriac -A foo worker --detach" in " ".join(node.argv)


# --- real workers


@pytest.fixture
def place(redis_server: Any, tmp_path: Path) -> Path:
    (tmp_path / "proj.py").write_text(
        f"from celery import Celery\napp = Celery('proj', broker={redis_server.url!r}, backend={redis_server.url!r})\n"
        "app.conf.worker_hijack_root_logger = True\n"
    )
    return tmp_path


def multi(place: Path, env: Any, *words: str) -> subprocess.CompletedProcess[str]:
    files = ("--pidfile=%n.pid", "--logfile=%n%I.log")
    done: subprocess.CompletedProcess[str] = env.run("-m", "celeriac", "multi", *words, *files, cwd=place, timeout=60)
    return done


def pids(place: Path, count: int) -> dict[str, int]:
    """As soon as all have written theirs."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = {path.stem: path.read_text().strip() for path in place.glob("*.pid")}
        if len(found) == count and all(found.values()):
            return {name: int(pid) for name, pid in found.items()}
        time.sleep(0.05)
    raise AssertionError({path.name: path.read_text() for path in place.glob("*")})


def alive(pid: int) -> bool:
    """One that is dead and only waits for init to hear of it is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] not in "ZX"
    except OSError:
        return False


def until_ready(place: Path, names: dict[str, int], times: int = 1) -> None:
    until = time.monotonic() + 30
    while any((place / f"{name}.log").read_text().count("ready.") < times for name in names):
        assert time.monotonic() < until, {name: (place / f"{name}.log").read_text() for name in names}
        time.sleep(0.05)


@pytest.mark.real
def test_three_workers_are_started_restarted_and_stopped(place: Path, celeriac_env: Any) -> None:
    options = ("3", "-A", "proj", "-P", "solo", "-l", "INFO", "--without-mingle", "--without-gossip")
    started: dict[str, int] = {}
    try:
        done = multi(place, celeriac_env, "start", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("OK") == 3
        first = started = pids(place, 3)
        assert set(first) == {"celery1", "celery2", "celery3"}
        until_ready(place, first)

        again = multi(place, celeriac_env, "start", "1", "-A", "proj", "-P", "solo")
        assert again.returncode == 1, "it runs already"
        assert "FAILED" in again.stdout

        done = multi(place, celeriac_env, "restart", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        second = started = pids(place, 3)
        assert not set(first.values()) & set(second.values())
        assert not any(map(alive, first.values()))
        until_ready(place, second, 2)

        done = multi(place, celeriac_env, "stopwait", "3")
        assert done.returncode == 0, done.stdout + done.stderr
        assert not any(map(alive, second.values()))
        assert not list(place.glob("*.pid"))
        down = multi(place, celeriac_env, "stop", "3")
        assert down.stdout.count("DOWN") == 3
    finally:
        for pid in started.values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_the_cases_are_many() -> None:
    assert len({json.dumps(case) for case in CASES}) == len(CASES) >= 35
