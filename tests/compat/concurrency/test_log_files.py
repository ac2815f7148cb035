"""`%i` and `%I` in the name of a log file: every child of the pool has a file of its own, and its successor the same."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celery
from tests.worker.running import Project, wait_until

MORE = """
import logging, os
from celery.utils.log import get_task_logger

app.conf.worker_hijack_root_logger = os.environ.get("HIJACK") != "no"

@app.task
def tell(word):
    get_task_logger(__name__).warning("task says %s", word)
    logging.getLogger("elsewhere").warning("library says %s", word)
    print("printed " + word)
    time.sleep(0.2)
    return os.getpid()
"""


QUICKLY = ("--without-mingle", "--without-gossip")


@pytest.fixture
def project(redis_server: Any, tmp_path: Path, stock_python: Path) -> Project:
    made = Project(tmp_path, redis_server.url, redis_server.url, stock_python)
    with (tmp_path / "proj.py").open("a") as file:
        file.write(MORE)
    return made


def pids_of(project: Project, *words: str) -> list[int]:
    """Who runs these, all at once."""
    broker = project.environment["PROJ_BROKER"]
    with Celery(broker=broker, backend=broker) as app:
        asked = [app.send_task("proj.tell", (word,), queue="own-files") for word in words]
        return [int(each.get(timeout=30)) for each in asked]


@pytest.mark.parametrize(("method", "hijack"), [("fork", "yes"), ("spawn", "no")])
def test_each_child_logs_into_its_own_file(project: Project, method: str, hijack: str) -> None:
    options = (*QUICKLY, "-c", "2", "-Q", "own-files", "--pool-start-method", method, "--logfile", "%n%I-%i.log")
    main, first, second = (project.folder / name for name in ("w1-0.log", "w1-1-1.log", "w1-2-2.log"))

    def written() -> dict[str, str]:
        return {path.name: path.read_text() for path in project.folder.glob("w1*.log")}

    with project.worker(*options, pool="prefork", ready="[queues]", HIJACK=hijack) as running:
        wait_until(lambda: "ready." in written().get(main.name, ""), why=lambda: repr((written(), running.text())))
        pids: dict[Path, int] = {}

        def both_asked() -> bool:
            words = [f"word-{os.urandom(4).hex()}" for _ in range(2)]
            for word, pid in zip(words, pids_of(project, *words), strict=True):
                files = [path for path in (first, second) if path.exists() and word in path.read_text()]
                assert len(files) == 1, (word, pid, written(), running.text())
                file = files[0]
                pids[file] = pid
                text = file.read_text()
                assert all(f"{who} {word}" in text for who in ("task says", "library says", "printed")), written()
                assert "succeeded in" in text
                assert word not in main.read_text()
            return len(pids) == 2

        wait_until(both_asked, why=lambda: repr(written()))
        assert len(set(pids.values())) == 2
        old = pids.pop(first)
        os.kill(old, signal.SIGKILL)
        wait_until(both_asked, why=lambda: repr(written()))
        assert pids[first] != old, "its successor has its index, and its file"
        assert set(written()) == {main.name, first.name, second.name}


def test_nothing_changes_where_the_name_does_not_ask_for_it(project: Project) -> None:
    options = (*QUICKLY, "-c", "2", "-Q", "own-files", "--logfile", "%n.log")
    with project.worker(*options, pool="prefork", ready="[queues]") as running:
        file = project.folder / "w1.log"
        wait_until(lambda: file.exists() and "ready." in file.read_text(), why=running.text)
        pids_of(project, "one-for-all")
        assert "task says one-for-all" in file.read_text()
        assert [path.name for path in project.folder.glob("w1*.log")] == ["w1.log"]


def test_children_that_are_replaced_all_the_time_share_as_many_files(project: Project) -> None:
    options = (*QUICKLY, "-c", "2", "-Q", "own-files", "--max-tasks-per-child", "1", "--logfile", "%n%I.log")
    with project.worker(*options, pool="prefork", ready="[queues]") as running:
        file = project.folder / "w1.log"
        wait_until(lambda: file.exists() and "ready." in file.read_text(), why=running.text)
        assert len({pid for _ in range(3) for pid in pids_of(project, "a", "b")}) == 6
        assert {path.name for path in project.folder.glob("w1*.log")} == {"w1.log", "w1-1.log", "w1-2.log"}
