"""`celeriac shim`: write the wheel named `celery`, by which what requires celery gets celeriac."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from .base import CeleryCommand


@click.command(cls=CeleryCommand)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.pass_context
def shim(ctx: click.Context, /, folder: Path, **_: Any) -> None:
    """Write the wheel named celery into FOLDER, the current one by default. Nothing is installed.

    Where it is installed, `import celery` is celeriac, and pip holds `celery` for installed: Flower,
    django-celery-beat and others install beside it as they are. The way back is Celery's own wheel.
    """
    from ..shim.shim_wheel import build

    try:
        wheel = build(folder)
    except OSError as problem:
        raise click.ClickException(f"the wheel cannot be written into {folder}: {problem}") from None
    ctx.obj.echo(f"{wheel}")
    ctx.obj.echo(f"\nInstall it:  pip install {shlex.quote(str(wheel))}", err=True)
    ctx.obj.echo("Go back:     pip uninstall -y celery && pip install celery", err=True)
