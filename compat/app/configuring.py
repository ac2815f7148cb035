"""When the configuration of an app is read: at its first need, and once.

Law: what was written before is kept, and wins over what is read.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from functools import cached_property

from ...protocol.hints import TYPE_CHECKING, Any
from ..local import maybe_evaluate
from ..utils.dispatch import Signal
from .utils import detect_settings

if TYPE_CHECKING:
    from .base import Celery


class PendingConfiguration(UserDict):  # type: ignore[type-arg]  # keys of any kind
    """What `app.conf` reads before it is configured: writes are kept, the first read loads the configuration."""

    callback: Any = None
    _data: Any = None

    def __init__(self, conf: Any, callback: Callable[[], Any]) -> None:
        object.__setattr__(self, "_data", conf)
        object.__setattr__(self, "callback", callback)

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {key!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value

    def __setitem__(self, key: Any, value: Any) -> None:
        self._data[key] = value

    def clear(self) -> None:
        self._data.clear()

    def update(self, *args: Any, **kwargs: Any) -> None:
        self._data.update(*args, **kwargs)

    def setdefault(self, *args: Any, **kwargs: Any) -> Any:
        return self._data.setdefault(*args, **kwargs)

    def __contains__(self, key: object) -> bool:
        # No read, so that `setdefault` of the settings around stays one too.
        return key in self._data

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return repr(self.data)

    @cached_property
    def data(self) -> Any:  # type: ignore[override]  # a property of the settings that are read, where the base has a plain dict
        return self.callback()


PendingConfiguration.__module__ = "celeriac.compat.app.base"  # the name that it has had always


def load(app: Celery) -> Any:
    """Read the configuration of this app, with what waited for it: defaults and periodic tasks."""
    if isinstance(app.on_configure, Signal):
        app.on_configure.send(sender=app)
    else:
        app.on_configure()
    if app._config_source:
        app.loader.config_from_object(app._config_source, silent=app._config_source_silent)
    app.configured = True
    settings = detect_settings(
        app.prepare_config(app.loader.conf),
        app._preconf,
        ignore_keys=app._preconf_set_by_auto,
        prefix=app.namespace,
    )
    if app._conf is None:
        app._conf = settings
    else:  # in place: somebody may hold it
        app._conf.swap_with(settings)
    while app._pending_defaults:
        app._conf.add_defaults(maybe_evaluate(app._pending_defaults.popleft()()))
    while app._pending_periodic_tasks:
        args, kwargs = app._pending_periodic_tasks.popleft()
        app._add_periodic_task(*args, **kwargs)
    app.on_after_configure.send(sender=app, source=app._conf)
    return app._conf
