"""`celery.log`: the current app's logging, under the names that Celery 3 had for it."""

from .local import Proxy, getappattr

__all__ = ("get_default_logger", "redirect_stdouts_to_logger", "setup_logging_subsystem")

get_default_logger = Proxy(getappattr, ("log.get_default_logger",))
redirect_stdouts_to_logger = Proxy(getappattr, ("log.redirect_stdouts_to_logger",))
setup_logging_subsystem = Proxy(getappattr, ("log.setup_logging_subsystem",))
