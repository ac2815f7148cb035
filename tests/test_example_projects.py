"""The projects of the web frameworks under `examples/`: the same files with stock Celery and with celeriac beside it.

Law: both are installed in one environment, as a team has it that changes over; the commands are those of the READMEs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Environment
from tests.environments import environment
from tests.house import ROOT
from tests.servers import RedisServer, free_port

pytestmark = pytest.mark.real
PACKAGES = ("django==5.2.*", "flask==3.1.*", "fastapi==0.*", "uvicorn==0.*")
SIDES = ("stock", "celeriac")


@pytest.fixture(scope="module")
def programs() -> Path:
    return environment("examples", PACKAGES, shim=False)


class Site:
    """A project of these in a folder of its own, with a worker and a web server."""

    def __init__(self, name: str, folder: Path, programs: Path, variables: dict[str, str], side: str) -> None:
        self.folder, self.programs, self.side = folder / name, programs, side
        shutil.copytree(
            ROOT / "examples" / name, self.folder, ignore=shutil.ignore_patterns("__pycache__", "*.sqlite3")
        )
        self.variables = variables
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def command(self, *words: str) -> list[str]:
        """What is typed, by which of both."""
        first = [str(self.programs / "celeriac"), "run"] if self.side == "celeriac" else []
        return [*first, str(self.programs / words[0]), *words[1:]]

    def worker(self, app: str) -> Any:
        program = "celeriac" if self.side == "celeriac" else "celery"
        return self.running([str(self.programs / program), "-A", app, "worker", "-c", "1", "-l", "info"], " ready.")

    @contextmanager
    def running(self, command: list[str], word: str = "") -> Iterator[None]:
        """Until it says this word, or, without one, answers at its port."""
        path = self.folder / f"{len(list(self.folder.glob('*.log')))}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=self.variables, stdout=log, stderr=log)
        try:
            until(
                lambda: word in path.read_text() if word else answers(self.url),
                lambda: f"{command}: {process.poll()}\n{path.read_text()}",
            )
            yield
        except BaseException:
            print(path.read_text())
            raise
        finally:
            process.terminate()
            process.wait(30)

    def call(self, path: str, data: bytes | None = None, kind: str = "application/x-www-form-urlencoded") -> Any:
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=20) as reply:
            return json.load(reply)

    def post(self, path: str, **form: str) -> Any:
        return self.call(path, urllib.parse.urlencode(form).encode())

    def once(self, path: str, **wanted: Any) -> Any:
        found: dict[str, Any] = {}

        def there() -> bool:
            found.update(self.call(path))
            return all(found[name] == value for name, value in wanted.items())

        until(there, lambda: f"wanted {wanted}, found {found}")
        return found


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as problem:  # it is up, and has no such page
        problem.close()
        return True
    except OSError:
        return False


def until(true: Callable[[], bool], told: Callable[[], str]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, told()
        time.sleep(0.05)


Make = Callable[[str], Site]


@pytest.fixture
def make(side: str, programs: Path, tmp_path: Path, celeriac_env: Environment, redis_server: RedisServer) -> Make:
    redis_server.call("FLUSHALL")
    variables = {
        **celeriac_env.variables,
        "BROKER_URL": redis_server.url,
        "RESULT_BACKEND": redis_server.url.replace("/0", "/1"),
        "DATABASE": str(tmp_path / "db.sqlite3"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return lambda name: Site(name, tmp_path, programs, variables, side)


@pytest.mark.parametrize("side", SIDES)
def test_django(make: Make) -> None:
    site = make("django")
    migrated = subprocess.run(
        site.command("python", "manage.py", "migrate"),
        cwd=site.folder,
        env=site.variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert migrated.returncode == 0, migrated.stderr
    server = site.command("python", "manage.py", "runserver", "--noreload", str(site.port))
    with site.worker("proj"), site.running(server):
        number = site.post("/orders", item="tea")["number"]
        assert site.once(f"/orders/{number}", state="paid")["item"] == "tea"


@pytest.mark.parametrize("side", SIDES)
def test_flask(make: Make) -> None:
    site = make("flask")
    with site.worker("app:celery_app"), site.running(site.command("flask", "run", "--port", str(site.port))):
        sent = site.post("/greetings", name="Ada")["id"]
        assert site.once(f"/greetings/{sent}", state="SUCCESS")["greeting"] == "Hello, Ada!"


@pytest.mark.parametrize("side", SIDES)
def test_fastapi(make: Make) -> None:
    site = make("fastapi")
    with site.worker("tasks"), site.running(site.command("uvicorn", "main:api", "--port", str(site.port))):
        sent = site.call("/counts", b'{"words": "one two"}', "application/json")["id"]
        assert site.once(f"/counts/{sent}", state="SUCCESS")["count"] == {"words": 2, "letters": 6}


@pytest.mark.parametrize("side", SIDES)
def test_who_is_who(side: str, make: Make) -> None:
    site = make("flask")
    command = site.command("python", "-c", "import celery; print(celery.__name__)")
    done = subprocess.run(command, env=site.variables, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == {"stock": "celery", "celeriac": "celeriac.compat"}[side]
