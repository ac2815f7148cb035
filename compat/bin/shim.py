"""`celeriac shim`: write the wheel named `celery`, by which what requires celery gets celeriac."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click

from .base import CeleryCommand, option


@click.command(cls=CeleryCommand)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@option(
    None, "--as", "celery", metavar="VERSION", help="Celery's version to be counted as, where a package has a ceiling."
)
@click.pass_context
def shim(ctx: click.Context, /, folder: Path, celery: str | None, **_: Any) -> None:
    """Write the wheel named celery into FOLDER, the current one by default. Nothing is installed.

    Where it is installed, `import celery` is celeriac, and pip holds `celery` for installed: Flower,
    django-celery-beat and others install beside it as they are. The way back is Celery's own wheel.

    A package that asks for celery<5.7 would have pip put the real one back: give it --as 5.6.3. To be told of such
    packages, pin the wheel's whole version in your requirements.
    """
    if celery and not re.fullmatch(r"\d+(\.\d+){1,2}", celery):
        raise click.BadParameter(
            f"{celery!r} is no version of Celery's; what is meant looks like 5.6.3", param_hint="--as"
        )
    from ..shim.shim_wheel import build

    try:
        wheel = build(folder, celery or "")
    except OSError as problem:
        raise click.ClickException(f"the wheel cannot be written into {folder}: {problem}") from None
    ctx.obj.echo(f"{wheel}")
    version = wheel.name.split("-")[1]
    ctx.obj.echo(f"\nPin it:      celery=={version}", err=True)
    ctx.obj.echo(f"Install it:  pip install {shlex.quote(str(wheel))}", err=True)
    ctx.obj.echo("Go back:     pip uninstall -y celery && pip install celery", err=True)
