"""`Signature`: a call that has not been made yet, as a dict with methods.

Law: Celery's names; what they mean is in protocol/rules, and a task is sent through its own `apply_async`.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, overload

from ...protocol.rules import canvas as composing
from ...protocol.rules import signature as rules
from ...protocol.rules import stamping
from ...protocol.rules.signature import GROUP, is_signature, listed
from ...worker.ids import new_id
from .lazy import Lazy
from .mirror import C, Mirror, _types, completed, flat, flat_options, known

if TYPE_CHECKING:
    from typing_extensions import Self, TypeVar

    from ..result import AsyncResult, EagerResult

    R = TypeVar("R", default=Any)
    S = TypeVar("S")

    class _Dict(dict[str, Any], Generic[R]): ...
else:
    R, _Dict = Any, dict

Class = type  # a signature's own `type` is its task


class Item:
    """An attribute that is kept in the dict, under `path`."""

    def __init__(self, path: str, doc: str = "") -> None:
        self.box, _, self.key = path.rpartition(".")
        self.__doc__ = doc

    def __get__(self, sig: Any, owner: Any = None) -> Any:
        if sig is None:
            return self
        return (sig[self.box] if self.box else sig).get(self.key)

    def __set__(self, sig: Any, value: Any) -> None:
        (sig[self.box] if self.box else sig)[self.key] = value


@known
class Signature(_Dict[R]):
    """The call of one task: its name, arguments and options. `signature` makes them; R is what the task returns."""

    TYPES: ClassVar[dict[str, Class]] = _types
    _app: Any = None
    _type: Any = None
    _IMMUTABLE_OPTIONS: ClassVar[set[str]] = {"group_id", "stamped_headers"}

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[C], C]:
        """A class decorator: dicts whose `subtask_type` is this name become signatures of this class."""

        def register(subclass: C) -> C:
            cls.TYPES[name or subclass.__name__] = subclass
            return subclass

        return register

    @classmethod
    def from_dict(cls, d: Any, app: Any = None) -> Any:
        """The signature that a dict describes; subclasses say how theirs is made."""
        kind = d.get("subtask_type")
        if kind:
            target: Any = _class_of(kind, cls.TYPES)
            if target is not cls:
                return target.from_dict(d, app=app)
        return Signature(d, app=app)

    def __init__(
        self,
        task: Any = None,
        args: Any = None,
        kwargs: Any = None,
        options: Any = None,
        type: Any = None,
        subtask_type: Any = None,
        immutable: bool = False,
        app: Any = None,
        **ex: Any,
    ) -> None:
        self._app = app
        if isinstance(task, dict):
            super().__init__(task)
            return
        name = getattr(task, "name", None)
        if name is None:
            name = task
        else:
            self._type = task
        # One by one: a dict of keywords costs twice as much, and this is done for every call of a group.
        self["task"] = name
        self["args"] = tuple(args) if args else ()
        self["kwargs"] = kwargs or {}
        self["options"] = {**(options or {}), **ex}
        self["subtask_type"] = subtask_type
        self["immutable"] = immutable

    # --- calling

    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> R:
        """Run the task here and now, as a function."""
        args, kwargs, _ = self._merge(partial_args, partial_kwargs, None)
        return self.type(*args, **kwargs)  # type: ignore[no-any-return]  # its task's own word

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> AsyncResult[R]:
        """`apply_async` with star arguments."""
        return self.apply_async(partial_args, partial_kwargs)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> EagerResult[R]:
        """Run the task here and now, and give its result as an EagerResult."""
        options = {key: value for key, value in options.items() if value is not None}
        args, kwargs, options = self._merge(args, kwargs, options)
        return self.type.apply(args, kwargs, **options)  # type: ignore[no-any-return]  # its task's own word

    def apply_async(
        self, args: Any = None, kwargs: Any = None, route_name: Any = None, **options: Any
    ) -> AsyncResult[R]:
        """Send the task; arguments come before the signature's own, options replace them."""
        options = {key: value for key, value in options.items() if value is not None}
        args, kwargs, options = self._merge(args, kwargs, options)
        return self._apply_async(args, kwargs, **options)  # type: ignore[no-any-return]  # its task's own word

    def _merge(self, args: Any = None, kwargs: Any = None, options: Any = None, force: bool = False) -> Any:
        sig: Any = {**self, "immutable": False} if force and self["immutable"] else self
        return rules.merged(sig, args or (), kwargs or {}, options)

    # --- copies

    def clone(self, args: Any = None, kwargs: Any = None, **opts: Any) -> Self:
        """A copy with more arguments and options, which can be changed without touching this one."""
        mine, own_kwargs, options = self._merge(args, kwargs, opts)
        image = {
            "task": self["task"],
            "args": tuple(mine),
            "kwargs": dict(own_kwargs),
            "options": rules.copied_options(flat_options(options)) if options else {},
            "subtask_type": self["subtask_type"],
            "immutable": self["immutable"],
        }
        made = Signature.from_dict(image, app=self._app)
        made._type = self._type
        return made  # type: ignore[no-any-return]  # of the kind that it says

    partial = clone

    def replace(self, args: Any = None, kwargs: Any = None, options: Any = None) -> Self:
        """A copy with these instead of its own arguments or options; what is None stays."""
        made = self.clone()
        for key, value in (("args", args), ("kwargs", kwargs), ("options", options)):
            if value is not None:
                made[key] = value
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        from copy import deepcopy

        memo[id(self)] = copy = dict(self)
        copy["options"] = deepcopy(self["options"], memo)
        return copy

    def __reduce__(self) -> Any:
        return signature, (dict(self),)

    def __json__(self) -> dict[str, Any]:
        return dict(self)

    # --- changes in place

    def set(self, immutable: Any = None, **options: Any) -> Self:
        """More options; returns the signature itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self["options"].update(options)
        return self

    def set_immutable(self, immutable: Any) -> None:
        self["immutable"] = immutable

    def _with_list_option(self, key: str) -> list[Any]:
        items = self["options"].setdefault(key, [])
        if not isinstance(items, list):
            items = self["options"][key] = [items]
        return items

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Add to an option that holds several, unless it is there already; returns what was given."""
        items = self._with_list_option(key)
        if value not in items:
            items.append(value)
        return value

    def extend_list_option(self, key: str, value: Any) -> None:
        """Add one or several to an option that holds several, repeated or not."""
        self._with_list_option(key).extend(listed(value))

    def link(self, callback: Any) -> Any:
        """What to call with the result; returns the callback."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """What to call when the task fails; returns the errback."""
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Self:
        """As `link_error`; returns the signature itself."""
        self.link_error(errback)
        return self

    def flatten_links(self) -> list[Any]:
        """The signature and everything that its success leads to."""
        return list(rules.flatten_links(self))

    # --- stamps

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> Any:
        """Give this signature and all in it stamps: the names and values of a visitor, and those given here."""
        _enliven(self)
        stamping.stamp(self, visitor, append_stamps, headers)
        return self

    def stamp_links(self, visitor: Any, append_stamps: bool = False, **headers: Any) -> None:
        """As `stamp`, only for callbacks and errbacks."""
        _enliven_links(self)
        stamping.stamp_links(self, visitor, append_stamps, headers)

    def _stamp_headers(
        self, visitor_headers: Any = None, append_stamps: bool = False, self_headers: bool = True, **headers: Any
    ) -> dict[str, Any]:
        return stamping.together(self if self_headers else None, visitor_headers, append_stamps, headers)

    # --- freezing

    def freeze(
        self,
        _id: Any = None,
        group_id: Any = None,
        chord: Any = None,
        root_id: Any = None,
        parent_id: Any = None,
        group_index: Any = None,
    ) -> Any:
        """Give it its ids, in place, and return the promise of its result."""
        from .freezing import freeze

        return freeze(self, _id, group_id, chord, root_id, parent_id, group_index)

    def _freeze(self, *args: Any, **kwargs: Any) -> Any:
        return self.freeze(*args, **kwargs)

    # --- composing

    @overload  # type: ignore[override]  # a dict's own `|` merges
    def __or__(self, other: Signature[S]) -> Signature[S]: ...

    @overload
    def __or__(self, other: Any) -> Any: ...

    def __or__(self, other: Any) -> Any:
        right = joinable(other)
        if right is None:
            return NotImplemented
        return joined(self, right)

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]  # no overloads: it is `|`
        # A dict's own `|=` merges.
        return self.__or__(other)

    def __ror__(self, other: Any) -> Any:
        left = joinable(other)
        return NotImplemented if left is None else left | self

    # --- the rest

    def election(self) -> Any:
        """Have the workers of the cluster agree on one of them that runs the task."""
        task = self.type
        task_id = self["options"].get("task_id") or new_id()
        with task.app.producer_or_acquire(None) as producer:
            extra = task.backend.on_task_call(producer, task_id)
            topic = self.clone(task_id=task_id, **extra)
            task.app.control.election(task_id, "task", topic, connection=producer.connection)
        return task.AsyncResult(task_id)

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """The call as one would write it, with these arguments before its own."""
        args, kwargs, _ = self._merge(args, kwargs, {}, force=True)
        return reprcall(self["task"], args, kwargs)

    def __repr__(self) -> str:
        return self.reprcall()

    def __invert__(self) -> R:
        return self.apply_async().get()

    def items(self) -> Any:
        key: Any
        for key, value in super().items():
            yield key.decode() if isinstance(key, bytes) else key, value

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(types.GenericAlias)

    @property
    def name(self) -> Any:
        """The name of the task, as of a task itself."""
        return self["task"]

    @property
    def type(self) -> Any:
        """The task."""
        return self._type or self.app.tasks[self["task"]]

    @type.setter
    def type(self, task: Any) -> None:
        self._type = task

    @property
    def app(self) -> Any:
        return self._app or _current_app()

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def AsyncResult(self) -> Any:
        try:
            return self.type.AsyncResult
        except KeyError:
            return self.app.AsyncResult

    @property
    def _apply_async(self) -> Any:
        try:
            return self.type.apply_async
        except KeyError:
            app, name = self.app, self["task"]
            return lambda args, kwargs, **options: app.send_task(name, args, kwargs, **options)

    id = Item("options.task_id", "The id of the task.")
    parent_id = Item("options.parent_id", "The id of the task that sent it.")
    root_id = Item("options.root_id", "The id of the task that began it all.")
    task = Item("task", "The name of the task.")
    args = Item("args", "Positional arguments.")
    kwargs = Item("kwargs", "Keyword arguments.")
    options = Item("options", "Options of the call.")
    subtask_type = Item("subtask_type", "Chain, group, chord, or None.")
    immutable = Item("immutable", "Whether it takes no more arguments.")


def _class_of(kind: str, types: Mapping[str, Class]) -> Class:
    try:
        return types[kind]
    except KeyError:
        raise KeyError(
            f"no class is registered for signatures of the kind {kind!r}: import the module that calls "
            f"Signature.register_type({kind!r}) in this process too, workers included"
        ) from None


def rerouted() -> bool:
    """A tool has put its own function in the place of `Signature.apply_async`: each task must go through it."""
    code = getattr(Signature.apply_async, "__code__", None)
    return code is None or code.co_filename != __file__


def signature(varies: Any, *args: Any, **kwargs: Any) -> Any:
    """A signature of a task, of its name, or of the dict that describes one; a signature is cloned."""
    if isinstance(varies, dict):
        if isinstance(varies, Signature):
            return varies.clone()
        return Signature.from_dict(completed(varies), app=kwargs.get("app"))
    return Signature(varies, *args, **kwargs)


def of_task(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`signature(task, args, kwargs)`, at a third of its cost: a group has one of these for each member."""
    if Signature.__init__ is not _own_init:
        return signature(task, args, kwargs, app=task._app or task._get_app())
    made = _new(Signature)
    made._app = task._app or task._get_app()
    made._type = task
    made["task"] = task.name
    made["args"] = args
    made["kwargs"] = kwargs
    made["options"] = {}
    made["subtask_type"] = None
    made["immutable"] = False
    return made


_new = Signature.__new__
_own_init = Signature.__init__


def maybe_signature(d: Any, app: Any = None, clone: bool = False) -> Any:
    """A dict as a signature; a signature as it is, or cloned; None stays None."""
    if d is not None:
        if isinstance(d, Signature):
            if clone:
                d = d.clone()
        elif isinstance(d, dict):
            d = signature(d)
        if app is not None:
            d._app = app
    return d


# --- what the kinds share -----------------------------------------------------------------------------------


def joinable(other: Any) -> Any:
    """What can stand beside a `|`, as a signature: signatures, the dicts of them, and tasks. None: it cannot."""
    if isinstance(other, Signature):
        return other
    if isinstance(other, Mapping):
        return maybe_signature(other) if is_signature(other) else None
    return other.s() if hasattr(other, "apply_async") and hasattr(other, "s") else None


def joined(left: Any, right: Any) -> Any:
    mirror = Mirror(left._app)
    return mirror.live(composing.joined(mirror.plain(left), mirror.plain(right)))


def clone_canvas(sig: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
    mirror = Mirror(sig._app)
    made = mirror.live(rules.cloned(mirror.plain(sig), args or (), kwargs or {}, options))
    made._type = sig._type
    return made


def _enliven(sig: Any) -> None:
    """In place: every signature in a canvas as an object, since visitors are shown objects."""
    stack = [sig]
    while stack:
        sig = stack.pop()
        _enliven_links(sig)
        kwargs, kind = sig["kwargs"], sig["subtask_type"]
        if kind in ("chain", GROUP):
            stack += _enliven_all(kwargs, "tasks")
        elif kind == "chord":
            if is_signature(kwargs["header"]):
                stack += _enliven_all(kwargs["header"]["kwargs"], "tasks")
            else:
                stack += _enliven_all(kwargs, "header")
            if kwargs["body"] is not None:
                kwargs["body"] = maybe_signature(kwargs["body"])
                stack.append(kwargs["body"])


def _enliven_all(box: dict[str, Any], key: str) -> list[Any]:
    tasks = box[key]
    if not isinstance(tasks, Lazy) and any(type(task) is dict for task in tasks):
        box[key] = tasks = type(tasks)(map(maybe_signature, tasks))
    return list(tasks)


def _enliven_links(sig: Any) -> None:
    options = sig["options"]
    for key in ("link", "link_error"):
        links = options.get(key)
        if type(links) is dict:
            options[key] = maybe_signature(links)
        elif isinstance(links, (list, tuple)) and any(type(link) is dict for link in links):
            options[key] = [maybe_signature(link) for link in links]


def reprcall(name: str, args: Any, kwargs: dict[str, Any]) -> str:
    """`add(2, y=2)`"""
    words = [*map(_shown, args), *(f"{key}={_shown(value)}" for key, value in kwargs.items())]
    return f"{name}({', '.join(words)})"


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a repr is for people, and never the reason why something fails
        return object.__repr__(value)


def _current_app() -> Any:
    from .. import _state

    return _state.current_app


def warn_pending(text: str, stacklevel: int) -> None:
    from ..exceptions import CPendingDeprecationWarning

    warnings.warn(text, CPendingDeprecationWarning, stacklevel=stacklevel + 1)


__all__ = ("Signature", "flat", "maybe_signature", "signature")
