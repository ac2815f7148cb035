"""Many calls at once: from arguments to what a broker writes, with nothing kept in between.

Law: what is sent is what calls of their own would send, in their order. A call that is not to be made in short
(`shortcuts`) goes its own way, after those before it have left; so does one that JSON cannot write, and kombu says why.
What may make a short way wrong is looked at anew whenever a batch has left.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any

from ...protocol.errors import BadCall
from ...protocol.rules.calling import Call
from ...protocol.wire.reprs import saferepr
from ...protocol.wire.template import Particulars
from ...worker.ids import new_id
from .shortcuts import PARTICULAR, Way

_AT_ONCE = 500  # calls in one write: enough to hide the way to the broker
HELD = 0.05  # seconds that a call waits for company, at most while others come
_NONE: Mapping[str, Any] = {}


class Batch:
    """Calls on their way through one app. `options` are those that all calls of `add` have."""

    __slots__ = (
        *("_app", "_body", "_due", "_first", "_group", "_known", "_outlet", "_parent", "_pieces", "_producer"),
        *("_short", "_to_body", "options"),
    )

    def __init__(
        self, app: Any, producer: Any = None, options: Mapping[str, Any] = _NONE, group: str | None = None
    ) -> None:
        self._app = app
        self._producer = producer
        self._outlet = app.amqp.outlet
        self._short = producer is None or producer is self._outlet
        self._parent = app.current_worker_task
        self.options = options
        self._group = group
        self._pieces: list[Any] = []
        self._first: Way | None = None
        self._known: dict[Any, Any] = {}
        self._body: Any = None  # of the chord whose members come
        self._to_body: dict[Way, Way | None] = {}
        self._due = monotonic() + HELD

    def add(self, task: Any, args: Any, kwargs: Any, index: int | None = None) -> str | None:
        """Have a call sent, soon; its id. None, and nothing done: it takes the long way, which `call` is.

        `index` is its place in the batch's group.
        """
        try:
            way, check, fill = self._known[task]
        except KeyError:
            way, check, fill = self._known[task] = self._look(task)
        if way is None or type(kwargs) is not dict or (type(args) is not tuple and type(args) is not list):
            return None
        if check is not None:
            check(*args, **kwargs)
        task_id = new_id()
        if fill is None:
            return self._add_first(way, task_id, args, kwargs, index)
        try:
            piece = fill(task_id, args, kwargs, index)
        except BadCall:
            return None
        if way is not self._first:
            self._follow(way)
        pieces = self._pieces
        pieces.append(piece)
        if len(pieces) >= _AT_ONCE or monotonic() >= self._due:
            self.flush()
        return task_id

    def _look(self, task: Any) -> tuple[Any, ...]:
        way = self._way(task, (), {}, self.options) if PARTICULAR.isdisjoint(self.options) else None
        if way is None:
            return None, None, None
        form = way.plan.form
        fill = None if form is None else form.kin(way.shown, *self._family(), self._group)
        return way, task.__header__ if task.typing else None, fill

    def _family(self) -> tuple[str | None, str | None]:
        """The root and the parent of what is sent in the course of a task."""
        if self._parent is None:
            return None, None
        request = self._parent.request
        return request.root_id or request.id, request.id

    def _add_first(self, way: Way, task_id: str, args: Any, kwargs: Any, index: int | None) -> str | None:
        """When no broker has made a form of it."""
        shown = way.shown
        texts = saferepr(args, shown.args, shown.levels), saferepr(kwargs, shown.kwargs, shown.levels)
        root_id, parent_id = self._family()
        given = Particulars(task_id, args, kwargs, *texts, root_id, parent_id, None, self._group, index)
        return task_id if self._fill(way, given) else None

    def _way(self, task: Any, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Way | None:
        if not self._short or task is None or has_own_apply_async(task):
            return None
        shortcuts = self._app.amqp.shortcuts
        if options.get("chord"):
            way = self._way_to_body(shortcuts, task, args, kwargs, options)
        else:
            way = shortcuts.way(task, args, kwargs, options, self._parent)
        return None if way is None or (self._parent is not None and way.traced) else way

    def _way_to_body(self, shortcuts: Any, task: Any, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Way | None:
        """Of a chord's member. All of them carry the same body, so from the second on it is written already."""
        body = options["chord"]
        if body is not self._body:
            self._body, self._to_body = body, {}
            return None
        others = {name: value for name, value in options.items() if name != "chord"}
        usual: Way | None = shortcuts.way(task, args, kwargs, others, self._parent)
        if usual is None:
            return None
        if usual not in self._to_body:
            self._to_body[usual] = shortcuts.way_to_body(task, others, body)
        return self._to_body[usual]

    def call(self, call: Call) -> str:
        """Have it sent, one way or the other; its id."""
        app = self._app
        task = app._tasks.get(call.name)
        options = call.options
        args, kwargs = call.args or (), call.kwargs or {}
        way = self._way(task, args, kwargs, options)
        if way is not None:
            if task.typing:
                task.__header__(*args, **kwargs)
            given = way.particulars(app, self._parent, args, kwargs, options)
            if self._fill(way, given):
                return given.id
        self.flush()
        if task is None:
            result = app.send_task(call.name, call.args, call.kwargs, producer=self._producer, **options)
        else:
            result = task.apply_async(call.args, call.kwargs, **{"producer": self._producer, **options})
        return result.id  # type: ignore[no-any-return]  # an app is Any to its tasks

    def _fill(self, way: Way, given: Particulars) -> bool:
        form = way.plan.form
        try:
            if form is None:  # no broker has seen its like yet
                self.flush()
                self._outlet.producer.post(way.plan, (given,), way.queues, way.patience)
                return True
            piece = form.fill(given)
        except BadCall:
            return False
        if way is not self._first:
            self._follow(way)
        self._pieces.append(piece)
        if len(self._pieces) >= _AT_ONCE or monotonic() >= self._due:
            self.flush()
        return True

    def _follow(self, way: Way) -> None:
        """What comes goes this way."""
        first = self._first
        if first is not None and not _together(first, way):
            self.flush()
        self._first = way

    def flush(self) -> None:
        """Send what waits."""
        first, pieces = self._first, self._pieces
        self._first, self._pieces = None, []
        self._known.clear()
        if first is not None:
            self._outlet.producer.post_filled(first.plan, pieces, first.queues, first.patience)
        self._due = monotonic() + HELD


def _together(one: Way, other: Way) -> bool:
    return (
        one.plan.form.place == other.plan.form.place and one.queues == other.queues and one.patience == other.patience
    )


def has_own_apply_async(task: Any) -> bool:
    """A subclass' or, in the place of ours, a tool's."""
    from . import task as module

    code = getattr(type(task).apply_async, "__code__", None)
    return code is None or code.co_filename != module.__file__
