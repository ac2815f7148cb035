"""What is written under Celery's names and what is written here are one: pickles, exceptions in results, a whole task.

Law: `stock_python` runs the real Celery in a process of its own; on our side stands a worker as `celeriac` starts it.
"""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Environment

pytestmark = pytest.mark.real

# Each line of what a program prints is one of these, pickled; each is then compared by what `shown` says of it.
VALUES = """
from celery import Celery, chain, chord, group, signature
from celery.exceptions import (
    Ignore, MaxRetriesExceededError, NotRegistered, Reject, Retry, SoftTimeLimitExceeded, TaskRevokedError,
    TimeoutError, WorkerLostError,
)
from celery.schedules import crontab, schedule
app = Celery("mixed", broker="memory://", backend="cache+memory://")

@app.task(name="mixed.add")
def add(x, y):
    return x + y

VALUES = [
    Retry("later", ValueError("x"), 3), Ignore("i"), Reject("r", True), MaxRetriesExceededError("m", task_args=(1,)),
    NotRegistered("n"), SoftTimeLimitExceeded(1.5), TaskRevokedError("gone"), TimeoutError("t"), WorkerLostError("w"),
    crontab(minute="*/5", hour="3,4"), schedule(30.0),
    add.s(1, 2), chain(add.s(1, 2), add.s(3)), group([add.s(1, 1), add.s(2, 2)]), chord([add.s(1, 1)], add.s(1)),
    app.AsyncResult("an-id"), app.GroupResult("g-id", [app.AsyncResult("one")]),
]

def shown(value):
    kind = type(value)
    if isinstance(value, BaseException):
        return [kind.__module__, kind.__name__, repr(value.args), str(value)]
    return [kind.__name__, repr(value)]
"""
WRITE = "import base64, pickle\nfor value in VALUES:\n    print(base64.b64encode(pickle.dumps(value, 4)).decode())\n"
READ = """
import base64, pickle, sys
for line, value in zip(sys.stdin.read().split(), VALUES, strict=True):
    read = pickle.loads(base64.b64decode(line))
    assert type(read) is type(value), (type(read), type(value))
    assert shown(read) == shown(value), (shown(read), shown(value))
    print(type(read).__name__)
"""
ALIAS = "import celeriac; celeriac.install()\n"


def run(python: Path, variables: dict[str, str], program: str, given: str = "") -> str:
    if python != Path(sys.executable):  # the real one knows nothing of us
        variables = {name: value for name, value in variables.items() if not name.startswith("PYTHON")}
    command = [str(python), "-W", "ignore", "-c", program]
    done = subprocess.run(command, env=variables, input=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("writer", ["stock", "celeriac"])
@pytest.mark.parametrize("reader", ["stock", "celeriac"])
def test_pickles(writer: str, reader: str, stock_python: Path, celeriac_env: Environment) -> None:
    programs = {"stock": (stock_python, ""), "celeriac": (Path(sys.executable), ALIAS)}
    python, first = programs[writer]
    written = run(python, celeriac_env.variables, f"{first}{VALUES}{WRITE}")
    python, first = programs[reader]
    read = run(python, celeriac_env.variables, f"{first}{VALUES}{READ}", written)
    assert len(read.split()) == written.count("\n") > 15


EXCEPTIONS = """
import json, sys
class Own(Exception): pass
EXCEPTIONS = [ValueError("v", 1), Own("o"), TaskRevokedError("r"), SoftTimeLimitExceeded(2), NotRegistered("n"), Ignore()]
backend = app.backend
"""


@pytest.mark.parametrize("writer", ["stock", "celeriac"])
def test_exceptions_in_results(writer: str, stock_python: Path, celeriac_env: Environment) -> None:
    """`exc_module` names what the other one has: each comes back as the class that it was, or one of its name."""
    programs = {"stock": (stock_python, ""), "celeriac": (Path(sys.executable), ALIAS)}
    write = "print(json.dumps([backend.prepare_exception(each, 'json') for each in EXCEPTIONS]))\n"
    read = (
        "for each, known in zip(json.load(sys.stdin), EXCEPTIONS, strict=True):\n"
        "    came = backend.exception_to_python(each)\n"
        "    assert type(came).__name__ == type(known).__name__ and came.args == known.args, (came, known)\n"
        "    assert type(came) is type(known) or type(known) is Own, (type(came), type(known))\n"
        "    print(each['exc_module'])\n"
    )
    python, first = programs[writer]
    written = run(python, celeriac_env.variables, f"{first}{VALUES}{EXCEPTIONS}{write}")
    python, first = programs["celeriac" if writer == "stock" else "stock"]
    modules = run(python, celeriac_env.variables, f"{first}{VALUES}{EXCEPTIONS}{read}", written).split()
    billiard, celery = "billiard.exceptions", "celery.exceptions"
    assert modules == ["builtins", "__main__", celery, billiard, celery, celery]


def test_pickles_of_the_real_one_are_read_without_being_asked_for_celery(
    stock_python: Path, celeriac_env: Environment
) -> None:
    """By a program that knows celeriac alone, under its own name."""
    written = run(stock_python, celeriac_env.variables, f"{VALUES}{WRITE}").split()
    program = (
        "import base64, pickle, sys\nimport celeriac.compat.exceptions as e, celeriac.compat.schedules as s\n"
        "retry, cron = (pickle.loads(base64.b64decode(line)) for line in sys.stdin.read().split())\n"
        "print(type(retry) is e.Retry, type(cron) is s.crontab)\n"
    )
    given = f"{written[0]}\n{written[9]}"
    assert base64.b64decode(written[9])
    assert run(Path(sys.executable), celeriac_env.variables, program, given).split() == ["True", "True"]
