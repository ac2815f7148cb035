"""`celeriac graph`: the worker's parts, or the workers, as a drawing for Graphviz."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import click

from ..utils.graph import DependencyGraph, GraphFormatter
from .base import CeleryCommand, handle_preload_options, handle_remote_command_error

_SMALL = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_EXTRA = {"allow_extra_args": True}


@click.group()
@click.pass_context
@handle_preload_options
def graph(ctx: click.Context) -> None:
    """Draw: pipe the output into `dot -Tpng`."""


@graph.command(cls=CeleryCommand, context_settings=_EXTRA)
@click.pass_context
def bootsteps(ctx: click.Context) -> None:
    """Draw the parts of a worker: `worker`, `consumer`, or both."""
    include = {arg.lower() for arg in ctx.args} or {"worker", "consumer"}
    _known(ctx, include, ("worker", "consumer"))
    worker = ctx.obj.app.WorkController()
    blueprints = {"worker": getattr(worker, "blueprint", None)}
    blueprints["consumer"] = getattr(getattr(worker, "consumer", None), "blueprint", None)
    drawn: Any = DependencyGraph(formatter=GraphFormatter(root="worker"))
    for name in ("worker", "consumer"):
        if name not in include:
            continue
        found = getattr(blueprints[name], "graph", None)
        if found is None:
            for part, needs in _PARTS[name]:
                drawn.update([(part, list(needs))])
        else:
            drawn.update(list(found.items()))
    drawn.to_dot(sys.stdout)


_PARTS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "worker": (
        ("Pool", ()),
        ("StateDB", ()),
        ("Beat", ()),
        ("Autoscaler", ("Pool",)),
        ("Consumer", ("Pool", "StateDB")),
    ),
    "consumer": (
        ("Connection", ()),
        ("Events", ("Connection",)),
        ("Heart", ("Events",)),
        ("Mingle", ("Connection",)),
        ("Gossip", ("Events",)),
        ("Tasks", ("Mingle",)),
        ("Control", ("Tasks",)),
        ("Loop", ("Control", "Gossip", "Heart")),
    ),
}
"""What a worker of ours consists of, where it has no blueprint."""


class Node:
    """One thing in the drawing."""

    scheme: dict[str, Any] = {}

    def __init__(self, name: str, shown: str | None = None, pos: int | None = None) -> None:
        self.name = name
        self.shown = shown or name
        self.pos = pos

    def label(self) -> str:
        return self.name

    def __str__(self) -> str:
        return self.name


class Worker(Node):
    """A worker."""


class Thread(Node):
    """One of a worker's processes or threads."""

    scheme = {
        "fillcolor": "lightcyan4",
        "fontcolor": "yellow",
        "shape": "oval",
        "fontsize": 10,
        "width": 0.3,
        "color": "black",
    }


class Backend(Node):
    """The result store."""

    scheme = {"shape": "folder", "width": 2, "height": 1, "color": "black", "fillcolor": "peachpuff3"}


class Broker(Node):
    """The broker."""

    scheme = {"shape": "circle", "fillcolor": "cadetblue3", "color": "cadetblue4", "height": 1}


class Formatter(GraphFormatter):
    """Each kind by its own scheme."""

    def label(self, obj: Any) -> Any:
        return obj and obj.label()

    def node(self, obj: Any, **attrs: Any) -> Any:
        own = {**obj.scheme, "label": obj.shown} if isinstance(obj, Thread) else obj.scheme
        return self.draw_node(obj, {**self.node_scheme, **own})

    def terminal_node(self, obj: Any, **attrs: Any) -> Any:
        return self.draw_node(obj, {**self.term_scheme, **obj.scheme})

    def edge(self, a: Any, b: Any, **attrs: Any) -> Any:
        ends = {"arrowhead": "none", "arrowtail": "tee"} if isinstance(a, Thread) else {}
        return self.draw_edge(a, b, self.edge_scheme, {**attrs, **ends})


def _shortened(names: Sequence[str], letter: str, most: int, enumerate_: bool) -> list[str]:
    """`most` of them at the most, with a sign for those between."""
    size = len(names)
    shown = [f"{letter}{str(at + 1).translate(_SMALL)}" for at in range(size)] if enumerate_ else list(names)
    if most and size > most:
        left_out = str(size - most + 1).translate(_SMALL)
        shown = [*shown[: most - 2], f"{letter[0]}⎨…{left_out}⎬", shown[-1]]
    return shown


def _arguments(words: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for word in words:
        name, _, value = word.partition(":")
        yield name, value.split(",") if "," in value else value


@graph.command(cls=CeleryCommand, context_settings=_EXTRA)
@click.pass_context
def workers(ctx: click.Context) -> None:
    """Draw the workers that answer; or `nodes:a,b threads:4,8`, without asking.

    `wmax:4` and `tmax:3` limit how many are drawn; `generic` and `enumerate` leave names out.
    """
    app, args = ctx.obj.app, dict(_arguments(ctx.args))
    _known(ctx, args, ("nodes", "threads", "wmax", "tmax", "broker", "backend", "generic", "enumerate"))
    most, most_threads = _number(ctx, args, "wmax", 4), _number(ctx, args, "tmax", 3)
    names, sizes = [], []
    if "nodes" in args:
        names, sizes = _several(args["nodes"]), _several(args.get("threads") or [])
        if not all(str(size).isdecimal() for size in sizes):
            ctx.fail("threads are numbers, one for each of the nodes: threads:4,8")
    else:
        replies: dict[str, Any] = {}
        try:
            replies = app.control.inspect().stats() or {}
        except Exception as problem:  # noqa: BLE001 - told in one line, with the right exit code
            handle_remote_command_error("graph workers", problem)
        names = list(replies)
        sizes = [reply["pool"]["max-concurrency"] for reply in replies.values()]
    shown = _shortened(names, "Worker", most, "enumerate" in args)
    if most and len(names) > most:
        sizes = [*sizes[:3], *sizes[-1:]]
    broker_uri = args.get("broker") or app.connection_for_read().as_uri()
    store_uri = args.get("backend", app.conf.result_backend)
    generic = "generic" in args
    broker = Broker(_uri("Broker", broker_uri, generic=generic))
    drawn: Any = DependencyGraph(formatter=Formatter())
    drawn.add_arc(broker)
    store = Backend(_uri("Backend", store_uri, generic=generic)) if store_uri else None
    if store:
        drawn.add_arc(store)
    number = count(1)
    for at, name in enumerate(shown):
        worker = Worker(name, pos=at)
        drawn.add_arc(worker)
        for end in filter(None, (broker, store)):
            drawn.add_edge(worker, end)
        threads = [str(each) for each in range(int(sizes[at]))] if at < len(sizes) else []
        for each in _shortened(threads, "P", most_threads, "enumerate" in args):
            thread = Thread(f"thr-{next(number)}", each, pos=0)
            drawn.add_arc(thread)
            drawn.add_edge(thread, worker)
    drawn.to_dot(sys.stdout)


def _known(ctx: click.Context, words: Iterable[str], known: Sequence[str]) -> None:
    for word in words:
        if word not in known:
            ctx.fail(f"Nothing here is called {word!r}: there are {', '.join(known)}")


def _number(ctx: click.Context, args: Mapping[str, Any], name: str, default: int) -> int:
    value = args.get(name, default) or 0
    if not str(value).isdecimal():
        ctx.fail(f"{name} is a number, not {value!r}: {name}:{default}")
    return int(value)


def _several(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _uri(kind: str, uri: Any, *, generic: bool) -> str:
    return f"{kind} ({str(uri).partition('://')[0]}://)" if generic else str(uri)
