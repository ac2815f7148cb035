"""The worker by Celery's names: `celery.worker`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .worker import WorkController as WorkController

__all__ = ("WorkController",)


def __getattr__(name: str) -> Any:
    if name == "WorkController":
        from .worker import WorkController

        return WorkController
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
