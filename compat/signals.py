"""Celery's signals: what users connect receivers to, each with the arguments that it is sent with.

A sender checks `if signal.receivers` before it builds the arguments.
"""

from __future__ import annotations

from .utils.dispatch.signal import Signal

__all__ = (
    "after_setup_logger",
    "after_setup_task_logger",
    "after_task_publish",
    "beat_embedded_init",
    "beat_init",
    "before_task_publish",
    "celeryd_after_setup",
    "celeryd_init",
    "eventlet_pool_apply",
    "eventlet_pool_postshutdown",
    "eventlet_pool_preshutdown",
    "eventlet_pool_started",
    "heartbeat_sent",
    "setup_logging",
    "task_failure",
    "task_internal_error",
    "task_postrun",
    "task_prerun",
    "task_received",
    "task_rejected",
    "task_retry",
    "task_revoked",
    "task_success",
    "task_unknown",
    "worker_before_create_process",
    "worker_init",
    "worker_process_init",
    "worker_process_shutdown",
    "worker_ready",
    "worker_shutdown",
    "worker_shutting_down",
)  # fmt: skip

# tasks
before_task_publish = Signal(
    name="before_task_publish",
    providing_args={"body", "declare", "exchange", "headers", "properties", "retry_policy", "routing_key"},
)
after_task_publish = Signal(name="after_task_publish", providing_args={"body", "exchange", "routing_key"})
task_received = Signal(name="task_received", providing_args={"request"})
task_prerun = Signal(name="task_prerun", providing_args={"args", "kwargs", "task", "task_id"})
task_postrun = Signal(name="task_postrun", providing_args={"args", "kwargs", "retval", "task", "task_id"})
task_success = Signal(name="task_success", providing_args={"result", "runtime"})
task_retry = Signal(name="task_retry", providing_args={"einfo", "reason", "request"})
task_failure = Signal(
    name="task_failure", providing_args={"args", "einfo", "exception", "kwargs", "task_id", "traceback"}
)
task_internal_error = Signal(
    name="task_internal_error",
    providing_args={"args", "einfo", "exception", "kwargs", "request", "task_id", "traceback"},
)
task_revoked = Signal(name="task_revoked", providing_args={"expired", "request", "signum", "terminated"})
task_rejected = Signal(name="task_rejected", providing_args={"exc", "message"})
task_unknown = Signal(name="task_unknown", providing_args={"exc", "id", "message", "name"})
# superseded by after_task_publish; never sent
task_sent = Signal(name="task_sent", providing_args={"args", "eta", "kwargs", "task", "task_id", "taskset"})
# the worker
celeryd_init = Signal(name="celeryd_init", providing_args={"conf", "instance", "options"})
celeryd_after_setup = Signal(name="celeryd_after_setup", providing_args={"conf", "instance"})
import_modules = Signal(name="import_modules")
worker_init = Signal(name="worker_init")
worker_before_create_process = Signal(name="worker_before_create_process")
worker_process_init = Signal(name="worker_process_init")
worker_process_shutdown = Signal(name="worker_process_shutdown")
worker_ready = Signal(name="worker_ready")
worker_shutdown = Signal(name="worker_shutdown")
worker_shutting_down = Signal(name="worker_shutting_down")
heartbeat_sent = Signal(name="heartbeat_sent")
# logging
setup_logging = Signal(name="setup_logging", providing_args={"colorize", "format", "logfile", "loglevel"})
after_setup_logger = Signal(
    name="after_setup_logger", providing_args={"colorize", "format", "logfile", "logger", "loglevel"}
)
after_setup_task_logger = Signal(
    name="after_setup_task_logger", providing_args={"colorize", "format", "logfile", "logger", "loglevel"}
)
# beat
beat_init = Signal(name="beat_init")
beat_embedded_init = Signal(name="beat_embedded_init")
# eventlet
eventlet_pool_started = Signal(name="eventlet_pool_started")
eventlet_pool_preshutdown = Signal(name="eventlet_pool_preshutdown")
eventlet_pool_postshutdown = Signal(name="eventlet_pool_postshutdown")
eventlet_pool_apply = Signal(name="eventlet_pool_apply", providing_args={"args", "kwargs", "target"})
# programs
user_preload_options = Signal(name="user_preload_options", providing_args={"app", "options"})
