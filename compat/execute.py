"""`celery.execute.send_task`: the current app's, under the name that Celery 3 had for it."""

from .local import Proxy, getappattr

__all__ = ("send_task",)

send_task = Proxy(getappattr, ("send_task",))
