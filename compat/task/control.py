"""`celery.task.control` of Celery 3: remote control by the current app."""

from ..local import Proxy, getappattr

__all__ = ("broadcast", "discard_all", "inspect", "rate_limit", "revoke", "time_limit")

broadcast = Proxy(getappattr, ("control.broadcast",))
rate_limit = Proxy(getappattr, ("control.rate_limit",))
time_limit = Proxy(getappattr, ("control.time_limit",))
revoke = Proxy(getappattr, ("control.revoke",))
discard_all = Proxy(getappattr, ("control.purge",))
inspect = Proxy(getappattr, ("control.inspect",))
