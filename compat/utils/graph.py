"""Graphs of what depends on what, sorted, and drawn for Graphviz."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ("DOT", "CycleError", "DependencyGraph", "GraphFormatter")


class DOT:
    """The language that Graphviz reads."""

    HEAD = "\n{IN}{type} {id} {{\n{INp}graph [{attrs}]\n"
    ATTR = "{name}={value}"
    NODE = '{INp}"{0}" [{attrs}]'
    EDGE = '{INp}"{0}" {dir} "{1}" [{attrs}]'
    ATTRSEP = ", "
    DIRS = {"graph": "--", "digraph": "->"}
    TAIL = "{IN}}}"


class CycleError(Exception):
    """Something depends on itself."""


class DependencyGraph:
    """Objects, and the objects that each of them depends on."""

    def __init__(self, it: Iterable[tuple[Any, Iterable[Any]]] | None = None, formatter: Any = None) -> None:
        self.formatter: Any = formatter or GraphFormatter()
        self.adjacent: dict[Any, list[Any]] = {}
        if it is not None:
            self.update(it)

    def add_arc(self, obj: Any) -> None:
        """Adds an object."""
        self.adjacent.setdefault(obj, [])

    def add_edge(self, A: Any, B: Any) -> None:
        """Says that A depends on B."""
        self[A].append(B)

    def connect(self, graph: DependencyGraph) -> None:
        """Adds all of another graph."""
        self.adjacent.update(graph.adjacent)

    def topsort(self) -> list[Any]:
        """The objects, each after all that it depends on; of those that depend on each other, one."""
        components = self._tarjan72()
        of = {node: component for component in components for node in component}
        graph = DependencyGraph()
        for component in components:
            graph.add_arc(component)
        for node in self:
            for successor in self[node]:
                if of[node] != of[successor]:
                    graph.add_edge(of[node], of[successor])
        return [component[0] for component in graph._khan62()]

    def valency_of(self, obj: Any) -> int:
        """How many edges leave the object, and the objects after it."""
        if obj not in self:
            return 0
        return len(self[obj]) + sum(self.valency_of(node) for node in self[obj])

    def update(self, it: Iterable[tuple[Any, Iterable[Any]]]) -> None:
        """Adds objects with what they depend on."""
        pairs = list(it)
        for obj, _ in pairs:
            self.add_arc(obj)
        for obj, dependencies in pairs:
            for dependency in dependencies:
                self.add_edge(obj, dependency)

    def edges(self) -> Iterator[Any]:
        """The objects that depend on something."""
        return (obj for obj, adjacent in self.items() if adjacent)

    def _khan62(self) -> list[Any]:
        """Kahn's way: take what nothing waits for, until nothing is left."""
        waiting = Counter(successor for node in self for successor in self[node])
        ready = [node for node in self if not waiting[node]]
        order = []
        while ready:
            node = ready.pop()
            order.append(node)
            for successor in self[node]:
                waiting[successor] -= 1
                if not waiting[successor]:
                    ready.append(successor)
        order.reverse()
        return order

    def _tarjan72(self) -> list[tuple[Any, ...]]:
        """Tarjan's strongly connected components, on a stack of its own: graphs may be deep."""
        components: list[tuple[Any, ...]] = []
        low: dict[Any, int] = {}
        open_nodes: list[Any] = []
        for root in self:
            if root in low:
                continue
            path = [(root, len(low), len(open_nodes), iter(self[root]))]
            low[root] = len(low)
            open_nodes.append(root)
            while path:
                node, number, place, successors = path[-1]
                successor = next(successors, path)
                if successor is not path:
                    if successor not in low:
                        path.append((successor, len(low), len(open_nodes), iter(self[successor])))
                        low[successor] = len(low)
                        open_nodes.append(successor)
                    else:
                        low[node] = min(low[node], low[successor])
                    continue
                path.pop()
                if path:
                    above = path[-1][0]
                    low[above] = min(low[above], low[node])
                if low[node] == number:
                    component = tuple(open_nodes[place:])
                    del open_nodes[place:]
                    components.append(component)
                    low.update(dict.fromkeys(component, len(self)))
        return components

    def to_dot(self, fh: Any, formatter: Any = None) -> None:
        """Writes the graph for Graphviz."""
        draw = formatter or self.formatter
        seen: set[Any] = set()

        def write(text: Any) -> None:
            print(text.decode() if isinstance(text, bytes) else text, file=fh)

        def write_once(how: Any, obj: Any) -> None:
            label = draw.label(obj)
            if label not in seen:
                write(how(obj))
                seen.add(label)

        write(draw.head())
        for obj, adjacent in self.items():
            if not adjacent:
                write_once(draw.terminal_node, obj)
            for required in adjacent:
                write_once(draw.node, obj)
                write(draw.edge(obj, required))
        write(draw.tail())

    def format(self, obj: Any) -> Any:
        """The object as the formatter shows it."""
        return self.formatter(obj) if self.formatter else obj

    def __iter__(self) -> Iterator[Any]:
        return iter(self.adjacent)

    def __getitem__(self, node: Any) -> list[Any]:
        return self.adjacent[node]

    def __len__(self) -> int:
        return len(self.adjacent)

    def __contains__(self, obj: Any) -> bool:
        return obj in self.adjacent

    def items(self) -> Any:
        return self.adjacent.items()

    iteritems = items

    def __repr__(self) -> str:
        return "\n".join(self.repr_node(node) for node in self)

    def repr_node(self, obj: Any, level: int = 1, fmt: str = "{0}({1})") -> str:
        """The object and what it depends on, one a line."""
        lines = [fmt.format(obj, self.valency_of(obj))]
        for other in self.adjacent.get(obj, ()):
            lines.append("     " * level + fmt.format(other, self.valency_of(other)))
            lines.extend(self.repr_node(other, level + 1).split("\n")[1:])
        return "\n".join(lines)


class GraphFormatter:
    """How a graph looks."""

    _attr = DOT.ATTR.strip()
    _node = DOT.NODE.strip()
    _edge = DOT.EDGE.strip()
    _head = DOT.HEAD.strip()
    _tail = DOT.TAIL.strip()
    _attrsep = DOT.ATTRSEP
    _dirs = dict(DOT.DIRS)

    scheme: dict[str, Any] = {"shape": "box", "arrowhead": "vee", "style": "filled", "fontname": "HelveticaNeue"}
    edge_scheme: dict[str, Any] = {"color": "darkseagreen4", "arrowcolor": "black", "arrowsize": 0.7}
    node_scheme: dict[str, Any] = {"fillcolor": "palegreen3", "color": "palegreen4"}
    term_scheme: dict[str, Any] = {"fillcolor": "palegreen1", "color": "palegreen2"}
    graph_scheme: dict[str, Any] = {"bgcolor": "mintcream"}

    def __init__(
        self,
        root: Any = None,
        type: str | None = None,
        id: str | None = None,
        indent: int = 0,
        inw: str = " " * 4,
        **scheme: Any,
    ) -> None:
        self.id = id or "dependencies"
        self.root = root
        self.type = type or "digraph"
        self.direction = self._dirs[self.type]
        self.IN = inw * (indent or 0)
        self.INp = self.IN + inw
        self.scheme = {**self.scheme, **scheme}
        self.graph_scheme = {**self.graph_scheme, "root": self.label(self.root)}

    def attr(self, name: str, value: Any) -> bytes:
        return self.FMT(self._attr, name=name, value=f'"{value}"')

    def attrs(self, d: Any, scheme: Any = None) -> str:
        shown = {**self.scheme, **(scheme or {}), **(d or {})}
        return self._attrsep.join(self.attr(name, value).decode() for name, value in shown.items())

    def head(self, **attrs: Any) -> bytes:
        return self.FMT(self._head, id=self.id, type=self.type, attrs=self.attrs(attrs, self.graph_scheme))

    def tail(self) -> bytes:
        return self.FMT(self._tail)

    def label(self, obj: Any) -> Any:
        """What an object is called."""
        return obj

    def node(self, obj: Any, **attrs: Any) -> bytes:
        return self.draw_node(obj, self.node_scheme, attrs)

    def terminal_node(self, obj: Any, **attrs: Any) -> bytes:
        return self.draw_node(obj, self.term_scheme, attrs)

    def edge(self, a: Any, b: Any, **attrs: Any) -> bytes:
        return self.draw_edge(a, b, **attrs)

    def FMT(self, fmt: str, *args: Any, **kwargs: Any) -> bytes:
        return fmt.format(*args, **{**kwargs, "IN": self.IN, "INp": self.INp}).encode("utf-8", "ignore")

    def draw_edge(self, a: Any, b: Any, scheme: Any = None, attrs: Any = None) -> bytes:
        shown = self.attrs(attrs, self.edge_scheme)
        return self.FMT(self._edge, self.label(a), self.label(b), dir=self.direction, attrs=shown)

    def draw_node(self, obj: Any, scheme: Any = None, attrs: Any = None) -> bytes:
        return self.FMT(self._node, self.label(obj), attrs=self.attrs(attrs, scheme))
