"""`celeriac run CMD...`: run a program in which `import celery` gives celeriac, and so in all programs it starts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import click

from .base import CeleryCommand

SHIM = Path(__file__).resolve().parents[1] / "shim"


def environment(variables: dict[str, str]) -> dict[str, str]:
    """These variables, with the shim's folder first among those that Python looks into."""
    others = [path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(SHIM)]
    return {**variables, "PYTHONPATH": os.pathsep.join([str(SHIM), *others])}


@click.command(cls=CeleryCommand, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def run(ctx: click.Context, /, command: tuple[str, ...], **_: Any) -> None:
    """Run COMMAND with celeriac in the place of Celery. To go back, leave the prefix away.

    \b
    celeriac run gunicorn proj.wsgi
    celeriac run python manage.py runserver
    celeriac run flower
    """
    program = shutil.which(command[0])
    if program is None:
        ctx.obj.error(f"celeriac run: there is no program {command[0]!r} on the PATH", fg="red")
        ctx.exit(127)
    os.execvpe(program, list(command), environment(dict(os.environ)))  # noqa: S606 # no shell, and the user's own program
