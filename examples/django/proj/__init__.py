"""So that `shared_task` finds the app whenever Django has started."""

from proj.celery import app as celery_app

__all__ = ("celery_app",)
