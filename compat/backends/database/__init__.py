"""The database result backend, by Celery's names. `models` and `session` are SQLAlchemy's view of its tables.

Law: SQLAlchemy is imported when it is needed, and no sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cached_property, wraps
from typing import Any

from ...exceptions import ImproperlyConfigured
from ...utils.log import get_logger
from ..base import BaseBackend
from ..stored import Stored

__all__ = ("DatabaseBackend",)

logger = get_logger("celery.backends.database")
_MODELS = ("Task", "TaskExtended", "TaskSet")


def __getattr__(name: str) -> Any:
    if name in _MODELS:
        from . import models

        return getattr(models, name)
    if name == "SessionManager":
        from .session import SessionManager

        return SessionManager
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@contextmanager
def session_cleanup(session: Any) -> Generator[None, None, None]:
    """A context that closes a session, and undoes what it did when something is raised."""
    try:
        yield
    except Exception:
        session.rollback()
        raise
    finally:
        session.close()


def retry(function: Callable[..., Any]) -> Callable[..., Any]:
    """Calls again what a database did not let through, thrice in all; `max_retries` says otherwise, call by call.

    Celery has it until 5.6, and Airflow's executor asks for it.
    """

    @wraps(function)
    def patient(*args: Any, max_retries: int = 3, **kwargs: Any) -> Any:
        from sqlalchemy.exc import DatabaseError, InvalidRequestError
        from sqlalchemy.orm.exc import StaleDataError

        for left in reversed(range(max_retries)):
            try:
                return function(*args, **kwargs)
            except (DatabaseError, InvalidRequestError, StaleDataError) as problem:  # noqa: PERF203 - a call that fails is the reason to call again
                logger.warning("Failed operation %s: %s. Tried %s more times.", function.__name__, problem, left)
                if not left:
                    raise
        return None

    return patient


class DatabaseBackend(Stored, BaseBackend):
    """Results as rows."""

    scheme = "database"
    subpolling_interval = 0.5

    def __init__(
        self, dburi: str | None = None, engine_options: Any = None, url: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(url=url, **kwargs)
        conf = self.app.conf
        self.url = url or dburi or conf.database_url
        self.engine_options = {**(conf.database_engine_options or {}), **(engine_options or {})}
        self.short_lived_sessions = kwargs.get("short_lived_sessions", conf.database_short_lived_sessions)
        if not self.url:
            raise ImproperlyConfigured(
                "Missing connection string! Do you have the database_url setting set to a real value?"
            )

    def store_url(self) -> str:
        return f"db+{self.url}"

    @property
    def extended_result(self) -> Any:
        return self.app.conf.result_extended

    @cached_property
    def task_cls(self) -> Any:
        from . import models

        return self._configured(models.TaskExtended if self.extended_result else models.Task, "task")

    @cached_property
    def taskset_cls(self) -> Any:
        from . import models

        return self._configured(models.TaskSet, "group")

    def _configured(self, model: Any, kind: str) -> Any:
        conf = self.app.conf
        schema, name = ((conf.get(f"database_table_{what}") or {}).get(kind) for what in ("schemas", "names"))
        model.configure(schema=schema, name=name)
        return model

    @cached_property
    def session_manager(self) -> Any:
        from .session import SessionManager

        return SessionManager()

    def ResultSession(self, session_manager: Any = None) -> Any:
        """A session of SQLAlchemy on the tables, for who reads them directly."""
        _ = self.task_cls, self.taskset_cls
        return (session_manager or self.session_manager).session_factory(
            dburi=self.url, short_lived_sessions=self.short_lived_sessions, **self.engine_options
        )

    def __reduce__(self, args: Any = (), kwargs: Any = None) -> Any:
        own = {"dburi": self.url, "expires": self.expires, "engine_options": self.engine_options}
        return super().__reduce__(args, {**(kwargs or {}), **own})
