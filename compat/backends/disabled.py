"""The result backend of an app that has none: nothing is stored, who asks is told. Its name is `base`'s."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from .base import E_CHORD_NO_BACKEND, E_NO_BACKEND, Backend, _settings
from .polling import BaseBackend

if TYPE_CHECKING:
    from ...worker.backends.base import Store


class DisabledBackend(BaseBackend):
    """There is none: nothing is stored, and who asks is told."""

    _cache: Any = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.thread_safe = True

    @cached_property
    def store(self) -> Store:
        from ...worker.backends.disabled import DisabledStore

        return DisabledStore(_settings(self))

    def store_result(self, *args: Any, **kwargs: Any) -> None:
        pass

    def ensure_chords_allowed(self) -> None:
        raise NotImplementedError(E_CHORD_NO_BACKEND)

    def _is_disabled(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(E_NO_BACKEND)

    def as_uri(self, *args: Any, **kwargs: Any) -> str:
        return "disabled://"

    get_state = get_status = get_result = get_traceback = _is_disabled
    get_task_meta_for = _get_task_meta_for = wait_for = get_many = _is_disabled


DisabledBackend.__module__ = Backend.__module__  # packages and pickles know it by that name
