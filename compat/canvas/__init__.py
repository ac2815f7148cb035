"""`celery.canvas`: tasks composed to chains, groups and chords.

Law: live objects over protocol/rules; see `signatures` for one task, `kinds` for what is made of several,
`performing` for how they are sent.
"""

from __future__ import annotations

from typing import Any

from .kinds import _basemap, _chain, _chord, _maybe_group, chain, chord, chunks, group, xmap, xstarmap
from .lazy import Lazy as _regen
from .lazy import regen as regen
from .signatures import Signature, maybe_signature, signature
from .stamps import StampingVisitor

__all__ = (
    "Signature",
    "StampingVisitor",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "signature",
    "xmap",
    "xstarmap",
)  # fmt: skip

subtask = signature
maybe_subtask = maybe_signature

# Celery's names: what is pickled under them is found by stock workers too.
for _named in (
    *(Signature, StampingVisitor, _basemap, _chain, _chord, chain, chunks, group, xmap, xstarmap),
    *(signature, maybe_signature, _maybe_group),
):
    _named.__module__ = "celery.canvas"


def maybe_unroll_group(group: Any) -> Any:
    """A group of one is that one."""
    tasks = group.tasks
    return tasks[0] if not isinstance(tasks, _regen) and len(tasks) == 1 else group


def task_name_from(task: Any) -> Any:
    return getattr(task, "name", task)


def _prepare_chain_from_options(options: Any, tasks: Any, use_link: bool) -> dict[str, Any]:
    """The options of a chain's first task, with the rest of the chain in them."""
    if use_link:
        return {**options, "chain": None}
    return {**options, "chain": [*(options.get("chain") or ()), *tasks]}


def __getattr__(name: str) -> Any:
    if name == "abstract":
        from ..utils import abstract

        return abstract
    if name == "current_app":
        from .._state import current_app

        return current_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
