"""`make shim-test`, its second half: the wheels from the tree on each Python there is, beside Celery itself from PyPI.

    python -m interop.pythons [--python PATH ...]

For each Python and each side a fresh environment; what must hold of Celery there must hold of us. The table has what
held of what was asked; 1 where celeriac does worse than Celery in the same row. A Python older than 3.10 is not asked.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

from tests.house import ROOT

MINORS = range(10, 15)
EXTRAS = "redis,msgpack,yaml,auth,pydantic"
SIDES = ("Celery 5.7.0", "celeriac, the wheel named celery", "celeriac alone")

#: What a program does: a worker in a thread, a chain through it, its version asked for in the two usual ways.
PROGRAM = """
import warnings; warnings.simplefilter("error")
{first}
from importlib.metadata import version
import celery
from celery import Celery, chain
from celery.contrib.testing.worker import start_worker
assert celery.__version__ == "5.7.0" == version("celery"), (celery.__version__, version("celery"))
app = Celery("p", broker="memory://", backend="cache+memory://")
@app.task
def add(x, y): return x + y
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of libraries, when they start a worker
    with start_worker(app, pool="solo", perform_ping_check=False):
        assert chain(add.s(1, 2), add.s(4)).delay().get(timeout=30) == 7
print("done by", Celery.__module__, "in", celery.__name__)
"""


class Environment:
    """A fresh one of this Python. What it is asked answers with whether that held."""

    def __init__(self, python: Path, home: Path) -> None:
        run([str(python), "-m", "venv", str(home)])
        self.bin = home / "bin"

    def pip(self, *words: str) -> bool:
        return run([str(self.bin / "python"), "-W", "ignore", "-m", "pip", "--disable-pip-version-check", *words])

    def program(self, first: str) -> bool:
        return run([str(self.bin / "python"), "-c", PROGRAM.format(first=first)])

    def command(self, *words: str) -> bool:
        return run([str(self.bin / words[0]), *words[1:]])


def run(command: list[str]) -> bool:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-6:]
        print(f"    {' '.join(command[:6])[:150]}\n      " + "\n      ".join(last), file=sys.stderr)
    return done.returncode == 0


def pythons(told: list[Path]) -> Iterator[Path]:
    """On PATH, and where pyenv and uv put theirs."""
    for path in told:
        yield path
    homes = [*Path.home().glob(".pyenv/versions/*"), *Path.home().glob(".local/share/uv/python/*")]
    for minor in () if told else MINORS:
        name = f"python3.{minor}"
        found = [Path(path) for path in [shutil.which(name)] if path] + [home / "bin" / name for home in homes]
        for path in found:
            answers = [str(path), "-c", f"import sys, ensurepip; assert sys.version_info[:2] == (3, {minor})"]
            if path.exists() and subprocess.run(answers, capture_output=True, check=False).returncode == 0:
                yield path
                break


def held(side: str, at: Environment, wheels: list[str]) -> list[bool]:
    what = {SIDES[0]: [f"celery[{EXTRAS}]==5.7.0"], SIDES[1]: wheels, SIDES[2]: wheels[:1]}[side]
    alone = side == SIDES[2]
    answers = [
        at.pip("install", "--quiet", *what),
        at.pip("check"),
        at.program("import celeriac; celeriac.install()" if alone else ""),
        at.command("celeriac" if alone else "celery", "--version"),
        at.command("celeriac" if alone else "celery", "report"),
    ]
    names = [name for name in ("celery", "celeriac") if (at.bin / name).exists()]
    answers.append(
        at.pip("uninstall", "--yes", "--quiet", *names) and not any((at.bin / name).exists() for name in names)
    )
    return answers


def built(folder: Path) -> list[str]:
    """celeriac's wheel with its extras, and the one named `celery`."""
    home = folder / "build"
    venv.create(home, with_pip=True)
    pip = [str(home / "bin" / "python"), "-W", "ignore", "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    for tree in (ROOT, ROOT / "compat" / "shim"):
        if not run([*pip, "--no-deps", "--wheel-dir", str(folder), str(tree)]):
            sys.exit(f"no wheel can be built from {tree}")
    (ours,), (shim,) = folder.glob("celeriac-*.whl"), folder.glob("celery-*.whl")
    return [f"celeriac[{EXTRAS}] @ {ours.as_uri()}", str(shim)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m interop.pythons")
    parser.add_argument("--python", type=Path, action="append", default=[], help="this one, instead of all there are")
    told = parser.parse_args()
    worse = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheels = built(folder)
        print(f"{'':<14}" + "".join(f"{side:>36}" for side in SIDES))
        for number, python in enumerate(pythons(told.python)):
            figures = []
            for index, side in enumerate(SIDES):
                figures.append(held(side, Environment(python, folder / f"{number}-{index}"), wheels))
                shutil.rmtree(folder / f"{number}-{index}")
            worse |= any(
                ours < real for ours_side in figures[1:] for ours, real in zip(ours_side, figures[0], strict=True)
            )
            cells = "".join(f"{f'{sum(each)} of {len(each)}':>36}" for each in figures)
            print(f"{python.name:<14}{cells}", flush=True)
    return int(worse)


if __name__ == "__main__":
    sys.exit(main())
