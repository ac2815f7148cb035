"""What makes an app at home in Django: its settings, its tasks, its database connections.

Law: nothing happens unless `DJANGO_SETTINGS_MODULE` is set. Nothing of Django is imported before it is needed: a web
process that only sends loads no more of Django than it has.
"""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import suppress
from datetime import datetime, timezone
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from .. import _state, signals
from ..exceptions import FixupWarning, ImproperlyConfigured
from ..local import Proxy
from ..utils.imports import symbol_by_name
from ..utils.log import get_logger

__all__ = ("DjangoFixup", "fixup")

logger = get_logger(__name__)

ERR_NOT_INSTALLED = """\
Environment variable DJANGO_SETTINGS_MODULE is defined
but Django isn't installed.  Won't apply Django fix-ups!
"""
_OLDEST = (1, 11)


def fixup(app: Any, env: str = "DJANGO_SETTINGS_MODULE") -> DjangoFixup | None:
    """The fixup of this app, installed, if its environment names Django's settings."""
    if not os.environ.get(env) or "django" in app.loader_cls.lower():
        return None
    try:
        django = import_module("django")
    except ImportError:
        warnings.warn(FixupWarning(ERR_NOT_INSTALLED), stacklevel=2)
        return None
    _verify_django_version(django)
    return DjangoFixup(app).install()


def _verify_django_version(django: Any) -> None:
    if django.VERSION < _OLDEST:
        raise ImproperlyConfigured("Celery 5.x requires Django 1.11 or later.")


def _unwrap_app(app: Any) -> Any:
    """The app itself behind a proxy such as `current_app`."""
    return app._get_current_object() if isinstance(app, Proxy) else app  # a proxy's door


class DjangoFixup:
    """One app's fixup. Several apps in one process have one each, and each minds its own app's workers alone."""

    _settings: Any = None

    def __init__(self, app: Any) -> None:
        self.app = app
        if _state.default_app is None:
            self.app.set_default()
        self._worker_fixup: DjangoWorkerFixup | None = None
        # A receiver by this name is one per fixup: ids of objects are used again, these are not.
        self._worker_init_uid = ("celery.fixups.django.DjangoFixup.on_worker_init", uuid4().hex)

    def install(self) -> DjangoFixup:
        sys.path.insert(0, str(Path.cwd()))  # the project comes before what is installed
        self._settings = symbol_by_name("django.conf:settings")
        self.app.loader.now = self.now
        if not self.app._custom_task_cls_used:  # Celery's name for it
            self.app.task_cls = "celery.contrib.django.task:DjangoTask"
        signals.import_modules.connect(self.on_import_modules, sender=self.app)
        signals.worker_init.connect(self.on_worker_init, dispatch_uid=self._worker_init_uid)
        return self

    @property
    def worker_fixup(self) -> DjangoWorkerFixup:
        if self._worker_fixup is None:
            self._worker_fixup = DjangoWorkerFixup(self.app)
        return self._worker_fixup

    @worker_fixup.setter
    def worker_fixup(self, value: DjangoWorkerFixup) -> None:
        self._worker_fixup = value

    def on_import_modules(self, **kwargs: Any) -> None:
        """Django is set up before a module of tasks is imported: it may import models."""
        self.worker_fixup.validate_models()

    def on_worker_init(self, **kwargs: Any) -> None:
        worker = kwargs.get("sender")
        if not worker:
            warnings.warn(
                "DjangoFixup.on_worker_init called without a sender (worker instance). "
                "This may indicate a misconfiguration or an internal error.",
                FixupWarning,
                stacklevel=2,
            )
        else:
            app = _unwrap_app(getattr(worker, "app", None))
            if app is not None and app is not _unwrap_app(self.app):
                logger.debug(
                    "Django fixup of app %r leaves worker %r to the fixup of its app %r", self.app, worker, app
                )
                return
            self.worker_fixup.worker = worker
        self.worker_fixup.install()

    def on_spawned(self) -> None:
        """In a process of a pool that begins anew: nobody tells it that a worker starts."""
        self.worker_fixup.install()

    def now(self, utc: bool = False) -> datetime:
        return datetime.now(timezone.utc) if utc else self._now()

    @cached_property
    def _now(self) -> Any:
        return symbol_by_name("django.utils.timezone:now")

    def autodiscover_tasks(self) -> list[str]:
        """The packages of all installed applications."""
        apps = import_module("django.apps").apps
        return [config.name for config in apps.get_app_configs()]


class DjangoWorkerFixup:
    """What a worker does for Django: database connections and caches are closed around each task."""

    _db_recycles = 0
    worker: Any = None
    """Set when it starts: to make one here would be to start it."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.db_reuse_max = app.conf.get("CELERY_DB_REUSE_MAX", None)
        self._db: Any = import_module("django.db")
        self._cache: Any = import_module("django.core.cache")
        self._settings: Any = symbol_by_name("django.conf:settings")
        self.interface_errors = (symbol_by_name("django.db.utils.InterfaceError"),)
        self.DatabaseError = symbol_by_name("django.db:DatabaseError")

    def django_setup(self) -> None:
        import_module("django").setup()

    def validate_models(self) -> None:
        """Set up Django, and check it as its own commands do."""
        self.django_setup()
        if not os.environ.get("CELERY_SKIP_CHECKS"):
            import_module("django.core.checks").run_checks()

    def install(self) -> DjangoWorkerFixup:
        signals.beat_embedded_init.connect(self.close_database)
        signals.task_prerun.connect(self.on_task_prerun)
        signals.task_postrun.connect(self.on_task_postrun)
        signals.worker_process_init.connect(self.on_worker_process_init)
        self.close_database()
        self.close_cache()
        return self

    def on_worker_process_init(self, **kwargs: Any) -> None:
        """Leave the parent's connections to the parent.

        To close one properly would say goodbye to the server in the parent's name: the descriptor alone is closed.
        """
        if os.environ.get("FORKED_BY_MULTIPROCESSING"):  # a process that was started anew knows no models yet
            self.validate_models()
        for connection in self._db.connections.all():
            if connection and connection.connection:
                self._maybe_close_db_fd(connection)
        self._close_database()
        self.close_cache()

    def _maybe_close_db_fd(self, connection: Any) -> None:
        with suppress(*self.interface_errors), connection.wrap_database_errors:
            _maybe_close_fd(connection.connection)

    def on_task_prerun(self, sender: Any, **kwargs: Any) -> None:
        if not getattr(sender.request, "is_eager", False):
            self.close_database()

    def on_task_postrun(self, sender: Any, **kwargs: Any) -> None:
        if not getattr(sender.request, "is_eager", False):
            self.close_database()
            self.close_cache()

    def close_database(self, **kwargs: Any) -> None:
        """Close the connections; with `CELERY_DB_REUSE_MAX` only after so many tasks, each of which asks twice."""
        if not self.db_reuse_max:
            self._close_database()
            return
        if self._db_recycles >= self.db_reuse_max * 2:
            self._db_recycles = 0
            self._close_database()
        self._db_recycles += 1

    def _is_prefork(self) -> bool:
        if self.worker is None:
            return False
        pool = self.worker.pool_cls
        return "prefork" in (pool if isinstance(pool, str) else pool.__module__)

    def _close_database(self) -> None:
        is_prefork = self._is_prefork()
        for connection in self._connections():
            self._close_connection(connection, is_prefork)

    def _close_connection(self, connection: Any, is_prefork: bool) -> None:
        try:
            connection.close()
            options = self._settings.DATABASES.get(connection.alias, {}).get("OPTIONS", {})
            if options.get("pool") and is_prefork and hasattr(connection, "close_pool"):
                with suppress(KeyError):
                    connection.close_pool()
        except self.interface_errors:
            pass
        except self.DatabaseError as problem:
            if "closed" not in str(problem) and "not connected" not in str(problem):
                raise

    def _connections(self) -> Any:
        try:
            return self._db.connections.all(initialized_only=True)
        except TypeError:  # Django before 4.1
            return self._db.connections.all()

    def close_cache(self) -> None:
        with suppress(TypeError, AttributeError):
            self._cache.close_caches()


def _maybe_close_fd(connection: Any) -> None:
    with suppress(AttributeError, OSError, TypeError):
        os.close(connection.fileno())
