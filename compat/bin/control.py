"""`celeriac control`, `inspect` and `status`: commands to workers, and what they reply.

Law: which commands there are, and with which arguments, is `wire.commands`' and the user's own (`Panel`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import click

from ...protocol.wire import commands as wire
from ..exceptions import CeleryCommandException
from ..platforms import EX_UNAVAILABLE
from ..utils import text
from .base import COMMA_SEPARATED_LIST, CeleryCommand, handle_preload_options, handle_remote_command_error, option

Kind = Literal["inspect", "control"]

_HELP = {
    "active": "Tasks that are running.",
    "active_queues": "Queues that a worker takes from.",
    "add_consumer": "Take from this queue as well.",
    "autoscale": "Change the limits of autoscaling.",
    "cancel_consumer": "Take from this queue no more.",
    "clock": "The value of the logical clock.",
    "conf": "The configuration.",
    "disable_events": "Send events of tasks no more.",
    "election": "Hold an election.",
    "enable_events": "Send events of tasks.",
    "heartbeat": "Send a heartbeat event at once.",
    "memdump": "The samples of memory so far.",
    "memsample": "Sample the memory that is used.",
    "objgraph": "Draw objects that are not collected.",
    "ping": "Whether it is there.",
    "pool_grow": "More processes or threads.",
    "pool_restart": "Restart the pool.",
    "pool_shrink": "Fewer processes or threads.",
    "query_task": "What a worker knows of tasks, by id.",
    "rate_limit": "Limit how often a task begins.",
    "registered": "Tasks that a worker knows.",
    "report": "What belongs into a report of a bug.",
    "reserved": "Tasks that are taken and not begun.",
    "revoke": "Have tasks not run, by id.",
    "revoke_by_stamped_headers": "Have tasks with these stamps not run.",
    "revoked": "Ids of revoked tasks.",
    "scheduled": "Tasks that wait for their time.",
    "shutdown": "Shut the worker down.",
    "stats": "Numbers of a worker.",
    "terminate": "Stop running tasks, by id.",
    "time_limit": "Limit how long a task runs.",
}


@dataclass(frozen=True)
class Meta:
    """A command as the command line sees it; the names of Celery's `controller_info_t`."""

    type: str
    help: str = ""
    args: tuple[tuple[str, Any], ...] = ()
    variadic: str | None = None
    signature: str | None = None
    visible: bool = True


def _strtobool(value: str) -> Any:
    from ..utils.serialization import strtobool

    return strtobool(value)


_TYPES: dict[str, Callable[[str], Any]] = {"str": str, "int": int, "float": float, "strtobool": _strtobool}


def _all() -> dict[str, Any]:
    found: dict[str, Any] = {
        name: Meta(
            known.kind,
            _HELP.get(name, ""),
            tuple((argument, _TYPES[kind]) for argument, kind in known.line),
            known.rest,
            known.signature,
            known.visible,
        )
        for name, known in wire.COMMANDS.items()
    }
    try:
        from ..worker.control import Panel
    except ImportError:
        return found
    own: dict[str, Any] = {name: meta for name, meta in Panel.meta.items() if name not in found}
    return {**found, **own}


def _get_commands_of_type(type_: Kind) -> dict[str, Any]:
    return {name: meta for name, meta in sorted(_all().items()) if meta.type == type_ and meta.visible}


def _verify_command_name(type_: Kind, command: str) -> None:
    choices = _get_commands_of_type(type_)
    if command in choices:
        return
    other: Kind = "control" if type_ == "inspect" else "inspect"
    message = f"Command {command} not recognized. Available {type_} commands: {', '.join(choices)}"
    if command in _get_commands_of_type(other):
        message += f"\nIt is a command of `{other}`: celeriac {other} {command}"
    else:
        from difflib import get_close_matches

        near = get_close_matches(command, choices, n=1)
        message += f"\nDid you mean: celeriac {type_} {near[0]}" if near else ""
    raise click.UsageError(message)


def _consume(meta: Any, command: str, args: list[str]) -> Iterator[tuple[str, Any]]:
    wanted = list(meta.args or ())
    if len(args) > len(wanted) and not meta.variadic:
        takes = f"arguments: {meta.signature}" if meta.signature else "no arguments"
        raise click.UsageError(f"Command {command!r} takes {takes}")
    for (name, kind), value in zip(wanted, args, strict=False):
        try:
            yield name, value if kind is None else kind(value)
        except (TypeError, ValueError):  # noqa: PERF203 - a handful of words
            raise click.UsageError(
                f"Command {command!r}: {value!r} is no {name}. It takes arguments: {meta.signature}"
            ) from None


def _compile_arguments(command: str, args: list[str]) -> dict[str, Any]:
    meta = _all()[command]
    arguments = dict(_consume(meta, command, args))
    if meta.variadic:
        arguments[meta.variadic] = args[len(meta.args or ()) :]
    return arguments


def _say_remote_command_reply(ctx: click.Context, replies: dict[str, Any], show_reply: bool = False) -> None:
    node, reply = next(iter(replies.items()))
    status, shown = ctx.obj.pretty(reply)
    name = ctx.obj.style(f"{node}: ", fg="cyan", bold=True)
    ctx.obj.say_chat("->", f"{name}{status}", text.indent(shown, 4) if show_reply else "", show_body=show_reply)


def _list(type_: Kind) -> Callable[[Any], Any]:
    def callback(ctx: click.Context, _: Any, value: Any) -> None:
        if not value:
            return
        formatter = click.HelpFormatter()
        with formatter.section(f"{type_.capitalize()} Commands"):
            formatter.write_dl(
                [
                    (f"{name} {meta.signature}" if meta.signature else name, meta.help)
                    for name, meta in _get_commands_of_type(type_).items()
                ]
            )
        ctx.obj.echo(formatter.getvalue(), nl=False)
        ctx.exit()

    return click.option(
        "--list",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=callback,
        help=f"List the {type_} commands and exit.",
    )


def _remote(function: Any) -> Any:
    """The options of all three."""
    group = "Remote Control Options"
    for decorate in (
        option(group, "-j", "--json", is_flag=True, help="Print JSON."),
        option(
            group, "-d", "--destination", type=COMMA_SEPARATED_LIST, help="Names of the workers, separated by commas."
        ),
        option(group, "-t", "--timeout", type=float, default=1.0, help="Seconds to wait for replies."),
    ):
        function = decorate(function)
    return function


def _nobody() -> CeleryCommandException:
    return CeleryCommandException(message="No nodes replied within time constraint", exit_code=EX_UNAVAILABLE)


def _tell(ctx: click.Context, what: str, ask: Callable[[], Any], *, json: bool, counted: bool = True) -> None:
    """What the workers reply; each was told of as it came, unless all of it is JSON."""
    replies = None
    try:
        replies = ask()
    except Exception as problem:  # noqa: BLE001 - told in one line, with the right exit code
        handle_remote_command_error(what, problem)
    if not replies:
        raise _nobody()
    if json:
        from kombu.utils.json import dumps

        ctx.obj.echo(dumps(replies))
    elif counted and not ctx.obj.quiet:
        ctx.obj.echo(f"\n{len(replies)} {text.pluralize(len(replies), 'node')} online.")


@click.command(cls=CeleryCommand)
@_remote
@click.pass_context
@handle_preload_options
def status(ctx: click.Context, timeout: float, destination: Any, json: bool, **_: Any) -> None:
    """Show the workers that are online."""
    say = None if json else partial(_say_remote_command_reply, ctx)
    asked = {"timeout": timeout, "destination": destination, "callback": say}
    _tell(ctx, "status", lambda: ctx.obj.app.control.inspect(**asked).ping(), json=json)


@click.command(cls=CeleryCommand, context_settings={"allow_extra_args": True})
@click.argument("command")
@_list("inspect")
@_remote
@click.pass_context
@handle_preload_options
def inspect(ctx: click.Context, command: str, timeout: float, destination: Any, json: bool, **_: Any) -> None:
    """Ask the workers: COMMAND is one of `--list`.

    Works with RabbitMQ and Redis.
    """
    _verify_command_name("inspect", command)
    say = None if json else partial(_say_remote_command_reply, ctx, show_reply=True)
    arguments = _compile_arguments(command, ctx.args)
    asked = {"timeout": timeout, "destination": destination, "callback": say}

    def ask() -> Any:
        return ctx.obj.app.control.inspect(**asked)._request(command, **arguments)

    _tell(ctx, f"inspect {command}", ask, json=json)


@click.command(cls=CeleryCommand, context_settings={"allow_extra_args": True})
@click.argument("command")
@_list("control")
@_remote
@click.pass_context
@handle_preload_options
def control(ctx: click.Context, command: str, timeout: float, destination: Any, json: bool, **_: Any) -> None:
    """Tell the workers: COMMAND is one of `--list`.

    Works with RabbitMQ and Redis.
    """
    _verify_command_name("control", command)
    say = None if json else partial(_say_remote_command_reply, ctx, show_reply=True)
    arguments = _compile_arguments(command, ctx.args)
    asked = {"timeout": timeout, "destination": destination, "callback": say, "reply": True, "arguments": arguments}
    _tell(ctx, f"control {command}", lambda: ctx.obj.app.control.broadcast(command, **asked), json=json, counted=False)
