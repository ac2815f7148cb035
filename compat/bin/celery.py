"""The command line: `celeriac -A proj worker`, by Celery's options."""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click

_COMMANDS = {"worker": (".worker", "worker")}
"""Name -> where it is: nothing is imported for commands that are not called."""

UNABLE_TO_LOAD_APP_MODULE_NOT_FOUND = """\
Unable to load celery application.
The module {0} was not found."""
UNABLE_TO_LOAD_APP_APP_MISSING = """\
Unable to load celery application.
{0}"""
UNABLE_TO_LOAD_APP_ERROR_OCCURRED = """\
Unable to load celery application.
While trying to load the module {0} the following error occurred:
{1}"""


@dataclass
class Context:
    """What every command finds in `ctx.obj`."""

    app: Any
    no_color: bool
    workdir: str | None
    quiet: bool


class Commands(click.Group):
    """Commands that are loaded when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        found = _COMMANDS.get(name)
        if found is None:
            return super().get_command(ctx, name)
        command: click.Command = getattr(import_module(found[0], __package__), found[1])
        return command


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-A", "--app", "name", envvar="APP", default=None, help="The application, as module or module:attribute.")
@click.option("-b", "--broker", envvar="BROKER_URL", default=None)
@click.option("--result-backend", envvar="RESULT_BACKEND", default=None)
@click.option("--loader", envvar="LOADER", default=None)
@click.option("--config", envvar="CONFIG_MODULE", default=None)
@click.option("--workdir", default=None, help="Change to this directory first.")
@click.option("-C", "--no-color", envvar="NO_COLOR", is_flag=True)
@click.option("-q", "--quiet", is_flag=True)
@click.option("--version", is_flag=True)
@click.pass_context
def celery(
    ctx: click.Context,
    name: str | None,
    broker: str | None,
    result_backend: str | None,
    loader: str | None,
    config: str | None,
    workdir: str | None,
    no_color: bool,
    quiet: bool,
    version: bool,
) -> None:
    """Celery's command line, by celeriac."""
    if version:
        from .. import VERSION_BANNER

        click.echo(VERSION_BANNER)
        ctx.exit()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        ctx.exit()
    if workdir:
        os.chdir(workdir)
    for variable, value in (
        ("CELERY_LOADER", loader),
        ("CELERY_BROKER_URL", broker),
        ("CELERY_RESULT_BACKEND", result_backend),
        ("CELERY_CONFIG_MODULE", config),
    ):
        if value:
            os.environ[variable] = value
    ctx.obj = Context(_find(name), no_color, workdir, quiet)


def _find(name: str | None) -> Any:
    if os.getcwd() not in sys.path:  # noqa: PTH109 - as Python itself puts it there
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    if not name:
        from .._state import get_current_app

        return get_current_app()
    from ..app.utils import find_app

    try:
        return find_app(name)
    except ModuleNotFoundError as problem:
        if problem.name != name:
            raise click.UsageError(UNABLE_TO_LOAD_APP_ERROR_OCCURRED.format(name, traceback.format_exc())) from None
        raise click.UsageError(UNABLE_TO_LOAD_APP_MODULE_NOT_FOUND.format(name)) from None
    except AttributeError as problem:
        raise click.UsageError(UNABLE_TO_LOAD_APP_APP_MISSING.format(problem.args[0].capitalize())) from None
    except Exception:  # noqa: BLE001 - whatever the user's module raises at import
        raise click.UsageError(UNABLE_TO_LOAD_APP_ERROR_OCCURRED.format(name, traceback.format_exc())) from None


def main() -> int:
    """The program. `celery` is this package from here on."""
    from ..alias import install

    install()
    return celery(auto_envvar_prefix="CELERY", prog_name="celeriac")  # type: ignore[no-any-return]
