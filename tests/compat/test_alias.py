"""`celery` is this package: one module object with two names, and never a mixture with the real one."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import celeriac
from celeriac import compat
from celeriac.compat import alias
from tests.conftest import Environment


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    alias.uninstall()


def test_both_names_are_one_module() -> None:
    celeriac.install()
    celery = importlib.import_module("celery")
    assert celery is compat
    for name in ("celery.app.base", "celery.exceptions", "celery.utils.log", "celery.utils", "celery.schedules"):
        assert importlib.import_module(name) is importlib.import_module("celeriac.compat" + name[len("celery") :])
    assert celery.utils.log is sys.modules["celery.utils.log"]


def test_a_module_keeps_its_own_spec() -> None:
    celeriac.install()
    module = importlib.import_module("celery.states")
    assert module.__spec__ is not None
    assert module.__spec__.name == module.__name__ == "celeriac.compat.states"
    assert importlib.reload(module) is module


def test_what_we_lack_is_not_found() -> None:
    celeriac.install()
    with pytest.raises(ModuleNotFoundError, match=r"celery\.five.*celeriac stands in.*doctor") as caught:
        importlib.import_module("celery.five")
    assert caught.value.name == "celery.five"


@pytest.mark.parametrize("module", ["celery", "celery.app.trace", "celery.utils", "celery.states"])
def test_a_name_that_we_lack_leads_to_the_way_out(module: str) -> None:
    """With a `__getattr__` of its own or without, a package or not."""
    celeriac.install()
    loaded = importlib.import_module(module)
    with pytest.raises(ImportError, match=rf"import name 'nope' from '{module}'.*celeriac stands in.*doctor") as caught:
        exec(f"from {module} import nope")
    assert (caught.value.name, caught.value.path) == (module, loaded.__file__)
    with pytest.raises(AttributeError, match=rf"'{module}' has no attribute 'nope'.*celeriac stands in.*doctor"):
        loaded.nope  # noqa: B018 - asking is the test
    with pytest.raises(AttributeError, match=rf"'{module}' has no attribute '__nope__'$"):
        loaded.__nope__  # noqa: B018 - as above
    assert not hasattr(loaded, "nope")
    assert getattr(loaded, "nope", 3) == 3


def test_a_module_that_is_half_loaded_is_found_in_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """`from package import module`, amid a circle of imports: the package has no such name yet."""
    celeriac.install()
    monkeypatch.delattr(importlib.import_module("celery.utils"), "time")
    space: dict[str, Any] = {}
    exec("from celery.utils import time", space)
    assert space["time"] is importlib.import_module("celeriac.compat.utils.time")


TWO_NAMES = """
import celeriac; celeriac.install()
import inspect, sys, typing
from celery import Celery, Task
from celery.result import AsyncResult
for each in (Celery, Task, AsyncResult):
    assert sys.modules[each.__module__] is sys.modules["celeriac.compat" + each.__module__[len("celery"):]]
    if sys.version_info < (3, 13):  # since then a class whose module is set anew forgets its line
        assert inspect.getsource(each).startswith("class " + each.__name__)
    assert typing.get_type_hints(each)
print("fine")
"""


def test_a_class_is_found_by_the_module_that_it_names(celeriac_env: Environment) -> None:
    """Who reads types and sources asks `sys.modules`, and does not import."""
    done = celeriac_env.run("-c", TWO_NAMES)
    assert done.stdout.strip() == "fine", done.stderr


BOTH_NAMES = """
other = threading.Thread(target=lambda: seen.append(import_module("celeriac.compat.states")))
other.start()
assert half.wait(10)
mine = import_module("celery.states")
other.join()
assert mine is seen[0] is sys.modules["celeriac.compat.states"] is sys.modules["celery.states"]
print("fine")
"""


AT_ONCE = """
import celeriac; celeriac.install()
import faulthandler, sys, threading
from importlib import import_module
import celery.app, celery.schedules
from celeriac.compat import alias

assert not {{"celeriac.compat.states", "celery.states", "colorsys"}} & set(sys.modules)
faulthandler.dump_traceback_later(20, exit=True)
half, on, loaded, seen = threading.Event(), threading.Event(), threading.Event(), []
load, look = alias._Twice.exec_module, alias._spec

def slowly(self, module):
    if module.__name__ == "celeriac.compat.states":
        half.set()
        assert on.wait(10)
        {then}
    load(self, module)
    if module.__name__ == "celeriac.compat.states":
        loaded.set()

def meanwhile(name):
    on.set()
    {wait}
    return look(name)

alias._Twice.exec_module, alias._spec = slowly, meanwhile
"""


@pytest.mark.parametrize(
    ("then", "wait"),
    [("import colorsys", "pass"), ("pass", "assert loaded.wait(10)")],
    ids=["imports more", "is done first"],
)
def test_two_threads_that_ask_by_two_names_get_one_module(then: str, wait: str, celeriac_env: Environment) -> None:
    """One is in the midst of it, as the other one looks for it; neither waits for ever, and it is loaded once."""
    done = celeriac_env.run("-c", AT_ONCE.format(then=then, wait=wait) + BOTH_NAMES)
    assert done.stdout.strip() == "fine", done.stderr


def test_installing_twice_is_installing_once() -> None:
    celeriac.install()
    before = list(sys.meta_path)
    celeriac.install()
    assert sys.meta_path == before
    assert alias.installed()


def test_too_late_is_said_clearly(stock_python: Path, celeriac_env: Environment) -> None:
    site = stock_python.parents[1] / "lib" / "python3.11" / "site-packages"
    if not site.is_dir():
        pytest.skip("stock Celery runs on another Python here")
    program = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "import celery, celeriac\n"
        "try:\n    celeriac.install()\n"
        "except ImportError as error:\n    print(error)\n"
        "import celery.states; print(celery.states.__file__)\n"
    )
    done = celeriac_env.run("-W", "ignore", "-c", program, str(site))
    assert "came too late: the real celery is loaded already" in done.stdout, done.stderr
    assert "celeriac run" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("site-packages/celery/states.py")


def test_in_time_the_real_one_stays_out(stock_python: Path, celeriac_env: Environment) -> None:
    site = stock_python.parents[1] / "lib" / "python3.11" / "site-packages"
    if not site.is_dir():
        pytest.skip("stock Celery runs on another Python here")
    program = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "import celeriac; celeriac.install()\n"
        "import celery.states, celery.exceptions, billiard.exceptions\n"
        "print(celery.states.__name__)\n"
        "print(celery.exceptions.SoftTimeLimitExceeded is billiard.exceptions.SoftTimeLimitExceeded)\n"
        "print(billiard.__file__)\n"
        "try:\n    import celery.utils.static\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = celeriac_env.run("-W", "ignore", "-c", program, str(site))
    lines = done.stdout.splitlines()
    assert lines[:2] == ["celeriac.compat.states", "True"], done.stderr
    assert lines[2].endswith("site-packages/billiard/__init__.py")
    assert "celeriac stands in" in lines[3]


def test_without_a_celery_ours_is_found_once_it_is_in_use(celeriac_env: Environment) -> None:
    program = (
        "import pickle\n"
        "try:\n    import celery\nexcept ImportError:\n    print('none')\n"
        "from celeriac.compat.schedules import crontab\n"
        "print(pickle.loads(pickle.dumps(crontab(hour=3))))\n"
        "import importlib.metadata, celery\n"
        "print(importlib.metadata.version('celery'), celery.__version__, celery.VERSION[:3])\n"
        "import billiard.exceptions as b, celery.exceptions as e\n"
        "print(b.Terminated is e.Terminated, b.ProcessError.__module__)\n"
    )
    done = celeriac_env.run("-c", program)
    assert done.stdout.splitlines() == [
        "none",
        "<crontab: * 3 * * * (m/h/dM/MY/d)>",
        "5.7.0 5.7.0 (5, 7, 0)",
        "True multiprocessing.context",
    ], done.stderr


def test_a_celery_that_is_found_once_ours_is_in_use_is_loaded_once(celeriac_env: Environment) -> None:
    program = (
        "import celeriac.compat as ours, celeriac.compat.schedules as schedules\n"
        "import celery, celery.schedules, sys\n"
        "print(celery is ours is sys.modules['celeriac.compat'], celery.schedules is schedules)\n"
        "import celeriac; celeriac.install()\n"
    )
    done = celeriac_env.run("-c", program)
    assert done.stdout.strip() == "True True", done.stderr


def test_the_version_is_the_one_that_is_imported(tmp_path: Path, celeriac_env: Environment) -> None:
    """Whatever distribution of that name stands there, a reader of versions need not know our way of writing them."""
    info = tmp_path / "celery-5.4.0+x.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: celery\nVersion: 5.4.0+x.1\nRequires-Dist: vine\n")
    (info / "entry_points.txt").write_text("[console_scripts]\ncelery = celery.__main__:main\n")
    program = (
        "import sys, importlib.metadata as m; sys.path.insert(0, sys.argv[1])\n"
        "print(m.version('celery'))\n"
        "import celeriac; celeriac.install()\n"
        "found = m.distribution('Celery')\n"
        "print(found.version, found.requires, [each.name for each in found.entry_points])\n"
        "print([each.version for each in m.distributions() if each.name == 'celery'])\n"
    )
    done = celeriac_env.run("-c", program, str(tmp_path))
    assert done.stdout.splitlines() == ["5.4.0+x.1", "5.7.0 ['vine'] ['celery']", "['5.4.0+x.1']"], done.stderr


def test_import_is_light(celeriac_env: Environment) -> None:
    program = (
        "import sys, celeriac; celeriac.install(); import celery\n"
        "import celery.exceptions, celery.signals, celery.states, celery.utils, celery.utils.time, celery.local\n"
        "heavy = {'kombu', 'redis', 'amqp', 'asyncio', 'click', 'multiprocessing', 'inspect', 'billiard', 'vine'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = celeriac_env.run("-c", program)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", celeriac.__all__)
def test_the_door_leads_to_every_name(name: str) -> None:
    assert getattr(celeriac, name) is not None
    assert name in dir(celeriac)


@pytest.mark.parametrize("name", compat.__all__)
def test_celery_has_every_name(name: str) -> None:
    assert getattr(compat, name) is not None
    assert name in dir(compat)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="'celery' has no attribute 'nope'"):
        compat.nope  # noqa: B018 - asking is the test
    with pytest.raises(AttributeError, match="nope"):
        celeriac.nope  # type: ignore[attr-defined]  # noqa: B018 - as above


@pytest.mark.parametrize(
    ("argv", "pool"),
    [
        (["-P", "mine"], "mine"),
        (["--pool=mine"], "mine"),
        (["--pool", "mine"], "mine"),
        (["-c", "2"], None),
        ([], None),
    ],
)
def test_the_pool_is_patched_before_anything_else(
    argv: list[str], pool: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched: list[str] = []
    monkeypatch.setattr(sys, "argv", ["celery", "worker"])
    monkeypatch.setattr(compat.concurrency, "get_available_pool_names", lambda: (), raising=False)
    compat.maybe_patch_concurrency(argv, patches={"mine": lambda: patched.append("mine")})
    assert patched == ([pool] if pool else [])


AGENT = """
import importlib.util, sys
from importlib.machinery import ModuleSpec

told, waited_for = [], {"celery", "celery.app.trace", "celery.worker", "celery.local"}

class Chained:
    def __init__(self, loader): self.loader = loader
    def create_module(self, spec): return self.loader.create_module(spec)
    def exec_module(self, module):
        self.loader.exec_module(module)
        if module.__name__ in waited_for:
            told.append(module.__name__)
            if hasattr(module, "build_tracer"):
                module.build_tracer = "patched"

class Finder:
    __module__ = "newrelic.api.import_hook"
    busy = False
    def find_spec(self, name, path=None, target=None):
        if self.busy or name not in waited_for:
            return None
        self.busy = True
        try:
            spec = importlib.util.find_spec(name)
            spec.loader = Chained(spec.loader)
            return spec
        finally:
            self.busy = False

def watch():
    sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize("early", [True, False])
def test_agents_that_wait_for_an_import_are_told_of_it_by_celerys_name(
    early: bool, tmp_path: Path, celeriac_env: Environment
) -> None:
    """Also where celeriac itself loads the module, and where the agent comes after the first modules."""
    (tmp_path / "agent.py").write_text(AGENT)
    first, second = ("agent.watch()", "celeriac.install()") if early else ("celeriac.install()", "agent.watch()")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        f"import agent, celeriac\n{first}\n{second}\n"
        "from celery import Celery\n"
        "app = Celery('a', broker='memory://', set_as_current=False)\n"
        "from celeriac.compat.app import trace\n"
        "import celeriac.compat.worker\n"
        "print(sorted(agent.told), trace.build_tracer)\n"
        "import celery.app.trace, celery.worker, celery.local\n"
        "print(len(agent.told), celery.app.trace is trace, trace.__spec__.name, trace.__name__, type(trace).__name__)\n"
    )
    done = celeriac_env.run("-c", program, str(tmp_path))
    modules = ["celery", "celery.app.trace", "celery.local", "celery.worker"]
    told = modules if early else modules[1:]  # as with Celery: what was imported before is not told again
    assert done.stdout.splitlines() == [
        f"{told} patched",
        f"{len(told)} True celeriac.compat.app.trace celeriac.compat.app.trace module",
    ], done.stderr


TOLD_AT_ONCE = """
import sys, threading, time; sys.path.insert(0, sys.argv[1])
import agent, celeriac; agent.watch(); celeriac.install()
from importlib import import_module
import celery.app, celery.schedules
from celeriac.compat import alias

assert not {"celeriac.compat.states", "celery.states"} & set(sys.modules)
half, telling, seen = threading.Event(), threading.Event(), []
load, tell, make = alias._Twice.exec_module, alias._tell, alias._Loader.create_module

def exec_module(self, module):
    if module.__name__ == "celeriac.compat.states":
        half.set()
        assert making.wait(10)
    load(self, module)

def create_module(self, spec):
    if spec.name == "celery.states" and threading.current_thread() is threading.main_thread():
        making.set()
        assert telling.wait(10)
        time.sleep(0.3)  # until the other one waits for the module that is made here
    return make(self, spec)

def told():
    if threading.current_thread() is other:
        telling.set()
    tell()

making = threading.Event()
alias._Twice.exec_module, alias._tell, alias._Loader.create_module = exec_module, told, create_module
"""


def test_an_agent_is_told_while_two_threads_import(tmp_path: Path, celeriac_env: Environment) -> None:
    """One tells of what it has loaded, as the other one asks for it by the name that is told."""
    (tmp_path / "agent.py").write_text(AGENT)
    done = celeriac_env.run("-c", TOLD_AT_ONCE + BOTH_NAMES, str(tmp_path))
    assert done.stdout.strip() == "fine", done.stderr


def test_programs_of_the_celery_4_age_are_told_what_to_write(tmp_path: Path, celeriac_env: Environment) -> None:
    program = tmp_path / "tasks.py"
    program.write_text(
        "import celeriac; celeriac.install()\n"
        "from celery import Celery\n"
        "app = Celery('old', broker='memory://')\n"
        "from celery.task import task, periodic_task\n"
        "from celery.task.control import revoke\n"
        "from celery.registry import tasks\n"
        "@task\ndef add(x, y): return x + y\n"
        "@periodic_task(run_every=30)\ndef tick(): pass\n"
        "print(sorted(name for name in tasks if name.startswith('old.')), add(2, 2))\n"
        "print(app.conf.beat_schedule['old.tick']['schedule'])\n"
    )
    done = subprocess.run(
        [str(celeriac_env.python), "-W", "default", str(program)],
        env=celeriac_env.variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["['old.add', 'old.tick'] 4", "30"], done.stderr
    said = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert len(said) == 1
    assert said[0].startswith(
        f"{program}:4: CDeprecationWarning: celery.task is a module of Celery 4: write `@app.task`"
    )
