"""A module of the user's that cannot be imported: its traceback, from the user's file on, and what to do.

Law: what leads to the user's file is ours or the interpreter's, and says nothing to who has to mend that file. Nothing
that the user's code raised is left out, nor what it raised that from.
"""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from pathlib import Path
from types import TracebackType

import click

from ..exceptions import CeleryCommandException
from ..platforms import EX_FAILURE

_STANDARD = str(Path(os.__file__).parent)
"""Where the standard library is: what it calls is ours, or the user's, and stands next in the traceback."""
_ALIAS = tuple(str(Path(__file__).parents[1] / name) for name in ("alias.py", "lacking.py"))
_LEADING = frozenset({"celeriac", "celery", "importlib", "kombu", "_frozen_importlib"})
_LOADERS = (f"{__name__.rpartition('.bin.')[0]}.loaders.", "celery.loaders.")


def of_users(step: TracebackType | None) -> TracebackType | None:
    """The first step in a module of the user's, beneath those that were on the way to it."""
    while step is not None:
        name, file = step.tb_frame.f_globals.get("__name__", ""), step.tb_frame.f_code.co_filename
        ours = name.partition(".")[0] in _LEADING or (file.startswith(_STANDARD) and "-packages" not in file)
        if not ours:
            return step
        step = step.tb_next
    return None


def of_loader(problem: BaseException) -> TracebackType | None:
    """Where the app's loader went for a module."""
    step = problem.__traceback__
    while step is not None and not step.tb_frame.f_globals.get("__name__", "").startswith(_LOADERS):
        step = step.tb_next
    return step


def shown(problem: BaseException, start: TracebackType | None) -> str:
    """The traceback from the user's file on, as Python writes it."""
    told = traceback.TracebackException(type(problem), problem, of_users(start))
    _strip(told)
    _strip_chain(told, problem)
    return "".join(told.format()).rstrip("\n")


def _strip_chain(told: traceback.TracebackException, problem: BaseException) -> None:
    """What it was raised from: what we raised while we looked for the module is left out."""
    for name in ("__cause__", "__context__"):
        part, origin = getattr(told, name), getattr(problem, name)
        if part is None or origin is None:
            continue
        first = of_users(origin.__traceback__)
        if first is None:
            setattr(told, name, None)
            continue
        leading = sum(1 for _ in traceback.walk_tb(origin.__traceback__)) - sum(1 for _ in traceback.walk_tb(first))
        part.stack = traceback.StackSummary.from_list(part.stack[leading:])
        _strip(part)
        if list(part.format(chain=False)) == list(told.format(chain=False)):  # the module was tried twice
            setattr(told, name, None)
            continue
        _strip_chain(part, origin)


def _strip(told: traceback.TracebackException) -> None:
    """Without the import machinery between the user's files."""
    told.stack = traceback.StackSummary.from_list([step for step in told.stack if not _is_machinery(step.filename)])


def _is_machinery(filename: str) -> bool:
    return filename.startswith(("<frozen importlib", *_ALIAS)) or filename.endswith("/importlib/__init__.py")


def advice(problem: BaseException, module: str) -> str:
    """What to do about it."""
    text = str(problem)
    again = f"{sys.executable} -m celeriac run {sys.executable} -c {shlex.quote(f'import {module}')}"
    if "partially initialized module" in text or "circular import" in text:
        return (
            "Two modules import each other. Name the modules of tasks in `include`, or use app.autodiscover_tasks(), "
            "in the place of importing them, or write @shared_task where they need the app."
        )
    missing = problem.name if isinstance(problem, ModuleNotFoundError) else None
    settings = os.environ.get("DJANGO_SETTINGS_MODULE", "")
    if missing and (settings == missing or settings.startswith(f"{missing}.")):
        return (
            f"DJANGO_SETTINGS_MODULE names {settings!r}, and there is no module {missing}: mend the variable, or go to "
            f"the folder that holds it (now: {Path.cwd()})."
        )
    if missing and missing.partition(".")[0] == module.partition(".")[0]:
        return f"There is no module {missing}: mend the name, or go to the folder that holds it (now: {Path.cwd()})."
    if missing and missing.partition(".")[0] != "celery":  # what we lack of Celery's says by itself what to do
        return (
            f"Install what provides {missing.partition('.')[0]!r} for {sys.executable}, or start celeriac with the "
            f"Python that has it. To try again: {again}"
        )
    return f"Mend what the last lines name. To try again: {again}"


def told_of_import(problem: BaseException) -> click.ClickException | None:
    """What a module of tasks raised as the loader imported it, as a person is told of it."""
    begun = of_loader(problem)
    first = of_users(begun)
    if begun is None or (first is None and not isinstance(problem, SyntaxError)):
        return None
    module = str(first.tb_frame.f_globals.get("__name__")) if first else Path(str(problem.filename)).stem  # type: ignore[attr-defined] # a SyntaxError's
    text = f"The module {module} cannot be imported:\n{shown(problem, begun)}\n\n{advice(problem, module)}"
    return CeleryCommandException(text, EX_FAILURE)
