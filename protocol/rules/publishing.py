"""From a signature to the messages and backend steps that sending it takes, in Celery's order.

Law: a generator of values; nothing is sent here. Members of a lazy group are pulled one at a time, so a group
of any size stays flat. The generator's return value is the promise of the result (`Node`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Literal

from ..errors import BadCall
from ..values import dataclass
from .calling import Call, Parent
from .canvas import group as group_of
from .chord import leaves
from .freezing import Freezer, Ids, Node, counts, is_empty_chain, strip_header_chords, told_once
from .signature import (
    CHAIN,
    CHORD,
    GROUP,
    Signature,
    body_of,
    cloned,
    extend_links,
    is_lazy,
    is_signature,
    link,
    link_error,
    listed,
    members,
    merged,
    owned,
)


@dataclass(frozen=True, slots=True)
class SetChordSize:
    """The store learns how many results complete the header; always before the header's last message."""

    group_id: str
    size: int


@dataclass(frozen=True, slots=True)
class SaveGroup:
    """The store keeps the shape of a group, as its results alone would not tell it."""

    group_id: str
    tree: tuple[Any, Any]


Step = Call | SetChordSize | SaveGroup
# What sending yields, and the promise it returns; an empty chain sends nothing and promises nothing.
Steps = Generator[Step, None, "Node | None"]


def _default_unlock(body: Signature) -> dict[str, Any]:
    return {"queue": body["options"].get("queue") or "celery", "exchange_type": "direct"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What publishing needs to know about the app.

    `chords`: the store counts header results itself ("native"), counts but needs the group saved ("saved"), has
    to be polled by celery.chord_unlock ("polled"), or has no chords ("refused"). `unlock` names the queue (and
    exchange_type, priority) for chord_unlock, given the body.
    """

    reply_to: str
    protocol: int = 2
    chords: Literal["native", "saved", "polled", "refused"] = "native"
    parent: Parent | None = None
    inherit_priority: bool = False
    errback_on_header: bool = False
    unlock: Callable[[Signature], dict[str, Any]] = _default_unlock


def publish(
    sig: Signature,
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    ids: Ids,
    facts: Facts,
    before: int = 0,
) -> Steps:
    """Everything that `sig.apply_async(args, kwargs, **options)` sends.

    Of a group: so many of its members, of those that count, have been sent `before` these.
    """
    again = sig["subtask_type"] == CHORD and _is_frozen(sig["kwargs"]["header"])
    return _Publisher(ids, facts, before, again=again).send(sig, tuple(args), kwargs, dict(options or {}))


class _Publisher:
    __slots__ = ("again", "before", "facts", "freezer", "ids")

    def __init__(self, ids: Ids, facts: Facts, before: int, *, again: bool) -> None:
        self.again = again
        self.before = before
        self.ids = ids
        self.facts = facts
        self.freezer = Freezer(ids, facts.reply_to, facts.protocol == 1, facts.errback_on_header)

    def send(
        self, sig: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, options: dict[str, Any]
    ) -> Steps:
        steps: Steps = _SEND.get(sig["subtask_type"], _SEND[None])(self, sig, args, kwargs, options)
        return steps

    # --- one task -------------------------------------------------------------------------------------------

    def send_task(
        self, sig: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, options: dict[str, Any]
    ) -> Steps:
        given = {key: value for key, value in options.items() if value is not None}
        args, all_kwargs, all_options = merged(sig, args, kwargs, given)
        call = self.call(sig["task"], args, all_kwargs, all_options)
        yield call
        return Node(call.options["task_id"])

    def call(self, name: str, args: Any, kwargs: dict[str, Any], options: Mapping[str, Any]) -> Call:
        own = {key: value for key, value in options.items() if key != "add_to_parent"}
        return self.completed(name, args, kwargs, own)

    def completed(self, name: str, args: Any, kwargs: dict[str, Any], options: dict[str, Any]) -> Call:
        """A call with its id and its parent; the options become the call's."""
        if not options.get("task_id"):
            options["task_id"] = self.ids()
        parent = self.facts.parent
        if parent is not None and not (options.get("root_id") and options.get("parent_id")):
            options["root_id"] = options.get("root_id") or parent.root_id or parent.id
            options["parent_id"] = options.get("parent_id") or parent.id
            if self.facts.inherit_priority:
                options.setdefault("priority", parent.priority)
        return Call(name, args, kwargs, options)

    # --- chain ----------------------------------------------------------------------------------------------

    def send_chain(
        self, sig: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, options: dict[str, Any]
    ) -> Steps:
        rest = {**sig["options"], **options}
        callbacks = rest.pop("link", None)
        last_id, group_id, chord, root_id, group_index, errbacks = (
            rest.pop(key, None) for key in ("task_id", "group_id", "chord", "root_id", "group_index", "link_error")
        )
        rest.pop("parent_id", None)
        steps, nodes = self.freezer.prepare(
            dict(sig, options={}),
            (*args, *sig["args"]) if args and not sig["immutable"] else sig["args"],
            sig["kwargs"]["tasks"],
            last_id,
            group_id,
            chord,
            root_id,
            group_index,
            kwargs=dict(kwargs or {}),
            errbacks=errbacks,
        )
        if not nodes:
            return None
        self.check_chords(steps)
        if callbacks:
            extend_links(steps[0], callbacks)
        first = steps.pop()
        if self.freezer.linked_chains:
            rest["chain"] = None
        else:
            rest["chain"] = [*(rest.get("chain") or ()), *steps]
        node = yield from self.send(first, (), None, rest)
        return nodes[0] if steps else node

    def check_chords(self, steps: list[Signature]) -> None:
        if self.facts.chords == "refused" and any(step["subtask_type"] == CHORD for step in steps):
            raise BadCall("this result backend has no chords: a group with a successor needs one that counts")

    # --- group ----------------------------------------------------------------------------------------------

    def send_group(
        self, sig: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, options: dict[str, Any]
    ) -> Steps:
        for key in ("link", "link_error"):
            if options.pop(key, None) is not None:
                raise BadCall(f"a group takes no {key}: link its tasks, or make it a chord")
        tasks = sig["kwargs"]["tasks"]
        if not is_lazy(tasks) and not tasks:
            return self.freezer.freeze(cloned(sig))
        options = _group_options(sig, options)
        group_id = options["group_id"] = options.pop("task_id", None) or self.ids()
        before, self.before = self.before, 0
        nodes = yield from self.send_members(
            self.prepared(tasks, group_id, options.get("root_id"), before), args, kwargs, group_id, options
        )
        if len(nodes) == 1 and nodes[0].children is not None and not before:
            return nodes[0]
        return Node(group_id, None, nodes)

    def prepared(
        self, tasks: Iterable[Signature], group_id: str, root_id: str | None, before: int = 0
    ) -> Iterator[tuple[Signature, Node]]:
        """Members with their ids, nested groups in line; each group counts its own members from 0."""
        for index, task in enumerate(tasks, before):
            if task["subtask_type"] == GROUP:
                yield from self.prepared(task["kwargs"]["tasks"], group_id, root_id)
            elif task["subtask_type"] is None and not task["options"]:
                yield self.prepared_task(task, group_id, root_id, index)
            elif not is_empty_chain(task):
                copy = cloned(task)
                yield copy, self.freezer.freeze(copy, group_id=group_id, root_id=root_id, group_index=index)

    def prepared_task(self, task: Signature, group_id: str, root_id: str | None, index: int) -> tuple[Signature, Node]:
        """The most common member, a task without options, at a fraction of what cloning and freezing it costs."""
        task_id = self.ids()
        options = {"task_id": task_id, "reply_to": self.freezer.reply_to, "group_id": group_id, "group_index": index}
        if root_id:
            options["root_id"] = root_id
        return {**task, "options": options}, Node(task_id)

    def send_members(
        self,
        prepared: Iterator[tuple[Signature, Node]],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None,
        group_id: str,
        options: dict[str, Any],
        *,
        size_told: bool = False,
    ) -> Generator[Step, None, list[Node]]:
        options.pop("group_index", None)
        chord = options.pop("chord", None)
        options.pop("add_to_parent", None)
        size = 0
        nodes: list[Node] = []
        given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
        if chord is not None:
            given["chord"] = chord
        following = next(prepared, None)
        while following is not None:
            (task, node), following = following, next(prepared, None)
            body = chord if chord is not None else task["options"].get("chord")
            size += leaves(task)
            if body is not None and following is None and self.facts.chords == "native" and not size_told:
                yield SetChordSize(group_id, size)
            if task["subtask_type"] is None and "add_to_parent" not in task["options"]:
                yield self.completed(task["task"], *merged(task, args, kwargs, given))
            else:
                yield from self.send(task, args, kwargs, {"add_to_parent": False, "chord": body, **options})
            nodes.append(node)
        return nodes

    # --- chord ----------------------------------------------------------------------------------------------

    def send_chord(
        self, sig: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, options: dict[str, Any]
    ) -> Steps:
        if self.facts.chords == "refused":
            raise BadCall("this result backend has no chords")
        own = sig["options"]
        all_args = (*args, *sig["args"]) if args and not sig["immutable"] else sig["args"]
        extra = dict(kwargs or {})
        given_body = extra.pop("body", None) or body_of(sig)
        extra = {**sig["kwargs"].get("kwargs", {}), **extra}
        task_id = options.pop("task_id", None)
        delay = {key: options.pop(key) for key in ("countdown", "eta") if options.get(key) is not None}
        links = {key: options.pop(key) for key in ("link", "link_error") if key in options}
        body = cloned(given_body, options=_for_body(options))
        head = self.head_of(sig)
        again, self.again = self.again, False
        everything = {**own, **options, **links}
        task_id = task_id if task_id is not None else everything.get("task_id")
        for key in ("countdown", "eta"):
            if key not in delay and own.get(key) is not None:
                delay[key] = own[key]
        # Said in a call these are for the poller alone; of the chord itself they go on to its body too, in stock.
        unlock = {key: everything.pop(key, None) for key in ("interval", "max_retries")}
        everything = {**own, **everything}
        for key in ("countdown", "eta", "task_id"):
            everything.pop(key, None)
        group_id = head["options"].get("task_id") or self.ids()
        root_id = body["options"].get("root_id")
        if everything:
            body = with_links(body, everything)
            body["options"].update(_for_body(everything))
        if body["subtask_type"] == CHAIN:
            self.freezer.unroll_chords(body)
        result = self.freezer.freeze(body, task_id or self.ids(), group_id=group_id, root_id=root_id)
        strip_header_chords(body)
        told_once(body)
        for key in ("chain", "chord"):
            everything.pop(key, None)
        result_of_header = yield from self.send_header(
            head, body, group_id, root_id, all_args, extra, {**everything, **delay}, unlock, again=again
        )
        # Tied last: the body's own parent, if it has one, is what came before it inside the body.
        result.parent = result_of_header
        return result

    def head_of(self, sig: Signature) -> Signature:
        tasks = sig["kwargs"]["header"]
        if is_signature(tasks):
            return cloned(tasks)
        return group_of(tasks if is_lazy(tasks) else list(tasks), task_id=sig["options"].get("task_id") or self.ids())

    def send_header(
        self,
        head: Signature,
        body: Signature,
        group_id: str,
        root_id: str | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: dict[str, Any],
        unlock: dict[str, Any],
        *,
        again: bool,
    ) -> Steps:
        own = head["options"]
        own["task_id"] = group_id
        lazy = is_lazy(head["kwargs"]["tasks"])
        if lazy and self.facts.chords == "native":
            own.update(group_id=group_id, chord=body)
            own.setdefault("root_id", root_id)
            own.setdefault("parent_id", None)
        else:
            # The polling task and the saved group name every member, so they must all be known first.
            members(head)
            shape = Node(*self.freezer.freeze_members(head, group_id, body, root_id))
            if shape.children:
                yield from self.announce(shape, body, unlock)
        options = _group_options(head, options)
        options["group_id"] = options.pop("task_id")
        prepared = self.prepared(head["kwargs"]["tasks"], group_id, options.get("root_id"))
        again = again and not lazy and self.facts.chords == "native" and counts(body)
        if again:
            # It may have run before: what that run has left goes before its first member can finish once more.
            listed = list(prepared)
            if listed:
                yield SetChordSize(group_id, sum(leaves(task) for task, _ in listed))
            prepared = iter(listed)
        nodes = yield from self.send_members(prepared, args, kwargs, group_id, options, size_told=again)
        if not nodes:
            yield from self.send(body, ([],), None, {})
        if len(nodes) == 1 and nodes[0].children is not None:
            return nodes[0]
        return Node(group_id, None, nodes)

    def announce(self, header: Node, body: Signature, unlock: dict[str, Any]) -> Iterator[Step]:
        """What the store must hear before the first header task can finish."""
        how = self.facts.chords
        nested = any(node.children is not None for node in header.children or ())
        if how == "saved" or (how == "native" and nested):
            yield SaveGroup(header.id, header.as_tuple())
        elif how == "polled":
            yield self.unlock_call(header, body, unlock)

    def unlock_call(self, header: Node, body: Signature, unlock: dict[str, Any]) -> Call:
        options = {"priority": None, **self.facts.unlock(body)}
        own = body["options"]
        stamps = own.get("stamped_headers") or ()
        for key in ("exchange", "exchange_type", "routing_key", "headers"):
            if key not in stamps and own.get(key) is not None:
                options[key] = own[key]
        if own.get("priority") is not None:
            options["priority"] = own["priority"]
        kwargs = {**unlock, "result": [node.as_tuple() for node in header.children or ()]}
        if "exchange_type" in options:
            kwargs["_chord_unlock_exchange_type"] = options["exchange_type"]
        return self.call("celery.chord_unlock", (header.id, body), kwargs, {"countdown": 1, **options})


def with_links(body: Signature, options: dict[str, Any]) -> Signature:
    """Links given to a chord belong to its body; taken out of the options, as a header refuses them."""
    callbacks, errbacks = listed(options.pop("link", None)), listed(options.pop("link_error", None))
    if callbacks or errbacks:
        body = owned(body)
    for callback in callbacks:
        if body["subtask_type"] == GROUP and not members(body):
            body["options"].setdefault("link", []).append(callback)
        else:
            link(body, cloned(callback))
    for errback in errbacks:
        if body["subtask_type"] == GROUP:
            _link_error_to_members(body, errback)
        else:
            _append_errback(body, errback)
    return body


def _group_options(sig: Signature, options: dict[str, Any]) -> dict[str, Any]:
    own = sig["options"]
    return {
        **own,
        **{k: v for k, v in options.items() if k not in ("group_id", "stamped_headers") or k not in own},
    }


def _is_frozen(header: Any) -> bool:
    """Its ids are given already, so that what is sent now may have been sent before."""
    return is_signature(header) and header["options"].get("task_id") is not None


def _for_body(options: Mapping[str, Any]) -> dict[str, Any]:
    """The parent of a body is the header task that completes the header, not who sent the chord."""
    return {key: value for key, value in options.items() if key != "parent_id"}


def _append_errback(sig: Signature, errback: Signature) -> None:
    own = sig["options"]["link_error"] = listed(sig["options"].get("link_error"))
    if errback not in own:
        own.append(errback)


def _link_error_to_members(sig: Signature, errback: Signature, *, whole: bool = True) -> None:
    """In place: to each task of a group body, or to the group's own errbacks, which win over its tasks'."""
    if sig["subtask_type"] == GROUP:
        if whole and sig["options"].get("link_error") is not None:
            _append_errback(sig, cloned(errback))
            return
        for task in members(sig):
            _link_error_to_members(task, errback, whole=False)
    elif sig["subtask_type"] == CHORD:
        _link_error_to_members(body_of(sig), errback)
    else:
        link_error(sig, cloned(errback))


_SEND: dict[Any, Callable[..., Steps]] = {
    None: _Publisher.send_task,
    CHAIN: _Publisher.send_chain,
    GROUP: _Publisher.send_group,
    CHORD: _Publisher.send_chord,
}
