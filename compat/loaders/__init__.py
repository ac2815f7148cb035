"""Where configuration and task modules come from. A loader is named by an alias or by the path of its class."""

from __future__ import annotations

from ...protocol.hints import Any
from ..utils.imports import import_from_cwd, symbol_by_name

__all__ = ("get_loader_cls",)

LOADER_ALIASES = {"app": "celery.loaders.app:AppLoader", "default": "celery.loaders.default:Loader"}


def get_loader_cls(loader: Any) -> Any:
    """The class of this name; a class is itself."""
    return symbol_by_name(loader, LOADER_ALIASES, imp=import_from_cwd)
