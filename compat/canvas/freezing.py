"""`freeze`: a canvas gets its ids, in place, and its results are promised.

Law: which ids, and who is whose parent, is decided by protocol/rules/freezing.
"""

from __future__ import annotations

from typing import Any

from ...protocol.rules.freezing import Freezer, Node
from ...protocol.rules.signature import is_signature
from ...worker.ids import new_id
from .mirror import Mirror

Named = dict[str, Any]
"""By id, the tasks whose promises are made by the task itself."""


def _freezer(sig: Any, app: Any) -> Freezer:
    linked = getattr(sig, "_use_link", None)
    if linked is None:
        linked = app.conf.task_protocol == 1
    return Freezer(new_id, app.thread_oid, bool(linked), app.conf.task_allow_error_cb_on_chord_header)


def freeze(sig: Any, task_id: Any, group_id: Any, chord: Any, root_id: Any, parent_id: Any, group_index: Any) -> Any:
    where = {
        "group_id": group_id, "chord": chord, "root_id": root_id, "parent_id": parent_id, "group_index": group_index,
    }  # fmt: skip
    if sig["subtask_type"] not in ("chain", "group", "chord"):
        make = sig.AsyncResult
        return make(_simple(sig).freeze(sig, task_id, **where).id)
    app = sig.app
    mirror = Mirror(sig._app)
    image = mirror.plain(sig)
    node = _freezer(sig, app).freeze(image, task_id, **where)
    mirror.adopt(image)
    return promise(app, node, named(app, image))


def _simple(sig: Any) -> Freezer:
    reply_to = sig["options"].get("reply_to")
    return Freezer(new_id, sig.app.thread_oid if reply_to is None else reply_to)


def prepare(
    sig: Any,
    args: Any,
    tasks: Any,
    last_id: Any,
    group_id: Any,
    chord: Any,
    root_id: Any,
    group_index: Any,
    kwargs: Any,
    errbacks: Any,
    clone: bool,
) -> tuple[list[Any], list[Any]]:
    app = sig.app
    mirror = Mirror(sig._app)
    image = mirror.plain(sig)
    done, nodes = _freezer(sig, app).prepare(
        image, args or (), [mirror.plain(task) for task in tasks], last_id, group_id, chord, root_id, group_index,
        kwargs=dict(kwargs or {}), errbacks=errbacks, copy=clone,
    )  # fmt: skip
    results: dict[int, Any] = {}
    names: Named = {}
    for step in done:
        names.update(named(app, step))
    return [mirror.adopt(step) for step in done], [promise(app, node, names, results) for node in nodes]


# --- promises -----------------------------------------------------------------------------------------------


def promise(app: Any, node: Node, names: Named | None = None, made: dict[int, Any] | None = None) -> Any:
    """The AsyncResult or GroupResult that a promise of the rules stands for, with its parents and children."""
    made = {} if made is None else made
    line: list[Node] = []
    before: Node | None = node
    while before is not None and id(before) not in made:
        line.append(before)
        before = before.parent
    for each in reversed(line):
        parent = None if each.parent is None else made[id(each.parent)]
        made[id(each)] = _result(app, each, parent, names, made)
    return made[id(node)]


def _result(app: Any, node: Node, parent: Any, names: Named | None, made: dict[int, Any]) -> Any:
    if node.children is not None:
        make = app.AsyncResult
        members = [
            make(child.id)
            if child.children is None and child.parent is None and not names
            else promise(app, child, names, made)
            for child in node.children
        ]
        result = app.GroupResult(node.id, members)
    else:
        task = names.get(node.id) if names else None
        result = (app if task is None else task).AsyncResult(node.id)
    if parent is not None:
        result.parent = parent
    return result


def named(app: Any, image: Any) -> Named:
    """The tasks in a frozen canvas that make their promises themselves."""
    special = Special(app)
    found: Named = {}
    stack = [image]
    while stack:
        sig = stack.pop()
        kind, kwargs = sig["subtask_type"], sig["kwargs"]
        if kind in ("chain", "group"):
            stack += kwargs["tasks"]
        elif kind == "chord":
            stack += [kwargs["header"]] if is_signature(kwargs["header"]) else kwargs["header"]
            stack += [kwargs["body"]] if kwargs["body"] is not None else []
        else:
            special.note(sig["task"], sig["options"].get("task_id"), found)
    return found


class Special:
    """Which tasks have a result class or a backend of their own; looked up once for each name."""

    __slots__ = ("app", "seen")

    def __init__(self, app: Any) -> None:
        self.app = app
        self.seen: dict[str, Any] = {}

    def of(self, name: str) -> Any:
        """The task, or None where the app's own promise does."""
        try:
            return self.seen[name]
        except KeyError:
            task = self.seen[name] = self._look(name)
            return task

    def _look(self, name: str) -> Any:
        from ..app.task import Task

        task = self.app.tasks.get(name)
        if task is None:
            return None
        own = type(task).AsyncResult is not Task.AsyncResult or task.backend is not self.app.backend
        return task if own else None

    def note(self, name: str, task_id: str | None, found: Named) -> None:
        task = self.of(name)
        if task is not None and task_id is not None:
            found[task_id] = task
