"""Whole workers whose children begin anew instead of being forked."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from celeriac.compat import Celery
from celeriac.compat.app import spawning, trace
from celeriac.protocol.errors import BadCall
from celeriac.worker.pools.prefork import Prefork
from tests import servers
from tests.worker.running import Project, wait_until


@pytest.fixture
def project(tmp_path: Path, redis_server: servers.RedisServer, stock_python: Path) -> Project:
    redis_server.call("FLUSHALL")
    place = Project(tmp_path, redis_server.url, redis_server.url, stock_python)
    place.more(
        "import logging, threading\n"
        "@app.task\ndef about():\n"
        "    logging.getLogger('mine').warning('from a child')\n    print('printed')\n"
        "    return [os.getpid(), os.getppid(), app.conf.task_ignore_result, str(app.conf.result_expires)]\n"
        "@app.task(soft_time_limit=1)\ndef slow():\n    time.sleep(60)  # until its limit ends it\n"
        "@app.task\ndef dies():\n    os.kill(os.getpid(), 9)\n"
        "from celery.signals import worker_process_init, worker_process_shutdown\n"
        "@worker_process_init.connect\ndef up(**_):\n    note('init')\n"
        "@worker_process_shutdown.connect\ndef down(**_):\n    note('shutdown')\n"
    )
    return place


def children(pid: int) -> list[str]:
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{each}/cmdline").read_bytes().replace(b"\0", b" ").decode() for each in pids]


@pytest.mark.real
def test_a_worker_spawns(project: Project) -> None:
    options = ("-c", "2", "--pool-start-method", "spawn", "--max-tasks-per-child", "3")
    with project.worker(*options, "--", "result.expires=77", pool="prefork") as worker:
        parent = worker.process.pid
        told: Any = json.loads(project.client("import json; print(json.dumps(about.delay().get(timeout=20)))"))
        assert told[1] == parent
        assert told[2:] == [False, "77.0"]
        assert len(children(parent)) == 3, "two that work, and their witness"
        assert all("celeriac.worker.pools.spawning" in each for each in children(parent))
        done = project.client(
            "r = [slow.delay(), dies.delay(), boom.delay(), again.delay(), *(add.delay(n, 1) for n in range(20))]\n"
            "print([repr(each.get(timeout=40, propagate=False)) for each in r])"
        )
        found = eval(done)
        assert "SoftTimeLimitExceeded" in found[0]
        assert "WorkerLostError" in found[1]
        assert found[2:4] == ["ValueError('boom')", "'done'"]
        assert found[4:] == [str(n + 1) for n in range(20)]
        assert worker.stop() == 0
        text = worker.text()
        assert re.search(r"WARNING/SpawnPoolWorker-\d\] from a child", text)
        assert re.search(r"WARNING/SpawnPoolWorker-\d\] .*printed", text)
        assert re.search(r"SpawnPoolWorker-\d\] Task proj.add\[.*succeeded in", text)
    notes = project.notes()
    assert notes.count("init") >= 8
    assert notes.count("init") - notes.count("shutdown") <= 1  # the one that was killed


MAIN = """
import os
import celeriac
celeriac.install()
from celery import Celery

app = Celery(broker=os.environ["PROJ_BROKER"], backend=os.environ["PROJ_BACKEND"])

class Holder:
    pass

if {hidden}:
    holder = Holder()
    holder.app = app
    del app
    app_task = holder.app.task
else:
    app_task = app.task

@app_task
def pid():
    return os.getpid()

if __name__ == "__main__":
    (holder.app if {hidden} else app).worker_main(
        ["worker", "-c", "1", "-l", "INFO", "-n", "m@here", "--pool-start-method", "spawn"]
    )
"""


@pytest.mark.real
def test_an_app_in_the_program_itself(project: Project) -> None:
    (project.folder / "program.py").write_text(MAIN.replace("{hidden}", "False"))
    log = project.folder / "main.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "program.py"], cwd=project.folder, env=project.environment, stdout=output, stderr=output
        )
    try:
        got = project.client("print(app.send_task('__main__.pid').get(timeout=30))")
        assert int(got) != process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, log.read_text()


@pytest.mark.real
def test_an_app_that_nobody_can_import_is_refused_at_start(project: Project) -> None:
    (project.folder / "program.py").write_text(MAIN.replace("{hidden}", "True"))
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Give it a global name" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.real
def test_a_program_that_starts_a_worker_wherever_it_is_imported_starts_one(project: Project) -> None:
    """And says what is wrong with it, instead of starting ever more."""
    text = MAIN.replace("{hidden}", "False").replace('if __name__ == "__main__":', "if True:")
    (project.folder / "program.py").write_text(text)
    log = project.folder / "main.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "program.py"], cwd=project.folder, env=project.environment, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: "starts a worker itself" in log.read_text(), 20, log.read_text)
        got = project.client("print(app.send_task('__main__.pid').get(timeout=30))")
        assert int(got) != process.pid
        assert len(children(process.pid)) == 2, "one that works, and the witness"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(15)


APP = Celery("spawned", set_as_current=False, broker="memory://")


def test_an_app_is_found_by_where_it_stands() -> None:
    assert spawning.where(APP) == spawning.Place("APP", __name__)
    with pytest.raises(BadCall, match="not in any module"):
        spawning.where(Celery("elsewhere", set_as_current=False))
    with pytest.raises(BadCall, match="not in any module"):
        Prefork(trace.program(Celery("elsewhere", set_as_current=False), "h"), 1, spawn=True)


def test_what_was_set_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    APP.conf.result_expires = 5
    APP.conf.worker_log_color = lambda: None  # cannot be sent
    make, recipe = spawning.recipe(APP, "h", {"begin": print})
    APP.conf.result_expires = 6
    monkeypatch.setenv("CELERY_LOG_LEVEL", "")
    monkeypatch.setenv("FORKED_BY_MULTIPROCESSING", "")
    made = make(recipe[0], False, *recipe[2:])
    assert made.app is APP
    assert made.hostname == "h"
    assert APP.conf.result_expires == 5


def test_children_are_gone_when_their_parent_is_killed(project: Project) -> None:
    options = ("-c", "1", "--pool-start-method", "spawn")
    with project.worker(*options, pool="prefork") as worker:
        told: Any = json.loads(project.client("import json; print(json.dumps(about.delay().get(timeout=20)))"))
        worker.process.kill()
        wait_until(lambda: not Path(f"/proc/{told[0]}").exists() or "Z" in Path(f"/proc/{told[0]}/stat").read_text())
