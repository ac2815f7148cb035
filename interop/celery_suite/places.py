"""The suite itself, from Celery's sdist on PyPI, and an environment for each side to run it in.

Law: of the sdist only the tests are unpacked, so that no `celery/` lies beside them: a side runs what its own
environment holds, and celeriac's holds no Celery at all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".peers" / "celery-suite"
VERSION = "5.7.0"
SUITE = HOME / "suite"
PLUGIN = Path(__file__).parent / "plugin"
EXTRAS = "auth,django,memcache,sqlalchemy,yaml"
# What the tests import by themselves, and the plugins whose marks they carry; the same on both sides.
TOOLS = (
    "billiard",
    "freezegun",
    "psutil",
    "pydantic>=2",
    "pytest>=9.1,<10",
    "pytest-rerunfailures==16.7",
    "pytest-subtests==0.15.0",
    "pytest-timeout==2.4.0",
    "python-dateutil",
    "tzdata",
)
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")


@dataclass(frozen=True)
class Side:
    """One of the two that are compared."""

    name: str
    packages: tuple[str, ...]
    prefix: tuple[str, ...] = ()  # what the command line begins with
    here: bool = False  # no environment of its own: the one that this runs in

    @property
    def folder(self) -> Path:
        return Path(sys.prefix) if self.here else HOME / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def pythonpath(self) -> str:
        """Nothing but the plugin, unless this runs by a path that was told: its children go by it too."""
        told = os.environ.get("PYTHONPATH") if self.here else None
        return os.pathsep.join((str(PLUGIN), *([told] if told else [])))

    def command(self) -> list[str]:
        return [*(str(self.folder / "bin" / word) for word in self.prefix[:1]), *self.prefix[1:], str(self.python)]


STOCK = Side("stock", (f"celery[redis,msgpack,{EXTRAS}]=={VERSION}",))
OURS = Side("celeriac", ("--editable", f"{ROOT}[{EXTRAS}]"), ("celeriac", "run"))
HERE = Side("here", (), ("celeriac", "run"), here=True)


def prepare(sides: Sequence[Side] = (STOCK, OURS)) -> None:
    """Environments and tests are there afterwards; what is there already is left alone."""
    for side in sides:
        if not side.here:
            _environment(side)
    if OURS in sides:
        # The wheel named celery brings this program; the alias alone does not.
        program = OURS.folder / "bin" / "celery"
        program.write_text(f'#!/bin/sh\nexec {OURS.python} -m celery "$@"\n')
        program.chmod(0o755)
    if not (SUITE / "t" / "integration").is_dir():
        _unpack(_download(sides[0].python))


def _environment(side: Side) -> None:
    ready = side.folder / ".ready"
    asked = "\n".join((*side.packages, *TOOLS))
    if not ready.exists() or ready.read_text() != asked:
        subprocess.run([sys.executable, "-m", "venv", str(side.folder)], check=True)
        subprocess.run([str(side.python), *PIP, "install", *side.packages, *TOOLS], check=True)
        ready.write_text(asked)


def _download(python: Path) -> Path:
    HOME.mkdir(parents=True, exist_ok=True)
    wanted = ("download", "--no-deps", "--no-binary", "celery", "--dest", str(HOME), f"celery=={VERSION}")
    subprocess.run([str(python), *PIP, *wanted], check=True)
    return HOME / f"celery-{VERSION}.tar.gz"


def _unpack(sdist: Path) -> None:
    """All of it or nothing, whoever else does the same."""
    safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tempfile.TemporaryDirectory(dir=HOME) as folder, tarfile.open(sdist) as archive:
        whole = Path(folder) / "suite"
        for member in archive.getmembers():
            inside = member.name.partition("/")[2]
            if member.isfile() and (inside.startswith("t/") or inside == "pyproject.toml"):
                member.name = inside
                archive.extract(member, whole, **safe)
        try:
            whole.rename(SUITE)
        except OSError:
            if not (SUITE / "t" / "integration").is_dir():
                raise


def collectable() -> list[str]:
    """The suite's files, by name."""
    return sorted(path.name for path in (SUITE / "t" / "integration").glob("test_*.py"))


def parts() -> dict[str, tuple[str, ...]]:
    """The suite in runs that take about as long, the longest first."""
    canvas, chords = "test_canvas.py", "test_canvas.py::test_chord"
    return {
        "chords": (chords,),
        "rest": tuple(name for name in collectable() if name != canvas),
        "canvas": (canvas, f"--deselect=t/integration/{chords}"),
    }
