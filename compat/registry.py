"""`celery.registry.tasks`: the tasks of the current app, under the name that Celery 3 had for them."""

from .local import Proxy, getappattr

__all__ = ("tasks",)

tasks = Proxy(getappattr, ("tasks",))
