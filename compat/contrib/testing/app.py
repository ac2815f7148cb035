"""Apps for tests, and a state of the process that is put back afterwards."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from ... import _state
from ...app.base import Celery
from ...app.log import Logging

DEFAULT_TEST_CONFIG: dict[str, Any] = {
    "worker_hijack_root_logger": False,
    "worker_log_color": False,
    "accept_content": {"json"},
    "enable_utc": True,
    "timezone": "UTC",
    "broker_url": "memory://",
    "result_backend": "cache+memory://",
    "broker_heartbeat": 0,
}


class Trap:
    """Stands for the current app, and raises when it is used."""

    def __getattr__(self, name: str) -> Any:
        if name in {"_is_coroutine", "__func__"}:
            return None  # asked of any object
        raise RuntimeError(f"Test depends on current_app (its attribute {name})")


class UnitLogging(Logging):
    """Leaves logging as it is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.already_setup = True


def TestApp(
    name: str | None = None,
    config: Any = None,
    enable_logging: bool = False,
    set_as_current: bool = False,
    log: Any = UnitLogging,
    backend: Any = None,
    broker: Any = None,
    **kwargs: Any,
) -> Any:
    """An app on the memory broker."""
    from . import tasks  # noqa: F401 - registers the ping

    settings = {**deepcopy(DEFAULT_TEST_CONFIG), **(config or {})}
    if broker is not None:
        settings.pop("broker_url", None)
    if backend is not None:
        settings.pop("result_backend", None)
    app: Any = Celery(
        name or "celery.tests",
        set_as_current=set_as_current,
        log=None if enable_logging else log,
        broker=broker,
        backend=backend,
        **kwargs,
    )
    app.add_defaults(settings)
    return app


TestApp.__test__ = False  # type: ignore[attr-defined] # pytest takes it for a test


@contextmanager
def set_trap(app: Any) -> Iterator[None]:
    """While this context lasts, using the current app raises."""
    trap = Trap()
    state: Any = _state
    before = state._tls
    state.set_default_app(trap)

    class NonTLS:
        current_app = trap

    state._tls = NonTLS()
    try:
        yield
    finally:
        state._tls = before


@contextmanager
def setup_default_app(app: Any, use_trap: bool = False) -> Iterator[None]:
    """When this context ends, current and default app are what they were, and the app is closed."""
    state: Any = _state
    current, default = state.get_current_app(), state.default_app
    finalizers, apps = state._on_app_finalizers.copy(), weakref.WeakSet(state._apps)
    try:
        if use_trap:
            with set_trap(app):
                yield
        else:
            yield
    finally:
        state.set_default_app(default)
        state._tls.current_app = current
        if app is not current:
            app.close()
        state._on_app_finalizers = finalizers
        state._apps = apps
        backend = getattr(app, "_backend", None)
        if backend is not None:
            store = vars(backend).get("plain")
            if store is not None:  # whoever still holds the app holds no connection by it
                store.close()
            app._backend_cache = None
            app._local.backend = None
