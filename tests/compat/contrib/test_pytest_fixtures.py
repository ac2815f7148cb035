"""The fixtures and the worker in a thread, as users' suites use them: in a run of pytest of its own."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from celeriac.compat import Celery
from celeriac.compat.contrib.testing.app import TestApp, setup_default_app
from celeriac.compat.contrib.testing.worker import start_worker
from tests.servers import RedisServer

CONFTEST = """
from celeriac.compat.alias import install
install()
pytest_plugins = ("celery.contrib.pytest",)

import pytest

@pytest.fixture(scope="session")
def celery_config():
    return {"broker_url": "@BROKER@", "result_backend": "@BACKEND@", "task_ignore_result": False}

@pytest.fixture(scope="session")
def celery_includes():
    return ("proj_tasks",)

@pytest.fixture(scope="session")
def celery_worker_parameters():
    return {"shutdown_timeout": 20}
"""

TASKS = """
from celery import shared_task

@shared_task
def mul(x, y):
    return x * y

@shared_task(bind=True)
def prefix(self):
    return self.app.conf.task_default_queue
"""

SUITE = """
import pytest
from celery import current_app, group
from celery.contrib.testing.worker import start_worker
from proj_tasks import mul, prefix

def test_a_worker_for_one_test(celery_app, celery_worker):
    @celery_app.task
    def add(x, y):
        return x + y
    celery_worker.reload()
    assert add.delay(4, 4).get(timeout=10) == 8
    assert mul.delay(4, 4).get(timeout=10) == 16

@pytest.mark.celery(task_default_queue="other", result_extended=True)
def test_the_mark(celery_app, celery_worker):
    assert celery_app.conf.result_extended
    assert prefix.delay().get(timeout=10) == "other"

def test_a_worker_for_the_run(celery_session_app, celery_session_worker):
    assert group(mul.s(n, 2) for n in range(3)).apply_async().get(timeout=10) == [0, 2, 4]

def test_the_same_worker(celery_session_app, celery_session_worker):
    assert mul.apply_async((3, 3), countdown=0.1).get(timeout=10) == 9

def test_the_current_app(celery_app, depends_on_current_app):
    assert current_app._get_current_object() is celery_app

@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_a_worker_of_ones_own(celery_app, pool):
    import celery.contrib.testing.tasks
    with start_worker(celery_app, perform_ping_check=True, pool=pool, concurrency=2) as worker:
        assert mul.delay(2, 3).get(timeout=10) == 6
        assert worker.pool.num_processes == (1 if pool == "solo" else 2)
"""


def run(folder: Path, broker: str, backend: str) -> str:
    (folder / "conftest.py").write_text(CONFTEST.replace("@BROKER@", broker).replace("@BACKEND@", backend))
    (folder / "proj_tasks.py").write_text(TASKS)
    (folder / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [*command, "--rootdir", str(folder), str(folder)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=folder,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_in_memory(tmp_path: Path) -> None:
    assert "7 passed" in run(tmp_path, "memory://", "cache+memory://")


@pytest.mark.real
def test_on_redis(tmp_path: Path, redis_server: RedisServer) -> None:
    redis_server.call("FLUSHALL")
    assert "7 passed" in run(tmp_path, redis_server.url, redis_server.url)


@pytest.mark.real
def test_an_app_that_was_the_default_for_a_while_leaves_no_connection(redis_server: RedisServer) -> None:
    """Though somebody holds it, and no garbage is collected; what a process has but once may stay."""

    def connections() -> int:
        return len(redis_server.call("CLIENT", "LIST").splitlines())

    apps, seen = [], []
    gc.disable()
    try:
        for _ in range(3):
            app = TestApp(config={"broker_url": redis_server.url, "result_backend": redis_server.url})

            @app.task(name="contrib.add", shared=False)
            def add(x: int, y: int) -> int:
                return x + y

            with setup_default_app(app), start_worker(app, perform_ping_check=False):
                assert add.delay(1, 2).get(timeout=20) == 3
            apps.append(app)
            seen.append(connections())
    finally:
        gc.enable()
    assert seen[2] <= seen[0], seen


@pytest.mark.real
def test_what_children_log_is_heard(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Lines of a prefork pool come to the handlers of the test's own process, once, and from the asked level on."""
    app = TestApp(config={"broker_url": redis_server.url, "result_backend": redis_server.url})

    @app.task(name="contrib.tell", shared=False)
    def tell(one: object) -> int:
        logging.getLogger("told").warning("a warning about %s", [one])
        logging.getLogger("told").info("not asked for")
        return os.getpid()

    with setup_default_app(app):
        with start_worker(app, pool="prefork", perform_ping_check=False, loglevel="warning", shutdown_timeout=30):
            assert tell.delay("it").get(timeout=20) != os.getpid()
        said = [(found.name, found.getMessage(), found.process) for found in caplog.records if found.name == "told"]
    assert len(said) == 1
    assert said[0][:2] == ("told", "a warning about ['it']")
    assert said[0][2] != os.getpid()
    assert not [handler for handler in logging.getLogger().handlers if "Queue" in type(handler).__name__]


def test_a_worker_that_does_not_come_up_is_told_of() -> None:
    app = Celery("broken", broker="redis://127.0.0.1:1/0", set_as_current=False)
    app.conf.update(broker_connection_retry_on_startup=False, worker_hijack_root_logger=False)
    with pytest.raises(RuntimeError, match="did not start"), start_worker(app, perform_ping_check=False):
        pass
