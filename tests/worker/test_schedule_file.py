"""Beat's file: a shelve for anybody, whole at any moment, in one process' hands, and never destroyed."""

from __future__ import annotations

import dbm.dumb
import os
import shelve
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.worker import schedule_file
from celeriac.worker.schedule_file import InUse, ScheduleFile, Unreadable


def read(path: Path) -> dict[str, Any]:
    with shelve.open(str(path), "r") as opened:
        return dict(opened)


def test_a_file_is_a_shelve(tmp_path: Path) -> None:
    path = tmp_path / "schedule"
    file = ScheduleFile(path)
    assert len(file) == 0
    file["entries"] = {"a": 1}
    file["tz"] = None
    file.sync()
    file["entries"]["b"] = 2
    file.close()
    assert read(path) == {"entries": {"a": 1, "b": 2}, "tz": None}
    with shelve.open(str(path), writeback=True) as theirs:
        theirs["entries"]["c"] = "x" * 5000
        del theirs["tz"]
    again = ScheduleFile(path)
    assert dict(again) == {"entries": {"a": 1, "b": 2, "c": "x" * 5000}}
    again.clear()
    again.close()
    assert read(path) == {}


def test_a_file_that_is_not_changed_is_not_written(tmp_path: Path) -> None:
    file = ScheduleFile(tmp_path / "schedule")
    file["a"] = 1
    file.sync()
    before = {each: each.stat().st_mtime_ns for each in tmp_path.iterdir()}
    file.sync()
    assert {each: each.stat().st_mtime_ns for each in tmp_path.iterdir()} == before
    file.close()
    file.sync()


@pytest.mark.parametrize("mask", [0o077, 0o022])
def test_who_may_read_it_is_said_by_the_umask(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        file = ScheduleFile(tmp_path / "schedule")
        for number in range(2):  # made, and replaced as a whole
            file["a"] = number
            file.sync()
        file.close()
    finally:
        os.umask(before)
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o666 & ~mask}


def test_two_processes_do_not_have_it(tmp_path: Path) -> None:
    path = tmp_path / "schedule"
    file = ScheduleFile(path)
    file["a"] = 1
    file.sync()
    with pytest.raises(InUse, match="has this schedule file"):
        ScheduleFile(path)
    file.discard()
    ScheduleFile(path).close()


def test_two_that_begin_at_once_do_not_both_go_on(tmp_path: Path) -> None:
    path = tmp_path / "schedule"
    first, second = ScheduleFile(path), ScheduleFile(path)
    first["a"] = second["a"] = 1
    first.sync()
    with pytest.raises(InUse, match="made this schedule file"):
        second.sync()
    second.discard()
    shutil.copy(first._locked, tmp_path / "other")
    (tmp_path / "other").replace(first._locked)
    first["a"] = 2
    with pytest.raises(InUse, match="writes this schedule file"):
        first.sync()
    first.discard()


def test_a_file_that_was_removed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "schedule"
    file = ScheduleFile(path)
    file["a"] = 1
    file.sync()
    for each in tmp_path.iterdir():
        each.unlink()
    file["a"] = 2
    file.close()
    assert read(path) == {"a": 2}


@pytest.mark.parametrize("suffix", ["", ".dir", ".db"])
def test_what_cannot_be_read_is_set_aside_and_stays(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "schedule"
    (tmp_path / f"schedule{suffix}").write_bytes(b"no database")
    (tmp_path / "schedule.dat").write_bytes(b"no database")
    with pytest.raises(Unreadable, match="cannot be read"):
        ScheduleFile(path)
    moved = schedule_file.set_aside(path)
    assert sorted(each.read_bytes() for each in moved) == [b"no database"] * 2
    assert all(".aside1" in each.name for each in moved)
    file = ScheduleFile(path)
    file["a"] = 1
    file.close()
    assert read(path) == {"a": 1}
    assert all(
        ".aside" in each.name and each.name.endswith("2")
        for each in schedule_file.set_aside(path)
        if each.name.startswith("schedule.dat")
    )


def test_a_kept_file_of_three_parts_keeps_its_form(tmp_path: Path) -> None:
    path = tmp_path / "schedule"
    with dbm.dumb.open(str(path), "n") as made, shelve.Shelf(made) as theirs:
        theirs["entries"] = {"a": 1}
    file = ScheduleFile(path)
    file["entries"]["a"] = 2
    file.close()
    assert dbm.whichdb(str(path)) == "dbm.dumb"
    assert read(path) == {"entries": {"a": 2}}


@pytest.mark.parametrize("form", ["dbm.sqlite3", "dbm.gnu", "dbm.ndbm"])
def test_a_file_of_one_part_is_replaced_as_a_whole(tmp_path: Path, form: str) -> None:
    module = pytest.importorskip(form, exc_type=ImportError)  # Debian has dbm.gnu itself, and what it needs apart
    path = tmp_path / "schedule"
    with module.open(str(path), "n") as made, shelve.Shelf(made) as theirs:
        theirs["entries"] = {"a": 1}
    file = ScheduleFile(path)
    file["entries"]["a"] = 2
    file.close()
    assert dbm.whichdb(str(path)) == form
    assert read(path) == {"entries": {"a": 2}}


Step = tuple[str, int]


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=8), dies_at=st.integers(0, 40))
def test_whoever_dies_at_any_step_leaves_the_old_state_or_the_new(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], dies_at: int
) -> None:
    """Every system call that changes the disk is a step; after the last one that was done, the file is looked at."""
    path = tmp_path_factory.mktemp("dies") / "schedule"
    file = ScheduleFile(path)
    file["value"] = "first"
    file.sync()
    steps = [0]

    class Dead(BaseException):
        pass

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            if steps[0] == dies_at:
                raise Dead
            steps[0] += 1
            return call(*args, **kwargs)

        return step

    known = "first"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("pwrite", "write", "fsync"):
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(Path, "replace", counted(Path.replace))
        try:
            for size in sizes:
                file["value"] = "y" * size
                file.sync()
                known = "y" * size
        except Dead:
            pass
    file.discard()
    found = ScheduleFile(path)
    assert found["value"] in {known, file._live["value"]}
    found.close()


def test_the_file_does_not_grow_without_end(tmp_path: Path) -> None:
    file = ScheduleFile(tmp_path / "schedule")
    for number in range(100):
        file["entries"] = {"a": "x" * (number % 7) * 300}
        file.sync()
    file.close()
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) < 20_000


def test_a_folder_is_no_schedule_and_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    with pytest.raises(IsADirectoryError):
        ScheduleFile(tmp_path / "precious")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
