"""An app in a process that was spawned: it imports its module there, as every other program does.

Law: the app is found by where it stands, a name in a module. What was set since it was imported goes with it.
"""

from __future__ import annotations

import io
import os
import pickle
import runpy
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from ...protocol.errors import BadCall
from ...protocol.values import dataclass
from .. import alias

_APP = "the app"
_MAIN, _SPAWNED_MAIN = "__main__", "__mp_main__"
"""Under the second name a program is run in spawned processes, so that `if __name__ == "__main__"` does not hold."""
_HOUSE = frozenset({__name__.partition(".")[0], "celery"})
"""Here it stands as the current app, and as nobody's."""


@dataclass(frozen=True)
class Place:
    """Where an app stands. `file` or `program`, if it is in the program itself: its file, or its name for `-m`."""

    name: str
    module: str = _MAIN
    file: str = ""
    program: str = ""

    def app(self) -> Any:
        """In another process."""
        if self.module != _MAIN:
            return getattr(import_module(self.module), self.name)
        from ..utils import imports

        os.environ["MP_MAIN_FILE"] = imports.MP_MAIN_FILE = self.file  # by which tasks keep their names
        run: Any = runpy.run_module if self.program else runpy.run_path
        made = ModuleType(_SPAWNED_MAIN)
        made.__dict__.update(run(self.program or self.file, run_name=_SPAWNED_MAIN))
        sys.modules[_MAIN] = sys.modules[_SPAWNED_MAIN] = made
        return getattr(made, self.name)


def where(app: Any) -> Place:
    """Raises BadCall if nobody could find it."""
    # In the order in which they were imported: the first is the one whose import brings all others.
    modules = [name for name in sys.modules if name.partition(".")[0] not in {*_HOUSE, _MAIN, _SPAWNED_MAIN}]
    for module in (*modules, _MAIN):
        for name, value in list(getattr(sys.modules.get(module), "__dict__", {}).items()):
            if value is app:
                return Place(name, module) if module != _MAIN else _in_program(name)
    raise BadCall(
        "worker_pool_start_method is 'spawn', and the app is not in any module: new processes import it by its name. "
        "Give it a global name in the module that makes it, or have processes forked ('fork')."
    )


def _in_program(name: str) -> Place:
    main = sys.modules[_MAIN]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if file is None:
        raise BadCall(
            "worker_pool_start_method is 'spawn', and the app was made where no file is: new processes cannot import "
            "it. Put it into a module, or have processes forked ('fork')."
        )
    return Place(name, file=os.path.abspath(file), program=spec.name if spec is not None else "")  # noqa: PTH100 - as `__file__` has it, links and all


def recipe(app: Any, hostname: str | None, options: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    """How to make the program of this app again. Raises BadCall for an app that nobody could find."""
    packed = io.BytesIO()
    _Packer(packed, app).dump((hostname, options))
    return again, (where(app), alias.installed(), _set(app), packed.getvalue())


def again(place: Place, aliased: bool, settings: dict[str, bytes], packed: bytes) -> Any:
    """The program, in the process that was spawned."""
    if aliased:
        alias.install()
    from .trace import program

    os.environ["FORKED_BY_MULTIPROCESSING"] = "1"  # packages ask for it, as for billiard's
    app = place.app()
    for key, value in settings.items():
        wanted = pickle.loads(value)  # noqa: S301 - our parent's own
        if app.conf.get(key) != wanted:
            app.conf[key] = wanted
    hostname, options = _Unpacker(packed, app).load()
    _log(app, hostname)
    return program(app, hostname, **options)


def _set(app: Any) -> dict[str, bytes]:
    """What was set by hand; what cannot be sent is as the module sets it."""
    found = {}
    for key, value in dict(app.conf.changes).items():
        try:
            found[key] = pickle.dumps(value)
        except Exception:  # noqa: BLE001, S112, PERF203 - whatever a user's object raises
            continue
    return found


def _log(app: Any, hostname: str | None) -> None:
    """As the worker has set it up, which it told in the environment; a forked child has it from its parent."""
    said = os.environ.get
    level = said("CELERY_LOG_LEVEL")
    if level:
        redirect = bool(said("CELERY_LOG_REDIRECT"))
        app.log.setup(
            int(level), said("CELERY_LOG_FILE") or None, redirect, said("CELERY_LOG_REDIRECT_LEVEL"), hostname=hostname
        )


class _Packer(pickle.Pickler):
    """Leaves out the app, which is found another way."""

    def __init__(self, file: io.BytesIO, app: Any) -> None:
        super().__init__(file)
        self._app = app

    def persistent_id(self, obj: Any) -> Any:
        return _APP if obj is self._app else None


class _Unpacker(pickle.Unpickler):
    def __init__(self, packed: bytes, app: Any) -> None:
        super().__init__(io.BytesIO(packed))
        self._app = app

    def persistent_load(self, _: Any) -> Any:
        return self._app
