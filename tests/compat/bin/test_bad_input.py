"""Every command with input that is wrong, or with what it needs away: a line that says so, and the right exit code.

All command lines run in one program, each in a child forked from it (`many_commands.py`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.servers import free_port

PROJ = """\
from celery import Celery
app = Celery("proj", broker="memory://", backend="cache+memory://", set_as_current=False)
app.conf.update(beat_schedule={"tick": {"task": "proj.add", "schedule": 3600.0}})
@app.task
def add(x, y): return x + y
"""
BAD_SCHEDULE = """\
from proj import app
app.conf.beat_schedule = {"tick": {"task": "proj.add", "schedule": "every day"}}
"""
NO_TASK = """\
from proj import app
app.conf.beat_schedule = {"tick": 3}
"""
BROKEN = "import no_such_module_anywhere\n"
LOST = PROJ.replace("set_as_current", 'include=["no_such_tasks"], set_as_current')
UNSET = (
    'from celery import Celery\napp = Celery("unset", broker="memory://")\napp.config_from_object("no_such_settings")\n'
)
USAGE, FAILURE, UNAVAILABLE, CANTCREAT = 2, 1, 69, 73

# Every command that works with an app: a line of it that is right, and whether it goes to the broker at once.
LINES: dict[str, tuple[str, bool]] = {
    "amqp": ("amqp queue.purge x", True),
    "beat": ("beat", False),
    "call": ("call x", True),
    "control": ("control heartbeat", True),
    "dead": ("dead list", True),
    "doctor": ("doctor", False),
    "events": ("events --dump", False),
    "graph": ("graph workers", True),
    "inspect": ("inspect ping", True),
    "janitor": ("janitor", True),
    "list": ("list bindings", True),
    "migrate": ("migrate AWAY AWAY", True),
    "purge": ("purge -f", True),
    "queues": ("queues", True),
    "report": ("report", False),
    "result": ("result x", False),
    "schedule": ("schedule list", True),
    "shell": ("shell --python", False),
    "status": ("status", True),
    "top": ("top", True),
    "unpark": ("unpark", True),
    "web": ("web", False),
    "worker": ("worker -P solo", False),
}
WITHOUT_APP = {
    "logtool": "logtool stats",
    "settings": "settings",
    "shim": "shim",
    "upgrade": "upgrade settings proj.py",
}
NEEDS_REDIS = {"janitor", "schedule", "unpark"}
REMAINS = {"report", "shell", "doctor", "result"}  # who looks at an app whatever its broker is called

FILES: tuple[tuple[str, int, str], ...] = (
    # a line, its exit code, what it says
    ("-A proj worker -P solo --pidfile .", CANTCREAT, "Is a directory"),
    ("-A proj worker -P solo --pidfile alive.pid", CANTCREAT, "alive.pid"),
    ("-A proj worker -P solo --logfile .", CANTCREAT, "Is a directory"),
    ("-A proj worker -P solo --statedb proj.py/state", CANTCREAT, "the state file cannot be written: Not a directory"),
    ("-A proj worker -P solo --statedb .", CANTCREAT, "Is a directory"),
    ("-A proj worker -P solo --umask zzz", USAGE, "'zzz' is no umask: write it in octal with a leading 0, as 022."),
    ("-A proj worker -P solo --uid no-such-user", FAILURE, "User does not exist: no-such-user"),
    ("-A proj worker -P solo --gid no-such-group", FAILURE, "Group does not exist: no-such-group"),
    ("-A proj worker -D --pidfile .", CANTCREAT, "Is a directory"),
    ("-A proj worker -D --pidfile alive.pid", CANTCREAT, "alive.pid"),
    ("-A proj worker -D --logfile proj.py/log", CANTCREAT, "proj.py/log"),
    ("-A proj worker -D --statedb proj.py/state", CANTCREAT, "the state file cannot be written"),
    ("-A proj worker -D --umask zzz", USAGE, "'zzz' is no umask"),
    ("-A proj worker -D --executable /no/such", USAGE, "'/no/such' is no program that can be run"),
    ("-A proj worker -D --executable .", USAGE, "'.' is no program that can be run"),
    ("-A proj -b nosuch:// worker -D", FAILURE, "no broker for 'nosuch'"),
    ("-A proj --result-backend nosuch:// worker -D", FAILURE, "Unknown result backend: 'nosuch'"),
    ("-A bad_schedule worker -D -B", FAILURE, "the entry 'tick' has 'every day' for its schedule"),
    ("-A bad_schedule worker -P solo -B", FAILURE, "the entry 'tick' has 'every day' for its schedule"),
    ("-A no_task worker -P solo -B", FAILURE, "the entry 'tick' is no dictionary, but 3"),
    ("-A proj worker -P solo -B --scheduler no.such:X", FAILURE, "'no.such:X' cannot be imported: No module named 'no'"),
    ("-A proj worker -P solo -B -s proj.py/schedule", CANTCREAT, "proj.py/schedule"),
    ("-A proj worker -P solo -B -s .", CANTCREAT, "Is a directory"),
    ("-A proj --result-backend nosuch:// worker -P solo", FAILURE, "Unknown result backend: 'nosuch'"),
    ("-A proj --result-backend nosuch:// beat", FAILURE, "Unknown result backend: 'nosuch'"),
    ("-A proj --result-backend nosuch:// result x", FAILURE, "Unknown result backend: 'nosuch'"),
    ("-A proj --result-backend nosuch:// call x", UNAVAILABLE, "Unknown result backend: 'nosuch'"),
    ("-A bad_schedule beat", FAILURE, "the entry 'tick' has 'every day' for its schedule"),
    ("-A proj beat -S no.such:X", FAILURE, "'no.such:X' cannot be imported: No module named 'no'"),
    ("-A proj beat -S proj:NoSuch", FAILURE, "'proj:NoSuch' cannot be imported: module 'proj' has no attribute 'NoSuch'"),
    ("-A proj beat -S proj:app", FAILURE, "no class of a scheduler"),
    ("-A proj beat -S celeriac.compat.beat:LeasedScheduler", FAILURE, "needs a Redis or a database"),
    ("-A proj beat --pidfile .", CANTCREAT, "Is a directory"),
    ("-A proj beat --pidfile alive.pid", CANTCREAT, "alive.pid"),
    ("-A proj beat --logfile .", CANTCREAT, "Is a directory"),
    ("-A proj beat --schedule .", CANTCREAT, "Is a directory"),
    ("-A proj beat --schedule proj.py/schedule", CANTCREAT, "proj.py/schedule"),
    ("-A proj graph bootsteps beat", USAGE, "Nothing here is called 'beat': there are worker, consumer"),
    ("-A proj graph workers node:a", USAGE, "Nothing here is called 'node': there are nodes, threads"),
    ("-A proj graph workers nodes:a wmax:x", USAGE, "wmax is a number, not 'x'"),
    ("-A proj graph workers nodes:a threads:x", USAGE, "threads are numbers"),
    ("-A proj top --interval 0", USAGE, "0.0 is not in the range x>=0.2"),
    ("-A proj web --interval -1", USAGE, "-1.0 is not in the range x>=0.2"),
    ("-A proj beat --umask zzz", USAGE, "'zzz' is no umask"),
    ("-A proj beat --uid no-such-user", FAILURE, "User does not exist: no-such-user"),
    ("-A proj beat --detach --umask 01777", USAGE, "'01777' is no umask"),
    ("-A proj beat --detach --pidfile proj.py/pid", CANTCREAT, "proj.py/pid"),
    ("-A proj beat --detach --pidfile alive.pid", CANTCREAT, "alive.pid"),
    ("-A proj beat --detach --logfile proj.py/log", CANTCREAT, "proj.py/log"),
    ("-A proj beat --detach --schedule proj.py/schedule", CANTCREAT, "proj.py/schedule"),
    ("-A proj beat --detach --uid no-such-user", FAILURE, "User does not exist: no-such-user"),
    ("-A proj beat --detach -S no.such:X", FAILURE, "'no.such:X' cannot be imported"),
    ("-A bad_schedule beat --detach", FAILURE, "the entry 'tick' has 'every day' for its schedule"),
    ("-A proj -b nosuch:// beat --detach", FAILURE, "no broker for 'nosuch'"),
    ("-A proj events -c no.such:Cam", FAILURE, "the camera 'no.such:Cam' cannot be imported: No module named 'no'"),
    ("-A proj events -c no.such:Cam --detach", FAILURE, "'no.such:Cam' cannot be imported"),
    ("-A proj events -c POLAROID --pidfile proj.py/pid", CANTCREAT, "proj.py/pid"),
    ("-A proj events -c POLAROID --pidfile alive.pid", CANTCREAT, "alive.pid"),
    ("-A proj events -c POLAROID --logfile proj.py/log", CANTCREAT, "proj.py/log"),
    ("-A proj events -c POLAROID --detach --pidfile proj.py/pid", CANTCREAT, "proj.py/pid"),
    ("-A proj events -c POLAROID --detach --logfile proj.py/log", CANTCREAT, "proj.py/log"),
    ("-A proj events -c POLAROID --detach --umask zzz", USAGE, "'zzz' is no umask"),
    ("logtool stats /no/such", USAGE, "Cannot read /no/such: No such file or directory"),
    ("logtool errors .", USAGE, "Cannot read .: Is a directory"),
    ("upgrade settings /no/such", USAGE, "Cannot read /no/such"),
    ("multi start 1 -A proj --pidfile=proj.py/%n.pid --logfile=%n.log", FAILURE, "proj.py"),
    ("multi start 1 -A proj --logfile=proj.py/%n.log --pidfile=%n.pid", FAILURE, "proj.py"),
    ("multi start 1 -c:7 3", FAILURE, "7"),
    ("run no-such-program-anywhere", 127, "no program 'no-such-program-anywhere'"),
    ("--workdir /no/such status", USAGE, "cannot change to '/no/such': No such file or directory"),
    ("-A proj amqp queue.declare nobodys true", FAILURE, "NOT_FOUND"),
    ("-A proj amqp no.such", USAGE, "No such command 'no.such'"),
    ("-A proj amqp queue.bind x", USAGE, "Missing argument 'EXCHANGE'"),
    ("-A proj schedule list", FAILURE, "needs a Redis or a database"),
    ("--config no_such_settings status", USAGE, "'no_such_settings' cannot be imported: No module named 'no_such_settings'"),
    ("--config broken status", USAGE, "No module named 'no_such_module_anywhere'"),
    ("--config no_such_settings worker -P solo", USAGE, "The module of settings 'no_such_settings' cannot be imported"),
    ("--loader no.such:Loader status", USAGE, "The loader 'no.such:Loader' cannot be imported: No module named 'no'"),
    ("-A proj worker -P solo -I no_such_tasks", FAILURE, "--include names the module 'no_such_tasks', and there is no"),
    ("-A proj worker -P solo -I broken", FAILURE, "No module named 'no_such_module_anywhere'"),
    ("-A lost worker -P solo", FAILURE, "include names the module 'no_such_tasks', and there is no 'no_such_tasks' in"),
    ("-A lost beat", FAILURE, "include names the module 'no_such_tasks', and there is no 'no_such_tasks' in"),
    ("-A unset worker -P solo", FAILURE, "config_from_object names the module 'no_such_settings', and there is no"),
    ("-A unset beat", FAILURE, "config_from_object names the module 'no_such_settings', and there is no"),
    ("-A storeless result x", FAILURE, "No result backend is configured: set result_backend"),
    ("-A storeless result x --traceback", FAILURE, "No result backend is configured: set result_backend"),
    ("-A proj worker --heartbeat-interval -1", USAGE, "-1 is too little: it is 0 at the least"),
    ("-A proj worker --autoscale 0,0 -P solo", FAILURE, "autoscale is the most and the fewest processes, as 10,3"),
    ("-A proj worker --max-tasks-per-child -1 -P solo", FAILURE, "a whole number, 0 or more, not -1"),
    ("-A proj beat --max-interval -1", USAGE, "-1 is too little: it is 0 at the least"),
    ("-A proj events -c POLAROID -F 0", USAGE, "0.0 is too little: it is 0.001 at the least"),
    ("-A proj events -c POLAROID -r often", USAGE, "'often' is no rate: write a number, as 10/s, 10/m or 10/h"),
)  # fmt: skip


def cases(away: str) -> dict[str, tuple[list[str], int, str]]:
    """By a name: the words, the exit code, and what is said."""
    found: dict[str, tuple[list[str], int, str]] = {}

    def add(line: str, code: int, said: str) -> None:
        filled = line.replace("AWAY", away).replace("POLAROID", "celeriac.compat.events.snapshot.Polaroid")
        found[line] = filled.split(), code, said

    for name, (line, asks) in LINES.items():
        add(f"-A porj {line}", USAGE, "Did you mean: -A proj")
        add(f"-A broken {line}", USAGE, "No module named 'no_such_module_anywhere'")
        add(f"-A proj {line} --no-such-option", USAGE, "No such option")
        if asks:
            add(f"-A proj -b AWAY {line}", UNAVAILABLE, "Could not connect to the message broker.")
        if name not in REMAINS and name != "migrate":
            code = UNAVAILABLE if asks and name not in {"amqp", "top", *NEEDS_REDIS} else FAILURE
            add(f"-A proj -b nosuch:// {line}", code, "nosuch")
    for line in WITHOUT_APP.values():
        add(f"{line} --no-such-option", USAGE, "No such option")
    for line, code, said in FILES:
        add(line, code, said)
    return found


CASES = cases("")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, celeriac_env: Any) -> Iterator[dict[str, tuple[int, str, str]]]:
    place = tmp_path_factory.mktemp("bad-input")
    for name, source in (
        ("proj", PROJ),
        ("bad_schedule", BAD_SCHEDULE),
        ("no_task", NO_TASK),
        ("broken", BROKEN),
        ("lost", LOST),
        ("unset", UNSET),
        ("storeless", PROJ.replace('backend="cache+memory://", ', "")),
    ):
        (place / f"{name}.py").write_text(source)
    (place / "alive.pid").write_text(f"{os.getpid()}\n")
    asked = cases(f"redis://127.0.0.1:{free_port()}/0")
    program = Path(__file__).with_name("many_commands.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(program), "celeriac.compat.bin.celery"],
        cwd=place,
        env={
            **celeriac_env.variables,
            "PYTHONPATH": f"{celeriac_env.variables.get('PYTHONPATH', '')}{os.pathsep}{place}",
        },
        input=json.dumps([words for words, _, _ in asked.values()]),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    yield dict(zip(asked, map(tuple, json.loads(done.stdout)), strict=True))
    for process in Path("/proc").glob("[0-9]*"):  # who went into the background though he should not have
        with suppress(OSError):
            if (process / "cwd").readlink() == place:
                os.kill(int(process.name), signal.SIGKILL)


@pytest.mark.parametrize("line", CASES)
def test_it_is_told_in_a_line_with_the_right_exit_code(line: str, answers: dict[str, tuple[int, str, str]]) -> None:
    _, wanted, said = CASES[line]
    code, out, err = answers[line]
    assert code == wanted, out + err
    assert said in err + (out if line.startswith("multi") else ""), out + err
    assert ("Traceback" in out + err) == ("broken" in line), out + err
    if "broken" not in line:
        assert len(err.splitlines()) <= 8, err


def test_every_command_is_tried() -> None:
    from celeriac.compat.bin.celery import _COMMANDS

    assert {*LINES, *WITHOUT_APP, "multi", "run"} == {*_COMMANDS, "report"}
