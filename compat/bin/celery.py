"""The command line: `celeriac -A proj worker`, by Celery's names and options.

Law: a command's module is imported when the command is called, and a plug-in's (entry point `celery.commands`) when
it is named or listed. An app that cannot be loaded is told with what to type instead, or with its own traceback.
"""

from __future__ import annotations

import os
import pathlib
import sys
import traceback
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import FunctionType
from typing import Any, NoReturn

import click

from .. import VERSION_BANNER
from .._state import _told_on_command_line
from ..exceptions import ImproperlyConfigured
from . import imports, order
from .base import CeleryCommand, CLIContext, consume_preload_options, option
from .faults import told
from .fitting import Context, fit

_COMMANDS = {
    "amqp": ("amqp", "amqp"),
    "beat": ("beat", "beat"),
    "call": ("call", "call"),
    "control": ("control", "control"),
    "dead": ("dead", "dead"),
    "doctor": ("doctor", "doctor"),
    "events": ("events", "events"),
    "graph": ("graph", "graph"),
    "inspect": ("control", "inspect"),
    "janitor": ("janitor", "janitor"),
    "list": ("list", "list_"),
    "logtool": ("logtool", "logtool"),
    "migrate": ("migrate", "migrate"),
    "multi": ("multi", "multi"),
    "purge": ("purge", "purge"),
    "queues": ("queues", "queues"),
    "result": ("result", "result"),
    "run": ("run", "run"),
    "schedule": ("schedule", "schedule"),
    "settings": ("settings", "settings"),
    "shell": ("shell", "shell"),
    "shim": ("shim", "shim"),
    "status": ("control", "status"),
    "top": ("top", "top"),
    "unpark": ("unpark", "unpark"),
    "upgrade": ("upgrade", "upgrade"),
    "web": ("web", "web"),
    "worker": ("worker", "worker"),
}
"""Name -> module and attribute."""
_WITHOUT_APP = frozenset({"logtool", "multi", "run", "settings", "shim", "upgrade"})
"""Commands that have no use for an app: none is loaded for them."""
_WITH_OPTIONS = ("worker", "beat", "events")
"""Commands that an app may give options of its own."""
_OPAQUE = frozenset({"multi", "run"})
"""Commands whose words are not ours to look at."""

UNABLE_TO_LOAD_APP_MODULE_NOT_FOUND = click.style(
    """
Unable to load celery application.
The module {0} was not found.""",
    fg="red",
)
UNABLE_TO_LOAD_APP_ERROR_OCCURRED = click.style(
    """
Unable to load celery application.
While trying to load the module {0} the following error occurred:
{1}""",
    fg="red",
)
UNABLE_TO_LOAD_APP_APP_MISSING = click.style(
    """
Unable to load celery application.
{0}"""
)
WRONG_APP_OPTION_USAGE_MESSAGE = order.HINT


class Commands(click.Group):
    """Commands that are loaded when they are called; global options may stand behind the command."""

    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_COMMANDS, *_plugins()})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        registered = super().get_command(ctx, name)
        if registered is not None:
            return fit(registered)  # type: ignore[no-any-return] # it is the same one
        if name in _COMMANDS:
            module, attribute = _COMMANDS[name]
            command: click.Command = getattr(import_module(f"{__package__}.{module}"), attribute)
        elif name in (plugins := _plugins()):
            command = _plugin(plugins[name])
        else:
            return None
        self.add_command(fit(command), name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), n=3)
            if near:
                listed = "\n".join(f"    {name}" for name in near)
                text = f"No such command '{args[0]}'.\n\nDid you mean one of these?\n{listed}"
                raise click.UsageError(text, ctx) from None
            raise

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._ordered(ctx, list(args)))

    def _ordered(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`worker -A proj`, as it was written before Celery 5, becomes `-A proj worker`."""
        own = order.Globals(self.params)
        at = order.command_at(own, args)
        if at >= len(args) or args[at] in _OPAQUE:
            return args
        name = args[at]
        # A plug-in's options are its own, but for the app.
        taken = partial(self._options_of, ctx, name) if name in _COMMANDS else None
        words, moved = order.reordered(own, args, at, taken)
        if moved:
            click.echo(order.hint(own, moved, ctx.info_name or "celeriac"), err=True)
        return words

    def _options_of(self, ctx: click.Context, name: str) -> frozenset[str]:
        return order.options_of(self.get_command(ctx, name))

    def invoke(self, ctx: click.Context) -> Any:
        """What is plainly told is told plainly; a plug-in's problems are its own to tell."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as problem:
            plain = told(problem, ctx.obj and ctx.obj.app) if ctx.invoked_subcommand in _COMMANDS else None
            if plain is None:
                raise
            raise plain from problem


def _plugins() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group="celery.commands")}


def _plugin(point: Any) -> click.Command:
    """A plug-in's command; of one that cannot be loaded, a command that says why."""
    try:
        command: click.Command = point.load()
    except Exception:  # noqa: BLE001 - whatever a plug-in raises at import must not cost us the other commands
        problem = traceback.format_exc()

        @click.command(
            point.name,
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
            short_help=f"† could not be loaded: `{point.name} --help` says why",
            help=f"\b\nThis plug-in ({point.value}) could not be loaded:\n{problem}".replace("\n\n", "\n"),
        )
        def broken(**_: Any) -> None:
            click.echo(f"The plug-in {point.name} ({point.value}) could not be loaded:\n{problem}", err=True)
            raise SystemExit(1)

        return broken
    return command


_GLOBAL = "Global Options"


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@option(
    _GLOBAL,
    "-A",
    "--app",
    envvar="APP",
    type=click.UNPROCESSED,  # a program that calls us may give the app itself
    help="The application: a module, or module:attribute.",
)
@option(_GLOBAL, "-b", "--broker", envvar="BROKER_URL", help="URL of the broker, instead of the setting.")
@option(_GLOBAL, "--result-backend", envvar="RESULT_BACKEND", help="URL of the result backend, instead of the setting.")
@option(_GLOBAL, "--loader", envvar="LOADER", help="Name of the loader class.")
@option(_GLOBAL, "--config", envvar="CONFIG_MODULE", help="Module with the settings, for the default app.")
@option(
    _GLOBAL,
    "--workdir",
    type=pathlib.Path,
    callback=lambda _, __, value: _change_to(value),
    is_eager=True,
    help="Change to this folder first.",
)
@option(_GLOBAL, "-C", "--no-color", envvar="NO_COLOR", is_flag=True, help="No colours.")
@option(_GLOBAL, "-q", "--quiet", is_flag=True, help="Say less.")
@option(_GLOBAL, "--version", is_flag=True, help="Show the version and exit.")
@option(_GLOBAL, "--skip-checks", envvar="SKIP_CHECKS", is_flag=True, help="Skip Django's checks at the start.")
@click.pass_context
def celery(
    ctx: click.Context,
    app: Any,
    broker: str | None,
    result_backend: str | None,
    loader: str | None,
    config: str | None,
    workdir: Any,
    no_color: bool,
    quiet: bool,
    version: bool,
    skip_checks: bool,
) -> None:
    """Celery's command line, by celeriac."""
    if version:
        click.echo(_versions())
        ctx.exit()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        ctx.exit()
    for name, variable, value in (
        ("loader", "CELERY_LOADER", loader),
        ("broker", "CELERY_BROKER_URL", broker),
        ("result_backend", "CELERY_RESULT_BACKEND", result_backend),
        ("config", "CELERY_CONFIG_MODULE", config),
        ("skip_checks", "CELERY_SKIP_CHECKS", "true" if skip_checks else None),
    ):
        if value:
            if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
                _told_on_command_line[variable] = value
            os.environ[variable] = value
    if ctx.invoked_subcommand not in _WITHOUT_APP:
        for what, named in (("loader", loader), ("module of settings", config)):
            if named:
                _check_import(ctx, what, named)
    if ctx.invoked_subcommand in _WITHOUT_APP:
        app = None
    elif isinstance(app, str):
        app = _load(ctx, app)
    ctx.obj = CLIContext(app=app, no_color=no_color, workdir=workdir, quiet=quiet)
    if ctx.invoked_subcommand not in _WITHOUT_APP:
        _add_user_options(ctx, ctx.invoked_subcommand)


def _versions() -> str:
    version = getattr(sys.modules.get(__name__.partition(".")[0]), "__version__", "")
    return f"{VERSION_BANNER} by celeriac {version}"


def _change_to(folder: Any) -> None:
    if folder:
        try:
            os.chdir(folder)
        except OSError as problem:
            raise click.BadParameter(f"cannot change to {str(folder)!r}: {problem.strerror}") from None


def _add_user_options(ctx: click.Context, name: str) -> None:
    """The options that the app has for this command, and those that it has for every command."""
    group: Any = ctx.command
    command = group.get_command(ctx, name)
    options = ctx.obj.app.user_options
    own = options.get(name, ()) if name in _WITH_OPTIONS else ()
    preload = options.get("preload", ())
    command.params += [each for each in (*own, *preload) if each not in command.params]
    if preload:
        command.callback = consume_preload_options(command.callback)


# --- the app


def _load(ctx: click.Context, name: str) -> Any:
    from ...worker.late import uncollected
    from ..app.utils import find_app

    try:
        with uncollected():
            found = find_app(name)
    except ModuleNotFoundError as problem:
        missing = problem.name or ""
        path, colon, _ = name.partition(":")
        if colon and missing == name and not _is_users(problem):  # the module is there, and has no such attribute
            ctx.fail(UNABLE_TO_LOAD_APP_APP_MISSING.format(_cause(problem)) + _attributes(name))
        if missing and (path == missing or path.startswith(f"{missing}.")) and not _is_users(problem):
            ctx.fail(UNABLE_TO_LOAD_APP_MODULE_NOT_FOUND.format(missing) + _advice(missing))
        _fail_of_import(ctx, name, problem)
    except AttributeError as problem:
        if _is_users(problem):
            _fail_of_import(ctx, name, problem)
        hidden = _hidden(name)
        if hidden is not None:
            _fail_of_import(ctx, f"{name}.celery", hidden)
        ctx.fail(UNABLE_TO_LOAD_APP_APP_MISSING.format(_cause(problem)) + _attributes(name))
    except Exception as problem:  # noqa: BLE001 - whatever the user's module raises at import
        _fail_of_import(ctx, name, problem)
    if isinstance(found, FunctionType):
        ctx.fail(
            f"Unable to load celery application.\n{name} is a function: name what it returns, "
            f"app = {found.__name__}(), and use that name."
        )
    return found


def _fail_of_import(ctx: click.Context, name: str, problem: BaseException) -> NoReturn:
    """With the traceback of the user's module, and what to do."""
    text = UNABLE_TO_LOAD_APP_ERROR_OCCURRED.format(name, imports.shown(problem, problem.__traceback__))
    ctx.fail(f"{text}\n\n{imports.advice(problem, name.partition(':')[0])}")


def _check_import(ctx: click.Context, what: str, name: str) -> None:
    """What --loader and --config name, before anything goes on without it."""
    from ..app.checking import imported
    from ..loaders import get_loader_cls
    from ..utils.imports import import_from_cwd

    load = partial(get_loader_cls, name) if what == "loader" else partial(import_from_cwd, name)
    try:
        imported(load, name, f"The {what}")
    except ImproperlyConfigured as problem:
        ctx.fail(f"{problem}\nLooked in {pathlib.Path.cwd()}")


def _cause(problem: BaseException) -> str:
    """What the missing module was looked for in place of."""
    text = str(problem.__context__ or problem)
    return text[:1].upper() + text[1:]


def _is_users(problem: BaseException) -> bool:
    """Whether it was raised beneath a module of the user's, and not while we were looking for the app."""
    return imports.of_users(problem.__traceback__) is not None


def _hidden(name: str) -> Exception | None:
    """`-A proj` looks into `proj.celery`: what went wrong in there."""
    try:
        if ":" in name or find_spec(f"{name}.celery") is None:
            return None
        import_module(f"{name}.celery")
    except ModuleNotFoundError as problem:
        return None if problem.name in {f"{name}.celery", name} else problem
    except Exception as problem:  # noqa: BLE001 - whatever the user's module raises at import
        return problem
    return None


def _advice(missing: str) -> str:
    """What else could be meant, or where to look."""
    from difflib import get_close_matches

    here = pathlib.Path.cwd()
    names = [path.stem for path in here.glob("*.py")]
    names += [path.parent.name for path in here.glob("*/__init__.py")]
    near = get_close_matches(missing, names, n=1)
    if near:
        return f"\nDid you mean: -A {near[0]}"
    return f"\nLooked in {here}: go to the folder that holds it, or name that folder with --workdir."


def _attributes(name: str) -> str:
    """The apps that there are in the module."""
    from ..app.base import Celery

    module = sys.modules.get(name.partition(":")[0]) or sys.modules.get(name.rpartition(".")[0])
    found = [key for key, value in vars(module).items() if isinstance(value, Celery)] if module else []
    return f"\nDid you mean: -A {module.__name__}:{found[0]}" if module is not None and found else ""


@celery.command(cls=CeleryCommand)
@click.pass_context
def report(ctx: click.Context, /, **_: Any) -> None:
    """Show what belongs into a report of a bug."""
    app = ctx.obj.app
    app.loader.import_default_modules()
    ctx.obj.echo(app.bugreport())


def main() -> int:
    """The program. `celery` is this package from here on."""
    from ..alias import AliasError, install

    try:
        install()
    except AliasError as problem:
        # Whoever has loaded the real one already gets ours in what `celeriac run` starts: it is the way out.
        if sys.argv[1:2] != ["run"]:
            click.echo(f"Error: {problem}", err=True)
            return 1
    name = "celery" if pathlib.Path(sys.argv[0]).stem == "celery" else "celeriac"
    return celery(auto_envvar_prefix="CELERY", prog_name=name)  # type: ignore[no-any-return] # click returns Any
