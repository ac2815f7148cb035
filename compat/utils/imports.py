"""Modules and objects by name.

Law: a name that begins with `celery.` always means this package, also in a process that has not asked for the alias.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType

from ...protocol.hints import Any

__all__ = (
    "NotAPackage",
    "cwd_in_path",
    "find_module",
    "gen_task_name",
    "import_from_cwd",
    "instantiate",
    "module_file",
    "qualname",
    "reload_from_cwd",
    "symbol_by_name",
)  # fmt: skip

MP_MAIN_FILE = os.environ.get("MP_MAIN_FILE")

_HERE = __name__.rpartition(".utils.")[0]


class NotAPackage(Exception):
    """Part of a dotted name is a module that has no modules in it."""


def import_module(name: str, package: str | None = None) -> ModuleType:
    """The module of this name; `celery.X` is this package's."""
    if name == "celery" or name.startswith("celery."):
        name = _HERE + name[len("celery") :]
    return importlib.import_module(name, package)


def qualname(obj: Any) -> str:
    """The full name of a class, a function, or an object's class."""
    if not hasattr(obj, "__name__") and hasattr(obj, "__class__"):
        obj = obj.__class__
    name: str = getattr(obj, "__qualname__", None) or obj.__name__
    return name if "." in name else f"{obj.__module__}.{name}"


def symbol_by_name(
    name: Any,
    aliases: Any = None,
    imp: Callable[..., Any] | None = None,
    package: str | None = None,
    sep: str = ".",
    default: Any = None,
    **kwargs: Any,
) -> Any:
    """What `module.Name` or `module:Name` names; anything but a text is returned as it is."""
    if not isinstance(name, str):
        return name
    name = (aliases or {}).get(name) or name
    if not isinstance(name, str):
        return name
    module_name, _, symbol = name.rpartition(":" if ":" in name else sep)
    if not module_name:
        symbol, module_name = "", package or symbol
    try:
        try:
            module = (imp or import_module)(module_name, package=package, **kwargs)
        except ValueError as exc:
            raise ValueError(f"Couldn't import {name!r}: {exc}") from exc
        return getattr(module, symbol) if symbol else module
    except (ImportError, AttributeError):
        if default is None:
            raise
    return default


def instantiate(name: Any, *args: Any, **kwargs: Any) -> Any:
    """An object of the class of this name."""
    return symbol_by_name(name)(*args, **kwargs)


@contextmanager
def cwd_in_path() -> Iterator[str | None]:
    """While this context lasts, modules of the working directory can be imported."""
    try:
        cwd = os.getcwd()  # noqa: PTH109 - sys.path holds texts
    except FileNotFoundError:
        cwd = ""
    if not cwd or cwd in sys.path:
        yield None
        return
    sys.path.insert(0, cwd)
    try:
        yield cwd
    finally:
        if cwd in sys.path:
            sys.path.remove(cwd)


def find_module(module: str, path: Any = None, imp: Callable[..., Any] | None = None) -> Any:
    """The module of this dotted name; says so when a part of the name is no package."""
    load = imp or import_module
    with cwd_in_path():
        try:
            return load(module)
        except ImportError:
            parts = module.split(".")
            for end in range(1, len(parts)):
                package = ".".join(parts[:end])
                try:
                    found = load(package)
                except ImportError:
                    break
                if not hasattr(found, "__path__"):
                    raise NotAPackage(package) from None
            raise


def import_from_cwd(module: str, imp: Callable[..., Any] | None = None, package: str | None = None) -> Any:
    """The module, looked for in the working directory first."""
    with cwd_in_path():
        return (imp or import_module)(module, package=package)


def reload_from_cwd(module: ModuleType, reloader: Callable[..., Any] | None = None) -> Any:
    """The module, loaded again."""
    with cwd_in_path():
        return (reloader or importlib.reload)(module)


def module_file(module: ModuleType) -> str:
    """The source file of a module."""
    name = module.__file__ or ""
    return name[:-1] if name.endswith(".pyc") else name


def gen_task_name(app: Any, name: str, module_name: str | None) -> str:
    """What a task is called when nobody named it: its module and its function."""
    module_name = module_name or "__main__"
    module = sys.modules.get(module_name)
    if module is not None:
        module_name = module.__name__
        if MP_MAIN_FILE and module.__file__ == MP_MAIN_FILE:
            module_name = "__main__"
    if module_name == "__main__" and app.main:
        return f"{app.main}.{name}"
    return ".".join(part for part in (module_name, name) if part)


@cache
def load_extension_class_names(namespace: str) -> tuple[tuple[str, str], ...]:
    """What installed packages offer under an entry point group: names and where their classes are."""
    from importlib.metadata import entry_points

    return tuple((point.name, point.value) for point in entry_points(group=namespace))


def load_extension_classes(namespace: str) -> Iterator[tuple[str, Any]]:
    """The same, loaded; what cannot be is warned of."""
    for name, class_name in load_extension_class_names(namespace):
        try:
            found = symbol_by_name(class_name)
        except (ImportError, SyntaxError) as exc:  # noqa: PERF203 - one may be broken
            import warnings

            warnings.warn(f"Cannot load {namespace} extension {class_name!r}: {exc!r}", stacklevel=2)
        else:
            yield name, found
