"""A signature is a call that has not been made yet, kept as the plain dict that the wire carries.

Law: six keys, always in the same order: task, args, kwargs, options, subtask_type, immutable. A participle
(`linked`, `cloned`, `checked`) gives a new dict and leaves its argument alone; a verb (`link`, `link_error`)
changes a dict that the caller owns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import BadCall, BadMessage, shown

Signature = dict[str, Any]

CHAIN, GROUP, CHORD = "chain", "group", "chord"
CANVAS_TASKS = {CHAIN: "celery.chain", GROUP: "celery.group", CHORD: "celery.chord"}
MAP, STARMAP, CHUNKS = "celery.map", "celery.starmap", "celery.chunks"

# Other texts in subtask_type are kinds of somebody's own (`Signature.register_type`); the rules know them as one task.
# xmap, xstarmap and chunks, which stock knows, never appear on the wire.

# A group or chord deeper than this was not written by a person; code that walks canvases may recurse this far.
DEEPEST_CANVAS = 64
# Links nest one level per step of a protocol 1 chain; they are only ever walked with a stack.
DEEPEST_LINKS = 2000

# Options that merging never overrides: a member that changed its group would stall it.
_KEPT_OPTIONS = frozenset({"group_id", "stamped_headers"})
_LINK_OPTIONS = ("link", "link_error")


def signature(
    task: str,
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    immutable: bool = False,
    subtask_type: str | None = None,
) -> Signature:
    """A call of one task.

    >>> signature("wire.mul", (10,))["options"]
    {}
    """
    return {
        "task": task,
        "args": tuple(args),
        "kwargs": dict(kwargs or {}),
        "options": dict(options or {}),
        "subtask_type": subtask_type,
        "immutable": immutable,
    }


def xmap(task: Signature, it: Iterable[Any], **options: Any) -> Signature:
    """One task that calls `task` once for each item."""
    return signature(MAP, (), {"task": task, "it": list(it)}, options, immutable=True)


def starmap(task: Signature, it: Iterable[Any], **options: Any) -> Signature:
    """One task that calls `task` once for each list of arguments."""
    return signature(STARMAP, (), {"task": task, "it": list(it)}, options, immutable=True)


def chunks(task: Signature, it: Iterable[Any], n: int, **options: Any) -> Signature:
    """The calls of `task` with each list of arguments, `n` calls to a message once it is sent."""
    return signature(CHUNKS, (), {"task": task, "it": it, "n": n}, options, immutable=True)


def is_signature(value: object) -> bool:
    return isinstance(value, dict) and "task" in value and "options" in value


def listed(value: Any) -> list[Any]:
    """An option that holds one thing or several, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def is_lazy(tasks: object) -> bool:
    """Members that come from an iterator and can be pulled only once, one at a time."""
    return not isinstance(tasks, (list, tuple))


def members(sig: Signature) -> list[Signature]:
    """The tasks of a chain or group as a list; a lazy group is read to its end, once."""
    return _as_list(sig["kwargs"], "tasks")


def _as_list(box: dict[str, Any], key: str) -> list[Signature]:
    tasks = box[key]
    if isinstance(tasks, list):
        return tasks
    if is_lazy(tasks):
        tasks = box[key] = list(tasks)
    return list(tasks)


def header(sig: Signature) -> list[Signature]:
    """The header of a chord as a list of tasks, whether it is kept as a list or as a group."""
    tasks = sig["kwargs"]["header"]
    return members(tasks) if is_signature(tasks) else _as_list(sig["kwargs"], "header")


# --- copies -------------------------------------------------------------------------------------------------


def copied_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options to write into; of a linked signature only its options. Arguments, members and the chord's body are
    shared: a thousand header tasks name the same body."""
    copy = dict(options)
    body = copy.get("chord")
    stack: list[Any] = [copy]
    while stack:
        box = stack.pop()
        if isinstance(box, dict) and box is not copy and is_signature(box):
            box["options"] = dict(box["options"])
            stack.append(box["options"])
            continue
        for key, value in box.items() if isinstance(box, dict) else enumerate(box):
            if value is not body and type(value) in (dict, list):
                box[key] = value.copy()
                stack.append(box[key])
    return copy


def owned(sig: Signature) -> Signature:
    """A copy of a signature and of every signature in it; arguments and lazy members are shared."""
    root = dict(sig)
    stack: list[Any] = [root]
    while stack:
        box = stack.pop()
        if isinstance(box, dict) and is_signature(box):
            for name in ("options", "kwargs") if box.get("subtask_type") else ("options",):
                box[name] = dict(box[name])
                stack.append(box[name])
            continue
        for key, value in box.items() if isinstance(box, dict) else enumerate(box):
            if type(value) in (dict, list):
                box[key] = value.copy()
                stack.append(box[key])
            elif type(value) is tuple and any(map(is_signature, value)):
                box[key] = list(value)
                stack.append(box[key])
    return root


def merged(
    sig: Signature,
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Arguments and options of a call through a signature: new ones come first, unless it is immutable.

    The signature's own group and stamps outlive whatever the caller says.
    """
    own = sig["options"]
    if options:
        kept = _KEPT_OPTIONS
        if "stamped_headers" in own:
            kept = kept.union(own["stamped_headers"] or ())
        own = {**own, **{k: v for k, v in options.items() if k not in kept or k not in own}}
    if sig["immutable"]:
        return sig["args"], sig["kwargs"], own
    return (
        (*args, *sig["args"]) if args else sig["args"],
        {**sig["kwargs"], **kwargs} if kwargs else sig["kwargs"],
        own,
    )


def cloned(
    sig: Signature,
    args: Iterable[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Signature:
    """A signature with more arguments or options, which can be frozen and linked without touching the first.

    Members of a group are shared with the copy, as whoever runs a group copies them one by one.
    """
    new_args, new_kwargs, new_options = merged(sig, args, kwargs, options)
    kind = sig["subtask_type"]
    immutable = sig["immutable"]
    new_kwargs = dict(new_kwargs)
    if kind == CHAIN:
        new_kwargs = {"tasks": [cloned(task) for task in members(sig)]}
    elif kind == GROUP:
        tasks = sig["kwargs"]["tasks"]
        new_kwargs = {"tasks": tasks if is_lazy(tasks) else list(tasks)}
    elif kind == CHORD:
        # The header's group is dissolved, as every reader of a chord does; its id stays in the chord's options.
        tasks = header(sig)
        shared = is_signature(sig["kwargs"]["header"])
        new_kwargs["header"] = list(tasks) if shared else [cloned(task) for task in tasks]
        if new_kwargs["body"] is not None:
            new_kwargs["body"] = cloned(new_kwargs["body"])
        rest = {key: value for key, value in new_kwargs.items() if key not in ("header", "body")}
        new_kwargs = {**(rest or {"kwargs": {}}), "header": new_kwargs["header"], "body": new_kwargs["body"]}
    if kind in (CHAIN, GROUP):
        new_args, immutable = (), False
    return {
        "task": sig["task"],
        "args": tuple(new_args),
        "kwargs": new_kwargs,
        "options": copied_options(new_options),
        "subtask_type": kind,
        "immutable": immutable,
    }


def set_immutable(sig: Signature, flag: bool) -> None:
    """In place: whether it takes its predecessor's result. A group passes it to its tasks, a chord to its header."""
    kind = sig["subtask_type"]
    if kind not in (GROUP, CHORD):
        sig["immutable"] = flag
        return
    for task in members(sig) if kind == GROUP else header(sig):
        set_immutable(task, flag)


def immutable(sig: Signature, flag: bool = True) -> Signature:
    copy = owned(sig)
    set_immutable(copy, flag)
    return copy


# --- links --------------------------------------------------------------------------------------------------


def _append(sig: Signature, key: str, value: Signature) -> None:
    options = sig["options"]
    items = options.setdefault(key, [])
    if not isinstance(items, list):
        items = options[key] = [items]
    if value not in items:
        items.append(value)


def link(sig: Signature, callback: Signature) -> None:
    """In place: what to call with the result. Equal links are kept once."""
    kind = sig["subtask_type"]
    if kind == GROUP:
        if not members(sig):
            raise BadCall("an empty group has no task to link a callback to")
        # No member can hand over its siblings' results, so the callback takes none.
        callback = cloned(callback)
        set_immutable(callback, True)
        link(members(sig)[0], callback)
    elif kind == CHORD:
        link(body_of(sig), callback)
    else:
        _append(sig, "link", callback)


def link_error(sig: Signature, errback: Signature, *, on_header: bool = False) -> None:
    """In place: what to call when it fails. `on_header` is Celery's task_allow_error_cb_on_chord_header."""
    kind = sig["subtask_type"]
    if kind == GROUP:
        for task in members(sig):
            link_error(task, cloned(errback), on_header=on_header)
    elif kind == CHORD:
        for task in header(sig):
            if on_header:
                link_error(task, cloned(errback, options={"immutable": True}), on_header=True)
        if not is_signature(sig["kwargs"]["header"]):
            for task in header(sig):
                if task["subtask_type"] == CHORD:
                    link_error(task, errback, on_header=on_header)
        link_error(body_of(sig), errback, on_header=on_header)
    else:
        _append(sig, "link_error", errback)


def extend_links(sig: Signature, callbacks: Any) -> None:
    """In place: more callbacks in the signature's own options, whatever kind it is, repeated or not."""
    sig["options"]["link"] = [*listed(sig["options"].get("link")), *listed(callbacks)]


def body_of(sig: Signature) -> Signature:
    body = sig["kwargs"].get("body")
    if body is None:
        raise BadCall("a chord without a body cannot be linked or sent")
    if not isinstance(body, dict):
        raise BadCall(f"the body of a chord must be a signature, got {shown(body)}")
    return body


def linked(sig: Signature, callback: Signature) -> Signature:
    copy = owned(sig)
    link(copy, owned(callback))
    return copy


def linked_error(sig: Signature, errback: Signature, *, on_header: bool = False) -> Signature:
    copy = owned(sig)
    link_error(copy, owned(errback), on_header=on_header)
    return copy


def flatten_links(sig: Signature) -> Iterator[Signature]:
    """The signature and everything that success leads to, depth first."""
    stack = [sig]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(listed(current["options"].get("link"))))


# --- reading what others wrote ------------------------------------------------------------------------------

_DEFAULTS: dict[str, Any] = {"args": (), "kwargs": {}, "options": {}, "subtask_type": None, "immutable": False}
_TYPES: dict[str, tuple[type, ...]] = {
    "task": (str,),
    "args": (list, tuple),
    "kwargs": (dict,),
    "options": (dict,),
    "subtask_type": (str, type(None)),
    "immutable": (bool,),
}


def checked(value: object, what: str = "signature") -> Signature:
    """A signature off the wire, with every signature in it checked and completed; never deeper than we can walk."""
    root = _shaped(value, what, "")
    stack: list[tuple[Signature, str, int, int]] = [(root, "", 0, 0)]
    while stack:
        sig, where, canvas, links = stack.pop()
        if canvas > DEEPEST_CANVAS or links > DEEPEST_LINKS:
            raise BadMessage(what, "nested too deeply", field=where[:80])
        for box, key, label, is_link in _inside(sig, what, where):
            child = _shaped(box[key], what, label)
            box[key] = child
            stack.append((child, label, canvas + (not is_link), links + is_link))
    return root


def _shaped(value: object, what: str, where: str) -> Signature:
    if not isinstance(value, dict):
        raise BadMessage(what, f"expected a mapping, got {shown(value)}", field=where)
    sig: Signature = {}
    for key, types in _TYPES.items():
        item = value.get(key, _DEFAULTS.get(key))
        if item is None and key in _DEFAULTS:
            item = _DEFAULTS[key]
        if not isinstance(item, types):
            raise BadMessage(
                what, f"expected {types[0].__name__}, got {shown(item)}", field=f"{where}.{key}".lstrip(".")
            )
        sig[key] = item
    sig["options"] = dict(sig["options"])
    sig["kwargs"] = dict(sig["kwargs"])
    return sig


def _inside(sig: Signature, what: str, where: str) -> Iterator[tuple[Any, Any, str, bool]]:
    """Every signature directly inside one: the container, its key there, a name for messages, and is it a link."""
    dot = f"{where}." if where else ""
    options, kwargs = sig["options"], sig["kwargs"]
    for key in _LINK_OPTIONS:
        if options.get(key) is not None:
            # Copied, as what was read is not ours to change.
            options[key] = listed(options[key]) if isinstance(options[key], (list, tuple)) else options[key]
            if isinstance(options[key], list):
                yield from ((options[key], i, f"{dot}options.{key}[{i}]", True) for i in range(len(options[key])))
            else:
                yield options, key, f"{dot}options.{key}", True
    if options.get("chord") is not None:
        yield options, "chord", f"{dot}options.chord", False
    if options.get("chain") is not None:
        yield from _each(options, "chain", what, f"{dot}options.chain")
    kind = sig["subtask_type"]
    if kind in (CHAIN, GROUP):
        yield from _each(kwargs, "tasks", what, f"{dot}kwargs.tasks")
    elif kind == CHORD:
        if is_signature(kwargs.get("header")):
            yield kwargs, "header", f"{dot}kwargs.header", False
        else:
            yield from _each(kwargs, "header", what, f"{dot}kwargs.header")
        if not isinstance(kwargs.setdefault("kwargs", {}), dict):
            raise BadMessage(what, f"expected dict, got {shown(kwargs['kwargs'])}", field=f"{dot}kwargs.kwargs")
        if kwargs.setdefault("body", None) is not None:
            yield kwargs, "body", f"{dot}kwargs.body", False


def _each(box: dict[str, Any], key: str, what: str, label: str) -> Iterator[tuple[Any, Any, str, bool]]:
    tasks = box.get(key)
    if not isinstance(tasks, (list, tuple)):
        raise BadMessage(what, f"expected list, got {shown(tasks)}", field=label)
    box[key] = tasks = list(tasks)
    yield from ((tasks, i, f"{label}[{i}]", False) for i in range(len(tasks)))
