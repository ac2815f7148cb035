"""An app in a real Django project: settings, tasks of installed applications, connections closed around tasks."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from celeriac.compat.exceptions import FixupWarning, ImproperlyConfigured
from celeriac.compat.fixups import django as fixups
from tests.conftest import Environment

pytest.importorskip("django")

FILES = {
    "proj/__init__.py": "",
    "proj/settings.py": """
        SECRET_KEY = "x"
        INSTALLED_APPS = ["shop", "cart.apps.CartConfig"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
        USE_TZ = True
        TIME_ZONE = "Europe/Oslo"
        CELERY_BROKER_URL = "memory://"
        CELERY_TASK_ACKS_LATE = True
        CELERY_BEAT_SCHEDULE = {"tidy": {"task": "shop.tasks.tidy", "schedule": 30.0}}
        """,
    "proj/celery.py": """
        import os
        from celery import Celery

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
        app = Celery("proj")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        app.autodiscover_tasks()
        """,
    "shop/__init__.py": "",
    "shop/models.py": """
        from django.db import models

        class Item(models.Model):
            name = models.CharField(max_length=20)
        """,
    "shop/tasks.py": """
        from celery import shared_task
        from shop.models import Item

        @shared_task
        def tidy():
            return Item.__name__
        """,
    "cart/__init__.py": "",
    "cart/apps.py": """
        from django.apps import AppConfig

        class CartConfig(AppConfig):
            name = "cart"
        """,
    "cart/tasks.py": """
        from celery import shared_task

        @shared_task(bind=True)
        def fill(self):
            return type(self).__mro__[1].__name__
        """,
}
BEGINNING = """
import json, os
from types import SimpleNamespace
from celeriac.compat import alias
alias.install()
from proj.celery import app
from celery import signals
"""


@pytest.fixture
def project(tmp_path: Path, celeriac_env: Environment) -> Any:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text))

    def run(text: str) -> Any:
        done = celeriac_env.run("-W", "error::RuntimeWarning", "-c", BEGINNING + dedent(text), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_settings_and_tasks_of_a_project(project: Any) -> None:
    told = project("""
        app.loader.import_default_modules()
        app.finalize()
        print(json.dumps({
            "settings": [app.conf.task_acks_late, app.conf.broker_url, str(app.conf.timezone), list(app.conf.beat_schedule)],
            "tasks": sorted(name for name in app.tasks if not name.startswith("celery.")),
            "modules": sorted(app.loader.task_modules),
            "class": str(app.task_cls),
            "now": [str(app.loader.now().tzinfo), str(app.loader.now(utc=True).tzinfo)],
            "path": os.getcwd() in __import__("sys").path,
        }))
        """)
    assert told == {
        "settings": [True, "memory://", "Europe/Oslo", ["tidy"]],
        "tasks": ["cart.tasks.fill", "shop.tasks.tidy"],
        "modules": ["cart.tasks", "shop.tasks"],
        "class": told["class"],
        "now": ["UTC", "UTC"],
        "path": True,
    }
    assert "DjangoTask" in told["class"]


def test_connections_are_closed_around_tasks(project: Any) -> None:
    told = project("""
        import django; django.setup()
        from django.db import connection
        from django.core import cache
        closed = []
        worker = SimpleNamespace(app=app, pool_cls="prefork")
        signals.worker_init.send(sender=worker)
        fixup = app._fixups[0].worker_fixup
        close_caches = cache.close_caches
        cache.close_caches = lambda **_: (closed.append("cache"), close_caches())
        def use():
            connection.ensure_connection()
            return connection.connection is not None
        def done(eager=False):
            task = SimpleNamespace(request=SimpleNamespace(is_eager=eager))
            before = use()
            signals.task_prerun.send(sender=task)
            middle = connection.connection is None
            use()
            signals.task_postrun.send(sender=task)
            return [before, middle, connection.connection is None]
        told = {"task": done(), "eager": done(True), "cache": closed}
        fixup.db_reuse_max = 2
        told["reused"] = [done() for _ in range(3)]
        told["prefork"] = fixup._is_prefork()
        worker.pool_cls = SimpleNamespace(__module__="celery.concurrency.solo")
        told["solo"] = fixup._is_prefork()
        use()
        signals.worker_process_init.send(sender=None)
        told["child"] = connection.connection is None
        print(json.dumps(told))
        """)
    assert told == {
        "task": [True, True, True],
        "eager": [True, False, False],
        "cache": ["cache"] * (1 + 3 + 1),
        "reused": [[True, False, False], [True, False, False], [True, True, False]],
        "prefork": True,
        "solo": False,
        "child": True,
    }


def test_a_process_that_begins_anew_closes_them_too(project: Any) -> None:
    """It hears of no worker, only of itself."""
    told = project("""
        from celeriac.compat.concurrency.prefork import process_initializer
        os.environ["FORKED_BY_MULTIPROCESSING"] = "1"
        process_initializer(app, "w@h", 2, method="spawn")
        from django.db import connection
        connection.ensure_connection()
        task = SimpleNamespace(request=SimpleNamespace(is_eager=False))
        signals.task_postrun.send(sender=task)
        closed = connection.connection is None
        import multiprocessing
        print(json.dumps([closed, multiprocessing.current_process().name]))
        """)
    assert told == [True, "SpawnPoolWorker-3"]


def test_each_app_minds_its_own_worker(project: Any) -> None:
    told = project("""
        import warnings
        from celery import Celery
        other = Celery("other", set_as_current=False)
        signals.worker_init.send(sender=SimpleNamespace(app=other, pool_cls="solo"))
        told = [app._fixups[0]._worker_fixup is None, other._fixups[0].worker_fixup.worker is not None]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            app._fixups[0].on_worker_init()
        told += [type(caught[0].message).__name__, app._fixups[0].worker_fixup.worker is None]
        print(json.dumps(told))
        """)
    assert told == [True, True, "FixupWarning", True]


def test_checks_run_before_tasks_are_imported(project: Any) -> None:
    told = project("""
        from django.core import checks
        ran = []
        run = checks.run_checks
        checks.run_checks = lambda: ran.append(run())
        app.loader.import_default_modules()
        os.environ["CELERY_SKIP_CHECKS"] = "1"
        app._fixups[0].on_import_modules()
        print(json.dumps(len(ran)))
        """)
    assert told == 1


def test_a_task_class_of_ones_own_stays(project: Any) -> None:
    told = project("""
        from celery import Celery, Task
        class Mine(Task): ...
        print(json.dumps(Celery("x", task_cls=Mine, set_as_current=False).task_cls is Mine))
        """)
    assert told is True


def test_tasks_wait_for_the_commit(project: Any) -> None:
    told = project("""
        import django; django.setup()
        from django.db import transaction
        from shop.tasks import tidy
        sent = []
        signals.before_task_publish.connect(lambda sender, routing_key, **_: sent.append(routing_key), weak=False)

        def within(work):
            sent.clear()
            try:
                with transaction.atomic():
                    returned = work()
                    before = list(sent)
            except KeyError:
                return ["rolled back", *sent]
            return [returned, before, list(sent)]

        def fails():
            tidy.delay_on_commit()
            raise KeyError

        def half():
            try:
                with transaction.atomic():
                    fails()
            except KeyError:
                pass
            tidy.apply_async_on_commit(queue="fast", countdown=3)

        told = {"within": within(tidy.delay_on_commit), "rolled back": within(fails), "nested": within(half)}
        sent.clear()
        tidy.delay_on_commit()
        told["outside"] = list(sent)
        print(json.dumps(told))
        """)
    assert told == {
        "within": [None, [], ["celery"]],
        "rolled back": ["rolled back"],
        "nested": [None, [], ["fast"]],
        "outside": ["celery"],
    }


def test_what_closing_a_connection_raises(project: Any) -> None:
    """That it is closed already is what was wanted; anything else is told. A pool is closed in prefork alone."""
    told = project("""
        import django; django.setup()
        from django.db import connection, utils
        worker = SimpleNamespace(app=app, pool_cls="prefork")
        signals.worker_init.send(sender=worker)
        fixup = app._fixups[0].worker_fixup
        told = []
        for error in (utils.InterfaceError("x"), utils.DatabaseError("already closed"),
                      utils.OperationalError("not connected"), utils.DatabaseError("disk full"), ValueError("odd")):
            def close():
                raise error
            connection.close = close
            try:
                fixup.close_database()
            except Exception as problem:
                told.append(str(problem))
        connection.close = lambda: told.append("closed")
        connection.close_pool = lambda: told.append("pool")
        for pool_cls, options in (("prefork", {}), ("prefork", {"pool": True}), ("solo", {"pool": True})):
            worker.pool_cls = pool_cls
            connection.settings_dict["OPTIONS"] = fixup._settings.DATABASES["default"]["OPTIONS"] = options
            fixup.close_database()
        print(json.dumps(told))
        """)
    assert told == ["disk full", "odd", "closed", "closed", "pool", "closed"]


def test_settings_that_there_are_not(project: Any) -> None:
    told = project("""
        from celery import Celery
        os.environ["DJANGO_SETTINGS_MODULE"] = "nosuch.settings"
        from django.conf import settings
        from django.utils.functional import empty
        settings._wrapped = empty
        told = []
        wrong = Celery("wrong", set_as_current=False)
        for ask in (lambda: wrong.loader.import_default_modules(),
                    lambda: wrong.config_from_object("django.conf:settings", namespace="CELERY", force=True)):
            try:
                ask()
            except ModuleNotFoundError as problem:
                told.append(str(problem))
        print(json.dumps(told))
        """)
    assert told == ["No module named 'nosuch'"] * 2


class App:
    loader_cls = "celery.loaders.app:AppLoader"


def test_nothing_happens_without_django(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    assert fixups.fixup(App()) is None
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "proj.settings")
    app = App()
    app.loader_cls = "some.Django:Loader"
    assert fixups.fixup(app) is None


def test_django_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "proj.settings")
    monkeypatch.setitem(__import__("sys").modules, "django", None)
    with pytest.warns(FixupWarning, match="Django isn't installed"):
        assert fixups.fixup(App()) is None


def test_an_old_django_is_refused() -> None:
    class Django:
        VERSION = (1, 10)

    with pytest.raises(ImproperlyConfigured, match="Django 1"):
        fixups._verify_django_version(Django)
