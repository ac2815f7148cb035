"""The suite itself, from Celery's sdist on PyPI, and an environment for each side to run it in.

Law: of the sdist only the tests are unpacked, so that no `celery/` lies beside them: a side runs what its own
environment holds, and celeriac's holds no Celery at all.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
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

    @property
    def folder(self) -> Path:
        return HOME / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def command(self) -> list[str]:
        return [*(str(self.folder / "bin" / word) for word in self.prefix[:1]), *self.prefix[1:], str(self.python)]


STOCK = Side("stock", (f"celery[redis,msgpack,{EXTRAS}]=={VERSION}",))
OURS = Side("celeriac", ("--editable", f"{ROOT}[{EXTRAS}]"), ("celeriac", "run"))


def prepare() -> None:
    """Both environments and the tests are there afterwards; what is there already is left alone."""
    for side in (STOCK, OURS):
        ready = side.folder / ".ready"
        asked = "\n".join((*side.packages, *TOOLS))
        if not ready.exists() or ready.read_text() != asked:
            subprocess.run([sys.executable, "-m", "venv", str(side.folder)], check=True)
            subprocess.run([str(side.python), *PIP, "install", *side.packages, *TOOLS], check=True)
            ready.write_text(asked)
    # The wheel named celery brings this program; the alias alone does not.
    program = OURS.folder / "bin" / "celery"
    program.write_text(f'#!/bin/sh\nexec {OURS.python} -m celery "$@"\n')
    program.chmod(0o755)
    if not (SUITE / "t" / "integration").is_dir():
        unpack(download())


def download() -> Path:
    wanted = ("download", "--no-deps", "--no-binary", "celery", "--dest", str(HOME), f"celery=={VERSION}")
    subprocess.run([str(STOCK.python), *PIP, *wanted], check=True)
    return HOME / f"celery-{VERSION}.tar.gz"


def unpack(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            inside = member.name.partition("/")[2]
            if member.isfile() and (inside.startswith("t/") or inside == "pyproject.toml"):
                member.name = inside
                archive.extract(member, SUITE, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))


def collectable() -> list[str]:
    """The suite's files, by name."""
    return sorted(path.name for path in (SUITE / "t" / "integration").glob("test_*.py"))
