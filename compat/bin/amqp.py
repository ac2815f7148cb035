"""`celeriac amqp`: the broker by hand, in the words of AMQP; one command, or a shell of them.

Law: a method that fails is told and the connection made anew; the shell goes on, one command ends with an exit code.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from ..app.connecting import answering
from ..exceptions import CeleryCommandException
from ..platforms import EX_FAILURE, EX_UNAVAILABLE
from .base import handle_preload_options
from .faults import UNREACHABLE

__all__ = ("amqp",)


def dump_message(message: Any) -> Any:
    if message is None:
        return "No messages in queue. basic.publish something."
    return {"body": message.body, "properties": message.properties, "delivery_info": message.delivery_info}


class AMQPContext:
    """A connection for the commands of one shell."""

    def __init__(self, cli_context: Any, *, alone: bool = False) -> None:
        self.cli_context = cli_context
        self.alone = alone  # one command, whose failure is the program's
        self.connection = answering(cli_context.app, write=True)
        self.channel: Any = None
        if not alone:
            self.reconnect()

    @property
    def app(self) -> Any:
        return self.cli_context.app

    def respond(self, retval: Any) -> None:
        from pprint import pformat

        self.cli_context.echo(retval if isinstance(retval, str) else pformat(retval))

    def echo_error(self, exception: Any) -> None:
        self.cli_context.error(f"{self.cli_context.ERROR}: {exception}")

    def echo_ok(self) -> None:
        self.cli_context.echo(self.cli_context.OK)

    def reconnect(self) -> None:
        self.connection.close()
        self.channel = None
        self.cli_context.echo(f"-> connecting to {self.connection.as_uri()}.")
        try:
            self.connection.connect()
        except (*self.connection.connection_errors, OSError) as problem:
            if self.alone:
                raise CeleryCommandException(UNREACHABLE.format(problem), EX_UNAVAILABLE) from None
            self.echo_error(problem)
        else:
            self.cli_context.secho("-> connected.", fg="green", bold=True)
            self.channel = self.connection.default_channel

    def close(self) -> None:
        self.connection.close()

    def perform(self, method: Callable[[Any], Any], say: Callable[[Any], Any] | None = None) -> None:
        """The method on the channel, and what it gave."""
        if self.channel is None and self.alone:  # not before: its help needs no broker
            self.reconnect()
        if self.channel is None:
            self.echo_error("Not connected to broker. Please retry...")
            self.reconnect()
            return
        try:
            given = method(self.channel)
        except Exception as problem:  # noqa: BLE001 - whatever the transport raises, the shell goes on
            self.echo_error(problem)
            if self.alone:
                raise SystemExit(EX_FAILURE) from None
            self.reconnect()
            return
        if say:
            say(given)
        self.echo_ok()

    def say_count(self, given: Any) -> None:
        self.cli_context.secho(f"{given} messages deleted.", fg="cyan", bold=True)

    def say_queue(self, given: Any) -> None:
        name, messages, consumers = given
        self.cli_context.secho(f"queue:{name} messages:{messages} consumers:{consumers}", fg="cyan", bold=True)


@click.group(invoke_without_command=True)
@click.pass_context
@handle_preload_options
def amqp(ctx: click.Context) -> None:
    """Talk to the broker by hand; without a command, in a shell.

    Works with every transport that keeps its declarations in the broker.
    """
    if not isinstance(ctx.obj, AMQPContext):
        ctx.obj = AMQPContext(ctx.obj, alone=ctx.invoked_subcommand not in {None, "repl"})
        ctx.call_on_close(ctx.obj.close)  # what basic.get took and nobody acknowledged is given back now
    if ctx.invoked_subcommand is None:
        ctx.invoke(repl)


def _flag(name: str) -> Callable[[Any], Any]:
    return click.argument(name, type=bool, default=False)


@amqp.command(name="exchange.declare")
@click.argument("exchange")
@click.argument("type")
@_flag("passive")
@_flag("durable")
@_flag("auto_delete")
@click.pass_obj
def exchange_declare(amqp_context: AMQPContext, /, **given: Any) -> None:
    """Declare an exchange."""
    amqp_context.perform(lambda channel: channel.exchange_declare(**given))


@amqp.command(name="exchange.delete")
@click.argument("exchange")
@click.argument("if_unused", type=bool)
@click.pass_obj
def exchange_delete(amqp_context: AMQPContext, /, **given: Any) -> None:
    """Delete an exchange."""
    amqp_context.perform(lambda channel: channel.exchange_delete(**given))


@amqp.command(name="queue.bind")
@click.argument("queue")
@click.argument("exchange")
@click.argument("routing_key")
@click.pass_obj
def queue_bind(amqp_context: AMQPContext, /, **given: Any) -> None:
    """Bind a queue to an exchange."""
    amqp_context.perform(lambda channel: channel.queue_bind(**given))


@amqp.command(name="queue.declare")
@click.argument("queue")
@_flag("passive")
@_flag("durable")
@_flag("auto_delete")
@click.pass_obj
def queue_declare(amqp_context: AMQPContext, /, **given: Any) -> None:
    """Declare a queue; says how much waits in it."""
    amqp_context.perform(lambda channel: channel.queue_declare(**given), amqp_context.say_queue)


@amqp.command(name="queue.delete")
@click.argument("queue")
@_flag("if_unused")
@_flag("if_empty")
@click.pass_obj
def queue_delete(amqp_context: AMQPContext, /, **given: Any) -> None:
    """Delete a queue and what waits in it."""
    amqp_context.perform(lambda channel: channel.queue_delete(**given), amqp_context.say_count)


@amqp.command(name="queue.purge")
@click.argument("queue")
@click.pass_obj
def queue_purge(amqp_context: AMQPContext, queue: str) -> None:
    """Delete what waits in a queue."""
    amqp_context.perform(lambda channel: channel.queue_purge(queue=queue), amqp_context.say_count)


@amqp.command(name="basic.get")
@click.argument("queue")
@_flag("no_ack")
@click.pass_obj
def basic_get(amqp_context: AMQPContext, queue: str, no_ack: bool) -> None:
    """Take a message; basic.ack settles it."""
    amqp_context.perform(
        lambda channel: channel.basic_get(queue, no_ack=no_ack),
        lambda message: amqp_context.respond(dump_message(message)),
    )


@amqp.command(name="basic.publish")
@click.argument("msg")
@click.argument("exchange")
@click.argument("routing_key")
@_flag("mandatory")
@_flag("immediate")
@click.pass_obj
def basic_publish(amqp_context: AMQPContext, /, msg: str, **given: Any) -> None:
    """Send a message."""

    def publish(channel: Any) -> None:
        if amqp_context.connection.transport.driver_type == "amqp":
            library: Any = import_module("amqp")
            channel.basic_publish(library.Message(msg), **given)
        else:
            channel.basic_publish(channel.prepare_message(msg, properties={"delivery_mode": 2}), **given)

    amqp_context.perform(publish)


@amqp.command(name="basic.ack")
@click.argument("delivery_tag", type=int)
@click.pass_obj
def basic_ack(amqp_context: AMQPContext, delivery_tag: int) -> None:
    """Settle a message that was taken."""
    amqp_context.perform(lambda channel: channel.basic_ack(delivery_tag))


@amqp.command()
@click.pass_context
def repl(ctx: click.Context) -> None:
    """A shell of these commands; Ctrl+D or :quit leaves it."""
    group = amqp
    stream = sys.stdin
    asking = stream.isatty()
    if asking:
        with suppress(ImportError):
            import readline  # noqa: F401 - gives input() its history
    while True:
        try:
            line = input("amqp> ") if asking else stream.readline()
        except (EOFError, KeyboardInterrupt):
            return
        if (not line and not asking) or line.strip() in {":q", ":quit", ":exit", "exit", "quit"}:
            return
        _one(ctx, group, line)


def _one(ctx: click.Context, group: click.Group, line: str) -> None:
    try:
        words = shlex.split(line)
        if not words:
            return
        if words[0] in {"help", ":help", ":h", "?"}:
            words = ["--help"]
        with group.make_context(None, words, parent=ctx.parent, obj=ctx.obj) as inner:
            group.invoke(inner)
    except click.ClickException as problem:
        problem.show()
    except (click.exceptions.Exit, SystemExit):
        return
    except ValueError as problem:  # a quote that is not closed
        ctx.obj.echo_error(problem)
