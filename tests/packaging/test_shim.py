"""The wheel named `celery`: put in and taken out in every order, beside the real Celery and in its place.

Law: no network (places.py).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import pytest

from celeriac.compat.shim import shim_wheel
from tests import house
from tests.packaging import places
from tests.packaging.places import Place

pytestmark = pytest.mark.real
WHO = "import celery; print(celery.__name__, celery.__version__)"
VERSION = "import importlib.metadata as m; print(m.version('celery'))"
OURS = "celeriac.compat 5.7.0"


@dataclass(frozen=True)
class Wheels:
    celeriac: Path
    shim: Path
    real: Path
    package: Path


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory, stock_python: Path) -> Wheels:
    folder = tmp_path_factory.mktemp("wheels")
    return Wheels(
        places.celeriac_wheel(folder / "celeriac"),
        shim_wheel.build(folder / "shim"),
        places.real_celery(folder / "real"),
        places.needs_celery(folder / "package"),
    )


@pytest.fixture
def place(tmp_path: Path, stock_python: Path) -> Place:
    return Place(tmp_path / "place")


def test_celeriac_alone(place: Place, wheels: Wheels) -> None:
    place.pip("install", wheels.celeriac)
    assert "No broken requirements" in place.pip("check")
    assert "by celeriac" in place.run("celeriac", "--version")
    assert "No module named 'celery'" in place.says(WHO, fails=True)
    assert place.says(f"import celeriac; celeriac.install(); {WHO}; {VERSION}") == f"{OURS}\n5.7.0"
    place.pip("uninstall", "-y", "celeriac")
    assert place.files() == place.empty


def test_the_real_one_is_not_touched(place: Place, wheels: Wheels) -> None:
    """celeriac comes and goes beside it; in between, `celery` is whoever was asked for."""
    place.pip("install", wheels.real)
    before = place.files()
    place.pip("install", wheels.celeriac)
    assert "No broken requirements" in place.pip("check")
    assert place.says(WHO) == "celery 5.7.0"
    assert place.run("celery", "--version") == "5.7.0 (collider)"
    assert "by celeriac" in place.run("celeriac", "run", "celery", "--version")
    late = place.says("import celery, celeriac; celeriac.install()", fails=True)
    assert "came too late: the real celery is loaded already" in late
    assert "celeriac run" in late
    place.pip("uninstall", "-y", "celeriac")
    assert place.files() == before


def test_in_the_place_of_the_real_one_and_back(place: Place, wheels: Wheels) -> None:
    place.pip("install", wheels.real)
    before = place.files()
    assert "Successfully uninstalled celery-5.7.0" in place.pip("install", wheels.shim, wheels.celeriac)
    assert not [name for name in place.files() if "site-packages/celery/" in name]
    assert "No broken requirements" in place.pip("check")
    assert place.says(f"{WHO}; {VERSION}") == f"{OURS}\n5.7.0"
    assert "by celeriac" in place.run("celery", "--version")
    assert "by celeriac" in place.run("python", "-m", "celery", "--version")
    place.pip("uninstall", "-y", "celery", "celeriac")
    assert place.files() == place.empty
    place.pip("install", wheels.real)
    assert place.files() == before


def test_a_newer_celery_takes_its_place_whole(place: Place, wheels: Wheels, tmp_path: Path) -> None:
    """And its own version does not: what asks for `celery==5.7.0` has it."""
    place.pip("install", wheels.celeriac, wheels.shim)
    assert "already satisfied" in place.pip("install", "celery==5.7.0", "--find-links", wheels.real.parent)
    assert "already satisfied" in place.pip("install", "-U", "celery", "--find-links", wheels.real.parent)
    newer = places.real_celery(tmp_path / "newer", "5.8.0")
    place.pip("install", "-U", "celery", "--find-links", newer.parent)
    assert "site-packages/celery.py" not in "".join(place.files())
    assert place.says(WHO) == "celery 5.7.0"  # the wheel of this test is 5.7.0 but for its name
    assert "Successfully uninstalled celery-5.8.0" in place.pip("install", wheels.shim)
    assert place.says(WHO) == OURS


@pytest.mark.parametrize("order", ["first", "last"])
def test_a_package_that_requires_celery(place: Place, wheels: Wheels, order: str) -> None:
    """It is content with us: nothing real is fetched, its command is ours."""
    found = ("--find-links", wheels.real.parent)
    if order == "first":
        place.pip("install", wheels.package, *found)
        assert place.says(WHO) == "celery 5.7.0"
        place.pip("install", wheels.celeriac, wheels.shim)
    else:
        place.pip("install", wheels.celeriac, wheels.shim)
        told = place.pip("install", wheels.package, *found)
        assert "does not provide the extra" not in told
        assert "Collecting celery" not in told
    assert "No broken requirements" in place.pip("check")
    assert place.run("celery", "hello") == "hello from celeriac.compat"


def test_a_package_with_a_ceiling(place: Place, wheels: Wheels, tmp_path: Path) -> None:
    """It would have pip put an older real one in our place: a pin has it told, another version has it content."""
    older = places.real_celery(tmp_path / "older", "5.6.3")
    package = places.needs_celery(tmp_path / "package", "celery<5.7")
    place.pip("install", wheels.celeriac, wheels.shim)
    pin = f"celery=={wheels.shim.name.split('-')[1]}"
    told = place.pip("install", package, pin, "--find-links", older.parent, fails=True)
    assert "needs-celery 1.0 depends on celery<5.7" in told
    wheel = shim_wheel.build(tmp_path, "5.6.3")
    place.pip("install", wheel)
    assert "Collecting celery" not in place.pip("install", package, "--find-links", older.parent)
    assert "No broken requirements" in place.pip("check")
    assert place.run("celery", "hello") == "hello from celeriac.compat"


def test_celeriac_goes_first_and_the_error_names_the_way_out(place: Place, wheels: Wheels) -> None:
    place.pip("install", "--no-deps", wheels.shim)
    broken = place.pip("check", fails=True)
    assert "requires celeriac, which is not installed" in broken
    for told in (place.says(WHO, fails=True), place.run("celery", "--version", fails=True)):
        assert "celeriac is not installed for" in told
        assert "pip install celeriac" in told
        assert "pip uninstall celery && pip install celery" in told
    place.pip("install", wheels.celeriac)
    assert place.says(WHO) == OURS
    place.pip("uninstall", "-y", "celery")
    assert "by celeriac" in place.run("celeriac", "--version")
    assert "No module named 'celery'" in place.says(WHO, fails=True)


def test_a_real_one_that_pip_does_not_know_keeps_its_place(place: Place, wheels: Wheels) -> None:
    """Put there by other means, it is found before ours, and none of its files is overwritten."""
    place.pip("install", wheels.real)
    before = place.files("celery/")
    shutil.rmtree(place.site / "celery-5.7.0.dist-info")
    place.pip("install", wheels.celeriac, wheels.shim)
    place.pip("uninstall", "-y", "celery")
    assert place.files("celery/") == before
    assert place.says(WHO) == "celery 5.7.0"


WALKS = [
    (come, go) for come in permutations(("shim", "celeriac", "real")) for go in permutations(("celeriac", "celery"))
]


def test_every_order(place: Place, wheels: Wheels, request: pytest.FixtureRequest) -> None:
    """Whoever came last is `celery`, whole; pip is content but where ours lacks celeriac; nothing is left behind."""
    place.pip("install", "--no-deps", wheels.real)
    whole = place.files("celery/")
    place.pip("uninstall", "-y", "celery")
    for come, go in WALKS[: request.config.getoption("--orders")]:
        there: dict[str, str] = {}
        for name in come:
            place.pip("install", "--no-deps", getattr(wheels, name))
            there["celeriac" if name == "celeriac" else "celery"] = name
            assert place.files("celery/") == (whole if there.get("celery") == "real" else {}), come
            _is_content(place, there)
        for name in go:
            place.pip("uninstall", "-y", name)
            del there[name]
            _is_content(place, there)
        assert place.files() == place.empty, (come, go)


def _is_content(place: Place, there: dict[str, str]) -> None:
    broken = there.get("celery") == "shim" and "celeriac" not in there
    told = place.pip("check", fails=broken)
    assert ("requires celeriac, which is not installed" if broken else "No broken requirements") in told
    if not broken and "celery" in there:
        assert place.says(WHO) == ("celery 5.7.0" if there["celery"] == "real" else OURS)


# --- the wheel itself


def test_it_is_the_same_from_the_tree_from_pip_and_from_an_installed_celeriac(
    place: Place, wheels: Wheels, tmp_path: Path
) -> None:
    place.pip("install", wheels.celeriac)
    told = place.run("celeriac", "shim", str(tmp_path / "installed"))
    (installed,) = (tmp_path / "installed").iterdir()
    assert str(installed) in told
    assert "Go back:" in told
    command = [sys.executable, "-W", "ignore", "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", tmp_path]
    done = subprocess.run([*command, house.ROOT / "compat" / "shim"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = tmp_path.glob("*.whl")
    assert built.name == installed.name == wheels.shim.name
    assert built.read_bytes() == installed.read_bytes() == wheels.shim.read_bytes()


def test_celerys_extras_are_ours(wheels: Wheels) -> None:
    """Under the same names in the wheel, and in celeriac itself."""
    assert set(shim_wheel.EXTRAS) == set(places.metadata_of_stock().metadata.get_all("Provides-Extra") or ())
    with zipfile.ZipFile(wheels.celeriac) as archive:
        (ours,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
    assert [extra for extra in shim_wheel.EXTRAS if f"\nProvides-Extra: {extra}\n" not in ours] == []


def test_what_cannot_be_built(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from celeriac.compat.bin.celery import celery

    (tmp_path / "file").touch()
    done = CliRunner().invoke(celery, ["shim", str(tmp_path / "file" / "folder")])
    assert done.exit_code == 1
    assert "the wheel cannot be written into" in done.output
    done = CliRunner().invoke(celery, ["shim", str(tmp_path), "--as", "five"])
    assert done.exit_code == 2
    assert "looks like 5.6.3" in done.output
