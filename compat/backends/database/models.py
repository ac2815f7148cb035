"""Celery's result tables as SQLAlchemy's models."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa

from ... import states
from .session import ResultModelBase

__all__ = ("Task", "TaskExtended", "TaskSet")

DialectSpecificInteger = sa.Integer().with_variant(sa.BigInteger, "mssql")


def _now() -> datetime:
    return datetime.now(timezone.utc)


class _Configured:
    """Tables may be called otherwise."""

    @classmethod
    def configure(cls, schema: str | None = None, name: str | None = None) -> None:
        table: Any = cls.__table__  # type: ignore[attr-defined]  # SQLAlchemy makes it
        table.schema = schema
        cls.id.default.schema = schema  # type: ignore[attr-defined]  # SQLAlchemy makes it
        table.name = name or cls.__tablename__  # type: ignore[attr-defined]  # SQLAlchemy makes it


class Task(ResultModelBase, _Configured):  # type: ignore[misc]  # SQLAlchemy makes the base
    """The result of a task."""

    __tablename__ = "celery_taskmeta"
    __table_args__ = {"sqlite_autoincrement": True}

    id = sa.Column(DialectSpecificInteger, sa.Sequence("task_id_sequence"), primary_key=True, autoincrement=True)
    task_id: Any = sa.Column(sa.String(155), unique=True)
    status = sa.Column(sa.String(50), default=states.PENDING)
    result = sa.Column(sa.LargeBinary, nullable=True)
    date_done = sa.Column(sa.DateTime, default=_now, onupdate=_now, nullable=True, index=True)
    traceback = sa.Column(sa.Text, nullable=True)
    children = sa.Column(sa.LargeBinary, nullable=True)

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id

    def to_dict(self) -> dict[str, Any]:
        names = ("task_id", "status", "result", "traceback", "date_done", "children")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        return f"<Task {self.task_id} state: {self.status}>"


class TaskExtended(Task):
    """The result of a task, and its call."""

    __tablename__ = "celery_taskmeta"
    __table_args__ = {"sqlite_autoincrement": True, "extend_existing": True}

    name = sa.Column(sa.String(155), nullable=True)
    args = sa.Column(sa.LargeBinary, nullable=True)
    kwargs = sa.Column(sa.LargeBinary, nullable=True)
    worker = sa.Column(sa.String(155), nullable=True)
    retries = sa.Column(sa.Integer, nullable=True)
    queue = sa.Column(sa.String(155), nullable=True)
    stamps = sa.Column(sa.LargeBinary, nullable=True)

    def to_dict(self) -> dict[str, Any]:
        names = ("name", "args", "kwargs", "worker", "retries", "queue", "stamps")
        return {**super().to_dict(), **{name: getattr(self, name) for name in names}}


class TaskSet(ResultModelBase, _Configured):  # type: ignore[misc]  # SQLAlchemy makes it
    """A group that was saved."""

    __tablename__ = "celery_tasksetmeta"
    __table_args__ = {"sqlite_autoincrement": True}

    id = sa.Column(DialectSpecificInteger, sa.Sequence("taskset_id_sequence"), autoincrement=True, primary_key=True)
    taskset_id: Any = sa.Column(sa.String(155), unique=True)
    result = sa.Column(sa.LargeBinary, nullable=True)
    date_done = sa.Column(sa.DateTime, default=_now, nullable=True, index=True)

    def __init__(self, taskset_id: str, result: Any) -> None:
        self.taskset_id = taskset_id
        self.result = result

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("taskset_id", "result", "date_done")}

    def __repr__(self) -> str:
        return f"<TaskSet: {self.taskset_id}>"
