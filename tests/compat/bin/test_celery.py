"""The command line as a whole: how the app is found, what wrong input says, global options, plug-ins, own commands."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from kombu.exceptions import OperationalError

from celeriac import Celery
from celeriac.compat.bin import celery as program
from celeriac.compat.bin.base import CeleryOption, CLIContext
from celeriac.compat.bin.run import SHIM, environment
from celeriac.compat.bin.worker import Autoscale, foreground_argv
from celeriac.compat.bin.worker import _preflight as preflight
from celeriac.compat.events import snapshot
from celeriac.compat.exceptions import ImproperlyConfigured

SOURCE = "from celery import Celery\napp = Celery('proj', broker='memory://')\n@app.task\ndef add(x, y): return x + y\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "proj.py").write_text(SOURCE)
    (tmp_path / "named.py").write_text(SOURCE.replace("app", "mine"))
    (tmp_path / "two.py").write_text(SOURCE + "other = Celery('other', broker='memory://')\n")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "factory.py").write_text("def make():\n    from celeriac import Celery\n    return Celery('made')\n")
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere\n")
    (tmp_path / "attribute.py").write_text("import os\nos.no_such_function()\n")
    (tmp_path / "syntax.py").write_text("def (\n")
    for name, source in (("package", SOURCE), ("hidden", "import no_such_module_anywhere\n"), ("bare", "x = 1\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        (tmp_path / name / "celery.py").write_text(source)
    return tmp_path


def run(env: Any, cwd: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [str(env.python), "-m", "celeriac", *words]
    return subprocess.run(
        command, cwd=cwd, env={**env.variables, **variables}, capture_output=True, text=True, timeout=60, check=False
    )


SAY = ("shell", "--python", "-T")


@pytest.mark.parametrize("name", ["proj", "proj:app", "proj.app", "named", "package", "package.celery", "two:other"])
def test_an_app_is_found(name: str, place: Path, celeriac_env: Any) -> None:
    done = run(celeriac_env, place, "-A", name, "inspect", "--list")
    assert done.returncode == 0, done.stderr
    assert "query_task" in done.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("porj", ["The module porj was not found.", "Did you mean: -A proj"]),
        ("nothing.like.it", ["The module nothing was not found.", "--workdir"]),
        ("two:nothing", ["has no attribute 'nothing'", "Did you mean: -A two:app"]),
        ("empty", ["has no app"]),
        ("factory:make", ["factory:make is a function", "app = make()"]),
        ("bare", ["has no app"]),
        ("broken", ["Traceback", "import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"]),
        ("broken:app", ["Traceback", "No module named 'no_such_module_anywhere'"]),
        ("attribute", ["Traceback", "os.no_such_function()"]),
        ("hidden", ["Traceback", "No module named 'no_such_module_anywhere'"]),
        ("syntax", ["syntax.py", "SyntaxError"]),
    ],
)
def test_an_app_that_cannot_be_loaded(name: str, words: list[str], place: Path, celeriac_env: Any) -> None:
    done = run(celeriac_env, place, "-A", name, "status")
    assert done.returncode == 2
    assert "Unable to load celery application." in done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert ("Traceback" in done.stderr) == ("Traceback" in words)


FILES_OF_USERS = {
    "attribute": ["attribute.py"],
    "hidden": ["hidden/celery.py"],
    "deep": ["deep/celery.py", "deep/tasks.py"],
    "caught": ["caught.py", "caught.py"],
    "syntax": ["syntax.py"],
}


@pytest.mark.parametrize("name", FILES_OF_USERS)
def test_a_traceback_begins_in_the_users_file(name: str, place: Path, celeriac_env: Any) -> None:
    (place / "deep").mkdir()
    (place / "deep" / "__init__.py").write_text("")
    (place / "deep" / "celery.py").write_text("from importlib import import_module\nimport_module('deep.tasks')\n")
    (place / "deep" / "tasks.py").write_text("import os\nos.environ['NO_SUCH_VARIABLE']\n")
    (place / "caught.py").write_text(
        "try:\n    import no_such_module_a\nexcept ImportError:\n    import no_such_module_b\n"
    )
    done = run(celeriac_env, place, "-A", name, "status")
    files = [
        Path(file) for file in re.findall('File "(.*?)"', done.stderr) if "os.py" not in file and "os>" not in file
    ]
    assert files == [place / file for file in FILES_OF_USERS[name]], done.stderr
    assert "Mend what" in done.stderr or "Install what provides" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module_anywhere", "Install what provides 'no_such_module_anywhere' for"),
        ("import os; os.environ['NO_SUCH_VARIABLE']", "KeyError: 'NO_SUCH_VARIABLE'"),
        ("def (", "SyntaxError"),
        ("import tasked.nothing", "There is no module tasked.nothing"),
        (
            "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'unknown.settings'; import unknown.settings",
            "DJANGO_SETTINGS_MODULE names 'unknown.settings', and there is no module unknown",
        ),
        ("import around\nx = 1", "Two modules import each other."),
        ("import celery.five", "celeriac stands in for celery here"),
        ("from celery.app.trace import _nope", "What needs it runs on Celery"),
    ],
)
def test_a_module_of_tasks_that_cannot_be_imported(source: str, said: str, tmp_path: Path, celeriac_env: Any) -> None:
    (tmp_path / "tasked").mkdir()
    (tmp_path / "tasked" / "__init__.py").write_text(source)
    (tmp_path / "around.py").write_text("from tasked import x\n")
    (tmp_path / "app.py").write_text(
        "from celery import Celery\napp = Celery(broker='memory://', include=['tasked'])\n"
    )
    done = run(celeriac_env, tmp_path, "-A", "app", "worker", "-P", "solo")
    assert done.returncode == 1
    assert said in done.stderr, done.stderr
    files = re.findall('File "(.*?)"', done.stderr)
    assert all(file.startswith((str(tmp_path), "<frozen os>")) or file.endswith("os.py") for file in files), done.stderr
    assert "tasked" in done.stderr
    assert "Install what provides 'celery'" not in done.stderr
    again = re.search("To try again: (.*)", done.stderr)
    if again and source != "def (":  # in the place of Celery, as here
        tried = subprocess.run(
            again[1], shell=True, cwd=tmp_path, env=celeriac_env.variables, capture_output=True, text=True, check=False
        )
        assert tried.returncode == 1
        assert tried.stderr.splitlines()[-1] in done.stderr


@pytest.mark.parametrize("words", [("graph", "bootsteps"), ("settings",), ("worker", "--help")])
def test_whoever_reads_it_may_stop_reading(words: tuple[str, ...], place: Path, celeriac_env: Any) -> None:
    """As in `celeriac ... | head`: that is no trouble with the broker."""
    command = [str(celeriac_env.python), "-m", "celeriac", "-A", "proj", *words]
    process = subprocess.Popen(
        command, cwd=place, env=celeriac_env.variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=60)
    assert said == ""
    assert process.returncode == 1


def test_the_old_order_works_with_a_hint(place: Path, celeriac_env: Any) -> None:
    done = run(celeriac_env, place, "inspect", "-A", "proj", "--list")
    assert done.returncode == 0
    assert done.stderr == "hint: -A belongs before the command: celeriac -A <app> <command> ...\n"
    assert run(celeriac_env, place, "inspect", "--app=proj", "--list").returncode == 0


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("-C",), "-C belongs before the command: celeriac -C <command> ..."),
        (("--no-color",), "--no-color belongs before the command: celeriac --no-color <command> ..."),
        (("-q",), "-q belongs before the command: celeriac -q <command> ..."),
        (("--quiet",), "--quiet belongs before the command: celeriac --quiet <command> ..."),
        (("--workdir", "."), "--workdir belongs before the command: celeriac --workdir <folder> <command> ..."),
        (("-b", "memory://"), "-b belongs before the command: celeriac -b <url> <command> ..."),
        (("-A", "proj"), "-A belongs before the command: celeriac -A <app> <command> ..."),
    ],
)
def test_each_global_option_may_stand_behind_the_command(
    words: tuple[str, ...], hint: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    done = CliRunner().invoke(program.celery, ["settings", "--own", *words], prog_name="celeriac")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[0] == f"hint: {hint}"


def test_a_pool_that_cannot_be_imported(place: Path, celeriac_env: Any) -> None:
    done = run(celeriac_env, place, "-A", "proj", "worker", "-P", "no.such:Pool")
    assert done.returncode == 2
    assert "'no.such:Pool' is no pool that can be imported: No module named 'no'" in done.stderr
    assert "Traceback" not in done.stderr


def moved(*words: str) -> list[str]:
    return program.celery._ordered(click.Context(program.celery), list(words))  # type: ignore[attr-defined]


def test_what_is_moved_and_what_is_not() -> None:
    assert moved("worker", "-l", "info", "-A", "proj", "-b", "x") == ["-A", "proj", "-b", "x", "worker", "-l", "info"]
    assert moved("worker", "-Aproj", "-c2") == ["-Aproj", "worker", "-c2"]
    assert moved("-q", "worker", "--broker=x", "-c", "2") == ["-q", "--broker=x", "worker", "-c", "2"]
    assert moved("worker", "-C", "-q", "-c", "2", "--no-color", "--quiet") == [
        *("-C", "-q", "--no-color", "--quiet", "worker", "-c", "2"),
    ]
    assert moved("beat", "--skip-checks", "--workdir", "x") == ["--skip-checks", "--workdir", "x", "beat"]
    assert moved("inspect", "ping", "-bredis://", "--loader=x", "--config", "y", "--result-backend=z") == [
        *("-bredis://", "--loader=x", "--config", "y", "--result-backend=z", "inspect", "ping"),
    ]
    for same in (
        ["-A", "proj", "worker", "-c", "2"],
        ["multi", "start", "2", "-A", "proj"],
        ["run", "celery", "-A", "proj"],
        ["-Aproj", "call", "x", "--", "-A", "y"],
        ["--workdir", "x", "worker"],
        ["flower", "--broker=x", "-q"],
        ["call", "x", "--", "-q"],
        ["shell", "-B"],
    ):
        assert moved(*same) == same


def test_environment_variables_stand_for_options(place: Path, celeriac_env: Any) -> None:
    for variable in ("APP", "CELERY_APP"):
        assert run(celeriac_env, place, "inspect", "--list", **{variable: "proj"}).returncode == 0
        assert run(celeriac_env, place, "inspect", "--list", **{variable: "porj"}).returncode == 2
    code = "print('URL', app.conf.broker_url)\n"
    for variable in ("BROKER_URL", "CELERY_BROKER_URL"):
        done = celeriac_shell(celeriac_env, place, code, **{variable: "memory://other"})
        assert "URL memory://other" in done.stdout, done.stderr
    done = celeriac_shell(
        celeriac_env, place, "print('URL', app.conf.result_backend)\n", RESULT_BACKEND="cache+memory://"
    )
    assert "URL cache+memory://" in done.stdout, done.stderr


def celeriac_shell(
    env: Any, place: Path, code: str, *before: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    command = [str(env.python), "-m", "celeriac", "-A", "proj", *before, "shell", "--python"]
    given = {**env.variables, **variables}
    return subprocess.run(
        command, cwd=place, env=given, input=code, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_shell_has_the_app_and_its_tasks(place: Path, celeriac_env: Any) -> None:
    done = celeriac_shell(celeriac_env, place, "print('SUM', add(2, 3), app.main, celery is app, chain, subtask)\n")
    assert "SUM 5 proj True" in done.stdout, done.stderr


def test_workdir_is_gone_to_first(place: Path, celeriac_env: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert run(celeriac_env, elsewhere, "-A", "proj", "--workdir", str(place), "inspect", "--list").returncode == 0
    done = run(celeriac_env, elsewhere, "--workdir", "/no/such/folder", "status")
    assert done.returncode == 2
    assert "cannot change to '/no/such/folder': No such file or directory" in done.stderr


def test_an_unreachable_broker_is_one_line(place: Path, celeriac_env: Any) -> None:
    for words in (("status",), ("inspect", "ping"), ("queues",), ("dead", "list"), ("purge", "-f"), ("unpark",)):
        done = run(celeriac_env, place, "-A", "proj", "-b", "redis://127.0.0.1:1/0", *words)
        assert done.returncode == 69, (words, done.stderr)
        assert done.stderr.startswith("Error: Could not connect to the message broker."), (words, done.stderr)
        assert len(done.stderr.splitlines()) == 1, (words, done.stderr)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("wroker",), "Did you mean one of these?\n    worker"),
        (("worker", "--concurency", "2"), "--concurrency"),
        (("worker", "-c", "many"), "must be a non-negative integer or 'auto', got 'many'"),
        (("worker", "-P", "custom"), "CELERY_CUSTOM_WORKER_POOL"),
        (("worker", "--autoscale", "a,b"), "expected one number or two, as 10,3; got 'a,b'"),
        (("worker", "--", "nonsense"), "A setting is written as name=value"),
        (("inspect", "stat"), "Did you mean: celeriac inspect stats"),
        (("inspect", "rate_limit"), "It is a command of `control`: celeriac control rate_limit"),
        (("control", "pool_grow", "x"), "'x' is no n. It takes arguments: [N=1]"),
        (("control", "pool_grow", "1", "2"), "takes arguments: [N=1]"),
        (("control", "heartbeat", "1"), "Command 'heartbeat' takes no arguments"),
        (("call", "x", "-a", "{}"), "was not an array"),
        (("call", "x", "--eta", "soon"), "2026-01-31T08:00:00Z"),
        (("dead", "drop"), "celeriac dead drop --all"),
        (("upgrade", "settings", "nowhere.py"), "Cannot read nowhere.py"),
        (("result", "x", "-t", "proj.nothing"), "the app has no task 'proj.nothing'"),
    ],
)
def test_wrong_words_are_told_with_the_right_ones(
    words: tuple[str, ...], told: str, place: Path, celeriac_env: Any
) -> None:
    done = run(celeriac_env, place, "-A", "proj", *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_files_that_cannot_be_written(place: Path, celeriac_env: Any) -> None:
    (place / "alive.pid").write_text(f"{os.getppid()}\n")
    for words in (("--pidfile=alive.pid",), ("--pidfile=/no/such/x.pid",), ("-D", "--logfile=/no/such/x.log")):
        done = run(celeriac_env, place, "-A", "proj", "worker", "-P", "solo", *words)
        assert done.returncode == 73, (words, done.stderr)
        assert "Traceback" not in done.stderr


def test_names_of_files_are_filled_in_for_beat_and_for_cameras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[dict[str, Any]] = []
    app = Celery("files", broker="memory://", set_as_current=False)

    class Beat:
        def __init__(self, **given: Any) -> None:
            told.append(given)

        def run(self) -> None: ...

    monkeypatch.setattr(app, "Beat", Beat)
    monkeypatch.setattr(snapshot, "evcam", lambda *_, **given: told.append(given))
    files = ("--logfile", "%n-%h.log", "--pidfile", "%n.%d.pid")
    for words in (
        ("beat", "-n", "tick@one.example.com", "-s", "%n.times", *files),
        ("beat", *files),
        ("events", "-c", "celery.events.snapshot:Polaroid", *files),
    ):
        assert invoke("-C", *words, app=app).exit_code == 0
    named, beat, camera = told
    assert (named["logfile"], named["pidfile"]) == ("tick-one.example.com.log", "tick.example.com.pid")
    assert named["schedule"] == "tick.times"
    assert named["no_color"] is True
    domain = socket.gethostname().partition(".")[2]
    assert (beat["logfile"], beat["pidfile"]) == (f"celerybeat-{socket.gethostname()}.log", f"celerybeat.{domain}.pid")
    assert camera["logfile"] == f"celeryev-{socket.gethostname()}.log"


def test_a_umask_counts_in_the_foreground(monkeypatch: pytest.MonkeyPatch) -> None:
    masks: list[int] = []
    monkeypatch.setattr(os, "umask", masks.append)
    app = Celery("masked", broker="memory://", set_as_current=False)
    monkeypatch.setattr(app, "Worker", lambda **_: Stub())
    monkeypatch.setattr(app, "Beat", lambda **_: Stub())
    monkeypatch.setattr(snapshot, "evcam", lambda *_, **__: None)
    for words in (("worker",), ("beat",), ("events", "-c", "celery.events.snapshot:Polaroid")):
        assert invoke(*words, "--umask", "027", app=app).exit_code == 0
    assert masks == [0o27] * 3


def test_what_would_end_it_in_the_background_is_found_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But a scheduler that wants Django, or the tasks, is not imported before these are there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wants_django.py").write_text("raise RuntimeError('apps are not loaded yet')\n")
    app = Celery("away", broker="memory://", set_as_current=False)
    preflight(app, "w@here", "%n.state", None)
    preflight(app, "w@here", None, ("wants_django:Scheduler", "times"))
    preflight(app, "w@here", None, (None, "times"))
    with pytest.raises(ImproperlyConfigured, match=r"'no\.such:X' cannot be imported: No module named 'no'"):
        preflight(app, "w@here", None, ("no.such:X", "times"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        preflight(app, "w@here", None, (None, "nowhere/times"))
    with pytest.raises(FileNotFoundError, match=r"w\.state"):
        preflight(app, "w@here", "nowhere/%n.state", None)
    app.conf.beat_schedule = {"a": {"task": "t", "schedule": "often"}}
    with pytest.raises(ImproperlyConfigured, match="'often' for its schedule"):
        preflight(app, "w@here", None, (None, "times"))


def test_a_failure_of_the_task_is_not_one_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Celery("results", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.backend.store_result("failed", ConnectionError("no way"), "FAILURE", traceback="line 3")
    app.backend.store_result("done", 5, "SUCCESS")
    failed = invoke("result", "failed", app=app)
    assert failed.exit_code == 1
    assert failed.output == "ConnectionError: no way\n(--traceback shows where it was raised)\n"
    assert invoke("result", "failed", "--traceback", app=app).output == "line 3\n"
    assert invoke("result", "done", app=app).output == "5\n"

    def lost(*_: Any, **__: Any) -> None:
        raise OperationalError("the store is away")

    monkeypatch.setattr(app.AsyncResult, "get", lost)
    found = invoke("result", "done", app=app)
    assert (found.exit_code, found.output) == (69, "Error: Could not ask the result store: the store is away\n")


class Stub:
    """A program that is over at once."""

    exitcode = 0

    def start(self) -> None: ...

    run = start


def test_autoscale_is_read_as_celery_reads_it() -> None:
    convert = Autoscale().convert
    assert convert("10,3", None, None) == convert("3,10", None, None) == (10, 3)
    assert convert("7", None, None) == (7, 0)


def test_the_background_goes_on_with_the_same_words() -> None:
    words = ["-A", "proj", "worker", "-D", "--uid", "3", "--gid=4", "--detach", "-c", "2", "--pidfile=x"]
    assert foreground_argv(words) == ["-m", "celeriac", "-A", "proj", "worker", "-c", "2", "--pidfile=x"]


# --- options of the app, and plug-ins


def invoke(*words: str, app: Any) -> Result:
    return CliRunner().invoke(program.celery, [*words], default_map={"app": app}, catch_exceptions=False)


def test_an_app_has_options_of_its_own(place: Path, celeriac_env: Any) -> None:
    (place / "own.py").write_text(
        SOURCE
        + "from click import Option\nfrom celery import signals\n"
        + "app.user_options['worker'].add(Option(('--argument',), default='x', help='Own.'))\n"
        + "app.user_options['preload'].add(Option(('-Z', '--template'), default='default'))\n"
        + "@signals.user_preload_options.connect\n"
        + "def tell(options, **_): print('OPTIONS', options)\n"
    )
    help_text = run(celeriac_env, place, "-A", "own", "worker", "--help").stdout
    assert "--argument" in help_text
    assert "--template" in help_text
    done = run(celeriac_env, place, "-A", "own", "purge", "-f", "-Z", "other")
    assert "OPTIONS {'template': 'other'}" in done.stdout, done.stderr
    assert done.returncode == 0


class Point:
    """An entry point."""

    def __init__(self, name: str, load: Any) -> None:
        self.name, self.load, self.value = name, load, f"{name}:{name}"


def test_a_plug_in_is_a_command_and_a_broken_one_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise ImportError("no library")

    @click.command()
    @click.pass_context
    def thing(ctx: click.Context) -> None:
        """A plug-in."""
        assert isinstance(ctx.obj, CLIContext)
        click.echo(f"thing of {ctx.obj.app.main}")

    points = [Point("thing", lambda: thing), Point("broken", broken)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == "celery.commands" else [])
    commands = dict(program.celery.commands)
    monkeypatch.setattr(program.celery, "commands", commands)
    runner = CliRunner()
    listed = runner.invoke(program.celery, ["--help"]).output
    assert "thing" in listed
    assert "could not be loaded" in listed
    found = runner.invoke(program.celery, ["thing"])
    assert found.exit_code == 0, found.output
    assert found.output.startswith("thing of ")
    failed = runner.invoke(program.celery, ["broken", "--whatever"])
    assert failed.exit_code == 1
    assert "ImportError: no library" in failed.output


def test_an_option_may_take_its_default_from_the_context() -> None:
    @click.command()
    @click.option("--colour", cls=CeleryOption, default_value_from_context="colour", help_group="Paint")
    def paint(colour: str) -> None:
        click.echo(colour)

    assert CliRunner().invoke(paint, [], obj={"colour": "red"}).output == "red\n"


# --- the shim


def test_children_get_celeriac(place: Path, celeriac_env: Any) -> None:
    code = "import celery, celery.result, celeriac.compat as c; print(celery is c, celery.result.__name__)"
    done = run(
        celeriac_env,
        place,
        "run",
        sys.executable,
        "-c",
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])",
    )
    assert done.stdout.strip() == "True celeriac.compat.result", done.stderr
    done = run(celeriac_env, place, "run", sys.executable, "-m", "celery", "--version")
    assert "celeriac" in done.stdout, done.stderr
    missing = run(celeriac_env, place, "run", "no-such-program-anywhere")
    assert missing.returncode == 127
    assert "no program 'no-such-program-anywhere'" in missing.stderr


@pytest.mark.real
def test_the_real_celery_makes_room(place: Path, celeriac_env: Any, stock_python: Path) -> None:
    """In an environment with stock Celery installed, `celery` is celeriac under the shim, and stock's without."""
    root = Path(__file__).resolve().parents[3]
    code = "import celery; print(celery.__name__)"
    bare = {**celeriac_env.variables, "PYTHONPATH": str(root / ".dev")}
    for variables, name in ((bare, "celery"), (environment(bare), "celeriac.compat")):
        done = subprocess.run([stock_python, "-c", code], env=variables, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == name, done.stderr


def test_the_shim_stands_first_once() -> None:
    once = environment({"PYTHONPATH": "/a"})
    assert once["PYTHONPATH"] == f"{SHIM}{os.pathsep}/a"
    assert environment(once) == once


# --- the table of settings, upgrade


def test_settings_are_told_by_words() -> None:
    told = json.loads(CliRunner().invoke(program.celery, ["settings", "--json", "prefetch"]).output)
    names = {row["name"] for row in told}
    assert "worker_prefetch_multiplier" in names
    own = json.loads(CliRunner().invoke(program.celery, ["settings", "--own", "--json"]).output)
    assert own
    assert all(row["own"] for row in own)
    assert CliRunner().invoke(program.celery, ["settings", "no-such-word"]).exit_code == 1


def test_settings_are_upgraded(tmp_path: Path) -> None:
    old = tmp_path / "conf.py"
    old.write_text("BROKER_URL = 'x'\nCELERYD_CONCURRENCY = 3\n# MY_BROKER_URL stays\nimport os\n")
    done = CliRunner().invoke(program.celery, ["upgrade", "settings", str(old)])
    assert done.exit_code == 0, done.output
    assert old.read_text() == "broker_url = 'x'\nworker_concurrency = 3\n# MY_BROKER_URL stays\nimport os\n"
    assert (tmp_path / "conf.py.orig").read_text().startswith("BROKER_URL")
    assert "any changes" in CliRunner().invoke(program.celery, ["upgrade", "settings", str(old)]).output
    old.write_text("CELERYD_CONCURRENCY = 3\n")
    CliRunner().invoke(program.celery, ["upgrade", "settings", "--django", "--no-backup", str(old)])
    assert old.read_text() == "CELERY_WORKER_CONCURRENCY = 3\n"


LOG = """\
[2026-11-21 09:58:03,375: INFO/MainProcess] Task proj.add[a-1] received
[2026-11-21 09:58:03,375: INFO/MainProcess] Task proj.add[a-2] received
[2026-11-21 09:58:03,375: INFO/MainProcess] Received task: proj.nap[n-1]
[2026-11-21 09:58:03,376: INFO/MainProcess] Connected
[2026-11-21 09:58:03,377: INFO/ForkPoolWorker-1] Task proj.add[a-1] succeeded in 0.1s: 3
[2026-11-21 09:58:03,378: ERROR/ForkPoolWorker-1] Task proj.add[a-2] raised unexpected: ValueError('no')
Traceback (most recent call last):
ValueError: no
"""


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            "stats",
            "Task total: 3\nTask errors: 1\nTask success: 1\nTask completed: 2\nTasks\n=====\nproj.add: 2\nproj.nap: 1",
        ),
        ("errors", "proj.add[a-2] raised unexpected"),
        ("incomplete", "Did not complete: n-1"),
        ("traces", "ValueError: no"),
        ("debug", "Connected"),
    ],
)
def test_a_log_is_read(command: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(LOG)
    done = CliRunner().invoke(program.celery, ["logtool", command, str(tmp_path / "log")])
    assert done.exit_code == 0, done.output
    assert told in done.output
    assert CliRunner().invoke(program.celery, ["logtool", command], input=LOG).output == done.output


def test_a_real_celery_that_is_loaded_first_is_told_and_the_way_out_leads_out(
    tmp_path: Path, celeriac_env: Any
) -> None:
    """As where `sitecustomize`, or an agent of it, imports Celery in each process that starts."""
    (tmp_path / "celery.py").write_text("Celery = 'the real one'\n")
    (tmp_path / "sitecustomize.py").write_text("import celery\n")
    path = os.pathsep.join([*filter(None, [celeriac_env.variables.get("PYTHONPATH")]), str(tmp_path)])
    late = run(celeriac_env, tmp_path, "-A", "proj", "worker", PYTHONPATH=path)
    assert late.returncode == 1
    (line,) = late.stderr.splitlines()
    assert line.startswith("Error: celeriac.install() came too late")
    assert line.endswith("or start the program with `celeriac run`.")
    command = [str(celeriac_env.python), "-m", "celeriac", "--version"]
    done = run(celeriac_env, tmp_path, "run", *command, PYTHONPATH=path)
    assert "by celeriac" in done.stdout, done.stderr


def test_unpark_without_an_app_says_where_it_has_looked(tmp_path: Path, celeriac_env: Any) -> None:
    done = run(celeriac_env, tmp_path, "unpark")
    assert done.stdout == (
        "Nothing is parked: amqp://localhost is no Redis. No app was named: celeriac -A proj unpark\n"
    )
