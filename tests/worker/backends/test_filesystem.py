"""What is the file store's own: names, whole files, whose fault an error is."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire.children import Node
from celeriac.protocol.wire.result import build
from celeriac.protocol.wire.stores import Keys
from celeriac.worker import backends
from celeriac.worker.backends.base import Settings
from celeriac.worker.backends.filesystem import FilesystemStore
from tests.conformance.backends import done


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_files_have_the_names_that_celery_gives_them(tmp_path: Path) -> None:
    store = backends.connect(f"file://{tmp_path}", Settings(keys=Keys.under("p")))
    store.store(done("the-id"))
    store.store_group(Node("g", None, ()))
    assert names(tmp_path) == ["p_celery-task-meta-the-id", "p_celery-taskset-meta-g"]
    assert (tmp_path / "p_celery-task-meta-the-id").read_bytes() == build(done("the-id"))


@pytest.mark.parametrize("url", ["file://{}", "file://localhost{}"])
def test_urls(tmp_path: Path, url: str) -> None:
    store = backends.connect(url.format(tmp_path))
    assert isinstance(store, FilesystemStore)
    assert store.folder == tmp_path


def test_a_folder_must_be_named() -> None:
    with pytest.raises(BadCall, match="names its folder"):
        backends.connect("file://")


def test_no_id_leaves_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    store = FilesystemStore(str(folder))
    ids = ["../../escape", "a/b", "a%2Fb", "a%2Fb%", "a%2Fb%25%", "nul\0byte", "%"]
    for task_id in ids:
        store.store(done(task_id, task_id))
    assert [store.fetch(task_id) for task_id in ids] == [done(task_id, task_id) for task_id in ids]
    assert names(tmp_path) == ["results"]
    assert len(names(folder)) == len(ids)
    for task_id in ("x" * 300, "\ud800/"):
        with pytest.raises(BadCall):
            store.store(done(task_id))


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    store, key = FilesystemStore(str(tmp_path)), "celery-task-meta-x"
    values = [bytes([number]) * 300_000 for number in range(2)]
    store.put(key, values[0], 0)
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            for value in values:
                store.put(key, value, 0)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            assert store.get(key) in values
    finally:
        over.set()
        writer.join()
    assert names(tmp_path) == [key]


def test_what_is_old_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    store = FilesystemStore(str(tmp_path), Settings(expires=100))
    store.store(done("old"))
    store.store_group(Node("old", None, ()))
    (tmp_path / "celery-of-somebody-else").touch()
    (tmp_path / ".celeriac-half-written").touch()
    for name in names(tmp_path):
        os.utime(tmp_path / name, (1000, 1000))
    store.store(done("new"))
    assert store.expire(1050) == 0
    assert store.expire(1200) == 3
    assert names(tmp_path) == ["celery-of-somebody-else", "celery-task-meta-new"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    store = backends.connect(f"file://{tmp_path}/nowhere", Settings(expires=1))
    assert store.fetch("x") is None
    store.forget("x")
    with pytest.raises(OperationalError, match=r"cannot write a result in .*/nowhere.*must exist, and be ours"):
        store.store(done("x"))
    with pytest.raises(OperationalError, match="cannot clean"):
        store.expire(time.time())
    (tmp_path / "celery-task-meta-x").mkdir()
    for use, doing in ((FilesystemStore.fetch, "read"), (FilesystemStore.forget, "delete")):
        with pytest.raises(OperationalError, match=f"cannot {doing}"):
            use(FilesystemStore(str(tmp_path)), "x")
