"""Signals and who listens to them."""

from .signal import Signal

__all__ = ("Signal",)
