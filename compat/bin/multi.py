"""`celeriac multi`: start, stop and show several workers on this machine."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

import click

from .. import VERSION_BANNER
from ..apps.multi import Cluster, MultiParser, NamespacedOptionParser
from ..platforms import EX_FAILURE, EX_OK, signals
from ..utils import term
from ..utils.text import pluralize
from .base import CeleryCommand, handle_preload_options

__all__ = ("MultiTool",)

USAGE = """\
usage: {prog_name} start <node1 node2 nodeN|range> [worker options]
       {prog_name} stop <n1 n2 nN|range> [-SIG (default: -TERM)]
       {prog_name} stopwait <n1 n2 nN|range> [-SIG (default: -TERM)]
       {prog_name} restart <n1 n2 nN|range> [-SIG] [worker options]
       {prog_name} kill <n1 n2 nN|range>

       {prog_name} show <n1 n2 nN|range> [worker options]
       {prog_name} get hostname <n1 n2 nN|range> [-qv] [worker options]
       {prog_name} names <n1 n2 nN|range>
       {prog_name} expand template <n1 n2 nN|range>
       {prog_name} help

additional options (must appear after command name):

    * --nosplash:   Don't display program info.
    * --quiet:      Don't show as much output.
    * --verbose:    Show more output.
    * --no-color:   Don't display colors.
"""

HELP = """\
Several workers on this machine.

  celeriac multi start 3 -c 3
      three workers: celery1, celery2, celery3, with 3 processes each
  celeriac multi start 3 --range-prefix=worker
      the same as worker1, worker2, worker3
  celeriac multi start image video data -c 3
      three workers by name
  celeriac multi start foo@%h bar@other.host
      full names
  celeriac multi start 2 --hostname=w.example.com
      celery1@w.example.com and celery2@w.example.com

Options go to the workers. After a colon stands for which of them: a number, a
range, a list, or names.

  celeriac multi start 3 -c 3 -c:1 10
      10 processes for the first
  celeriac multi start 5 -c 3 -c:1-3 10
      ... for the first three
  celeriac multi start foo bar baz -c:foo,bar 10
      ... for two by name
  celeriac multi show 10 -A proj -l INFO -Q:1-3 images,video -Q:4,5 data \\
      -Q default -l:4,5 DEBUG

Files: one pid file and one log for each worker. In their names %n is the
worker's name, %h its full name, %d its host, and %i (%I with a dash before it)
the number of a process in its pool.

  celeriac multi start 3 --pidfile=/run/celery/%n.pid \\
      --logfile=/var/log/celery/%n%I.log

Give the same names and the same --pidfile to stop, stopwait, restart and kill:
they are kept nowhere.
"""


_NEEDS = {
    "get": "the name of a worker: get celery2@%h 3 -c 5",
    "expand": "a template: expand %n.pid 3",
}


def main() -> None:
    sys.exit(MultiTool().execute_from_commandline(sys.argv))


def splash(fun: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(fun)
    def inner(self: TermLogger, *args: Any, **kwargs: Any) -> Any:
        self.splash()
        return fun(self, *args, **kwargs)

    return inner


def using_cluster(fun: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(fun)
    def inner(self: MultiTool, *argv: str, **kwargs: Any) -> Any:
        cluster = self.cluster_from_argv(argv)
        return _without_workers(self, fun, cluster) or fun(self, cluster, **kwargs)

    return inner


def using_cluster_and_sig(fun: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(fun)
    def inner(self: MultiTool, *argv: str, **kwargs: Any) -> Any:
        parsed, cluster = self._cluster_from_argv(argv)
        return _without_workers(self, fun, cluster) or fun(self, cluster, self._find_sig_argument(parsed), **kwargs)

    return inner


def _without_workers(tool: MultiTool, fun: Callable[..., Any], cluster: Any) -> int:
    """To start, stop or end nobody is a mistake, as by a variable that is empty; to show nobody shows nothing."""
    if list(cluster) or fun.__name__ in {"names", "show"}:
        return EX_OK
    return int(tool.error(f"Which workers? Name them, or say how many: {tool.prog_name} {fun.__name__} w1 w2"))


class TermLogger:
    """What it says, and how loud."""

    splash_text = "celery multi v{version}"
    splash_context = {"version": VERSION_BANNER}
    prog_name = "celeriac multi"
    retcode = 0

    def setup_terminal(
        self,
        stdout: Any,
        stderr: Any,
        nosplash: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        no_color: bool = False,
        **kwargs: Any,
    ) -> None:
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self.nosplash = nosplash
        self.quiet = quiet
        self.verbose = verbose
        self.no_color = no_color

    def ok(self, m: Any, newline: bool = True, file: Any = None) -> int:
        self.say(m, newline=newline, file=file)
        return EX_OK

    def say(self, m: Any, newline: bool = True, file: Any = None) -> None:
        print(m, file=file or self.stdout, end="\n" if newline else "", flush=not newline)

    def carp(self, m: Any, newline: bool = True, file: Any = None) -> None:
        self.say(m, newline, file or self.stderr)

    def error(self, msg: Any = None) -> int:
        if msg:
            self.carp(msg)
        self.usage()
        return EX_FAILURE

    def info(self, msg: Any, newline: bool = True) -> None:
        if self.verbose:
            self.note(msg, newline=newline)

    def note(self, msg: Any, newline: bool = True) -> None:
        if not self.quiet:
            self.say(str(msg), newline=newline)

    @splash
    def usage(self) -> None:
        self.say(USAGE.format(prog_name=self.prog_name))

    def splash(self) -> None:
        if not self.nosplash:
            self.note(self.colored.cyan(self.splash_text.format(**self.splash_context)))

    @cached_property
    def colored(self) -> term.colored:
        return term.colored(enabled=not self.no_color and self.stdout.isatty())


class MultiTool(TermLogger):
    """The program."""

    MultiParser = MultiParser
    OptionParser = NamespacedOptionParser

    reserved_options = [
        ("--nosplash", "nosplash"),
        ("--quiet", "quiet"),
        ("-q", "quiet"),
        ("--verbose", "verbose"),
        ("--no-color", "no_color"),
    ]

    def __init__(
        self, env: Any = None, cmd: Any = None, fh: Any = None, stdout: Any = None, stderr: Any = None, **kwargs: Any
    ) -> None:
        self.env = env
        self.cmd = cmd
        self.setup_terminal(stdout or fh, stderr, **kwargs)
        self.fh = self.stdout
        self.commands: dict[str, Callable[..., Any]] = {
            "start": self.start,
            "show": self.show,
            "stop": self.stop,
            "stopwait": self.stopwait,
            "stop_verify": self.stopwait,
            "restart": self.restart,
            "kill": self.kill,
            "names": self.names,
            "expand": self.expand,
            "get": self.get,
            "help": self.help,
        }

    def execute_from_commandline(self, argv: Any, cmd: Any = None) -> Any:
        argv = self._handle_reserved_options(argv)
        self.cmd = self.cmd if cmd is None else cmd
        self.prog_name = Path(argv.pop(0)).name
        if not self.validate_arguments(argv):
            return self.error()
        return self.call_command(argv[0], argv[1:])

    def validate_arguments(self, argv: Any) -> bool:
        return bool(argv) and not argv[0].startswith("-")

    def call_command(self, command: str, argv: Any) -> Any:
        if command not in self.commands:
            from difflib import get_close_matches

            near = get_close_matches(command, self.commands, n=1)
            return self.error(f"Invalid command: {command}" + (f" (did you mean {near[0]}?)" if near else ""))
        if command in _NEEDS and not argv:
            return self.error(f"{command} needs {_NEEDS[command]}")
        try:
            return self.commands[command](*argv) or EX_OK
        except KeyError as problem:  # an option for a worker that there is not
            return self.error(problem.args[0])
        except (OSError, ValueError) as problem:
            self.carp(f"celeriac multi: {problem}")
            return EX_FAILURE

    def _handle_reserved_options(self, argv: Any) -> list[str]:
        words: list[str] = list(argv)
        for option, attribute in self.reserved_options:
            if option in words:
                words.remove(option)
                setattr(self, attribute, True)
        return words

    @splash
    @using_cluster
    def start(self, cluster: Cluster) -> int:
        self.note("> Starting nodes...")
        return int(any(cluster.start()))

    @splash
    @using_cluster_and_sig
    def stop(self, cluster: Cluster, sig: int, **kwargs: Any) -> None:
        cluster.stop(sig=sig, **kwargs)

    @splash
    @using_cluster_and_sig
    def stopwait(self, cluster: Cluster, sig: int, **kwargs: Any) -> None:
        cluster.stopwait(sig=sig, **kwargs)

    stop_verify = stopwait

    @splash
    @using_cluster_and_sig
    def restart(self, cluster: Cluster, sig: int, **kwargs: Any) -> int:
        return int(any(cluster.restart(sig=sig, **kwargs)))

    @using_cluster
    def names(self, cluster: Cluster) -> None:
        self.say("\n".join(node.name for node in cluster))

    def get(self, wanted: str, *argv: str) -> int:
        try:
            node = self.cluster_from_argv(argv).find(wanted)
        except KeyError:
            return EX_FAILURE
        return self.ok(" ".join(node.argv))

    @using_cluster
    def show(self, cluster: Cluster) -> int:
        return self.ok("\n".join(" ".join(node.argv_with_executable) for node in cluster))

    @splash
    @using_cluster
    def kill(self, cluster: Cluster) -> None:
        cluster.kill()

    def expand(self, template: str, *argv: str) -> int:
        return self.ok("\n".join(node.expander(template) for node in self.cluster_from_argv(argv)))

    def help(self, *argv: str) -> None:
        self.say(HELP)

    def _find_sig_argument(self, p: NamespacedOptionParser, default: int = signal.SIGTERM) -> int:
        """`-9`, `-KILL` or `-SIGKILL`: the last that is a signal."""
        for word in reversed(p.args):
            if word.startswith("-") and not word.startswith("--"):
                if word[1:].isdigit():
                    return int(word[1:])
                if len(word) > 2:
                    try:
                        return int(signals.signum(word[1:]))
                    except (AttributeError, TypeError):
                        continue
        return default

    def cluster_from_argv(self, argv: Any, cmd: Any = None) -> Cluster:
        return self._cluster_from_argv(argv, cmd=cmd)[1]

    def _cluster_from_argv(self, argv: Any, cmd: Any = None) -> tuple[NamespacedOptionParser, Cluster]:
        parsed = self.OptionParser(argv)
        parsed.parse()
        nodes = self.MultiParser(cmd=self.cmd if cmd is None else cmd).parse(parsed)
        return parsed, self.Cluster(list(nodes), cmd=cmd)

    def Cluster(self, nodes: Any, cmd: Any = None) -> Cluster:
        events = (
            *("on_stopping_preamble", "on_send_signal", "on_still_waiting_for", "on_still_waiting_progress"),
            *("on_still_waiting_end", "on_node_start", "on_node_restart", "on_node_shutdown_ok", "on_node_status"),
            *("on_node_signal_dead", "on_node_signal", "on_node_down", "on_child_spawn", "on_child_signalled"),
            "on_child_failure",
        )
        return Cluster(nodes, cmd=cmd, env=self.env, **{name: getattr(self, name) for name in events})

    # --- what happens

    def on_stopping_preamble(self, nodes: Any) -> None:
        self.note(self.colored.blue("> Stopping nodes..."))

    def on_send_signal(self, node: Any, sig: str) -> None:
        self.note(f"\t> {node.name}: {sig} -> {node.pid}")

    def on_still_waiting_for(self, nodes: Any) -> None:
        if nodes:
            pids = ", ".join(str(node.pid) for node in nodes)
            waiting = f"> Waiting for {len(nodes)} {pluralize(len(nodes), 'node')} -> {pids}..."
            self.note(self.colored.blue(waiting), newline=False)

    def on_still_waiting_progress(self, nodes: Any) -> None:
        self.note(".", newline=False)

    def on_still_waiting_end(self) -> None:
        self.note("")

    def on_node_signal_dead(self, node: Any) -> None:
        self.note(f"Could not signal {node.name} ({node.pid}): No such process")

    def on_node_start(self, node: Any) -> None:
        self.note(f"\t> {node.name}: ", newline=False)

    def on_node_restart(self, node: Any) -> None:
        self.note(self.colored.blue(f"> Restarting node {node.name}: "), newline=False)

    def on_node_down(self, node: Any) -> None:
        self.note(f"> {node.name}: {self.DOWN}")

    def on_node_shutdown_ok(self, node: Any) -> None:
        self.note(f"\n\t> {node.name}: {self.OK}")

    def on_node_status(self, node: Any, retval: Any) -> None:
        self.note(self.FAILED if retval else self.OK)

    def on_node_signal(self, node: Any, sig: str) -> None:
        self.note(f"Sending {sig} to node {node.name} ({node.pid})")

    def on_child_spawn(self, node: Any, argstr: str, env: Any) -> None:
        self.info(f"  {argstr}")

    def on_child_signalled(self, node: Any, signum: int) -> None:
        self.note(f"* Child was terminated by signal {signum}")

    def on_child_failure(self, node: Any, retcode: int) -> None:
        self.note(f"* Child terminated with exit code {retcode}")

    @cached_property
    def OK(self) -> str:
        return str(self.colored.green("OK"))

    @cached_property
    def FAILED(self) -> str:
        return str(self.colored.red("FAILED"))

    @cached_property
    def DOWN(self) -> str:
        return str(self.colored.magenta("DOWN"))


@click.command(cls=CeleryCommand, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@click.pass_context
@handle_preload_options
def multi(ctx: click.Context, **_: Any) -> None:
    """Start, stop and show several workers: `multi help` tells the language."""
    tool = MultiTool(quiet=ctx.obj.quiet, no_color=ctx.obj.no_color)
    # Global options stand before `multi`; they are the workers' options.
    words = sys.argv[1:]
    at = words.index("multi")
    ctx.exit(tool.execute_from_commandline(words[at:] + words[:at]))
