"""What packages import of Celery's own prefork pool, of which nothing else is here."""

from __future__ import annotations

__all__ = ("PROC_ALIVE_TIMEOUT",)

PROC_ALIVE_TIMEOUT = 4.0
"""`worker_proc_alive_timeout` says it."""
