"""Several workers as one: the little language of `multi`, and their start and end.

Law: what an option means for which worker is decided when the command line is parsed; a `Node` is one worker with its
own command line, a `Cluster` all of them. A running worker is known by its pid file alone.

The language: `3` is three workers, other words are names. `-c 3` is an option of all, `-c:1 10` of the first,
`-c:1-3 10` and `-c:1,2 10` of several, `-c:name 10` of one by name.
"""

from __future__ import annotations

import errno
import os
import shlex
import signal
import sys
import time
from collections import UserList, defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from subprocess import Popen
from typing import Any

from ..platforms import IS_WINDOWS, Pidfile, _has_ended, signal_name
from ..utils.nodenames import gethostname, host_format, node_format, nodesplit
from ..utils.saferepr import saferepr

__all__ = ("Cluster", "Node")

CELERY_EXE = __name__.partition(".")[0]
_PROGRAMS = ("celery", CELERY_EXE)

_GLOBAL = frozenset(
    {
        *("-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir"),
        *("-C", "--no-color", "-q", "--quiet"),
    }
)
"""Options that stand before the command `worker`."""
_FILES = frozenset({"--pidfile", "-p", "--logfile", "-f"})


def celery_exe(*args: str) -> str:
    return " ".join((CELERY_EXE, *args))


def build_nodename(name: str, prefix: str, suffix: str) -> tuple[str, str, str]:
    """The short name, the full name and the host of a worker that the command line calls `name`."""
    if "@" in name:
        nodename = host_format(name)
        shortname, host = nodesplit(nodename)
        return shortname or "", nodename, host
    return name, host_format(f"{prefix}{name}@{suffix}"), suffix


def build_expander(nodename: str, shortname: str, hostname: str) -> Callable[[Any], Any]:
    """Fills in what can be known before the worker runs; %i and %I are left for it."""
    return partial(node_format, name=nodename, N=shortname, d=hostname, h=nodename, i="%i", I="%I")


def format_opt(opt: str, value: Any) -> str:
    if not value:
        return opt
    return f"{opt}={value}" if opt.startswith("--") else f"{opt} {value}"


class NamespacedOptionParser:
    """The command line as options of all, options of some (`namespaces`) and names (`values`)."""

    def __init__(self, args: Any) -> None:
        self.args = args
        self.options: dict[str, Any] = {}
        self.values: list[str] = []
        self.passthrough = ""
        self.namespaces: defaultdict[str, dict[str, Any]] = defaultdict(dict)

    def parse(self) -> None:
        words = [word for word in self.args if word]
        while words:
            word = words.pop(0)
            if word == "--":
                self.passthrough = " ".join([word, *words])
                return
            if word.startswith("--"):
                self.process_long_opt(word[2:])
            elif word.startswith("-"):
                has_value = bool(words) and not words[0].startswith("-")
                self.process_short_opt(word[1:], words.pop(0) if has_value else None)
            else:
                self.values.append(word)

    def process_long_opt(self, arg: str, value: Any = None) -> None:
        name, sign, after = arg.partition("=")
        self.add_option(name, after if sign else value)

    def process_short_opt(self, arg: str, value: Any = None) -> None:
        self.add_option(arg, value, short=True)

    def optmerge(self, ns: str, defaults: dict[str, Any] | None = None) -> dict[str, Any]:
        """The options of one worker."""
        return {**(self.options if defaults is None else defaults), **self.namespaces[ns]}

    def add_option(self, name: str, value: Any, short: bool = False, ns: str | None = None) -> None:
        name, _, ns_name = name.partition(":")
        place = self.namespaces[ns_name] if ns_name else self.options
        place[("-" if short else "--") + name] = value


class Node:
    """One worker: its command line, its pid file."""

    def __init__(
        self, name: str, cmd: Any = None, append: Any = None, options: Any = None, extra_args: Any = None
    ) -> None:
        self.name = name
        self.cmd = cmd or f"-m {celery_exe('worker', '--detach')}"
        self.append = append
        self.extra_args = extra_args or ""
        self.options = self._with_defaults({} if options is None else options)
        shortname, host = name.split("@", 1)
        self.expander = build_expander(name, shortname, host)
        self.argv = self._prepare_argv()
        self._pid: int | None = None

    def _with_defaults(self, options: dict[str, Any]) -> dict[str, Any]:
        options["-n"] = self.name
        self._set_default(options, ("--pidfile", "-p"), "/var/run/celery/%n.pid")
        self._set_default(options, ("--logfile", "-f"), "/var/log/celery/%n%I.log")
        options["--executable"] = os.path.expanduser(options.get("--executable") or sys.executable)  # noqa: PTH111 - as text
        return options

    def _set_default(self, options: dict[str, Any], names: tuple[str, ...], value: str) -> None:
        name = next((each for each in names if each in options), names[0])
        options[name] = os.path.expanduser(options.get(name) or value)  # noqa: PTH111 - a text with %n in it
        folder = Path(options[name]).parent
        if "%" not in str(folder) and not folder.exists():
            folder.mkdir(parents=True)

    def _prepare_argv(self) -> tuple[str, ...]:
        words = self.expander(self.cmd).split(" ")
        at = next(index for index, word in enumerate(words) if Path(word).name in _PROGRAMS) + 1
        own = {}
        for name, value in self.options.items():
            shown = self.expander(value) if value else value
            if isinstance(shown, str) and name in {*_FILES, "--workdir"}:
                shown = os.path.expanduser(shown)  # noqa: PTH111 - a text with %i in it; no shell does it for the worker
            if name in _GLOBAL:
                words.insert(at, format_opt(name, shown))
            else:
                own[name] = shown
        argv = (" ".join(words), *(format_opt(name, value) for name, value in own.items()), self.extra_args)
        return (*argv, self.expander(self.append)) if self.append else argv

    def alive(self) -> bool | None:
        return self.send(0)

    def send(self, sig: int, on_error: Callable[[Node], Any] | None = None) -> bool | None:
        """Whether the signal reached the worker; None: no pid is known."""
        pid = self.pid
        if pid:
            try:
                os.kill(pid, sig)
            except OSError as problem:
                # A process of somebody else's has the number now, or nobody has.
                if problem.errno not in {errno.ESRCH, errno.EPERM}:
                    raise
            else:
                if not _has_ended(pid):
                    return True
        maybe_call(on_error, self)
        return False if pid else None

    def start(self, env: Any = None, **kwargs: Any) -> int:
        """Start it, and wait until it has gone into the background."""
        return self._waitexec(self.argv, path=self.executable, env=env, **kwargs)

    def _waitexec(
        self,
        argv: Any,
        path: str = sys.executable,
        env: Any = None,
        on_spawn: Any = None,
        on_signalled: Any = None,
        on_failure: Any = None,
    ) -> int:
        words = self.prepare_argv(argv, path)
        maybe_call(on_spawn, self, argstr=" ".join(words), env=env)
        process = Popen(words, env=env)  # noqa: S603 - what the user has told us to start
        return self.handle_process_exit(process.wait(), on_signalled=on_signalled, on_failure=on_failure)

    def handle_process_exit(self, retcode: int, on_signalled: Any = None, on_failure: Any = None) -> int:
        if retcode < 0:
            maybe_call(on_signalled, self, -retcode)
        elif retcode > 0:
            maybe_call(on_failure, self, retcode)
        return abs(retcode)

    def prepare_argv(self, argv: Any, path: str) -> list[str]:
        return shlex.split(" ".join([path, *argv]), posix=not IS_WINDOWS)

    def getopt(self, *alt: str) -> Any:
        """The value of an option, by any of its names."""
        for name in alt:
            if name in self.options:
                return self.options[name]
        raise KeyError(alt[0])

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name}>"

    @cached_property
    def pidfile(self) -> str:
        # The worker expands what it is given once more.
        return os.path.expanduser(node_format(self.expander(self.getopt("--pidfile", "-p")), self.name))  # noqa: PTH111 - as text

    @cached_property
    def logfile(self) -> str:
        return str(os.path.expanduser(self.expander(self.getopt("--logfile", "-f"))))  # noqa: PTH111 - as text

    @property
    def pid(self) -> int | None:
        if self._pid is not None:
            return self._pid
        try:
            return Pidfile(self.pidfile).read_pid()
        except ValueError:
            return None

    @pid.setter
    def pid(self, value: int | None) -> None:
        self._pid = value

    @cached_property
    def executable(self) -> str:
        return str(self.options["--executable"])

    @cached_property
    def argv_with_executable(self) -> tuple[str, ...]:
        return (self.executable, *self.argv)

    @classmethod
    def from_kwargs(cls, name: str, **kwargs: Any) -> Node:
        return cls(name, options=_kwargs_to_command_line(kwargs))


def _kwargs_to_command_line(kwargs: dict[str, Any]) -> dict[str, str]:
    return {
        (f"--{name.replace('_', '-')}" if len(name) > 1 else f"-{name}"): str(value) for name, value in kwargs.items()
    }


def maybe_call(fun: Any, *args: Any, **kwargs: Any) -> None:
    if fun is not None:
        fun(*args, **kwargs)


class MultiParser:
    """Makes nodes of a parsed command line."""

    Node = Node

    def __init__(
        self,
        cmd: Any = "celery worker",
        append: str = "",
        prefix: str = "",
        suffix: str = "",
        range_prefix: str = "celery",
    ) -> None:
        self.cmd = cmd
        self.append = append
        self.prefix = prefix
        self.suffix = suffix
        self.range_prefix = range_prefix

    def parse(self, p: NamespacedOptionParser) -> Iterator[Any]:
        names, options = p.values, dict(p.options)
        cmd = options.pop("--cmd", self.cmd)
        append = options.pop("--append", self.append)
        short = options.pop("-n", gethostname())
        hostname = options.pop("--hostname", short)
        prefix = options.pop("--prefix", self.prefix) or ""
        suffix = options.pop("--suffix", self.suffix) or hostname
        suffix = "" if suffix in {'""', "''"} else suffix
        range_prefix = options.pop("--range-prefix", "") or self.range_prefix
        count = _count(names)
        if count is None:  # names: lists first, for the numbers in them are places among the names
            self._spread(p, ranges=False)
            self._places(p, names)
        else:
            names, prefix = [str(number) for number in range(1, count + 1)], range_prefix
            self._places(p, names)
            self._spread(p, ranges=True)
        return (self._node(p, name, prefix, suffix, cmd, append, options) for name in names)

    def _node(
        self, p: NamespacedOptionParser, name: str, prefix: str, suffix: str, cmd: Any, append: Any, options: Any
    ) -> Any:
        namespace, nodename, _ = build_nodename(name, prefix, suffix)
        if nodename in p.namespaces:
            namespace = nodename
        return self.Node(nodename, cmd, append, p.optmerge(namespace, options), p.passthrough)

    def _places(self, p: NamespacedOptionParser, names: list[str]) -> None:
        """`-c:1` is for the first name, whatever that is."""
        for place, options in list(p.namespaces.items()):
            if not place.isdigit():
                continue
            if int(place) < 1:
                raise KeyError(f"Indexes start at 1 got: {place!r}")
            if int(place) > len(names):
                raise KeyError(f"No node at index {place!r}")
            p.namespaces[names[int(place) - 1]].update(options)

    def _spread(self, p: NamespacedOptionParser, ranges: bool) -> None:
        """`-c:1-3` and `-c:a,b` are for each of them."""
        for several, options in list(p.namespaces.items()):
            if "," in several or (ranges and "-" in several):
                for one in _each(several, ranges):
                    p.namespaces[one].update(options)
                del p.namespaces[several]


def _count(names: list[str]) -> int | None:
    """How many workers, where the one word is a number."""
    try:
        return int(names[0]) if len(names) == 1 else None
    except ValueError:
        return None


def _each(several: str, ranges: bool) -> Iterator[str]:
    for part in several.split(","):
        first, dash, last = part.partition("-")
        if ranges and dash:
            yield from map(str, range(int(first), int(last) + 1))
        else:
            yield part


class Cluster(UserList[Node]):
    """Workers that are started and stopped together. Each `on_...` is called as things happen."""

    def __init__(
        self,
        nodes: Any,
        cmd: Any = None,
        env: Any = None,
        on_stopping_preamble: Any = None,
        on_send_signal: Any = None,
        on_still_waiting_for: Any = None,
        on_still_waiting_progress: Any = None,
        on_still_waiting_end: Any = None,
        on_node_start: Any = None,
        on_node_restart: Any = None,
        on_node_shutdown_ok: Any = None,
        on_node_status: Any = None,
        on_node_signal: Any = None,
        on_node_signal_dead: Any = None,
        on_node_down: Any = None,
        on_child_spawn: Any = None,
        on_child_signalled: Any = None,
        on_child_failure: Any = None,
    ) -> None:
        self.nodes = nodes
        self.cmd = cmd or celery_exe("worker")
        self.env = env
        self.on_stopping_preamble = on_stopping_preamble
        self.on_send_signal = on_send_signal
        self.on_still_waiting_for = on_still_waiting_for
        self.on_still_waiting_progress = on_still_waiting_progress
        self.on_still_waiting_end = on_still_waiting_end
        self.on_node_start = on_node_start
        self.on_node_restart = on_node_restart
        self.on_node_shutdown_ok = on_node_shutdown_ok
        self.on_node_status = on_node_status
        self.on_node_signal = on_node_signal
        self.on_node_signal_dead = on_node_signal_dead
        self.on_node_down = on_node_down
        self.on_child_spawn = on_child_spawn
        self.on_child_signalled = on_child_signalled
        self.on_child_failure = on_child_failure

    def start(self) -> list[int]:
        return [self.start_node(node) for node in self]

    def start_node(self, node: Node) -> int:
        maybe_call(self.on_node_start, node)
        code = self._start_node(node)
        maybe_call(self.on_node_status, node, code)
        return code

    def _start_node(self, node: Node) -> int:
        return node.start(
            self.env,
            on_spawn=self.on_child_spawn,
            on_signalled=self.on_child_signalled,
            on_failure=self.on_child_failure,
        )

    def send_all(self, sig: int) -> None:
        for node in self.getpids(on_down=self.on_node_down):
            maybe_call(self.on_node_signal, node, signal_name(sig))
            node.send(sig, self.on_node_signal_dead)

    def kill(self) -> None:
        self.send_all(signal.SIGKILL)

    def restart(self, sig: int = signal.SIGTERM) -> list[int]:
        """Stop each, and start it when it is down."""
        codes: list[int] = []

        def start_again(node: Node) -> None:
            maybe_call(self.on_node_restart, node)
            code = self._start_node(node)
            maybe_call(self.on_node_status, node, code)
            codes.append(code)

        self._stop_nodes(retry=2, on_down=start_again, sig=sig)
        return codes

    def stop(self, retry: float | None = None, callback: Any = None, sig: int = signal.SIGTERM) -> None:
        self._stop_nodes(retry=retry, on_down=callback, sig=sig)

    def stopwait(self, retry: float | None = 2, callback: Any = None, sig: int = signal.SIGTERM) -> None:
        """Stop them, and return when all are down; looks after `retry` seconds again."""
        self._stop_nodes(retry=retry, on_down=callback, sig=sig)

    def _stop_nodes(self, retry: float | None = None, on_down: Any = None, sig: int = signal.SIGTERM) -> None:
        on_down = on_down or self.on_node_down
        nodes = list(self.getpids(on_down=on_down))
        for node in self.shutdown_nodes(nodes, sig=sig, retry=retry) if nodes else ():
            maybe_call(on_down, node)

    def shutdown_nodes(self, nodes: Any, sig: int = signal.SIGTERM, retry: float | None = None) -> Iterator[Node]:
        """Signal them, and yield each that is down."""
        maybe_call(self.on_stopping_preamble, nodes)
        left = []
        for node in nodes:
            node.pid = node.pid  # its file is gone before it is
            maybe_call(self.on_send_signal, node, signal_name(sig))
            if node.send(sig, self.on_node_signal_dead):
                left.append(node)
            else:
                node.pid = None
                yield node
        if retry:
            yield from self._wait_for(left, retry)
        for node in left:
            node.pid = None

    def _wait_for(self, left: list[Node], retry: float) -> Iterator[Node]:
        maybe_call(self.on_still_waiting_for, left)
        while left:
            for node in list(left):
                maybe_call(self.on_still_waiting_progress, left)
                if node.alive():
                    continue
                maybe_call(self.on_node_shutdown_ok, node)
                left.remove(node)
                node.pid = None
                yield node
                maybe_call(self.on_still_waiting_for, left)
            if left:
                time.sleep(float(retry))
        maybe_call(self.on_still_waiting_end)

    def find(self, name: str) -> Node:
        for node in self:
            if node.name == name:
                return node
        raise KeyError(name)

    def getpids(self, on_down: Any = None) -> Iterator[Node]:
        """Those that have a pid file."""
        for node in self:
            if node.pid:
                yield node
            else:
                maybe_call(on_down, node)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({len(self)}): {saferepr([node.name for node in self])}>"

    @property
    def data(self) -> Any:  # type: ignore[override] # the list is called `nodes` here
        return self.nodes
