"""`celeriac shell`: Python with the app and its tasks at hand."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

from .base import CeleryCommand, handle_preload_options, option

_SHELL = "Shell Options"
_NAMES = ("Task", "chord", "group", "chain", "chunks", "xmap", "xstarmap", "subtask", "signature")


def _python(names: dict[str, Any]) -> None:
    import code

    try:
        import readline
        import rlcompleter
    except ImportError:
        pass
    else:
        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab:complete")
    code.interact(local=names)


def _bpython(names: dict[str, Any]) -> None:
    bpython: Any = import_module("bpython")
    bpython.embed(names)


def _ipython(names: dict[str, Any]) -> None:
    ipython: Any = import_module("IPython")
    ipython.start_ipython(argv=[], user_ns=names)


def _best(names: dict[str, Any]) -> None:
    for shell in (_ipython, _bpython):
        try:
            return shell(names)
        except ImportError:  # noqa: PERF203 - the next one then
            continue
    return _python(names)


@click.command(cls=CeleryCommand, context_settings={"allow_extra_args": True})
@option(_SHELL, "-I", "--ipython", is_flag=True, help="Use IPython.")
@option(_SHELL, "-B", "--bpython", is_flag=True, help="Use bpython.")
@option(_SHELL, "--python", is_flag=True, help="Use the plain one.")
@option(_SHELL, "-T", "--without-tasks", is_flag=True, help="Do not put the tasks among the names.")
@option(_SHELL, "--eventlet", is_flag=True, help="Patch the standard library with eventlet.")
@option(_SHELL, "--gevent", is_flag=True, help="Patch the standard library with gevent.")
@click.pass_context
@handle_preload_options
def shell(
    ctx: click.Context,
    ipython: bool = False,
    bpython: bool = False,
    python: bool = False,
    without_tasks: bool = False,
    eventlet: bool = False,
    gevent: bool = False,
    **_: Any,
) -> None:
    """Start Python with the app (`app`, `celery`), its tasks, and chord, group, chain, chunks, signature...

    The best shell that is installed: IPython, bpython, or the plain one.
    """
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as Python itself puts it there
    package: Any = import_module(__name__.rpartition(".bin")[0])
    for wanted, patch in ((eventlet, "_patch_eventlet"), (gevent, "_patch_gevent")):
        if wanted:
            getattr(package, patch)()
    app = ctx.obj.app
    app.loader.import_default_modules()
    names = {"app": app, "celery": app, **{name: _of(package, name) for name in _NAMES}}
    if not without_tasks:
        names |= {task.__name__: task for task in app.tasks.values() if not task.name.startswith("celery.")}
    chosen: Callable[[dict[str, Any]], None] = (
        _python if python else _bpython if bpython else _ipython if ipython else _best
    )
    try:
        chosen(names)
    except ImportError as problem:
        ctx.obj.error(f"{ctx.obj.ERROR}: {problem.name or problem} is not installed: pip install {problem.name}")
        ctx.exit(1)


def _of(package: Any, name: str) -> Any:
    return getattr(package, name, None) or getattr(import_module(f"{package.__name__}.canvas"), name)
