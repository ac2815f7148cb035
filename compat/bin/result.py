"""`celeriac result`: what a task has returned."""

from __future__ import annotations

import click

from .base import CeleryCommand, handle_preload_options, option

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
    if traceback:
        ctx.obj.echo(found.traceback)
        return
    try:
        value = found.get()
    except Exception as problem:  # noqa: BLE001 - the task's own, whatever it is
        ctx.obj.error(f"{type(problem).__name__}: {problem}", fg="red")
        if found.traceback:
            ctx.obj.error("(--traceback shows where it was raised)")
        ctx.exit(1)
    ctx.obj.echo(value)
