"""Bootsteps: what a worker and its consumer are put together from, started in the order of what requires what.

Law: every step is made and included before the first is started; they are started in order and stopped in the reverse
one. A step that fails while it is stopped is logged and costs the others nothing.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from threading import Event
from typing import Any

from .utils.graph import DependencyGraph, GraphFormatter
from .utils.imports import instantiate, qualname, symbol_by_name

__all__ = ("Blueprint", "ConsumerStep", "StartStopStep", "Step")

RUN, CLOSE, TERMINATE = 0x1, 0x2, 0x3

_HERE = __name__.rpartition(".")[0]

logger = logging.getLogger("celery.bootsteps")


def _label(step: Any) -> str:
    return str(step.name.rsplit(".", 1)[-1])


class StepFormatter(GraphFormatter):
    """Draws the graph of a blueprint."""

    blueprint_prefix = "⧉"
    conditional_prefix = "∘"
    blueprint_scheme = {"shape": "parallelogram", "color": "slategray4", "fillcolor": "slategray3"}

    def label(self, step: Any) -> Any:
        return step and f"{self._get_prefix(step)}{step.label or _label(step)}"

    def _get_prefix(self, step: Any) -> str:
        if step.last:
            return self.blueprint_prefix
        return self.conditional_prefix if step.conditional else ""

    def node(self, obj: Any, **attrs: Any) -> Any:
        return self.draw_node(obj, self.blueprint_scheme if obj.last else self.node_scheme, attrs)

    def edge(self, a: Any, b: Any, **attrs: Any) -> Any:
        if a.last:
            attrs.update(arrowhead="none", color="darkseagreen3")
        return self.draw_edge(a, b, self.edge_scheme, attrs)


class Blueprint:
    """Steps, and an object that they are applied to. The object has a list `steps`; steps put themselves there."""

    GraphFormatter = StepFormatter

    name: Any = None
    state: Any = None
    started = 0
    default_steps: Iterable[Any] = set()
    state_to_name = {0: "initializing", RUN: "running", CLOSE: "closing", TERMINATE: "terminating"}

    def __init__(
        self,
        steps: Iterable[Any] | None = None,
        name: str | None = None,
        on_start: Callable[[], Any] | None = None,
        on_close: Callable[[], Any] | None = None,
        on_stopped: Callable[[], Any] | None = None,
    ) -> None:
        self.name = name or self.name or qualname(type(self))
        self.types = set(steps or []) | set(self.default_steps)
        self.on_start = on_start
        self.on_close = on_close
        self.on_stopped = on_stopped
        self.shutdown_complete = Event()
        self.steps: dict[str, Any] = {}
        self.order: list[Any] = []
        self.graph: Any = None

    # --- life

    def start(self, parent: Any) -> None:
        self.state = RUN
        if self.on_start:
            self.on_start()
        for number, step in enumerate([each for each in parent.steps if each is not None], 1):
            self._debug("Starting %s", step.alias)
            self.started = number
            step.start(parent)
            logger.debug("^-- substep ok")

    def human_state(self) -> str:
        return self.state_to_name[self.state or 0]

    def info(self, parent: Any) -> dict[str, Any]:
        info: dict[str, Any] = {}
        for step in parent.steps:
            info.update(step.info(parent) or {})
        return info

    def close(self, parent: Any) -> None:
        if self.on_close:
            self.on_close()
        self.send_all(parent, "close", "closing", reverse=False)

    def restart(
        self, parent: Any, method: str = "stop", description: str = "restarting", propagate: bool = False
    ) -> None:
        self.send_all(parent, method, description, propagate=propagate)

    def send_all(
        self,
        parent: Any,
        method: str,
        description: str | None = None,
        reverse: bool = True,
        propagate: bool = True,
        args: tuple[Any, ...] = (),
    ) -> None:
        """Call this method of every step that has it."""
        description = description or method.replace("_", " ")
        steps = list(parent.steps)
        for step in reversed(steps) if reverse else steps:
            act = getattr(step, method, None) if step else None
            if act is None:
                continue
            self._debug("%s %s...", description.capitalize(), step.alias)
            try:
                act(parent, *args)
            except Exception as exc:
                if propagate:
                    raise
                logger.exception("Error on %s %s: %r", description, step.alias, exc)  # noqa: TRY401 - people grep for it

    def stop(self, parent: Any, close: bool = True, terminate: bool = False) -> None:
        if self.state in (CLOSE, TERMINATE):
            return
        if self.state != RUN or self.started != len(parent.steps):
            self.state = TERMINATE  # it never came up whole
            self.shutdown_complete.set()
            return
        self.close(parent)
        self.state = CLOSE
        self.restart(parent, "terminate" if terminate else "stop", "terminating" if terminate else "stopping")
        if self.on_stopped:
            self.on_stopped()
        self.state = TERMINATE
        self.shutdown_complete.set()

    def join(self, timeout: float | None = None) -> None:
        self.shutdown_complete.wait(timeout=timeout)

    # --- putting together

    def apply(self, parent: Any, **kwargs: Any) -> Blueprint:
        """Make every step for this object, and include those that want to be."""
        self._debug("Preparing bootsteps.")
        order = self.order = []
        steps = self.steps = self.claim_steps()
        self._debug("Building graph...")
        for kind in self._finalize_steps(steps):
            step = kind(parent, **kwargs)
            steps[step.name] = step
            order.append(step)
        self._debug("New boot order: {%s}", ", ".join(step.alias for step in order))
        for step in order:
            step.include(parent)
        return self

    def connect_with(self, other: Blueprint) -> None:
        """One graph of two: the other begins where this one ends."""
        self.graph.adjacent.update(other.graph.adjacent)
        self.graph.add_edge(type(other.order[0]), type(self.order[-1]))

    def __getitem__(self, name: str) -> Any:
        return self.steps[name]

    def _find_last(self) -> Any:
        return next((each for each in self.steps.values() if each.last), None)

    def _firstpass(self, steps: dict[str, Any]) -> None:
        """What is required and not there is put there."""
        for step in steps.values():
            step.requires = [symbol_by_name(each) for each in step.requires]
        stream, seen = deque(step.requires for step in steps.values()), set()
        while stream:
            for each in stream.popleft():
                node = symbol_by_name(each)
                if node in seen:
                    continue
                seen.add(node)
                if node.name not in self.steps:
                    steps[node.name] = node
                stream.append(node.requires)

    def _finalize_steps(self, steps: dict[str, Any]) -> list[Any]:
        last = self._find_last()
        self._firstpass(steps)
        graph = self.graph = DependencyGraph(
            ((step, step.requires) for step in steps.values()), formatter=self.GraphFormatter(root=last)
        )
        if last:
            for each in graph:
                if each != last:
                    graph.add_edge(last, each)
        try:
            return graph.topsort()
        except KeyError as exc:
            raise KeyError(f"unknown bootstep: {exc}") from exc

    def claim_steps(self) -> dict[str, Any]:
        return dict(self.load_step(step) for step in self.types)

    def load_step(self, step: Any) -> tuple[str, Any]:
        step = symbol_by_name(step)
        return step.name, step

    def _debug(self, msg: str, *args: Any) -> None:
        logger.debug("| %s: " + msg, self.alias, *args)  # noqa: G003 - the format is ours

    @property
    def alias(self) -> str:
        return _label(self)


class StepType(type):
    """A step's class is named by its path, and shown by it."""

    name: Any = None
    requires: Any = None

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> Any:
        module = attrs.get("__module__") or ""
        if module.startswith(_HERE):
            module = "celery" + module[len(_HERE) :]  # by which users know it
        path = f"{module}.{name}" if module else name
        attrs.update(__qualname__=path, name=attrs.get("name") or path)
        return super().__new__(cls, name, bases, attrs)

    def __str__(cls) -> str:
        return str(cls.name)

    def __repr__(cls) -> str:
        return f"step:{cls.name}{{{cls.requires!r}}}"


class Step(metaclass=StepType):
    """Something that prepares the object it is made for, in its `__init__` or in `create`.

    `requires` names the steps before it, `conditional` says that it may be left out, and `include_if` decides.
    """

    name: Any = None
    label: Any = None
    conditional = False
    requires: Any = ()
    last = False
    enabled: Any = True

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        pass

    def include_if(self, parent: Any) -> Any:
        return self.enabled

    def instantiate(self, name: Any, *args: Any, **kwargs: Any) -> Any:
        return instantiate(name, *args, **kwargs)

    def _should_include(self, parent: Any) -> tuple[bool, Any]:
        if self.include_if(parent):
            return True, self.create(parent)
        return False, None

    def include(self, parent: Any) -> Any:
        return self._should_include(parent)[0]

    def create(self, parent: Any) -> Any:
        """What the step makes."""

    def __repr__(self) -> str:
        return f"<step: {self.alias}>"

    @property
    def alias(self) -> str:
        return self.label or _label(self)

    def info(self, obj: Any) -> Any:
        """What `inspect stats` shows of it."""


class StartStopStep(Step):
    """A step that is started and stopped: itself, or the `obj` that its `create` has made."""

    obj: Any = None

    def start(self, parent: Any) -> Any:
        return self.obj.start() if self.obj else None

    def stop(self, parent: Any) -> Any:
        return self.obj.stop() if self.obj else None

    def close(self, parent: Any) -> Any:
        """Before anything is stopped."""

    def terminate(self, parent: Any) -> Any:
        return getattr(self.obj, "terminate", self.obj.stop)() if self.obj else None

    def include(self, parent: Any) -> bool:
        included, made = self._should_include(parent)
        if included:
            self.obj = made
            parent.steps.append(self)
        return included


class ConsumerStep(StartStopStep):
    """Consumers of one's own, on the worker's broker: kombu's, made by `get_consumers`."""

    requires: Any = ("celery.worker.consumer:Connection",)
    consumers: Any = None

    def get_consumers(self, channel: Any) -> Any:
        raise NotImplementedError("missing get_consumers")

    def start(self, c: Any) -> None:
        self.consumers = self.get_consumers(c.connection.channel())
        for consumer in self.consumers or ():
            consumer.consume()

    def stop(self, c: Any) -> None:
        self._close(c, True)

    def shutdown(self, c: Any) -> None:
        self._close(c, False)

    def _close(self, c: Any, cancel_consumers: bool = True) -> None:
        if not self.consumers:
            return  # without kombu, whose import takes 45 ms of CPU
        from kombu.common import ignore_errors

        channels = set()
        for consumer in self.consumers:
            if cancel_consumers:
                ignore_errors(c.connection, consumer.cancel)
            if consumer.channel:
                channels.add(consumer.channel)
        for channel in channels:
            ignore_errors(c.connection, channel.close)
