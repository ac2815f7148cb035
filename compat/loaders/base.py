"""What a loader does: read the configuration, import the modules of tasks, hear of a worker's life.

Third-party loaders subclass `BaseLoader` and override any method here.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from types import ModuleType

from ...protocol.hints import TYPE_CHECKING, Any
from ...protocol.moments import datetime, timezone
from ..utils.collections import DictAttribute, force_mapping
from ..utils.imports import NotAPackage, find_module, import_from_cwd, import_module, symbol_by_name

if TYPE_CHECKING:
    import re

__all__ = ("BaseLoader",)

CONFIG_INVALID_NAME = """\
Error: Module '{module}' doesn't exist, or it's not a valid \
Python module name.
"""
CONFIG_WITH_SUFFIX = (
    CONFIG_INVALID_NAME
    + """\
Did you mean '{suggest}'?
"""
)

unconfigured = object()

# A package that is being looked through may make an app that looks through packages.
_discovering = False


class BaseLoader:
    """One app's loader. It reads the configuration once, when it is first asked for."""

    builtin_modules: Iterable[str] = frozenset()
    configured = False
    override_backends: Mapping[str, str] = {}
    worker_initialized = False

    _conf: Any = unconfigured

    def __init__(self, app: Any, **kwargs: Any) -> None:
        self.app = app
        self.task_modules: set[str] = set()

    def now(self, utc: bool = True) -> datetime:
        return datetime.now(timezone.utc) if utc else datetime.now()  # local time is what was asked for

    def on_task_init(self, task_id: str, task: Any) -> None:
        """Before a task runs."""

    def on_process_cleanup(self) -> None:
        """After a task ran."""

    def on_worker_init(self) -> None:
        """When a worker starts."""

    def on_worker_shutdown(self) -> None:
        """When a worker stops."""

    def on_worker_process_init(self) -> None:
        """When a process of the pool starts."""

    # --- modules

    def import_task_module(self, module: str) -> Any:
        self.task_modules.add(module)
        return self.import_from_cwd(module)

    def import_module(self, module: str, package: str | None = None) -> ModuleType:
        return import_module(module, package=package)

    def import_from_cwd(self, module: str, imp: Any = None, package: str | None = None) -> Any:
        return import_from_cwd(module, imp or self.import_module, package=package)

    def import_default_modules(self) -> list[Any]:
        """Import what the app names as its modules of tasks, and let signals find more first."""
        from .. import signals

        for _, response in signals.import_modules.send(sender=self.app):
            # Signals swallow what a receiver raises; here nothing that is wrong with a task module may get lost.
            if isinstance(response, Exception):
                raise response
        return [self.import_task_module(module) for module in self.default_modules]

    def find_module(self, module: str) -> Any:
        return find_module(module)

    def autodiscover_tasks(self, packages: Iterable[str] | None, related_name: str | None = "tasks") -> None:
        modules = autodiscover_tasks(packages or (), related_name)
        self.task_modules.update(module.__name__ for module in modules if module)

    @cached_property
    def default_modules(self) -> tuple[str, ...]:
        conf = self.app.conf
        return (*self.builtin_modules, *_listed(conf.imports), *_listed(conf.include))

    # --- a worker's life

    def init_worker(self) -> None:
        if not self.worker_initialized:
            self.worker_initialized = True
            self.import_default_modules()
            self.on_worker_init()

    def shutdown_worker(self) -> None:
        self.on_worker_shutdown()

    def init_worker_process(self) -> None:
        self.on_worker_process_init()

    # --- configuration

    @property
    def conf(self) -> Any:
        """What the configuration was read from, as a mapping; None if there was nothing to read."""
        if self._conf is unconfigured:
            self._conf = self.read_configuration()
        return self._conf

    def config_from_object(self, obj: Any, silent: bool = False) -> bool:
        """Read the configuration from an object, a mapping, or either by its path. False: there is none."""
        if isinstance(obj, str):
            try:
                obj = self._smart_import(obj, imp=self.import_from_cwd)
            except (ImportError, AttributeError):
                if silent:
                    return False
                raise
        self._conf = force_mapping(obj)
        backends = self._conf.get("override_backends")
        if backends is not None:
            self.override_backends = backends
        return True

    def read_configuration(self, env: str = "CELERY_CONFIG_MODULE") -> Any:
        name = os.environ.get(env)
        return DictAttribute(self._import_config_module(name)) if name else None

    def _smart_import(self, path: str, imp: Callable[..., Any] | None = None) -> Any:
        """A module, or an attribute of one: with a colon there is no doubt, with dots alone it is tried."""
        imp = imp or self.import_module
        if ":" in path:
            return symbol_by_name(path, imp=imp)
        try:
            return imp(path)
        except ImportError:
            return symbol_by_name(path, imp=imp)

    def _import_config_module(self, name: str) -> Any:
        try:
            self.find_module(name)
        except NotAPackage as problem:
            text = CONFIG_WITH_SUFFIX if name.endswith(".py") else CONFIG_INVALID_NAME
            raise NotAPackage(text.format(module=name, suggest=name.removesuffix(".py"))) from problem
        return self.import_from_cwd(name)

    def cmdline_config_parser(
        self,
        args: Iterable[str],
        namespace: str = "celery",
        re_type: re.Pattern[str] | None = None,
        extra_types: Mapping[str, Callable[[str], Any]] | None = None,
        override_types: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Settings of a command line: `worker.prefetch_multiplier=1`, `task_queues=(json){"a": {}}`."""
        import re

        from ..app.defaults import Option

        types = {**Option.typemap, **(extra_types or {"json": _json})}
        overrides = override_types or {"tuple": "json", "list": "json", "dict": "json"}
        namespace = namespace and namespace.lower()

        def setting(arg: str) -> tuple[str, Any]:
            name, equals, text = arg.partition("=")
            if not equals:
                raise ValueError(f"{arg!r} is no setting: expected name=value")
            name = name.lower().replace(".", "_")
            if name.startswith("_"):
                name = f"{namespace}{name}" if namespace else name[1:]
            cast = (re_type or re.compile(r"\((\w+)\)")).match(text)
            if cast:
                return name, types[overrides.get(cast[1], cast[1])](text[cast.end() :])
            try:
                return name, _option(name).to_python(text)
            except ValueError as problem:
                raise ValueError(f"{name!r}: {problem}") from problem

        return dict(setting(arg) for arg in args)


def _listed(value: Any) -> Sequence[str]:
    from ..utils.functional import maybe_list  # for who imports tasks, which a program that sends one need not

    return maybe_list(value) or ()


def _json(text: str) -> Any:
    from ...protocol.wire import json

    return json.loads(text)


def _option(name: str) -> Any:
    """Its option, by the full name or after the namespace `celery`, which has none of its own. KeyError: no setting."""
    from ..app.defaults import _OPTIONS

    return _OPTIONS[name] if name in _OPTIONS else _OPTIONS[name.removeprefix("celery_")]


def autodiscover_tasks(packages: Iterable[str], related_name: str | None = "tasks") -> Sequence[ModuleType | None]:
    """The module of tasks of each of these packages that has one."""
    global _discovering
    if _discovering:
        return ()
    _discovering = True
    try:
        return [find_related_module(package, related_name) for package in packages]
    finally:
        _discovering = False


def find_related_module(package: str, related_name: str | None) -> ModuleType | None:
    """`package.related_name`, or the package itself without a related name. None: it has no such module.

    Where the package is none, but a class in a module (as Django's INSTALLED_APPS may name), it is one level above.
    """
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError:
        package = package.rpartition(".")[0]
        if not package:
            raise
    else:
        if not related_name:
            return module
    name = f"{package}.{related_name}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        if problem.name == name:
            return None
        raise  # something that the module imports is missing
