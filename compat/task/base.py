"""`celery.task.base` of Celery 4."""

from . import BaseTask, PeriodicTask, Task, task

__all__ = ("BaseTask", "PeriodicTask", "Task", "task")
