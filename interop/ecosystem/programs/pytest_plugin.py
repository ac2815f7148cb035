"""pytest-celery: its fixtures that need no Docker, and those of celery.contrib.pytest, in a test run of their own."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest
from celery import Celery, shared_task

@pytest.fixture(scope="session")
def celery_config():
    return {"broker_url": "@URL/0", "result_backend": "@URL/1"}


@pytest.fixture(scope="session")
def celery_enable_logging():
    return False


@shared_task
def shared(x):
    return x * 2


def test_an_app(celery_app):
    @celery_app.task
    def add(x, y):
        return x + y

    assert celery_app.conf.broker_url == "@URL/0"
    assert add(1, 2) == 3
    assert add.apply(args=(1, 2)).get() == 3


def test_a_worker(celery_session_app, celery_session_worker):
    @celery_session_app.task
    def mul(x, y):
        return x * y

    celery_session_worker.reload()
    assert mul.delay(4, 4).get(timeout=20) == 16
    assert shared.delay(4).get(timeout=20) == 8


@pytest.mark.celery(task_always_eager=True)
def test_a_mark(celery_app):
    @celery_app.task
    def neg(x):
        return -x

    assert celery_app.conf.task_always_eager
    assert neg.delay(1).get() == -1


def test_parameters(depends_on_current_app, celery_parameters, use_celery_app_trap, celery_worker_pool):
    assert celery_parameters == {}
    assert use_celery_app_trap is False
    assert celery_worker_pool == "solo"
"""
PLUGIN = '''
import pytest
from celery import Celery


@pytest.fixture
def default_worker_tasks(default_worker_tasks):
    import mytasks

    default_worker_tasks.add(mytasks)
    return default_worker_tasks


@pytest.fixture
def celery_worker_cluster_config():
    clusters = {"broker": "@URL/0", "backend": "@URL/1"}
    return {
        f"celery_{kind}_cluster_config": {"urls": [url], "host_urls": [url], "local_urls": [url]}
        for kind, url in clusters.items()
    }



def test_what_is_put_into_a_worker(default_worker_initial_content, default_worker_app, default_worker_env):
    """The plug-in writes an app and its tasks for the worker's container out of what Celery's app is."""
    assert isinstance(default_worker_app, Celery)
    assert default_worker_app.conf["broker_url"] == "@URL/0"
    assert default_worker_app.conf["result_backend"] == "@URL/1"
    assert b"mytasks" in default_worker_initial_content["app.py"]
    assert "mytasks.py" in " ".join(default_worker_initial_content)
    assert "CELERY_BROKER_URL" in default_worker_env


def test_the_ping_task_of_the_plugin(default_worker_app):
    from pytest_celery.vendors.worker.tasks import ping

    assert ping.s().apply(app=default_worker_app).get() == "pong"
'''

if __name__ == "__main__":
    url = os.environ["REDIS_URL"]
    for folder, text in (("contrib", TESTS), ("plugin", PLUGIN)):
        Path(folder).mkdir()
        Path(folder, f"test_{folder}.py").write_text(text.replace("@URL", url), encoding="utf-8")
        Path(folder, "mytasks.py").write_text(
            "from celery import shared_task\n\n\n@shared_task\ndef one():\n    return 1\n", encoding="utf-8"
        )
        if folder == "contrib":
            Path(folder, "conftest.py").write_text('pytest_plugins = ("celery.contrib.pytest",)\n', encoding="utf-8")
        off = (
            ["-p", "no:pytest_celery", "-p", "no:celery"] if folder == "contrib" else []
        )  # the plug-in has other fixtures under the same names
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *off, "."]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    print("fine")
