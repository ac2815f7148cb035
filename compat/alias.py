"""`celery` is this package: a finder that answers `import celery.X` with the module object `celeriac.compat.X`.

Law: one module object, two names, both from when it is loaded, so that isinstance, patches, pickles and who looks into
`sys.modules` agree. What we lack is a ModuleNotFoundError; a module of the real Celery is never mixed in, nor one of
ours into the real one.

`install()` makes it so before all other finders. Without it, a process that has loaded this package and no Celery
finds `celery` here after everything else was asked (`offer`): pickles written under Celery's names can then be read.
The same holds for `billiard.exceptions`, under whose name Celery writes time limits and lost workers.

Agents that patch `celery.app.trace` and others as soon as they are imported (`_WATCHERS`) are told of each module under
Celery's name, whoever has loaded it.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from types import ModuleType

from ..protocol.hints import Any
from . import lacking

_HERE = __name__.rpartition(".")[0]
_CELERY = "celery"
_HOUSE = _HERE.rpartition(".")[0]
_EINFO = "billiard.einfo"
_BILLIARD = ("billiard", "billiard.exceptions", "billiard.pool")
_WATCHERS = frozenset({"ddtrace", "newrelic", "wrapt"})
"""Whose finders wrap the loader that others find, and patch `celery.app.trace` and the like when it is imported."""
_BILLIARD_VERSION = (4, 2, 2)


class AliasError(ImportError):
    """`celery` cannot be made to mean this package any more."""


class _Loader:
    """Gives out the module that there is; nothing is executed twice."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.spec: Any = None

    def create_module(self, spec: Any) -> ModuleType:
        before, _IMPORTS.looked_for = _IMPORTS.looked_for, spec.name
        module: ModuleType | None
        try:
            module = importlib.import_module(self.target)
        except RuntimeError:  # a deadlock: who has loaded it is telling of it, and waits for us
            module = sys.modules.get(self.target)
            if module is None:
                raise
        finally:
            _IMPORTS.looked_for = before
        lacking.tell(module, spec.name)
        if watchers():
            return _Shown(spec.name, module)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        if isinstance(module, _Shown):
            sys.modules[module.__name__] = module.shown
            return
        module.__spec__ = self.spec  # the import system has put the alias' own here

    def is_package(self, name: str) -> bool:
        """Asked while the import system is locked: to load it now would wait for ever for a thread that does."""
        spec: Any = importlib.util.find_spec(self.target)
        return spec.submodule_search_locations is not None

    def get_code(self, name: str) -> Any:
        """What `python -m celery` runs."""
        spec: Any = importlib.util.find_spec(self.target)
        return None if spec is None else spec.loader.get_code(self.target)


class _Shown(ModuleType):
    """A module as it is handed to who waits for its import: under Celery's name, by which they know it.

    `sys.modules` gets the module itself. What is read from this one or put into it is the module's.
    """

    _OWN = frozenset({"__file__", "__loader__", "__name__", "__package__", "__path__", "__spec__", "shown"})
    shown: ModuleType

    def __init__(self, name: str, module: ModuleType) -> None:
        super().__init__(name)
        self.shown = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shown, name)

    def __setattr__(self, name: str, value: Any) -> None:
        (super().__setattr__ if name in self._OWN else partial(setattr, self.shown))(name, value)


class _Twice:
    """Loads a module of this package as its own loader does; then the module has its second name.

    It stays the module's loader, and loads once: while one thread looks for `celery.x`, another one may put it into
    `sys.modules`, and then the import system loads what that one says of itself.
    """

    def __init__(self, loader: Any, loaded: ModuleType | None = None) -> None:
        self.loader, self.loaded = loader, loaded

    def create_module(self, spec: Any) -> Any:
        return self.loader.create_module(spec) if self.loaded is None else self.loaded

    def exec_module(self, module: ModuleType) -> None:
        if module is self.loaded:
            return
        _IMPORTS.depth += 1
        try:
            self.loader.exec_module(module)
        finally:
            _IMPORTS.depth -= 1
        self.loaded = module
        _name((module,))

    def __getattr__(self, name: str) -> Any:
        if name == "loader":  # of a copy that is not complete yet
            raise AttributeError(name)
        return getattr(self.loader, name)


class _Imports(threading.local):
    """What this thread is at. Nobody is told of a module while one around it is half done."""

    depth = 0
    looked_for: str | None = None


_IMPORTS = _Imports()


def watchers() -> list[Any]:
    """The finders of agents that patch modules once they are imported."""
    return [finder for finder in sys.meta_path if type(finder).__module__.partition(".")[0] in _WATCHERS]


def _name(modules: Iterable[ModuleType]) -> None:
    """Gives them their names under Celery's: a class is looked for in `sys.modules` by the module that it names."""
    if watchers():
        _tell()
        return
    for module in modules:
        name, spec = _CELERY + module.__name__[len(_HERE) :], module.__spec__
        if spec is not None and not isinstance(spec.loader, _Twice):
            loader: Any = _Twice(spec.loader, module)
            spec.loader = loader
        lacking.tell(module, name)
        if name != _IMPORTS.looked_for:
            sys.modules.setdefault(name, module)


def _tell() -> None:
    """Import under Celery's names what was loaded under ours, for those who wait for these names."""
    if _IMPORTS.depth:
        return
    for name in [name for name in sys.modules if name.startswith(f"{_HERE}.")]:
        second = _CELERY + name[len(_HERE) :]
        if second not in sys.modules and second != _IMPORTS.looked_for:
            with suppress(RuntimeError):  # two threads import it at once, and the other one tells
                importlib.import_module(second)


class _Finder:
    """Answers for `celery` and everything under it."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        if name.startswith(f"{_HERE}."):
            return self._own(name, path, target)
        if name == _EINFO:
            # Tools ask whether what a signal brings is an ExceptionInfo of billiard's.
            return importlib.util.spec_from_loader(name, _loader(f"{_HOUSE}.worker.einfo"))
        if name != _CELERY and not name.startswith(f"{_CELERY}."):
            return None
        return _spec(name)

    def _own(self, name: str, path: Sequence[str] | None, target: Any) -> Any:
        """A module of this package, as the finders after this one find it."""
        behind = sys.meta_path[sys.meta_path.index(self) + 1 :] if self in sys.meta_path else []
        for finder in behind:
            spec: Any = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Twice(spec.loader)
                return spec
        return None

    def find_distributions(self, context: Any = None) -> Iterable[Any]:
        return _distributions(self, context)


class _LastFinder:
    """Answers when nobody else knows of `celery`, and for the exceptions of a billiard that is not installed."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        if name in _BILLIARD:
            loader: Any = _BilliardLoader()
            return importlib.machinery.ModuleSpec(name, loader, is_package=name == "billiard")
        if name == _CELERY:
            _begin()
            _name(_loaded())
            return _spec(name)
        return None


class _BilliardLoader:
    """Makes `billiard.exceptions`, and a `billiard` that holds nothing else."""

    def create_module(self, spec: Any) -> None:
        """The usual one."""

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == "billiard.exceptions":
            vars(module).update(_billiard_classes())
        elif module.__name__ == "billiard.pool":
            vars(module).update(Worker=type("Worker", (), {"__module__": "billiard.pool", "workloop": _no_workloop}))
        else:
            module.__doc__ = "celeriac's stand-in for billiard: what pickles and tools name of it."
            module.VERSION = _BILLIARD_VERSION  # type: ignore[attr-defined]  # it is a stand-in
            module.__version__ = ".".join(map(str, _BILLIARD_VERSION))  # type: ignore[attr-defined]  # the same


_FINDER: Any = _Finder()
_LAST: Any = _LastFinder()


def _no_workloop(self: Any, *args: Any, **kwargs: Any) -> None:
    """Tools wrap it; our children have a loop of their own."""


def _loader(target: str) -> Any:
    return _Loader(target)


def _spec(name: str) -> Any:
    target = _HERE + name[len(_CELERY) :]
    if target not in sys.modules and importlib.util.find_spec(target) is None:
        raise lacking.no_module(name)
    return importlib.util.spec_from_loader(name, _loader(target))


def installed() -> bool:
    """Whether `import celery` gives this package."""
    return sys.modules.get(_CELERY) is sys.modules[_HERE] or _FINDER in sys.meta_path


def install() -> None:
    """From now on `celery` is this package, in this process. Too late when the real one is loaded already."""
    loaded = sys.modules.get(_CELERY)
    if loaded is not None and loaded is not sys.modules[_HERE]:
        where = getattr(loaded, "__file__", None) or "an unknown place"
        raise AliasError(
            f"celeriac.install() came too late: the real celery is loaded already, from {where}. "
            "Call it before the first `import celery`, or start the program with `celeriac run`."
        )
    if _FINDER not in sys.meta_path:
        _begin()
    importlib.import_module(_CELERY)
    _name(_loaded())


def _loaded() -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if f"{name}.".startswith(f"{_HERE}.")]


def _begin() -> None:
    """First of all finders, but behind those who only want to be told what is imported: they ask us in their turn."""
    watching = watchers()
    place = next((place for place, finder in enumerate(sys.meta_path) if finder not in watching), len(sys.meta_path))
    sys.meta_path.insert(place, _FINDER)


def uninstall() -> None:
    """Takes the alias back: for tests, which share one process."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
    for name, module in list(sys.modules.items()):
        ours = _HERE + name[len(_CELERY) :]
        if (name == _CELERY or name.startswith(f"{_CELERY}.")) and module is sys.modules.get(ours):
            del sys.modules[name]


def offer() -> None:
    """`celery` is this package when there is no other."""
    if _LAST not in sys.meta_path:
        sys.meta_path.append(_LAST)


def billiard_exceptions() -> ModuleType:
    """billiard's exceptions where it is installed, else the stand-in's."""
    offer()
    return importlib.import_module("billiard.exceptions")


def _billiard_classes() -> dict[str, Any]:
    meanings = {
        "TimeLimitExceeded": "The hard time limit has passed and the process was killed.",
        "SoftTimeLimitExceeded": "The soft time limit has passed; the task may clean up.",
        "WorkerLostError": "The process that ran the task is gone.",
        "Terminated": "The process was ended by request.",
        "RestartFreqExceeded": "Processes are started too often.",
        "CoroStop": "A coroutine is to stop.",
    }
    classes: dict[str, Any] = {}
    for name, meaning in meanings.items():
        body: dict[str, Any] = {"__module__": "billiard.exceptions", "__doc__": meaning}
        if name.endswith("TimeLimitExceeded"):
            body["__str__"] = lambda self, name=name: f"{name}{self.args}"
        classes[name] = type(name, (Exception,), body)
    classes["__getattr__"] = _from_multiprocessing
    return classes


def _from_multiprocessing(name: str) -> Any:
    if name in {"ProcessError", "BufferTooShort", "TimeoutError", "AuthenticationError"}:
        import multiprocessing

        return getattr(multiprocessing, name)
    raise AttributeError(f"module 'billiard.exceptions' has no attribute {name!r}")


def _distributions(finder: Any, context: Any) -> Iterable[Any]:
    """What `importlib.metadata.version("celery")` reads: the version that `import celery` gives.

    Whatever is installed under that name (the real Celery, or our wheel with a version that says so) gives the rest.
    """
    if str(getattr(context, "name", None)).lower() != _CELERY:
        return
    from importlib import metadata

    others = [other for other in sys.meta_path if other is not finder and hasattr(other, "find_distributions")]
    under: Any = next((found for other in others for found in other.find_distributions(context)), None)

    class Distribution(metadata.Distribution):
        def read_text(self, filename: str) -> str | None:
            text: str | None = under.read_text(filename) if under is not None else None
            if filename != "METADATA":
                return text
            from . import __version__

            lines = (text or "Metadata-Version: 2.1\nName: celery\nVersion:\nSummary: celeriac's stand-in\n").split(
                "\n"
            )
            place = next(number for number, line in enumerate(lines) if line.startswith("Version:"))
            return "\n".join([*lines[:place], f"Version: {__version__}", *lines[place + 1 :]])

        def locate_file(self, path: Any) -> Any:
            from pathlib import Path

            return under.locate_file(path) if under is not None else Path(__file__).parent / path

    yield Distribution()
