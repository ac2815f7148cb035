"""Live signatures as the plain dicts that the rules work on, and back.

Law: only the shape is translated here; whatever a canvas means is in protocol/rules. What the rules hand back
untouched comes back as the very object that went in; what they made anew comes back as a new one of its kind.
"""

from __future__ import annotations

from typing import Any, TypeVar

from ...protocol.rules.signature import CHAIN, CHORD, GROUP, is_signature, owned
from .lazy import Lazy

Plain = dict[str, Any]
C = TypeVar("C", bound=type)

_TASKS = (CHAIN, GROUP)
_MAPS = frozenset({"celery.map", "celery.starmap", "celery.chunks"})
_NESTED = ("link", "link_error", "chain", "chord")


class Kind(str):
    """The name of a task whose signature is of a class of the user's; to everyone else it is the name."""

    __slots__ = ("cls",)
    cls: type

    @classmethod
    def of(cls, name: str, kind: type) -> Kind:
        marked = cls(name)
        marked.cls = kind
        return marked

    def __reduce__(self) -> Any:
        return str, (str(self),)


def flat(sig: Any, *, top: bool = False) -> Plain:
    """For sending: plain through and through. Members of the topmost group stay lazy; all others are pulled."""
    kind = sig["subtask_type"]
    kwargs, options, name = sig["kwargs"], sig["options"], sig["task"]
    if kind in _TASKS:
        tasks = kwargs["tasks"]
        if top and kind == GROUP and not _is_short(tasks):
            members: Any = map(flat, tasks.stream() if isinstance(tasks, Lazy) else tasks)
        else:
            members = [flat(completed(task)) for task in tasks]
        kwargs = {"tasks": members}
    elif kind == CHORD:
        header, body = kwargs["header"], kwargs["body"]
        if is_signature(header):
            header = flat(header, top=top)
        elif top and isinstance(header, Lazy):
            header = map(flat, header.stream())
        else:
            header = [flat(completed(task)) for task in header]
        kwargs = {**kwargs, "header": header, "body": None if body is None else flat(completed(body))}
    elif name in _MAPS:
        kwargs = {**kwargs, "it": _listed(kwargs["it"])}
        if is_signature(kwargs["task"]):
            kwargs["task"] = flat(kwargs["task"])
    if kind is not None or type(sig) not in _known:
        name = _marked(sig, name, kind)
    if options:
        options = flat_options(options)
    return {
        "task": name,
        "args": sig["args"],
        "kwargs": kwargs,
        "options": options,
        "subtask_type": kind,
        "immutable": sig["immutable"],
    }


def _is_short(tasks: Any) -> bool:
    return isinstance(tasks, (list, tuple)) and not isinstance(tasks, Lazy)


def _listed(it: Any) -> Any:
    return list(it) if isinstance(it, Lazy) or not isinstance(it, (list, tuple)) else it


def flat_options(options: Plain) -> Plain:
    """Options whose links, chain and chord are plain too."""
    copy = options
    for key in _NESTED:
        value = options.get(key)
        if value:
            if copy is options:
                copy = dict(options)
            if is_signature(value):
                copy[key] = flat(completed(value))
            elif isinstance(value, (list, tuple)):
                copy[key] = [flat(completed(item)) if is_signature(item) else item for item in value]
    return copy


def completed(sig: Any) -> Any:
    """What others wrote may lack keys. Each gets boxes of its own: links and ids are written into them."""
    if type(sig) is dict and len(sig) < 6:
        return {
            "task": sig["task"], "args": (), "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False,
            **sig,
        }  # fmt: skip
    return sig


# Classes whose sending the rules know; the others' own apply_async is called. Filled by signatures and kinds.
_known: set[type] = {dict}
_types: dict[str, type] = {}


def known(cls: C) -> C:
    """Of these the rules know how they are sent."""
    _known.add(cls)
    return cls


def _marked(sig: Any, name: str, kind: str | None) -> str:
    cls = _types.get(kind) if type(sig) is dict and kind else type(sig)
    if cls is None or cls in _known:
        return name
    # A subclass that leaves sending alone is sent as the class that it comes from.
    base = next((base for base in cls.__mro__ if "apply_async" in base.__dict__), cls)
    return name if base in _known else Kind.of(name, cls)


class Mirror:
    """Plain images of live signatures, for rules that compose and freeze: options are shared, not copied."""

    __slots__ = ("app", "live_of", "origin")

    def __init__(self, app: Any = None) -> None:
        self.app = app
        self.live_of: dict[int, tuple[Plain, Any]] = {}
        self.origin: dict[str, tuple[Any, Any]] = {}

    def plain(self, sig: Any) -> Plain:
        live = as_live(sig)
        kind, kwargs = live["subtask_type"], live["kwargs"]
        if kind in _TASKS:
            kwargs = {**kwargs, "tasks": self._all(kwargs["tasks"])}
        elif kind == CHORD:
            header, body = kwargs["header"], kwargs["body"]
            header = self.plain(header) if is_signature(header) else self._all(header)
            kwargs = {**kwargs, "header": header, "body": None if body is None else self.plain(body)}
        else:
            self.origin.setdefault(live["task"], (live._type, live._app))
        image = {**live, "kwargs": kwargs}
        self.live_of[id(image)] = image, live
        return image

    def _all(self, tasks: Any) -> Any:
        if isinstance(tasks, Lazy):
            return _Members(tasks, self)
        return [self.plain(task) for task in tasks]

    def live(self, image: Plain) -> Any:
        """What the rules made, as live signatures."""
        known = self.live_of.get(id(image))
        if known is not None:
            return known[1]
        kind = image["subtask_type"]
        kwargs = image["kwargs"]
        if kind in _TASKS:
            kwargs = {**kwargs, "tasks": self._live_all(kwargs["tasks"])}
        elif kind == CHORD:
            header, body = kwargs["header"], kwargs["body"]
            header = self.live(header) if is_signature(header) else self._live_all(header)
            kwargs = {**kwargs, "header": header, "body": None if body is None else self.live(body)}
        options = image["options"]
        for key in ("link", "link_error"):
            links = options.get(key)
            if isinstance(links, list):
                options[key] = [_own(link) for link in links]
            elif links:
                options[key] = _own(links)
        if "chord" in options and id(options["chord"]) in self.live_of:
            options["chord"] = self.live(options["chord"])
        made = from_plain({**image, "kwargs": kwargs, "options": options})
        type_, app = self.origin.get(image["task"], (None, self.app))
        if type_ is not None:
            made._type = type_
        made._app = app
        return made

    def _live_all(self, tasks: Any) -> Any:
        if isinstance(tasks, _Members):
            return tasks.lazy
        return [self.live(task) for task in tasks]

    def adopt(self, image: Plain) -> Any:
        """As `live`, and what the rules changed in place is changed in the signatures that they were made from."""
        known = self.live_of.get(id(image))
        if known is None:
            return self.live(image)
        live = known[1]
        kind, kwargs = image["subtask_type"], image["kwargs"]
        live["args"], live["immutable"], live["options"] = image["args"], image["immutable"], image["options"]
        if kind in _TASKS:
            tasks = kwargs["tasks"]
            live["kwargs"]["tasks"] = (
                tasks.lazy if isinstance(tasks, _Members) else [self.adopt(task) for task in tasks]
            )
        elif kind == CHORD:
            header = kwargs["header"]
            if is_signature(header):
                live["kwargs"]["header"] = self.adopt(header)
            if kwargs["body"] is not None:
                self.adopt(kwargs["body"])
        chord = live["options"].get("chord")
        if id(chord) in self.live_of:
            live["options"]["chord"] = self.live_of[id(chord)][1]
        return live


class _Members:
    """Lazy members seen through a mirror: the rules share them, or pull them one by one."""

    __slots__ = ("lazy", "mirror")

    def __init__(self, lazy: Lazy, mirror: Mirror) -> None:
        self.lazy = lazy
        self.mirror = mirror

    def __iter__(self) -> Any:
        return map(self.mirror.plain, self.lazy)


def _own(link: Any) -> Any:
    """A link of a copy is plain and the copy's own."""
    return owned(flat(completed(link))) if is_signature(link) and type(link) is not dict else link


def from_plain(image: Plain) -> Any:
    """A new signature of the kind that the image names, with the image's own parts."""
    from .signatures import Signature

    kind = image["subtask_type"]
    cls: Any = _types.get(kind, Signature) if kind else Signature
    if cls not in _known:
        return Signature.from_dict(image)
    made = dict.__new__(cls)
    dict.update(made, image)
    return made


def as_live(sig: Any) -> Any:
    from .signatures import maybe_signature

    return maybe_signature(sig)
