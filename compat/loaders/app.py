"""The loader of apps that a program makes itself."""

from __future__ import annotations

from .base import BaseLoader

__all__ = ("AppLoader",)


class AppLoader(BaseLoader):
    """Reads what the app is told to read."""
