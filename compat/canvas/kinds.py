"""The signatures that are made of signatures: chain, group, chord, map, starmap and chunks.

Law: Celery's names and meanings of `()`, `delay`, `apply` and `apply_async`; how each is laid out, joined, frozen and
sent is in protocol/rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import count
from typing import Any, ClassVar

from ...protocol.rules import canvas as composing
from ...protocol.rules.chord import leaves
from ...protocol.rules.signature import is_signature
from . import eager
from .lazy import Lazy, regen
from .mirror import Mirror, flat, known
from .signatures import (
    Item,
    Signature,
    clone_canvas,
    joinable,
    maybe_signature,
    signature,
    warn_pending,
)


def _send(sig: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
    from .performing import send

    return send(sig, args, kwargs, options)


def _first_app(sig: Any, tasks: Any) -> Any:
    """A canvas without an app of its own belongs to that of its first task."""
    if sig._app is not None:
        return sig._app
    try:
        return tasks[0].app
    except (LookupError, AttributeError):  # nothing in it, or a plain dict
        from .. import _state

        return _state.get_current_app()


def _shortened(task: Any, text: str) -> str:
    """The module of the first task stands once."""
    module = str(task["task"]).rpartition(".")[0]
    if not module:
        return text
    head, found, rest = text.partition(f"{module}.")
    return head + found + rest.replace(f"{module}.", "")


# --- chain --------------------------------------------------------------------------------------------------


@known
@Signature.register_type(name="chain")
class _chain(Signature):
    """Tasks one after another, each with the result of the one before it; `chain` makes it."""

    tasks = Item("kwargs.tasks", "The steps.")
    _use_link: Any = None
    _frozen: Any = None

    @classmethod
    def from_dict(cls, d: Any, app: Any = None) -> Any:
        tasks = [maybe_signature(task, app=app) for task in d["kwargs"]["tasks"] or ()]
        return cls(tasks, app=app, **d["options"])

    def __init__(self, *tasks: Any, **options: Any) -> None:
        if len(tasks) == 1 and _is_many(tasks[0]):
            tasks = regen(tasks[0])
        use_link = options.pop("use_link", None)
        super().__init__("celery.chain", (), {"tasks": tasks}, **options)
        self["subtask_type"] = "chain"
        self._use_link = use_link

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.apply_async(args, kwargs) if self.tasks else None

    def __or__(self, other: Any) -> Any:
        right = joinable(other)
        if right is None:
            return NotImplemented
        mirror = Mirror(self._app)
        made = mirror.live(composing.joined(mirror.plain(self), mirror.plain(right)))
        return made if type(self) in _PLAIN_CHAINS else _as_class(type(self), made)

    def clone(self, *args: Any, **kwargs: Any) -> Any:
        args, more, options = _split(args, kwargs)
        made = clone_canvas(self, args, more, options)
        return made if type(self) in _PLAIN_CHAINS else _as_class(type(self), made)

    def unchain_tasks(self) -> list[Any]:
        """Copies of the steps, with the chain's callbacks on the last and its errbacks on each."""
        mirror = Mirror(self._app)
        return [mirror.live(task) for task in composing.unchained(mirror.plain(self))]

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:  # type: ignore[override]  # Celery's own
        """Send the first step; the rest travels with it."""
        if self.app.conf.task_always_eager:
            return eager.joining(self.apply, args or (), kwargs or {}, options)
        return _send(self, args, kwargs, options)

    def run(
        self,
        args: Any = None,
        kwargs: Any = None,
        group_id: Any = None,
        chord: Any = None,
        task_id: Any = None,
        link: Any = None,
        link_error: Any = None,
        publisher: Any = None,
        producer: Any = None,
        root_id: Any = None,
        parent_id: Any = None,
        app: Any = None,
        group_index: Any = None,
        **options: Any,
    ) -> Any:
        """As `apply_async`, eager or not."""
        named = {
            "group_id": group_id, "chord": chord, "task_id": task_id, "link": link, "link_error": link_error,
            "producer": producer or publisher, "root_id": root_id, "parent_id": parent_id, "group_index": group_index,
        }  # fmt: skip
        options.update((key, value) for key, value in named.items() if value is not None)
        return _send(maybe_signature(self, app=app), args, kwargs, options)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run every step here and now."""
        return eager.apply_chain(self, args or (), kwargs or {}, options)

    def prepare_steps(
        self,
        args: Any,
        kwargs: Any,
        tasks: Any,
        root_id: Any = None,
        parent_id: Any = None,
        link_error: Any = None,
        app: Any = None,
        last_task_id: Any = None,
        group_id: Any = None,
        chord_body: Any = None,
        clone: bool = True,
        from_dict: Any = Signature.from_dict,
        group_index: Any = None,
    ) -> tuple[list[Any], list[Any]]:
        """The steps, last first as they travel, each with its id, and the promises of their results."""
        from .freezing import prepare

        return prepare(
            self, args, tasks, last_task_id, group_id, chord_body, root_id, group_index, kwargs, link_error, clone
        )  # fmt: skip

    @property
    def app(self) -> Any:
        return _first_app(self, self["kwargs"]["tasks"])

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    def __repr__(self) -> str:
        tasks = self.tasks
        if not tasks:
            return f"<{type(self).__name__}@{id(self):#x}: empty>"
        return _shortened(tasks[0], " | ".join(repr(maybe_signature(task)) for task in tasks))


class chain(_chain):
    """`chain(a, b, c)` is `a | b | c`. Of one iterable: its items."""

    def __new__(cls, *tasks: Any, **kwargs: Any) -> Any:
        if kwargs or not tasks or (len(tasks) == 1 and not _is_many(tasks[0])):
            return super().__new__(cls)
        return _folded(cls, list(tasks[0] if len(tasks) == 1 else tasks))


_PLAIN_CHAINS = frozenset({_chain, chain})
known(chain)


def _is_many(value: Any) -> bool:
    """Something to iterate that is not a signature or a text."""
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, dict))


def _folded(cls: Any, tasks: list[Any]) -> Any:
    mirror = Mirror()
    images = []
    for task in tasks:
        step = joinable(task)
        if step is None:
            raise TypeError(f"a chain is made of signatures, got {type(task).__name__}")
        images.append(mirror.plain(step))
    made = mirror.live(composing.chain(*images) if len(images) != 1 else composing.chain(images))
    return made if cls is chain or not isinstance(made, _chain) else _as_class(cls, made)


def _as_class(cls: Any, made: Any) -> Any:
    """Chains of a user's class stay of that class."""
    if not isinstance(made, _chain) or isinstance(made, cls):
        return made
    own = dict.__new__(cls)
    dict.update(own, made)
    own._app, own._type, own._use_link = made._app, made._type, made._use_link
    return own


def _split(args: Any, kwargs: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """`clone`'s arguments, however they were given."""
    rest = dict(kwargs)
    positional = dict(zip(("args", "kwargs"), args, strict=False))
    return positional.get("args", rest.pop("args", None)), positional.get("kwargs", rest.pop("kwargs", None)), rest


# --- map, starmap, chunks -----------------------------------------------------------------------------------


class _basemap(Signature):
    _task_name: ClassVar[Any] = None

    @classmethod
    def from_dict(cls, d: Any, app: Any = None) -> Any:
        return cls(d["kwargs"]["task"], d["kwargs"]["it"], app=app, **d["options"])

    def __init__(self, task: Any, it: Any, **options: Any) -> None:
        super().__init__(self._task_name, (), {"task": task, "it": regen(it)}, immutable=True, **options)

    def apply_async(self, args: Any = None, kwargs: Any = None, **opts: Any) -> Any:  # type: ignore[override]  # Celery's own
        """Send one task that calls the other for each item."""
        given = {key: value for key, value in opts.items() if value is not None}
        _, _, options = self._merge(None, None, given)
        options = dict(options)
        route = options.pop("route_name", None) or _name_of(self["kwargs"]["task"])
        image = flat(self)
        return self.type.apply_async((), image["kwargs"], route_name=route, **options)

    def _parts(self) -> tuple[str, str]:
        text = repr(self["kwargs"]["it"])
        if len(text) >= _SHOWN:
            text = text[:_SHOWN].rsplit(" ", 1)[0] + "..."
        return _name_of(self["kwargs"]["task"]), text


_SHOWN = 100


def _name_of(task: Any) -> Any:
    return task["task"] if isinstance(task, dict) else getattr(task, "name", task)


@known
@Signature.register_type()
class xmap(_basemap):
    """One task that calls another for each item."""

    _task_name = "celery.map"

    def __repr__(self) -> str:
        return "[{}(x) for x in {}]".format(*self._parts())


@known
@Signature.register_type()
class xstarmap(_basemap):
    """One task that calls another for each list of arguments."""

    _task_name = "celery.starmap"

    def __repr__(self) -> str:
        return "[{}(*x) for x in {}]".format(*self._parts())


known(_basemap)


@known
@Signature.register_type()
class chunks(Signature):
    """The calls of a task with each list of arguments, so many to a message."""

    @classmethod
    def from_dict(cls, d: Any, app: Any = None) -> Any:
        inner = d["kwargs"]
        return cls(inner["task"], inner["it"], inner["n"], app=app, **d["options"])

    def __init__(self, task: Any, it: Any, n: Any, **options: Any) -> None:
        super().__init__("celery.chunks", (), {"task": task, "it": regen(it), "n": n}, immutable=True, **options)

    def __call__(self, **options: Any) -> Any:
        return self.apply_async(**options)

    def apply_async(self, args: Any = None, kwargs: Any = None, **opts: Any) -> Any:  # type: ignore[override]  # Celery's own
        """Send the chunks as a group."""
        return self.group().apply_async(args, kwargs, route_name=_name_of(self["kwargs"]["task"]), **opts)

    def group(self) -> Any:
        """The group of starmaps that it stands for."""
        inner = dict(self["kwargs"])
        if isinstance(inner["it"], Lazy):
            inner["it"] = inner["it"].stream()
        made = composing.chunk_group({**self, "kwargs": inner})
        task = inner["task"]
        parts = (xstarmap(task, part["kwargs"]["it"], app=self._app) for part in made["kwargs"]["tasks"])
        return group(parts, app=self._app)

    @classmethod
    def apply_chunks(cls, task: Any, it: Any, n: Any, app: Any = None) -> Any:
        """Send the calls of `task` in chunks."""
        return cls(task, it, n, app=app)()


# --- group --------------------------------------------------------------------------------------------------


def _maybe_group(tasks: Any, app: Any) -> Any:
    """The tasks of a header, however they are given."""
    if isinstance(tasks, dict) and not isinstance(tasks, Signature):
        tasks = signature(tasks, app=app)
    if isinstance(tasks, (group, _chain)):
        return tasks.tasks
    if isinstance(tasks, Signature):
        return [tasks]
    if isinstance(tasks, (list, tuple)) and not isinstance(tasks, Lazy):
        return [signature(task, app=app) for task in tasks]
    return tasks if isinstance(tasks, Lazy) else Lazy(map(partial(signature, app=app), tasks))


@known
@Signature.register_type()
class group(Signature):
    """Tasks side by side. Of one iterable: its items; those of an iterator are pulled as they are sent."""

    tasks = Item("kwargs.tasks", "The members.")

    @classmethod
    def from_dict(cls, d: Any, app: Any = None) -> Any:
        tasks = d["kwargs"]["tasks"]
        if isinstance(tasks, Lazy):
            tasks.map(partial(maybe_signature, app=app))
        else:
            # In place, since whoever holds the dict expects to find there what is frozen here.
            kind = type(tasks) if isinstance(tasks, (list, tuple)) else list
            tasks = d["kwargs"]["tasks"] = kind(maybe_signature(task, app=app) for task in tasks)
        return cls(tasks, app=app, **d["options"])

    def __init__(self, *tasks: Any, **options: Any) -> None:
        members: Any = tasks
        if len(tasks) == 1:
            members = tasks[0]
            if isinstance(members, group):
                members = members.tasks
            if isinstance(members, Signature):
                members = [members.clone()]
            elif isinstance(members, dict) and is_signature(members):
                members = [maybe_signature(members)]
            members = regen(members)
        super().__init__("celery.group", (), {"tasks": members}, **options)
        self["subtask_type"] = "group"

    def __call__(self, *partial_args: Any, **options: Any) -> Any:
        return self.apply_async(partial_args, **options)

    def clone(self, args: Any = None, kwargs: Any = None, **opts: Any) -> Any:
        return clone_canvas(self, args, kwargs, opts)

    partial = clone

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Any:
        """Delay the members one after another: the first by `start` seconds, each one by `step` more."""
        for task, delay in zip(self.tasks, count(start, step)):
            task.set(countdown=delay if stop is None or delay <= stop else stop)
        return self

    def apply_async(  # type: ignore[override]  # Celery's own
        self,
        args: Any = None,
        kwargs: Any = None,
        add_to_parent: bool = True,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        **options: Any,
    ) -> Any:
        """Send every member."""
        if link is not None:
            raise TypeError("Cannot add link to group: use a chord")
        if link_error is not None:
            raise TypeError("Cannot add link to group: do that on individual tasks")
        if self.app.conf.task_always_eager:
            return self.apply(args, kwargs, **options)
        return _send(self, args, kwargs, {**options, "add_to_parent": add_to_parent, "producer": producer})

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run every member here and now."""
        return eager.apply_group(self, args or (), kwargs or {}, options)

    def set_immutable(self, immutable: Any) -> None:
        for task in self.tasks:
            task.set_immutable(immutable)

    def link(self, sig: Any) -> Any:
        """To the first member: it takes no result, as no member can hand over all of them."""
        return self.tasks[0].link(sig.clone().set(immutable=True))

    def link_error(self, sig: Any) -> Any:
        """To every member."""
        errback = maybe_signature(sig)
        return tuple(task.link_error(errback.clone()) for task in self.tasks)

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> Any:
        super().stamp(visitor, append_stamps, **headers)

    def __len__(self) -> int:
        return len(self.tasks)

    def __bool__(self) -> bool:
        return bool(self.tasks)

    @property
    def app(self) -> Any:
        return _first_app(self, self["kwargs"]["tasks"])

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    def __repr__(self) -> str:
        if self.tasks:
            return _shortened(self.tasks[0], f"group({self.tasks!r})")
        return "group(<empty>)"


# --- chord --------------------------------------------------------------------------------------------------


@known
@Signature.register_type(name="chord")
class _chord(Signature):
    """A group, its header, whose results, all of them, are the one argument of a body."""

    tasks = Item("kwargs.header", "The header.")
    body = Item("kwargs.body", "What is called with all results.")

    @classmethod
    def from_dict(cls, d: Any, app: Any = None) -> Any:
        options = dict(d)
        kwargs = dict(options.pop("kwargs"))
        header, body = kwargs.pop("header", None), kwargs.pop("body", None)
        return cls(header, body, app=app, kwargs=kwargs, **options)

    @staticmethod
    def _unpack_args(header: Any = None, body: Any = None, **kwargs: Any) -> Any:
        return (header, body), kwargs

    def __init__(
        self,
        header: Any,
        body: Any = None,
        task: str = "celery.chord",
        args: Any = None,
        kwargs: Any = None,
        app: Any = None,
        **options: Any,
    ) -> None:
        inner = {
            **(kwargs or {"kwargs": {}}),
            "header": _maybe_group(header, app),
            "body": maybe_signature(body, app=app),
        }
        super().__init__(task, args or (), inner, app=app, **options)
        self["subtask_type"] = "chord"

    def __call__(self, body: Any = None, **options: Any) -> Any:
        return self.apply_async((), {"body": body} if body else {}, **options)

    def clone(self, *args: Any, **kwargs: Any) -> Any:
        args, more, options = _split(args, kwargs)
        return clone_canvas(self, args, more, options)

    def apply_async(  # type: ignore[override]  # Celery's own
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: Any = None,
        producer: Any = None,
        publisher: Any = None,
        connection: Any = None,
        router: Any = None,
        result_cls: Any = None,
        **options: Any,
    ) -> Any:
        """Send the header; whoever completes it sends the body."""
        if self.app.conf.task_always_eager:
            return eager.apply_chord_async(self, args, kwargs, task_id, options)
        options.update(task_id=task_id, producer=producer or publisher)
        return _send(self, args, kwargs, options)

    def run(
        self,
        header: Any,
        body: Any,
        partial_args: Any,
        app: Any = None,
        interval: Any = None,
        countdown: Any = 1,
        max_retries: Any = None,
        eager: bool = False,
        task_id: Any = None,
        kwargs: Any = None,
        header_delay: Any = None,
        **options: Any,
    ) -> Any:
        """Send this header and this body instead of the chord's own."""
        made = _chord(header, body, app=app or self._app, **self["options"])
        made["kwargs"]["header"] = header
        polled = {"interval": interval, "max_retries": max_retries}
        options.update((key, value) for key, value in polled.items() if value is not None)
        return _send(made, partial_args, kwargs, {**options, **(header_delay or {}), "task_id": task_id})

    def apply(
        self, args: Any = None, kwargs: Any = None, propagate: bool = True, body: Any = None, **options: Any
    ) -> Any:
        """Run header and body here and now."""
        return eager.apply_chord(self, args or (), kwargs or {}, propagate, self.body if body is None else body)

    def link(self, callback: Any) -> Any:
        """To the body."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """To the body; with task_allow_error_cb_on_chord_header to every task of the header too."""
        errback = maybe_signature(errback)
        if self.app.conf.task_allow_error_cb_on_chord_header:
            for task in _header(self):
                task.link_error(errback.clone(immutable=True))
        else:
            warn_pending(
                "Errbacks of a chord go to its body alone. Celery means to call them for its header tasks too: set "
                "task_allow_error_cb_on_chord_header=True to have it so already.",
                stacklevel=2,
            )
        if not is_signature(self.tasks):
            for task in _header(self):
                if isinstance(task, _chord):
                    task.link_error(errback)
        self.body.link_error(errback)
        return errback

    def set_immutable(self, immutable: Any) -> None:
        """Of the header tasks."""
        for task in _header(self):
            task.set_immutable(immutable)

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> Any:
        super().stamp(visitor, append_stamps, **headers)

    @classmethod
    def _descend(cls, sig_obj: Any) -> int:
        return leaves(flat(sig_obj))

    def __length_hint__(self) -> int:
        return sum(leaves(flat(task)) for task in _header(self))

    @property
    def app(self) -> Any:
        return self._get_app(self.body)

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    def _get_app(self, body: Any = None) -> Any:
        app = self._app
        tasks = _header(self)
        if app is None and tasks:
            app = _own_app(tasks[0])
        if app is None and body is not None:
            app = _own_app(body)
        if app is None:
            from .. import _state

            app = _state.get_current_app()
        return app

    def __repr__(self) -> str:
        body = self.body
        if not body:
            return f"<chord without body: {self.tasks!r}>"
        if isinstance(body, _chain):
            first, rest = body.tasks[0], _rest(body)
            return _shortened(first, f"%({first.reprcall(self.tasks)} | {rest!r})")
        return "%" + _shortened(body, body.reprcall(self.tasks))


chord = _chord


def _rest(body: Any) -> Any:
    return chain(body.tasks[1:], app=body._app)


def _header(sig: Any) -> Any:
    header = sig["kwargs"]["header"]
    return header["kwargs"]["tasks"] if is_signature(header) else header


def _own_app(task: Any) -> Any:
    """The app of a task, unless it is only the current one."""
    app = getattr(task, "_app", None)
    if app is None:
        from .. import _state

        try:
            app = task.app
        except AttributeError:  # a plain dict
            return None
        if app is _state.get_current_app():
            return None
    return app


__all__ = ("_basemap", "_chain", "_chord", "chain", "chord", "chunks", "group", "xmap", "xstarmap")
