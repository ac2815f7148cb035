"""What a program's sources say without being run: delays, chords, results that are waited for, imports of Celery.

Law: sources are parsed, never executed. Only what stands there as a plain number or name is believed.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = __name__.partition(".bin")[0]
_DELAYS = {"countdown": "a countdown", "default_retry_delay": "a retry's delay", "retry_backoff_max": "a retry's delay"}


@dataclass(frozen=True, slots=True, order=True)
class Delay:
    """How long a message may have to wait."""

    seconds: float
    what: str
    where: str


@dataclass(frozen=True, slots=True)
class Use:
    """Something that is used, and where."""

    what: str
    where: str


@dataclass(slots=True)
class Sources:
    """All of it."""

    delays: list[Delay] = field(default_factory=list)
    chords: list[Use] = field(default_factory=list)
    waits: list[Use] = field(default_factory=list)
    missing: list[Use] = field(default_factory=list)


def modules_of(app: Any) -> list[ModuleType]:
    """The modules that belong to the app's program: those of its tasks, and all loaded ones of the same packages."""
    names = {type(task).__module__ for name, task in app.tasks.items() if not name.startswith("celery.")}
    names |= {app.main} if app.main in sys.modules else set()
    names |= {module for module in (*app.conf.imports, *app.conf.include) if module in sys.modules}
    names = {name for name in names if name.partition(".")[0] not in {"celeriac", "celery"}}
    packages = {name.partition(".")[0] for name in names if name != "__main__"}
    loaded = {
        name: module
        for name, module in list(sys.modules.items())
        if (name in names or name.partition(".")[0] in packages)
    }
    return [loaded[name] for name in sorted(loaded) if not _is_installed(loaded[name])]


def _is_installed(module: ModuleType) -> bool:
    return "site-packages" in (getattr(module, "__file__", None) or "")


def read(modules: Iterable[ModuleType]) -> Sources:
    found = Sources()
    for module in modules:
        path = getattr(module, "__file__", None)
        if not path:
            continue
        try:
            tree = ast.parse(inspect.getsource(module))
        except (OSError, SyntaxError, TypeError):
            continue
        _read(tree, Path(path).name, found)
    return found


def _read(tree: ast.Module, file: str, found: Sources) -> None:
    for node in ast.walk(tree):
        where = f"{file}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call):
            _call(node, where, found)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.missing += [Use(name, where) for name in _names(node) if not _exists(name)]


def _call(node: ast.Call, where: str, found: Sources) -> None:
    for keyword in node.keywords:
        if keyword.arg in _DELAYS:
            value = _number(keyword.value)
            if value is not None:
                found.delays.append(Delay(value, _DELAYS[keyword.arg], where))
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", None)
    if name == "chord":
        found.chords.append(Use("a chord", where))
    inner = node.func.value if isinstance(node.func, ast.Attribute) else None
    if name == "get" and isinstance(inner, ast.Call) and getattr(inner.func, "attr", None) in {"delay", "apply_async"}:
        found.waits.append(Use("a result that is waited for", where))


def _number(node: ast.expr) -> float | None:
    """A number, or a product of numbers such as `2 * 60 * 60`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return float(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        left, right = _number(node.left), _number(node.right)
        return None if left is None or right is None else left * right
    return None


def _names(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """What it imports of Celery."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if _is_celery(alias.name))
    elif node.module and not node.level and _is_celery(node.module):
        yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*")


def _is_celery(name: str) -> bool:
    return name == "celery" or name.startswith("celery.")


def _exists(name: str) -> bool:
    target = _PACKAGE + name[len("celery") :]
    parent, _, attribute = target.rpartition(".")
    try:
        if find_spec(target) is not None:
            return True
    except ModuleNotFoundError:
        pass
    try:
        return hasattr(importlib.import_module(parent), attribute)
    except ImportError:
        return False
