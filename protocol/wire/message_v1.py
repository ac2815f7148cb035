"""Between the protocols: what a stock worker makes of protocol 1, and what protocol 1 can carry of protocol 2.

Law: `to_v2` loses nothing; `to_v1` names what it had to leave behind.
"""

from __future__ import annotations

from typing import Any

from ..values import replace
from .message import Signature, Task
from .reprs import saferepr

# What protocol 1 has no place for, and the value that says nothing.
_UNKNOWN_TO_V1: tuple[tuple[str, Any], ...] = (
    ("shadow", None),
    ("parent_id", None),
    ("ignore_result", None),
    ("replaced_task_nesting", 0),
    ("stamped_headers", None),
    ("stamps", {}),
)


def to_v2(task: Task) -> Task:
    """The same task in protocol 2. Whoever received protocol 1 has to make the texts of its arguments himself."""
    if task.protocol != 1:
        return task
    return replace(task, protocol=2, argsrepr=saferepr(task.args, None), kwargsrepr=saferepr(task.kwargs, None))


def to_v1(task: Task) -> tuple[Task, list[str]]:
    """The same task in protocol 1, and the fields that did not fit. A chain becomes callbacks within callbacks."""
    if task.protocol == 1:
        return task, []
    lost = [field for field, nothing in _UNKNOWN_TO_V1 if getattr(task, field) != nothing]
    if task.root_id and task.root_id != task.id:
        lost.append("root_id")
    callbacks = task.callbacks
    if task.chain:
        callbacks = [*(task.callbacks or ()), _nested(task.chain)]
    return replace(task, protocol=1, callbacks=callbacks, chain=None), lost


def _nested(chain: Any) -> Signature:
    """The steps of a chain, last one first, as one signature: each step links to the next."""
    following: Signature | None = None
    for step in chain:
        if following is not None:
            options = dict(step.get("options") or {})
            links = options.get("link") or []
            options["link"] = [*(links if isinstance(links, (list, tuple)) else [links]), following]
            step = {**step, "options": options}  # noqa: PLW2901 - the step as it will be sent
        following = step
    assert following is not None  # noqa: S101 - only ever called with steps
    return following
