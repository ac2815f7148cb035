"""What every command is made of: options with groups, the types of arguments, and the context in `ctx.obj`.

Law: names and signatures are Celery's, for plug-ins build their commands of them. Importing this loads click and
nothing heavy.
"""

from __future__ import annotations

import inspect
import json
import numbers
import shutil
from collections.abc import Callable
from functools import cached_property, update_wrapper
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import Context, ParamType

from .._state import get_current_app
from ..exceptions import CeleryCommandException
from ..platforms import EX_UNAVAILABLE, parse_umask
from ..utils import text
from ..utils.log import mlevel
from .faults import UNREACHABLE, is_of_output, is_operational, told

if TYPE_CHECKING:
    Choice = click.Choice[str]
    Parameter = ParamType[Any]
else:  # generic since click 8.2
    Choice, Parameter = click.Choice, ParamType

_MARK = "_handles_preload_options"


class CLIContext:
    """What a command finds in `ctx.obj`."""

    def __init__(self, app: Any, no_color: bool, workdir: Any, quiet: bool = False) -> None:
        self._app = app
        self.named = app is not None
        """Somebody has said which app."""
        self.no_color = no_color
        self.quiet = quiet
        self.workdir = workdir

    @property
    def app(self) -> Any:
        """The app; without `-A` the current one, made when somebody asks."""
        if self._app is None:
            self._app = get_current_app()
        return self._app

    @cached_property
    def OK(self) -> str:
        return str(self.style("OK", fg="green", bold=True))

    @cached_property
    def ERROR(self) -> str:
        return str(self.style("ERROR", fg="red", bold=True))

    def style(self, message: Any = None, **kwargs: Any) -> Any:
        return message if self.no_color else click.style(message, **kwargs)

    def secho(self, message: Any = None, **kwargs: Any) -> None:
        if self.no_color:
            self.echo(message, **{key: kwargs[key] for key in ("file", "nl", "err") if key in kwargs})
        else:
            click.secho(message, **kwargs)

    def echo(self, message: Any = None, **kwargs: Any) -> None:
        click.echo(message, **({**kwargs, "color": False} if self.no_color else kwargs))

    def error(self, message: Any = None, **kwargs: Any) -> None:
        self.secho(message, **{**kwargs, "err": True})

    def pretty(self, n: Any) -> tuple[str, str]:
        """A reply of a worker as people read it: how it went, and what it says."""
        if isinstance(n, list):
            return self.OK, self.pretty_list(n)
        if isinstance(n, dict) and ("ok" in n or "error" in n):
            return self.pretty_dict_ok_error(n)
        if isinstance(n, dict):
            return self.OK, self._coloured(json.dumps(n, sort_keys=True, indent=4))
        if isinstance(n, str):
            return self.OK, n
        from pprint import pformat

        return self.OK, pformat(n)

    def pretty_list(self, n: list[Any]) -> str:
        star = self.style("*", fg="white")
        return "\n".join(f"{star} {item}" for item in n) or "- empty -"

    def pretty_dict_ok_error(self, n: dict[str, Any]) -> tuple[str, str]:
        key, status = ("ok", self.OK) if "ok" in n else ("error", self.ERROR)
        return status, text.indent(self.pretty(n[key])[1], 4)

    def say_chat(self, direction: str, title: str, body: str = "", show_body: bool = False) -> None:
        if self.quiet and direction == "<-":
            return
        arrow = "" if self.quiet else f"{self.style(direction, fg='white', bold=True)} "
        self.echo(f"{arrow} {title}")
        if body and show_body:
            self.echo(body)

    def _coloured(self, source: str) -> str:
        if self.no_color:
            return source
        try:
            pygments, formatters, lexers = map(import_module, ("pygments", "pygments.formatters", "pygments.lexers"))
        except ImportError:
            return source
        return str(pygments.highlight(source, lexers.PythonLexer(), formatters.Terminal256Formatter()))


def handle_remote_command_error(command: str, exc: Exception) -> None:
    """Says in one line why a command did not reach the workers."""
    if isinstance(exc, click.ClickException) or is_of_output(exc):
        raise exc
    if is_operational(exc):
        message = UNREACHABLE.format(exc)
    else:
        plain = told(exc)
        message = f"Unable to run the `{command}` command. Reason: {plain.message if plain else exc}"
    raise CeleryCommandException(message=message, exit_code=EX_UNAVAILABLE) from exc


# --- options that a user's app adds to every command


def _accepts(fun: Any, name: str) -> bool:
    try:
        parameters = inspect.signature(fun).parameters
    except (TypeError, ValueError):
        return False
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return True
    found = parameters.get(name)
    return found is not None and found.kind is not inspect.Parameter.POSITIONAL_ONLY


def _send_preload(app: Any, kwargs: dict[str, Any], fun: Any) -> None:
    """Tells the app of its own options; the command gets those alone that it has a place for."""
    names = [option.name for option in app.user_options.get("preload", ())]
    options = {name: kwargs[name] for name in names if name in kwargs}
    for name in options:
        if not _accepts(fun, name):
            del kwargs[name]
    if options:
        from ..signals import user_preload_options

        user_preload_options.send(sender=fun, app=app, options=options)


def _is_marked(fun: Any) -> bool:
    while fun is not None:
        if getattr(fun, _MARK, False):
            return True
        fun = getattr(fun, "__wrapped__", None)
    return False


def _marked(wrapper: Any, wrapped: Any) -> Any:
    setattr(update_wrapper(wrapper, wrapped), _MARK, True)
    return wrapper


def handle_preload_options(f: Any) -> Any:
    """Decorates a command that takes the context first: the app's own options go to `user_preload_options`."""
    if _is_marked(f):
        return f

    def caller(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        _send_preload(ctx.obj.app, kwargs, f)
        return f(ctx, *args, **kwargs)

    return _marked(caller, f)


def consume_preload_options(fun: Any) -> Any:
    """The same for any command, such as a plug-in's that knows nothing of these options."""
    if fun is None or _is_marked(fun):
        return fun

    def caller(*args: Any, **kwargs: Any) -> Any:
        _send_preload(click.get_current_context().obj.app, kwargs, fun)
        return fun(*args, **kwargs)

    return _marked(caller, fun)


# --- options and commands


class CeleryOption(click.Option):
    """An option with a group in the help, whose default may come from the context."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.help_group = kwargs.pop("help_group", None)
        self.default_value_from_context = kwargs.pop("default_value_from_context", None)
        super().__init__(*args, **kwargs)

    def get_default(self, ctx: Context, *args: Any, **kwargs: Any) -> Any:
        if self.default_value_from_context:
            self.default = ctx.obj[self.default_value_from_context]
        return super().get_default(ctx, *args, **kwargs)


class CeleryCommand(click.Command):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups.setdefault(str(getattr(param, "help_group", None) or "Options"), []).append(record)
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)


class DaemonOption(CeleryOption):
    """An option of a process in the background; the setting `<command>_<option>` stands in for it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs = {"help_group": "Daemonization Options", "callback": self.daemon_setting, **kwargs}
        super().__init__(args, **kwargs)

    def daemon_setting(self, ctx: Context, opt: CeleryOption, value: Any) -> Any:
        value = value or getattr(ctx.obj.app.conf, f"{ctx.command.name}_{self.name}", None)
        check = _CHECKS.get(str(self.name))
        if check is not None and value and not check(value):
            raise click.BadParameter(_WRONG[str(self.name)].format(value), ctx, self)
        return value


def _is_umask(value: Any) -> bool:
    try:
        return bool(0 <= parse_umask(value) <= _LARGEST_UMASK)
    except (TypeError, ValueError):
        return False


_LARGEST_UMASK = 0o777
_CHECKS: dict[str, Callable[[Any], bool]] = {
    "umask": _is_umask,
    "executable": lambda path: bool(shutil.which(Path(path).absolute())),
}
_WRONG = {
    "umask": "{0!r} is no umask: write it in octal with a leading 0, as 022.",
    "executable": "{0!r} is no program that can be run: write its whole path.",
}


class CeleryDaemonCommand(CeleryCommand):
    """A command that may go into the background."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            DaemonOption("--logfile", "-f", help="Where the log goes; stderr by default. Expands %n, %h, %d, %i, %I."),
            DaemonOption("--pidfile", help="File for the process id; none by default. Expands %n, %h, %d."),
            DaemonOption("--uid", help="Become this user."),
            DaemonOption("--gid", help="Become this group."),
            DaemonOption("--umask", help="Create files with this umask, in octal with a leading 0."),
            DaemonOption("--executable", help="Python to go on with in the background."),
        ]


# --- types


class CommaSeparatedList(Parameter):
    """`a,b`."""

    name = "comma separated list"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return text.str_to_list(value)


class _Json(Parameter):
    kind: type
    called: str

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, self.kind):
            return value
        try:
            found = json.loads(value)
        except ValueError as problem:
            self.fail(str(problem))
        if not isinstance(found, self.kind):
            self.fail(f"{value} was not an {self.called}")
        return found


class JsonArray(_Json):
    """`[1, 2]`."""

    name = "json array"
    kind, called = list, "array"


class JsonObject(_Json):
    """`{"x": 1}`."""

    name = "json object"
    kind, called = dict, "object"


class ISO8601DateTime(Parameter):
    """A date."""

    name = "iso-86091"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        from ..utils.time import maybe_iso8601

        try:
            return maybe_iso8601(value)
        except (TypeError, ValueError) as problem:
            self.fail(f"{problem} (a date looks like 2026-01-31T08:00:00Z)")


class ISO8601DateTimeOrFloat(ISO8601DateTime):
    """A date, or seconds."""

    name = "iso-86091 or float"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            return float(value)
        except (TypeError, ValueError):
            return super().convert(value, param, ctx)


class LogLevel(Choice):
    """A level of the log, by name."""

    def __init__(self) -> None:
        super().__init__(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL"))

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, numbers.Integral):
            return value
        return mlevel(super().convert(value.upper(), param, ctx))


JSON_ARRAY = JsonArray()
JSON_OBJECT = JsonObject()
ISO8601 = ISO8601DateTime()
ISO8601_OR_FLOAT = ISO8601DateTimeOrFloat()
LOG_LEVEL = LogLevel()
COMMA_SEPARATED_LIST = CommaSeparatedList()


def option(group: str | None, *names: str, **kwargs: Any) -> Callable[[Any], Any]:
    """`click.option` with its group in the help."""
    return click.option(*names, cls=CeleryOption, **({"help_group": group} if group else {}), **kwargs)


def say_unused(ctx: Context, names: Any, why: str) -> None:
    """Options on the command line that have no effect here."""
    for param in ctx.command.params:
        if param.name in names and ctx.get_parameter_source(param.name) is click.core.ParameterSource.COMMANDLINE:
            ctx.obj.error(f"hint: {max(param.opts, key=len)} has no effect: {why}")


def at_least(least: float) -> Callable[[Context, Any, Any], Any]:
    """A callback that refuses less: a time that never passes makes a program turn on the spot."""

    def check(ctx: Context, param: Any, value: Any) -> Any:
        if value is not None and value < least:
            raise click.BadParameter(f"{value} is too little: it is {least:g} at the least", ctx, param)
        return value

    return check
