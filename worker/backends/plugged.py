"""A result backend that somebody else wrote for Celery, django-celery-results' for instance, as a store.

Law: such a backend is driven by the calls that Celery itself makes of it, and by nothing of its class: it may be any
object with these methods. It serializes by itself, so it gets and gives values and live exceptions, no bytes.
Its chords are its own affair: whoever runs tasks calls its `apply_chord` and `on_chord_part_return`, as Celery does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from ...protocol.errors import BadCall, BadMessage, ProtocolError, shown
from ...protocol.wire import children, failure, states
from ...protocol.wire import result as wire
from ...protocol.wire.failure import Failure
from ...protocol.wire.result import About, Result
from .base import Address, Settings, Store

NEEDED = ("store_result", "get_task_meta", "forget")
_GROUPS = ("save_group", "restore_group", "delete_group")

T = TypeVar("T")


class Request:
    """What a backend may ask of the request of a task. What Celery's request has, this has; nothing else is there."""

    args = kwargs = callbacks = chain = chord = errbacks = eta = expires = group = group_index = headers = None
    hostname = id = logfile = loglevel = origin = parent_id = properties = reply_to = root_id = shadow = None
    task = taskset = timelimit = stamped_headers = stamps = correlation_id = delivery_info = None
    retries = replaced_task_nesting = 0
    called_directly = is_eager = ignore_result = False
    utc = True

    def __init__(self, **known: Any) -> None:
        self.children: list[Any] = []
        self.__dict__.update(known)


class Child:
    """Something that a task sent, in the shape of Celery's results."""

    def __init__(self, tree: Any) -> None:
        self._tree = tree
        self.id = children.parse(tree).id

    def as_tuple(self) -> Any:
        return _tuples(self._tree)


class Tree:
    """A result tree in the shape of Celery's results: it has an id, members, and is a tuple when asked."""

    def __init__(self, node: children.Node) -> None:
        self._node = node
        self.id = node.id
        self.parent = None if node.parent is None else Tree(node.parent)
        self.results = self.children = [Tree(member) for member in node.members or ()]

    def as_tuple(self) -> Any:
        return _tuples(children.build(self._node))

    def __iter__(self) -> Iterator[Tree]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)


class PluggedStore(Store):
    """One backend object. `group` is claimed where it has the methods of groups."""

    def __init__(self, backend: Any, settings: Settings | None = None) -> None:
        super().__init__(settings)
        lacking = [name for name in NEEDED if not callable(getattr(backend, name, None))]
        if lacking:
            raise BadCall(f"{shown(backend)} is no result backend of Celery's kind: it lacks {', '.join(lacking)}")
        self.backend = backend
        groups = all(callable(getattr(backend, name, None)) for name in _GROUPS)
        self.can = frozenset({"shared", "group"} if groups else {"shared"})

    # --- one result

    def store(self, result: Result, address: Address | None = None) -> bool:
        """What a backend does about a SUCCESS that is stored is its own affair; ours is to look before."""
        _check(result.task_id)
        before = self._found(result.task_id)
        if isinstance(before, Result) and before.status == states.SUCCESS:
            return False
        request = _request(result, address)
        value, status = _value(result), result.status
        # By position: such backends name these parameters in their own ways.
        self._do(
            f"store the result of {result.task_id}",
            lambda: self.backend.store_result(result.task_id, value, status, result.traceback, request=request),
        )
        return True

    def fetch(self, task_id: str) -> Result | None:
        _check(task_id)
        found = self._found(task_id)
        if isinstance(found, BadMessage):
            raise found
        return found

    def _found(self, task_id: str) -> Result | BadMessage | None:
        meta = self._do(f"fetch the result of {task_id}", lambda: self.backend.get_task_meta(task_id, cache=False))
        if not isinstance(meta, Mapping):
            return BadMessage("result", f"{self._name} gave {shown(meta)} for {task_id}")
        if meta.get("status") in (None, states.PENDING):
            return None
        named = {"name": meta.get("name") or meta.get("task_name")} if "task_name" in meta else {}  # django's word
        try:
            return wire.read({**meta, **named, "children": _children(meta.get("children"))}, task_id)
        except BadMessage as bad:
            return bad

    def forget(self, task_id: str) -> None:
        self._do(f"forget the result of {task_id}", lambda: self.backend.forget(task_id))

    # --- groups

    def store_group(self, group: children.Node) -> None:
        self._needs("group", group.id)
        self._do(f"save the group {group.id}", lambda: self.backend.save_group(group.id, Tree(group)))

    def fetch_group(self, group_id: str) -> children.Node | None:
        self._needs("group", group_id)
        found = self._do(f"restore the group {group_id}", lambda: self.backend.restore_group(group_id, cache=False))
        if found is None:
            return None
        return children.parse(found.as_tuple() if hasattr(found, "as_tuple") else found)

    def forget_group(self, group_id: str) -> None:
        self._needs("group", group_id)
        self._do(f"delete the group {group_id}", lambda: self.backend.delete_group(group_id))

    def _needs(self, ability: str, ident: str) -> None:
        if ability not in self.can:
            raise self._cannot(ability, ident)

    # --- by the clock

    def expire(self, now: float) -> int:
        """It knows its own time, and does not say how many there were."""
        cleanup = getattr(self.backend, "cleanup", None)
        if callable(cleanup):
            self._do("clean up", cleanup)
        return 0

    @property
    def _name(self) -> str:
        return type(self.backend).__qualname__

    def _do(self, doing: str, call: Callable[[], T]) -> T:
        """Whatever a stranger's code raises is that the store does not work, except that a value cannot be written."""
        try:
            return call()
        except ProtocolError:
            raise
        except Exception as problem:
            raise self._told(doing, problem) from problem

    def _told(self, doing: str, problem: Exception) -> Exception:
        from kombu.exceptions import EncodeError, OperationalError

        text = f"{self._name} could not {doing}: {type(problem).__name__}: {problem}"
        if isinstance(problem, EncodeError):
            return BadCall(text)
        return OperationalError(text)


def _check(task_id: str) -> None:
    if not task_id:
        raise BadCall("a result needs an id that is not empty")


def _value(result: Result) -> Any:
    """The value, or in the states of exceptions a live one: a backend takes it apart in its own way."""
    value = result.result
    return failure.rebuild(value, sys.modules) if isinstance(value, Failure) else value


def _request(result: Result, address: Address | None) -> Request:
    about = result.about or About()
    known = {name: value for name, value in _call(about).items() if value is not None}
    return Request(
        id=result.task_id,
        group=result.group_id,
        parent_id=result.parent_id,
        children=[Child(tree) for tree in result.children or ()],
        reply_to=address.reply_to if address is not None else None,
        correlation_id=(address.correlation_id if address is not None else None) or result.task_id,
        delivery_info={"routing_key": about.queue} if about.queue else {},
        **known,
    )


def _call(about: About) -> dict[str, Any]:
    """The call itself, by the names that requests give to what `result_extended` keeps."""
    return {
        "task": about.name,
        "args": about.args,
        "kwargs": about.kwargs,
        "hostname": about.worker,
        "retries": about.retries,
        "stamps": dict(about.stamps) or None,
        "stamped_headers": list(about.stamped_headers) or None,
    }


def _children(found: Any) -> Any:
    """Trees as lists, whether they come as such, as tuples or as results."""
    if not isinstance(found, (list, tuple)):
        return found
    trees = [each.as_tuple() if hasattr(each, "as_tuple") else each for each in found]
    for tree in trees:
        children.parse(tree)  # that it is one, and how deep
    return _lists(trees)


def _tuples(tree: Any) -> Any:
    return tuple(map(_tuples, tree)) if isinstance(tree, (list, tuple)) else tree


def _lists(tree: Any) -> Any:
    return list(map(_lists, tree)) if isinstance(tree, (list, tuple)) else tree
