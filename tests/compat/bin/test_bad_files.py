"""Files that are another's, broken, or nowhere: worker and beat say so in a line, leave them whole, and exit rightly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from celeriac.compat.apps.multi import Node
from celeriac.compat.platforms import Pidfile
from tests.compat.stock import ask
from tests.servers import free_port
from tests.worker.running import wait_until

SOURCE = """\
from celery import Celery
app = Celery("proj", broker="{broker}")
app.conf.beat_schedule = {{"tick": {{"task": "proj.add", "schedule": 3600.0}}}}
@app.task
def add(x, y): return x + y
"""
BY_STOCK = """
import shelve
from datetime import datetime, timezone
from celery import Celery
from celery.beat import PersistentScheduler
app = Celery("proj", broker="memory://", set_as_current=False)
app.conf.beat_schedule = {"tick": {"task": "proj.add", "schedule": 3600.0}}
scheduler = PersistentScheduler(app, schedule_filename=question)
scheduler.schedule["tick"].total_run_count = 41
scheduler.close()
answer = None
"""
WORKER = ("worker", "-P", "solo", "-l", "INFO", "--without-mingle", "--without-gossip")
BEAT = ("beat", "-l", "INFO")


@pytest.fixture
def place(tmp_path: Path, redis_server: Any) -> Path:
    (tmp_path / "proj.py").write_text(SOURCE.format(broker=redis_server.url))
    return tmp_path


def run(env: Any, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = env.run("-m", "celeriac", "-A", "proj", *words, cwd=place)
    return done


@contextmanager
def running(env: Any, place: Path, *words: str, until: str) -> Iterator[Path]:
    """Its log, as soon as this stands there."""
    log = place / "output"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "celeriac", "-A", "proj", *words]
        process = subprocess.Popen(command, cwd=place, env=env.variables, stdout=file, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: until in log.read_text() or process.poll() is not None, 40, log.read_text)
        assert until in log.read_text(), log.read_text()
        yield log
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def a_dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


@pytest.mark.real
@pytest.mark.parametrize(("words", "until"), [(WORKER, "ready."), (BEAT, "beat: Starting...")])
def test_a_pid_file_of_a_dead_process_is_taken_over(
    words: tuple[str, ...], until: str, place: Path, celeriac_env: Any
) -> None:
    pidfile = place / "it.pid"
    pidfile.write_text(f"{a_dead_pid()}\n")
    with running(celeriac_env, place, *words, "--pidfile", "it.pid", until=until):
        assert int(pidfile.read_text()) != 0
    assert not pidfile.exists()


@pytest.fixture
def zombie() -> Iterator[int]:
    """A process that has ended, and that nobody has waited for: it can still be signalled."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    os.kill(process.pid, 0)
    yield process.pid
    process.wait()


def test_a_pid_file_of_a_zombie_is_taken_over(place: Path, zombie: int, capsys: pytest.CaptureFixture[str]) -> None:
    pidfile = place / "it.pid"
    pidfile.write_text(f"{zombie}\n")
    assert Pidfile(pidfile).remove_if_stale()
    assert not pidfile.exists()
    said = f"Stale pidfile exists (process {zombie} has ended, its parent has not waited for it) - Removing it.\n"
    assert capsys.readouterr().err == said


def test_a_zombie_is_a_node_that_is_down(place: Path, zombie: int) -> None:
    (place / "w.pid").write_text(f"{zombie}\n")
    node = Node("w@here", options={"--pidfile": str(place / "w.pid")})
    gone: list[Node] = []
    assert node.alive() is False
    assert node.send(signal.SIGTERM, gone.append) is False
    assert gone == [node]


@pytest.mark.real
@pytest.mark.parametrize("words", [WORKER, BEAT])
def test_a_pid_file_of_a_living_process_is_respected(words: tuple[str, ...], place: Path, celeriac_env: Any) -> None:
    (place / "it.pid").write_text(f"{os.getpid()}\n")
    done = run(celeriac_env, place, *words, "--pidfile", "it.pid")
    assert done.returncode == 73, done.stderr
    assert "it.pid" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert (place / "it.pid").read_text() == f"{os.getpid()}\n"


@pytest.mark.real
@pytest.mark.parametrize(
    "words",
    [
        (*WORKER, "--pidfile", "proj.py/x.pid"),
        (*WORKER, "--statedb", "proj.py/state"),
        (*BEAT, "--logfile", "proj.py/x.log"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_written_is_named(words: tuple[str, ...], place: Path, celeriac_env: Any) -> None:
    done = run(celeriac_env, place, *words)
    said = done.stdout + done.stderr
    assert done.returncode == 73, said
    assert words[-1] in said
    assert "Traceback" not in said


@pytest.mark.real
@pytest.mark.parametrize("content", [b"", b"\x00\xffrubbish", b'{"form": "another"}', b"[1, 2"])
def test_a_corrupt_state_file_is_left_as_it_is(content: bytes, place: Path, celeriac_env: Any) -> None:
    state = place / "state"
    state.write_bytes(content)
    with running(celeriac_env, place, *WORKER, "--statedb", "state", until="ready.") as log:
        pass
    assert state.read_bytes() == content
    assert "cannot be read" in log.read_text()
    assert "name another file" in log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.real
def test_stocks_schedule_file_is_gone_on_with(place: Path, celeriac_env: Any, stock_python: Path) -> None:
    ask(stock_python, BY_STOCK, str(place / "celerybeat-schedule"))
    before = sorted(path.name for path in place.glob("celerybeat-schedule*"))
    assert before
    with running(celeriac_env, place, *BEAT, until="beat: Starting..."):
        pass
    count = "import shelve\nwith shelve.open(question) as kept: answer = kept['entries']['tick'].total_run_count"
    assert ask(stock_python, count, str(place / "celerybeat-schedule")) == 41
    assert sorted(path.name for path in place.glob("celerybeat-schedule*")) == before


@pytest.mark.real
def test_a_corrupt_schedule_file_is_set_aside(place: Path, celeriac_env: Any) -> None:
    (place / "celerybeat-schedule").write_bytes(b"no schedule at all")
    with running(celeriac_env, place, *BEAT, until="beat: Starting...") as log:
        wait_until(lambda: "set aside" in log.read_text(), 20, log.read_text)
        assert "Traceback" not in log.read_text()
    assert b"no schedule at all" in [path.read_bytes() for path in place.glob("celerybeat-schedule*")]


@pytest.mark.parametrize(("words", "until"), [(WORKER, "Trying again"), (BEAT, "Trying again")])
def test_a_broker_that_is_away_is_waited_for(
    words: tuple[str, ...], until: str, place: Path, celeriac_env: Any
) -> None:
    source = SOURCE.replace("3600.0", "0.1")  # beat goes there when something is due
    (place / "proj.py").write_text(source.format(broker=f"redis://127.0.0.1:{free_port()}/0"))
    with running(celeriac_env, place, *words, until=until) as log:
        assert "Traceback" not in log.read_text()


DIES = """\
import os, signal
from celery.beat import Scheduler
from celery.worker import components
components._LOOK_AT_BEAT = 0.1
class Dies(Scheduler):
    def tick(self):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.real
def test_a_worker_says_that_its_beat_has_ended(place: Path, celeriac_env: Any) -> None:
    (place / "dies.py").write_text(DIES)
    words = (*WORKER, "-B", "--scheduler", "dies:Dies")
    with running(celeriac_env, place, *words, until="The beat in this worker has ended") as log:
        wait_until(lambda: "ready." in log.read_text(), 20, log.read_text)
    said = log.read_text()
    assert "has ended with exit code -9: nothing is sent by the clock any more. Restart the worker" in said
    assert said.count("The beat in this worker has ended") == 1
