"""Clean environments with nothing in them but what celeriac and Celery need, lent from here; and wheels to put there.

Law: no network. What is lent is linked into the place, so pip sees it as installed; the real Celery's wheel is made
of the files that stock's environment holds.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

from tests import house
from tests.conftest import STOCK


def site_of(home: Path) -> Path:
    return next(home.glob("lib/python3*/site-packages"))


class Place:
    """A fresh environment. pip runs from outside of it, on it."""

    def __init__(self, home: Path) -> None:
        venv.create(home, with_pip=False)
        self.home, self.site, self.python = home, site_of(home), home / "bin" / "python"
        unwanted = ("PYTHON", "CELERY", "CELERIAC", "COV", "PIP_")
        self.variables = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
        self.variables["PATH"] = f"{home / 'bin'}{os.pathsep}{self.variables['PATH']}"
        lend(self.site, Path(str(metadata.distribution("kombu").locate_file(""))), needs_of_celeriac())
        lend(self.site, site_of(STOCK), metadata_of_stock().requires or [])
        self.empty = self.files()

    def pip(self, *args: str | Path, fails: bool = False) -> str:
        """What pip says. Nothing is asked of an index."""
        offline = ["--no-index", "--no-compile"] if args[0] == "install" else []
        command = [sys.executable, "-W", "ignore", "-m", "pip", "--python", self.python, "--no-color"]
        done = self._run([*command, "--disable-pip-version-check", args[0], *offline, *args[1:]])
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def run(self, *command: str, fails: bool = False) -> str:
        """What a program of this place says."""
        done = self._run([self.home / "bin" / command[0], *command[1:]])
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return (done.stdout + done.stderr).strip()

    def says(self, code: str, *, fails: bool = False) -> str:
        return self.run("python", "-c", code, fails=fails)

    def _run(self, command: list[str | Path]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.variables, cwd=self.home, capture_output=True, text=True, timeout=120, check=False
        )

    def files(self, top: str = "") -> dict[str, str]:
        """What stands here, by its contents; compiled files do not count."""
        found = [*(self.home / "bin").iterdir(), *_files(self.site)]
        names = {path: path.relative_to(self.home).as_posix() for path in found if path.is_file()}
        mine = {path: name for path, name in names.items() if f"site-packages/{top}" in name or not top}
        return {name: _digest(path.read_bytes()) for path, name in mine.items()}


def _files(folder: Path) -> list[Path]:
    """Without what is lent: links."""
    own = [path for path in folder.iterdir() if not path.is_symlink()]
    return [file for path in own for file in ([path] if path.is_file() else path.rglob("*")) if file.suffix != ".pyc"]


def needs_of_celeriac() -> list[str]:
    """As the tree says: what is installed here may be older."""
    found = re.search(
        r"^dependencies = \[\n(.*?)^\]", (house.ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE
    )
    assert found
    return re.findall(r'^    "([^"]+)"', found[1], re.MULTILINE)


def metadata_of_stock() -> metadata.Distribution:
    return next(found for found in metadata.distributions(path=[str(site_of(STOCK))]) if found.name == "celery")


def lend(site: Path, source: Path, needs: list[str]) -> None:
    """These distributions, and what they need in their turn. The extras that are asked for are among them."""
    there = {_plain(found.metadata["Name"]): found for found in metadata.distributions(path=[str(source)])}
    seen: set[str] = set()
    waiting = list(needs)
    while waiting:
        need = waiting.pop()
        name = _plain(re.split(r"[^\w.-]", need, maxsplit=1)[0])
        if name in seen or name not in there or ("extra ==" in need and name != "hiredis"):
            continue
        seen.add(name)
        waiting += there[name].requires or ()
        for top in {path.parts[0] for path in there[name].files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(source / top)


def real_celery(folder: Path, version: str = "") -> Path:
    """The real Celery's wheel, out of stock's environment; under another version where a test wants one."""
    stock = metadata_of_stock()
    paths = [path for path in stock.files or () if path.parts[0] != ".." and path.suffix != ".pyc"]
    files = {path.as_posix(): path.read_binary() for path in paths if path.name not in {"INSTALLER", "REQUESTED"}}
    if version:
        files = {name.replace(f"-{stock.version}.dist", f"-{version}.dist"): data for name, data in files.items()}
        name = f"celery-{version}.dist-info/METADATA"
        files[name] = files[name].replace(
            b"\nVersion: %b" % stock.version.encode(), b"\nVersion: %b" % version.encode()
        )
    return wheel(folder, "celery", version or stock.version, files)


def needs_celery(folder: Path, needs: str = "celery[redis]<6,>=5.2") -> Path:
    """A package such as there are many: it requires Celery, and brings a command."""
    info = "needs_celery-1.0.dist-info"
    code = "import celery, click\n\n@click.command()\ndef hello():\n    click.echo(f'hello from {celery.__name__}')\n"
    return wheel(
        folder,
        "needs_celery",
        "1.0",
        {
            "needs_celery.py": code.encode(),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: needs-celery\nVersion: 1.0\nRequires-Dist: {needs}\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": b"[celery.commands]\nhello = needs_celery:hello\n",
        },
    )


def wheel(folder: Path, name: str, version: str, files: dict[str, bytes]) -> Path:
    info = f"{name}-{version}.dist-info"
    files = {file: data for file, data in files.items() if not file.endswith("/RECORD")}
    record = "".join(f"{file},sha256={_digest(data)},{len(data)}\n" for file, data in files.items())
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, data in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}.items():
            archive.writestr(file, data)
    return path


def celeriac_wheel(folder: Path) -> Path:
    command = [sys.executable, "-W", "ignore", "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run(
        [*command, "--wheel-dir", folder, house.ROOT], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("celeriac-*.whl")
    return built


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
