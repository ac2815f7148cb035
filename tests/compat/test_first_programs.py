"""The programs that people write first, as they write them: with our worker, RabbitMQ and Redis."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import servers

pytestmark = pytest.mark.real

TWO_FILES = {
    "proj/__init__.py": "",
    "proj/celery.py": """\
from celery import Celery

app = Celery('proj',
             broker='BROKER',
             backend='BACKEND',
             include=['proj.tasks'])

# Optional configuration, see the application user guide.
app.conf.update(
    result_expires=3600,
)

if __name__ == '__main__':
    app.start()
""",
    "proj/tasks.py": """\
from .celery import app


@app.task
def add(x, y):
    return x + y


@app.task
def mul(x, y):
    return x * y


@app.task
def xsum(numbers):
    return sum(numbers)
""",
}
CONFIGURED = {
    "tasks.py": """\
from celery import Celery

app = Celery('tasks')
app.config_from_object('celeryconfig')


class Flaky(Exception):
    pass


@app.task
def add(x, y):
    return x + y


@app.task(bind=True, autoretry_for=(Flaky,), retry_backoff=3, retry_kwargs={'max_retries': 5})
def fetch(self, url):
    raise Flaky(url)
""",
    "celeryconfig.py": """\
broker_url = 'BROKER'
result_backend = 'BACKEND'

task_serializer = 'json'
result_serializer = 'json'
accept_content = ['json']
timezone = 'Europe/Oslo'
enable_utc = True
task_annotations = {'tasks.add': {'rate_limit': '100/s'}}
""",
}
FLASK = {
    "app.py": """\
from celery import Celery, Task, shared_task
from flask import Flask


def celery_init_app(app: Flask) -> Celery:
    class FlaskTask(Task):
        default_retry_delay = 1

        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_mapping(
        CELERY=dict(
            broker_url="BROKER",
            result_backend="BACKEND",
            task_ignore_result=True,
        ),
    )
    app.config.from_prefixed_env()
    celery_init_app(app)
    return app


@shared_task(ignore_result=False)
def add_together(a: int, b: int) -> int:
    from flask import current_app
    assert current_app.name == "app"
    return a + b


@shared_task(bind=True, ignore_result=False, max_retries=1)
def unlucky(self):
    if self.request.retries == 0:
        raise self.retry()
    return self.default_retry_delay


flask_app = create_app()
celery_app = flask_app.extensions["celery"]
""",
}
DJANGO = {
    "shop/__init__.py": """\
from .celery import app as celery_app

__all__ = ('celery_app',)
""",
    "shop/celery.py": """\
import os

from celery import Celery

# Set the default Django settings module for the 'celery' program.
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')

app = Celery('shop')
app.config_from_object('django.conf:settings', namespace='CELERY')

# Load task modules from all registered Django apps.
app.autodiscover_tasks()


@app.task(bind=True, ignore_result=True)
def debug_task(self):
    print(f'Request: {self.request!r}')
""",
    "shop/settings.py": """\
from celery.schedules import crontab

SECRET_KEY = 'x'
USE_TZ = True
TIME_ZONE = 'Europe/Berlin'
INSTALLED_APPS = ['orders']
DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}

CELERY_BROKER_URL = 'BROKER'
CELERY_RESULT_BACKEND = 'BACKEND'
CELERY_TIMEZONE = 'Australia/Tasmania'
CELERY_TASK_TRACK_STARTED = True
CELERY_TASK_TIME_LIMIT = 30 * 60
CELERY_BEAT_SCHEDULE = {
    'every-morning': {
        'task': 'orders.tasks.count_orders',
        'schedule': crontab(hour=7, minute=30, day_of_week=1),
        'args': (16,),
    },
}
""",
    "orders/__init__.py": "",
    "orders/tasks.py": """\
from celery import shared_task


@shared_task
def count_orders(n):
    return n * 2
""",
}
OLD = {
    "old.py": """\
from celery import Celery
from celery.task import task, periodic_task
from datetime import timedelta

app = Celery('old')
app.config_from_object('oldconfig')


@task
def add(x, y):
    return x + y


@periodic_task(run_every=timedelta(seconds=30))
def clean():
    return 'clean'
""",
    "oldconfig.py": """\
from datetime import timedelta

BROKER_URL = 'BROKER'
CELERY_RESULT_BACKEND = 'BACKEND'
CELERY_TASK_SERIALIZER = 'json'
CELERYBEAT_SCHEDULE = {
    'add-every-30-seconds': {
        'task': 'old.add',
        'schedule': timedelta(seconds=30),
        'args': (16, 16),
    },
}
""",
}


class Place:
    """A folder with a program in it."""

    def __init__(self, folder: Path, broker: str, backend: str) -> None:
        self.folder, self._urls = folder, {"BROKER": broker, "BACKEND": backend}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CELERY", "COV"))}
        self.environment = {**kept, "PYTHONWARNINGS": "default"}

    def write(self, files: dict[str, str]) -> Place:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            for word, url in self._urls.items():
                text = text.replace(f"'{word}'", repr(url)).replace(f'"{word}"', repr(url))  # noqa: PLW2901 - in steps
            path.write_text(text)
        return self

    def python(self, code: str) -> str:
        """What this prints, with `celery` as ours."""
        done = self._run("-c", f"import celeriac; celeriac.install()\n{code}")
        assert done.returncode == 0, done.stdout + done.stderr
        self.complaints = done.stderr
        return done.stdout.strip()

    def _run(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *args],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )

    @contextmanager
    def worker(self, app: str, options: Sequence[str] = ()) -> Iterator[Path]:
        log = self.folder / "log"
        command = [sys.executable, "-m", "celeriac", "-A", app, "worker", "-l", "INFO", "-c", "2", *options]
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=file, stderr=subprocess.STDOUT
            )
        try:
            end = time.monotonic() + 20
            while " ready." not in log.read_text("utf-8", "replace"):
                assert process.poll() is None, log.read_text("utf-8", "replace")
                assert time.monotonic() < end, log.read_text("utf-8", "replace")
                time.sleep(0.02)
            yield log
        finally:
            process.terminate()
            process.wait(15)


@pytest.fixture
def place(tmp_path: Path, rabbitmq_server: servers.RabbitServer, redis_server: servers.RedisServer) -> Place:
    redis_server.call("FLUSHALL")
    return Place(tmp_path, rabbitmq_server.url.replace("amqp://", "pyamqp://"), redis_server.url)


def test_two_files(place: Place) -> None:
    place.write(TWO_FILES)
    with place.worker("proj") as log:
        told = place.python(
            "from celery import chord, group, chain\n"
            "from proj.tasks import add, mul, xsum\n"
            "res = add.delay(2, 2); print(res.get(timeout=10), res.successful(), res.state)\n"
            "print((add.s(4, 4) | mul.s(8))().get(timeout=10))\n"
            "print(chord((add.s(i, i) for i in range(10)), xsum.s())().get(timeout=10))\n"
            "print(group(add.s(i, i) for i in range(10))().get(timeout=10))\n"
            "print(chain(add.s(4, 4), mul.s(8))().get(timeout=10))\n"
            "try: add.delay(2)\nexcept TypeError as problem: print(problem)\n"
        )
        assert told.splitlines() == [
            "4 True SUCCESS",
            "64",
            "90",
            "[0, 2, 4, 6, 8, 10, 12, 14, 16, 18]",
            "64",
            "add() missing 1 required positional argument: 'y'",
        ]
        assert "Task proj.tasks.add[" in log.read_text()


def test_configured_from_an_object(place: Place) -> None:
    place.write(CONFIGURED)
    with place.worker("tasks", ["-P", "solo"]) as log:
        told = place.python(
            "from tasks import add, fetch, app\nprint(add.delay(4, 4).get(timeout=10), app.conf.timezone)\n"
            "r = fetch.delay('u')\nimport time\nend = time.time() + 10\n"
            "while r.state != 'RETRY' and time.time() < end: time.sleep(0.02)\nprint(r.state, repr(r.result))\n"
        )
        text = log.read_text()
    assert told.splitlines()[0] == "8 Europe/Oslo"
    assert told.splitlines()[1] == "RETRY Flaky('u')"
    assert "retry: Retry in" in text
    seconds = float(text.split("retry: Retry in ")[1].split("s:")[0])
    assert 0 <= seconds <= 3  # the first step of retry_backoff=3, with jitter


def test_flask(place: Place) -> None:
    pytest.importorskip("flask")
    place.write(FLASK)
    with place.worker("app.celery_app"):
        told = place.python(
            "from app import add_together, unlucky\nprint(add_together.delay(23, 42).get(timeout=10))\n"
            "print(unlucky.delay().get(timeout=15))"
        )
    assert told.splitlines() == ["65", "1"]


def test_django(place: Place) -> None:
    place.write(DJANGO)
    with place.worker("shop") as log:
        told = place.python(
            "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'\nimport django; django.setup()\n"
            "from orders.tasks import count_orders\nfrom shop import celery_app as app\n"
            "print(count_orders.delay(3).get(timeout=10), app.conf.timezone, app.conf.task_time_limit)\n"
            "print(app.conf.beat_schedule['every-morning']['task'], app.conf.task_track_started)\n"
        )
        assert "orders.tasks.count_orders" in log.read_text()
    assert told.splitlines() == ["6 Australia/Tasmania 1800", "orders.tasks.count_orders True"]


def test_a_program_of_celery_4(place: Place) -> None:
    place.write(OLD)
    with place.worker("old") as log:
        told = place.python(
            "from old import add, clean, app\nprint(add.delay(4, 4).get(timeout=10))\n"
            "print(sorted(app.conf.beat_schedule), clean.delay().get(timeout=10))\n"
        )
        text = log.read_text()
    assert told.splitlines()[0] == "8"
    assert "add-every-30-seconds" in told
    assert "clean" in told.splitlines()[1]
    for name, now in (("BROKER_URL", "broker_url"), ("CELERYBEAT_SCHEDULE", "beat_schedule")):
        line = f"The {name!r} setting is deprecated and scheduled for removal in version 6.0.0. Use the {now} instead"
        assert text.count(line) == 1
    for said in (text, place.complaints):
        assert said.count("celery.task is a module of Celery 4") == 1, said
