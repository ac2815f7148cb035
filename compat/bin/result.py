"""`celeriac result`: what a task has returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ..backends.disabled import DisabledBackend
from ..exceptions import BackendError, CeleryCommandException
from ..platforms import EX_FAILURE, EX_UNAVAILABLE
from ..states import PROPAGATE_STATES
from .base import CeleryCommand, handle_preload_options, option
from .faults import is_operational

_RESULT = "Result Options"


@click.command(cls=CeleryCommand)
@click.argument("task_id")
@option(_RESULT, "-t", "--task", help="Name of the task, where it has a backend of its own.")
@option(_RESULT, "--traceback", is_flag=True, help="Show the traceback instead.")
@click.pass_context
@handle_preload_options
def result(ctx: click.Context, task_id: str, task: str | None, traceback: bool) -> None:
    """Print the result of the task TASK_ID; waits until there is one."""
    app = ctx.obj.app
    if task:
        app.loader.import_default_modules()
        if task not in app.tasks:
            raise click.BadParameter(f"the app has no task {task!r}", param_hint="--task")
    found = (app.tasks[task] if task else app).AsyncResult(task_id)
    if isinstance(found.backend, DisabledBackend):  # one that cannot be made is no failure of the task either
        raise CeleryCommandException("No result backend is configured: set result_backend", EX_FAILURE)
    if traceback:
        ctx.obj.echo(_asked(lambda: found.traceback))
        return
    value = _asked(lambda: found.get(propagate=False))  # what is raised is the store's, what is returned the task's
    if found.state in PROPAGATE_STATES:
        ctx.obj.error(f"{type(value).__name__}: {value}", fg="red")
        if found.traceback:
            ctx.obj.error("(--traceback shows where it was raised)")
        ctx.exit(1)
    ctx.obj.echo(value)


def _asked(ask: Callable[[], Any]) -> Any:
    """What the result store answers, if it does."""
    try:
        return ask()
    except Exception as problem:
        if is_operational(problem) or isinstance(problem, BackendError):
            raise CeleryCommandException(f"Could not ask the result store: {problem}", EX_UNAVAILABLE) from None
        raise
