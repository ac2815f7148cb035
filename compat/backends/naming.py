"""A result backend in a pickle: by Celery's name for its class, and of whichever app reads it.

Law: what is pickled here is read by stock Celery, and the reverse.
"""

from __future__ import annotations

import importlib
from typing import Any

from .._state import current_app


def unpickle_backend(cls: Any, args: Any, kwargs: Any) -> Any:
    """A backend for the current app, as pickles of one ask for it."""
    return cls(*args, app=current_app._get_current_object(), **kwargs)


unpickle_backend.__module__ = "celery.backends.base"  # a result that is pickled is read by stock Celery too
_OURS = "celeriac.compat."
_OURS_ALONE = frozenset({"backends.embedded", "backends.memory"})


class _Named:
    """A class of ours as a pickle names it: by Celery's module, where stock Celery finds its own."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.kind(*args, **kwargs)

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce__(self) -> Any:
        module = "celery." + self.kind.__module__[len(_OURS) :]
        return getattr, (_Module(module), self.kind.__qualname__)


class _Module:
    """What pickle cannot write, and finds by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> Any:
        return importlib.import_module, (self.name,)


def named(kind: Any) -> Any:
    module = kind.__module__
    return _Named(kind) if module.startswith(_OURS) and module[len(_OURS) :] not in _OURS_ALONE else kind
