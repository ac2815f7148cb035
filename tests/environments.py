"""Environments with packages from PyPI in them, made once and kept under `.peers/`.

Law: an environment serves every checkout of this tree: it is made anew when what is asked for changes, and celeriac is
put into it again when it was made from another place.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.house import ROOT

PEERS = ROOT / ".peers"
STOCK = "celery[redis]==5.7.0"


def environment(
    name: str, packages: Sequence[str], bare: Sequence[str] = (), built: Sequence[str] = (), *, shim: bool
) -> Path:
    """Its folder of programs. With `shim`, `celery` is the wheel built from the tree, else the real one is asked for.

    What is in `bare` is installed without what it asks for; so is what is in `built`, with those build tools alone
    that are among the packages.
    """
    home = PEERS / name
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once make it once
        _make(home, packages, bare, built, shim=shim)
    return home / "bin"


def _make(home: Path, packages: Sequence[str], bare: Sequence[str], built: Sequence[str], *, shim: bool) -> None:
    kept, wanted = home / ".ready", "\n".join((*packages, *bare, *built, f"shim={shim}"))
    found, _, place = kept.read_text().rpartition("\n") if kept.exists() else ("", "", "")
    if found != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        _pip(home, "--editable", str(ROOT))
        if shim:
            _pip(home, str(ROOT / "compat" / "shim"))
        _pip(home, *packages, *([] if shim else [STOCK]))
        if bare:
            _pip(home, "--no-deps", *bare)
        if built:
            _pip(home, "--no-deps", "--no-build-isolation", *built)
    elif place != str(ROOT):
        _pip(home, "--no-deps", "--editable", str(ROOT))
    kept.write_text(f"{wanted}\n{ROOT}")


def _pip(home: Path, *what: str) -> None:
    pip = [str(home / "bin" / "python"), "-W", "ignore", "-m", "pip", "install", "--quiet"]
    path = os.pathsep.join((str(home / "bin"), os.environ.get("PATH", os.defpath)))  # where build tools are
    subprocess.run([*pip, "--disable-pip-version-check", *what], env={**os.environ, "PATH": path}, check=True)
