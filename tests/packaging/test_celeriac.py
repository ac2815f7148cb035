"""What leaves the house arrives whole: wheel, sdist, and every way pip installs a tree.

Law: built from a copy of the tree as git would carry it, links as links; each install in a fresh environment that
knows nothing of this checkout.
"""

from __future__ import annotations

import importlib.metadata
import os
import stat
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import house
from tests.conftest import Environment

pytestmark = pytest.mark.real

# What no install reads, at the top of the tree; anywhere else a folder of this name is ours.
LEFT_BEHIND = {"build", "dist", "tests", "interop", "celeriac.egg-info"}


def files_of(root: Path) -> Iterator[Path]:
    """The tree without what git ignores and without LEFT_BEHIND; a link to a folder counts as a file."""
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        folders[:] = [name for name in folders if name not in links and _goes_along(Path(folder) == root, name)]
        yield from (Path(folder) / name for name in names + links if not name.startswith(".coverage"))


def _goes_along(at_top: bool, name: str) -> bool:
    hidden = name.startswith(".") and name != ".dev"
    return not hidden and name != "__pycache__" and not (at_top and name in LEFT_BEHIND)


@pytest.fixture(scope="module")
def tree_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree in one folder of a zip, as a forge offers it for download."""
    path = tmp_path_factory.mktemp("zip") / "celeriac-main.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in files_of(house.ROOT):
            name = f"celeriac-main/{file.relative_to(house.ROOT).as_posix()}"
            if file.is_symlink():
                link = zipfile.ZipInfo(name)
                link.create_system = 3
                link.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(link, os.fspath(file.readlink()))
            else:
                archive.write(file, name)
    return path


@pytest.fixture
def tree(tree_zip: Path, tmp_path: Path) -> Path:
    """The tree unpacked, its links as a zip leaves them: files that hold where they lead."""
    with zipfile.ZipFile(tree_zip) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "celeriac-main"


@pytest.fixture
def fresh(tmp_path: Path, celeriac_env: Environment) -> Environment:
    """An interpreter with setuptools to build and msgpack to run, lent from here, and nothing else."""
    home = tmp_path / "fresh"
    venv.create(home, with_pip=False)
    site = next(home.glob("lib/python*/site-packages"))
    for name in ("setuptools", "msgpack"):
        files = importlib.metadata.files(name) or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__", "distutils-precedence.pth"}:
            (site / top).symlink_to(importlib.metadata.distribution(name).locate_file(top))
    return Environment(home / "bin" / "python", celeriac_env.variables)


def pip(*args: str | Path, cwd: Path | None = None) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "pip", *map(str, args)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SetuptoolsDeprecationWarning" not in done.stdout + done.stderr


def build(*args: str | Path) -> None:
    pip("wheel", "--verbose", "--no-deps", "--no-build-isolation", *args)


def install(into: Environment, *args: str | Path, cwd: Path) -> None:
    # Offline and quick: what the build needs was lent, what celeriac needs beyond msgpack is not looked at here.
    pip("--python", into.python, "install", "--verbose", "--no-deps", "--no-build-isolation", *args, cwd=cwd)


def modules(tree: Path) -> set[str]:
    """Every module of the three rooms and of the door, by its place once installed."""
    found = set(house.modules(tree, *house.ROOMS))
    door = {path for path in found if path.startswith("compat/door/")}
    return {f"celeriac/{path}" for path in found} | {f"celeriac/{Path(path).name}" for path in door}


def where_it_works(environment: Environment, tree: Path) -> Path:
    """Imports every module of protocol/, far from the tree; returns where the package lives."""
    names = [
        "celeriac." + path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for path in house.modules(tree, "protocol")
    ]
    program = (
        f"import importlib\n[importlib.import_module(name) for name in {names!r}]\n"
        "import importlib.metadata, celeriac.protocol\n"
        "assert importlib.metadata.version('celeriac') == celeriac.__version__\n"
        "print(celeriac.protocol.__file__)"
    )
    done = environment.run("-I", "-c", program, cwd=Path("/"))
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def test_wheel_holds_every_module(tree: Path, tmp_path: Path) -> None:
    build("--wheel-dir", tmp_path, tree)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith("/METADATA"))
    code = {name for name in names if name.endswith(".py")}
    # The door is also the folder compat/door; installed, it is celeriac/ itself and nothing else.
    assert code == {name for name in modules(tree) if not name.startswith("celeriac/compat/door/")}
    assert "celeriac/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "License-Expression: BSD-3-Clause" in metadata


def test_sdist_makes_the_same_wheel(tree: Path, tmp_path: Path, celeriac_env: Environment) -> None:
    build("--wheel-dir", tmp_path / "direct", tree)
    program = "import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])"
    done = celeriac_env.run("-c", program, str(tmp_path), cwd=tree)
    assert done.returncode == 0, done.stderr
    (sdist,) = tmp_path.glob("celeriac-*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert any(name.endswith("/LICENSE") for name in archive.getnames())
    build("--wheel-dir", tmp_path / "again", sdist)
    direct, again = (set(_listing(tmp_path / folder)) for folder in ("direct", "again"))
    assert direct == again


def _listing(folder: Path) -> list[tuple[str, int]]:
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return [(entry.filename, entry.CRC) for entry in archive.infolist() if not entry.filename.endswith("RECORD")]


def test_pip_installs_the_tree(tree: Path, fresh: Environment, tmp_path: Path) -> None:
    install(fresh, ".", cwd=tree)
    assert where_it_works(fresh, tree).is_relative_to(tmp_path / "fresh")


def test_pip_installs_the_tree_editable(tree: Path, fresh: Environment, tmp_path: Path) -> None:
    install(fresh, "-e", ".", cwd=tree)
    assert where_it_works(fresh, tree).is_relative_to(tree / "protocol")


def test_pip_installs_a_zip_of_the_tree(tree_zip: Path, tree: Path, fresh: Environment, tmp_path: Path) -> None:
    install(fresh, tree_zip, cwd=tmp_path)
    assert where_it_works(fresh, tree).is_relative_to(tmp_path / "fresh")
