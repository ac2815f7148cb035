"""Performs what the rules say is to be sent: messages in bulk, a word to the result store between them.

Law: in the order of the steps. Nothing is decided here; a canvas of any size streams.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, Literal

from ...protocol.errors import BadCall
from ...protocol.rules.calling import Call, Parent
from ...protocol.rules.freezing import Node, oldest
from ...protocol.rules.publishing import Facts, SaveGroup, SetChordSize, publish
from ...worker.ids import new_id
from ..app import bulk
from ..result import quick
from . import signatures
from .freezing import Named, Special, promise
from .lazy import Lazy
from .mirror import Kind, completed, flat, flat_options
from .signatures import Signature

Steps = Generator[Any, None, Any]

_TOO_DEEP = (
    "This canvas is nested deeper than Python can recurse: some 190 chords, or 490 groups, each in the next. Put "
    "them side by side (one group of all members; chains splice themselves), or raise sys.setrecursionlimit here and "
    "in the workers."
)

_UNLOCK = "celery.chord_unlock"
_AT_ONCE = 2000  # calls in one piece: enough to hide the way to the broker, too few to weigh anything


# --- what the rules need to know ----------------------------------------------------------------------------


def facts(app: Any) -> Facts:
    """The app, its result store and the task that runs, as far as sending minds."""
    conf = app.conf
    return Facts(
        reply_to=app.thread_oid,
        protocol=conf.task_protocol,
        chords=chords(app.backend),
        parent=parent(app.current_worker_task),
        inherit_priority=bool(conf.task_inherit_parent_priority),
        errback_on_header=bool(conf.task_allow_error_cb_on_chord_header),
        unlock=partial(_unlock, app),
    )


def parent(task: Any) -> Parent | None:
    """The task in whose course something is sent."""
    if task is None:
        return None
    request = task.request
    return Parent(request.id, request.root_id, (request.delivery_info or {}).get("priority"))


def chords(backend: Any) -> Literal["native", "saved", "polled", "refused"]:
    """How a chord is completed: by a store that counts, with or without the saved group, by asking, or not at all."""
    store = getattr(backend, "store", None)
    can: frozenset[str] = getattr(store, "can", frozenset())
    if "chord" in can:
        return "native" if "push" in can else "saved"
    try:
        backend.ensure_chords_allowed()
    except NotImplementedError:
        return "refused"
    return "polled"


def _unlock(app: Any, body: Any) -> dict[str, Any]:
    """Where celery.chord_unlock goes for the rules: to the body's queue."""
    options, task = body["options"], app.tasks.get(body["task"])
    queue = options.get("queue") or getattr(task, "queue", None)
    if queue is None:
        queue = app.amqp.router.route({}, body["task"])["queue"].name
    found = {"queue": queue, "priority": 0 if task is None else task.priority}
    try:
        known = app.amqp.queues[queue] if isinstance(queue, str) else queue
        found["exchange_type"] = known.exchange.type
    except (AttributeError, KeyError):
        pass
    return found


# --- doors --------------------------------------------------------------------------------------------------


def send(sig: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
    """`apply_async` of a canvas: everything it takes is sent, and its result is promised."""
    try:
        return _send(sig, args, kwargs, options)
    except RecursionError:
        raise RecursionError(_TOO_DEEP) from None


def _send(sig: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
    app = sig.app
    producer = options.pop("producer", None)
    publisher = options.pop("publisher", None)
    add_to_parent = options.pop("add_to_parent", None) is not False
    kwargs = dict(kwargs or {})
    if kwargs.get("body") is not None:
        kwargs["body"] = flat(completed(kwargs["body"]))
    known = facts(app)
    if getattr(sig, "_use_link", None):
        known = _with_links(known)
    if _is_plain(app, sig, args, kwargs, options, known):
        result = send_plain(app, sig, producer or publisher, known)
        if add_to_parent and app.current_worker_task:
            app.current_worker_task.add_trail(result)
        return result
    image = flat(sig, top=True)
    steps = publish(image, args or (), kwargs, flat_options(options), ids=new_id, facts=known)
    try:
        node, special = _perform(app, steps, producer or publisher)
    except BadCall:
        if known.chords == "refused":
            app.backend.ensure_chords_allowed()
        raise
    if node is None:
        return None
    made: dict[int, Any] = {}
    result = promise(app, node, special, made)
    if add_to_parent and (known.parent or app.current_worker_task):
        _add_to_trail(app, sig["subtask_type"], node, result, made)
    return result


def _is_plain(app: Any, sig: Any, args: Any, kwargs: Any, options: dict[str, Any], known: Facts) -> bool:
    """A group that only holds its members, in an app whose signatures send themselves as ours do."""
    kind: Any = type(sig)
    return (
        kind is Signature.TYPES["group"]
        and not (sig["options"] or args or kwargs or options)
        and known.protocol == 2
        and not (known.parent is not None and known.inherit_priority)
        and not signatures.rerouted()
        and hasattr(app.amqp, "shortcuts")  # somebody's own `amqp` may have none
    )


def send_plain(app: Any, sig: Any, producer: Any, known: Facts) -> Any:
    """The members of a group as long as they are plain calls, with nothing made of them but messages.

    The first that is not, and all after it, go the way of the rules.
    """
    group_id = new_id()
    inside = app.current_worker_task is not None
    batch = bulk.Batch(app, producer, {"add_to_parent": False} if inside else {}, group_id)
    special, make, tasks = Special(app), quick(app.AsyncResult), app._tasks
    given = sig["kwargs"]["tasks"]
    members = given.stream() if isinstance(given, Lazy) else iter(given)
    results: list[Any] = []
    rest: Any = ()
    last = task = own = None
    try:
        for member in members:
            task_id = None
            if type(member) is Signature and not member["options"] and member["subtask_type"] is None:
                name = member["task"]
                if name is not last:
                    last, task, own = name, tasks.get(name), special.of(name)
                task_id = batch.add(task, member["args"], member["kwargs"], len(results))
            if task_id is None:
                rest = chain((member,), members)
                break
            results.append(make(task_id) if own is None else own.AsyncResult(task_id))
    finally:
        batch.flush()
    if rest or not results:
        image = {**sig, "kwargs": {"tasks": map(flat, map(completed, rest))}}
        options = {"task_id": group_id}
        node, named = _perform(
            app, publish(image, (), {}, options, ids=new_id, facts=known, before=len(results)), producer
        )
        others = promise(app, node, named)
        if not results:
            return others
        results += others.results
    return app.GroupResult(group_id, results)


def perform(app: Any, steps: Steps, producer: Any = None) -> Any:
    """Performs steps of publishing; gives the results that they promise.

    None for none; a list for a list. Nothing is added to the children of a running task.
    """
    node, special = _perform(app, steps, producer)
    if isinstance(node, list):
        made: dict[int, Any] = {}
        return [promise(app, each, special, made) for each in node]
    return promise(app, node, special) if isinstance(node, Node) else node


def _with_links(known: Facts) -> Facts:
    from ...protocol.values import replace

    return replace(known, protocol=1)


def _add_to_trail(app: Any, kind: Any, node: Node, result: Any, made: dict[int, Any]) -> None:
    """What a running task sent is its child: of a chain the first step, of a chord the header."""
    task = app.current_worker_task
    if task is None:
        return
    if kind != "group":
        first = oldest(node)
        result = made.get(id(first), result)
        if first.children == []:  # the header was empty: the body alone is sent, and to its sender it has no parent
            result = promise(app, Node(node.id, None, node.children))
    task.add_trail(result)


# --- performing ---------------------------------------------------------------------------------------------


def _perform(app: Any, steps: Steps, producer: Any) -> tuple[Any, Named]:
    run = _Run(app, steps, producer)
    run.all()
    return run.value, run.named


class _Run:
    """One pass over the steps."""

    __slots__ = ("app", "inside", "last_body", "named", "producer", "rerouted", "special", "steps", "value", "waiting")

    def __init__(self, app: Any, steps: Steps, producer: Any) -> None:
        self.app = app
        self.steps = steps
        self.producer = producer
        self.value: Any = None
        self.waiting: Any = None
        self.named: Named = {}
        self.special = Special(app)
        self.last_body: Any = None
        self.inside = app.current_worker_task is not None
        self.rerouted = signatures.rerouted()

    def all(self) -> None:
        from ..app import sending

        while True:
            calls = self.calls()
            while piece := list(_soon(calls)):
                deque(sending.send_calls(self.app, piece, self.producer), maxlen=0)
            if self.waiting is None:
                return
            step, self.waiting = self.waiting, None
            if not isinstance(step, Call):
                tell_store(self.app, step)
            elif self.starts_chord(step):
                start_chord(self.app, step)
            else:
                self.call_signature(step)

    def calls(self) -> Iterator[Call]:
        """Up to the next step that is no message, or whose sending is the user's own."""
        while True:
            try:
                step = next(self.steps)
            except StopIteration as end:
                self.value = end.value
                return
            if isinstance(step, Call):
                self.note(step)
                if not self.rerouted and type(step.name) is not Kind and not self.starts_chord(step):
                    if self.inside:  # the canvas is the running task's child, not each of its tasks
                        step.options["add_to_parent"] = False  # type: ignore[index]  # made for this call
                    yield step
                    continue
            self.waiting = step
            return

    def note(self, call: Call) -> None:
        """Who promises its result itself, among those whose ids the rules have just given."""
        if self.special.of(call.name) is not None:
            self.special.note(call.name, call.options["task_id"], self.named)
        options = call.options
        for step in options.get("chain") or ():
            self.note_step(step)
        body = options.get("chord")
        if body is not None and body is not self.last_body:
            self.last_body = body
            self.note_step(body)

    def starts_chord(self, call: Call) -> bool:
        """Whether it stands for what the result store wants to be told itself."""
        return call.name == _UNLOCK and starts_chords(self.app.backend)

    def note_step(self, step: Any) -> None:
        if step["subtask_type"] is None:
            self.special.note(step["task"], step["options"].get("task_id"), self.named)
        elif step["subtask_type"] == "chord" and step["kwargs"]["body"]:
            self.note_step(step["kwargs"]["body"])
        elif step["subtask_type"] in ("group", "chain"):
            for task in step["kwargs"]["tasks"]:
                self.note_step(task)

    def call_signature(self, call: Call) -> None:
        """Through the `apply_async` of its signature."""
        image = {
            "task": str(call.name), "args": tuple(call.args), "kwargs": dict(call.kwargs or {}),
            "options": {}, "subtask_type": None, "immutable": True,
        }  # fmt: skip
        options = dict(call.options)
        made: Any
        if isinstance(call.name, Kind):
            cls: Any = call.name.cls
            made = dict.__new__(cls)
            dict.update(made, image, options=options)
            options = {}
        else:
            made = Signature(image)
        made._app = self.app
        made.apply_async(add_to_parent=False, producer=self.producer, **options)


def _soon(calls: Iterator[Call]) -> Iterator[Call]:
    """What makes one piece: of members that are slow to come, what is there."""
    end = time.monotonic() + bulk.HELD
    for call in islice(calls, _AT_ONCE):
        yield call
        if time.monotonic() >= end:
            return


def starts_chords(backend: Any) -> bool:
    """Whether somebody else's backend says how chords are begun, as one that counts members does."""
    if "apply_chord" in getattr(backend, "__dict__", ()):
        return True
    own = {"apply_chord", "fallback_chord_unlock"}
    owners = [kind for kind in type(backend).__mro__ if own & vars(kind).keys()]
    return bool(owners) and not owners[0].__module__.startswith(("celery.backends.", "celeriac.compat.backends."))


def start_chord(app: Any, unlock: Call) -> None:
    """Before the header is sent. What the backend leaves to Celery sends the task that looks and waits."""
    from ..result import result_from_tuple

    group_id, body = unlock.args
    given = unlock.kwargs or {}
    app.backend.apply_chord(
        (group_id, [result_from_tuple(each, app=app) for each in given["result"]]),
        signatures.maybe_signature(body, app=app),
        interval=given.get("interval"),
        countdown=unlock.options["countdown"],
        max_retries=given.get("max_retries"),
    )


def tell_store(app: Any, step: Any) -> None:
    """One step that is for the result store."""
    backend = app.backend
    store = getattr(backend, "store", None)
    if isinstance(step, SetChordSize):
        if store is not None:
            store.chord_start(step.group_id, step.size)
        else:
            backend.set_chord_size(step.group_id, step.size)
    elif isinstance(step, SaveGroup):
        _save(app, backend, store, step)
    else:
        raise TypeError(f"no such step: {step!r}")


def _save(app: Any, backend: Any, store: Any, step: SaveGroup) -> None:
    if store is None:
        from ..result import result_from_tuple

        backend.save_group(step.group_id, result_from_tuple(step.tree, app=app))
        return
    from ...protocol.wire import children

    tree = children.parse(step.tree)
    if "chord" in store.can and "push" not in store.can:
        # A store that adds and counts: stock workers take the number of members from the saved group.
        store.chord_start(step.group_id, len(tree.members or ()), tree)
    else:
        store.store_group(tree)


__all__ = ("chords", "facts", "parent", "perform", "send", "tell_store")
