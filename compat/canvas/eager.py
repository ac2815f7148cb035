"""Canvases run here and now, without a broker: `apply`, and `apply_async` under task_always_eager."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...protocol.rules.canvas import is_empty_group
from ...protocol.rules.signature import CHAIN, CHORD, GROUP, is_signature
from ...worker.ids import new_id
from .signatures import maybe_signature


def joining(apply: Callable[..., Any], args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
    """Run with waiting for results allowed, as in a task it is not."""
    from ..result import allow_join_result

    with allow_join_result():
        return apply(args, kwargs, **options)


def apply_chain(sig: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
    from ..result import EagerResult
    from ..states import IGNORED, REJECTED

    tasks = [maybe_signature(task) for task in sig.tasks]
    options = {**sig["options"], **options}
    callbacks = options.pop("link", None)
    # Empty groups are passed over, unless there is nothing else.
    steps = [task for task in tasks if not is_empty_group(task)] or tasks[-1:]
    last: Any = None
    for index, task in enumerate(steps):
        step = task.clone()
        if callbacks and index == len(steps) - 1:
            (step.body if step["subtask_type"] == CHORD else step).extend_list_option("link", callbacks)
        if last is not None:
            args, kwargs = (last.get(),), None
        result = step.apply(args, kwargs, **options)
        result.parent, last = last, result
        if isinstance(result, EagerResult) and result.state in (IGNORED, REJECTED):
            break
    return last


def apply_group(sig: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
    app = sig.app
    if not sig.tasks:
        return sig.freeze()
    own = sig["options"]
    options = {**own, **{key: value for key, value in options.items() if key not in _KEPT or key not in own}}
    options["group_id"] = group_id = options.pop("task_id", None) or new_id()
    return app.GroupResult(group_id, [task.apply(args=args, kwargs=kwargs, **options) for task in _members(sig.tasks)])


_KEPT = ("group_id", "stamped_headers")


def _members(tasks: Any) -> Iterator[Any]:
    for task in tasks:
        copy = maybe_signature(task).clone()
        if copy["subtask_type"] == GROUP:
            yield from _members(copy.tasks)
        elif copy["subtask_type"] != CHAIN or copy.tasks:
            yield copy


def apply_chord(sig: Any, args: Any, kwargs: Any, propagate: bool, body: Any) -> Any:
    from .kinds import group

    header = sig.tasks
    tasks = header.clone() if is_signature(header) else group(header, app=sig.app)
    return body.apply(args=(tasks.apply(args, kwargs).get(propagate=propagate),))


def apply_chord_async(sig: Any, args: Any, kwargs: Any, task_id: Any, options: dict[str, Any]) -> Any:
    """`apply_async` of a chord: its links, given or own, are its body's."""
    from ...protocol.rules.publishing import with_links
    from .mirror import Mirror, flat_options

    args = (*args, *sig["args"]) if args and not sig["immutable"] else sig["args"]
    kwargs = dict(kwargs or {})
    given = maybe_signature(kwargs.pop("body", None)) or sig.body
    kwargs = {**sig["kwargs"].get("kwargs", {}), **kwargs}
    for key in ("countdown", "eta"):
        options.pop(key, None)
    links: dict[str, Any] = {key: options.pop(key) for key in ("link", "link_error") if key in options}
    body = given.clone(**{key: value for key, value in options.items() if key != "parent_id"})
    mirror = Mirror(body._app)
    body = mirror.live(with_links(mirror.plain(body), flat_options({**sig["options"], **links})))
    return joining(sig.apply, args, kwargs, {**options, "body": body, "task_id": task_id})
