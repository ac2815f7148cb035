"""`StampingVisitor`: what a program says about stamps while a canvas is walked through."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Any

from ...protocol.rules.stamping import Visitor


class StampingVisitor(Visitor, metaclass=ABCMeta):
    """Each `on_` method sees a signature and the stamps so far, and may answer with more."""

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> Any:
        """Each task, links included."""

    def on_chord_header_start(self, sig: Any, **header: Any) -> Any:
        """A header is a group, unless a visitor says otherwise."""
        from .kinds import group

        if not isinstance(sig.tasks, group):
            sig.tasks = group(sig.tasks)
        return self.on_group_start(sig.tasks, **header)

    def on_chord_header_end(self, sig: Any, **header: Any) -> None:
        self.on_group_end(sig.tasks, **header)
