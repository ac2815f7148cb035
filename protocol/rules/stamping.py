"""Stamping: names and values that every task of a canvas carries, given by a caller or by a visitor.

Law: pure; `stamped` gives a copy. A visitor sees every signature in Celery's order and answers with stamps.
Names in `stamped_headers` keep the order in which they came up, as Celery's own order is arbitrary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .canvas import group as group_of
from .signature import CHAIN, CHORD, GROUP, Signature, is_lazy, is_signature, listed, owned

Stamps = dict[str, Any]
_NAMES = "stamped_headers"


class Visitor:
    """What a stamping run asks. Each `on_` method may answer with stamps; the `_end` ones are only told."""

    def on_signature(self, sig: Signature, **headers: Any) -> Stamps | None:  # noqa: ARG002 - for those who override it
        """Each task, links included."""
        return {}

    def on_group_start(self, sig: Signature, **headers: Any) -> Stamps | None:  # noqa: ARG002 - for those who override it
        return {}

    def on_group_end(self, sig: Signature, **headers: Any) -> None:
        """All its tasks are stamped."""

    def on_chain_start(self, sig: Signature, **headers: Any) -> Stamps | None:  # noqa: ARG002 - for those who override it
        return {}

    def on_chain_end(self, sig: Signature, **headers: Any) -> None:
        """All its tasks are stamped."""

    def on_chord_header_start(self, sig: Signature, **headers: Any) -> Stamps | None:
        """A header is a group, unless a visitor says otherwise."""
        if not is_signature(sig["kwargs"]["header"]):
            sig["kwargs"]["header"] = group_of(sig["kwargs"]["header"])
        return self.on_group_start(sig["kwargs"]["header"], **headers)

    def on_chord_header_end(self, sig: Signature, **headers: Any) -> None:
        self.on_group_end(sig["kwargs"]["header"], **headers)

    def on_chord_body(self, sig: Signature, **headers: Any) -> Stamps | None:  # noqa: ARG002 - for those who override it
        return {}

    def on_callback(self, sig: Signature, **headers: Any) -> Stamps | None:  # noqa: ARG002 - for those who override it
        return {}

    def on_errback(self, sig: Signature, **headers: Any) -> Stamps | None:  # noqa: ARG002 - for those who override it
        return {}


def stamped(sig: Signature, visitor: Visitor | None = None, *, append: bool = False, **stamps: Any) -> Signature:
    """A copy of the canvas with stamps on all of it. Without a visitor a chord's body stays without.

    `append` collects a name's values in a list; otherwise the value that is already there stays.
    """
    copy = owned(sig)
    stamp(copy, visitor, append, stamps)
    return copy


def stamp(sig: Signature, visitor: Visitor | None, append: bool, stamps: Stamps) -> None:
    _STAMP.get(sig["subtask_type"], _stamp_task)(sig, visitor, append, stamps)


def _stamp_task(sig: Signature, visitor: Visitor | None, append: bool, stamps: Stamps) -> None:
    stamp_links(sig, visitor, append, stamps)
    seen = visitor.on_signature(sig, **stamps) or {} if visitor else None
    sig["options"].update(together(sig, seen, append, stamps))


def _stamp_chain(sig: Signature, visitor: Visitor | None, append: bool, stamps: Stamps) -> None:
    seen = visitor.on_chain_start(sig, **stamps) or {} if visitor else None
    stamps = together(sig, seen, append, stamps)
    stamp_links(sig, visitor, False, stamps)
    for task in sig["kwargs"]["tasks"]:
        stamp(task, visitor, append, stamps)
    if visitor:
        visitor.on_chain_end(sig, **stamps)


def _stamp_group(sig: Signature, visitor: Visitor | None, append: bool, stamps: Stamps) -> None:
    seen = visitor.on_group_start(sig, **stamps) or {} if visitor else None
    stamps = together(sig, seen, append, stamps)
    stamp_links(sig, visitor, append, stamps)
    _stamp_members(sig["kwargs"], "tasks", visitor, append, stamps)
    if visitor:
        visitor.on_group_end(sig, **stamps)


def _stamp_chord(sig: Signature, visitor: Visitor | None, append: bool, stamps: Stamps) -> None:
    seen = visitor.on_chord_header_start(sig, **stamps) or {} if visitor else None
    stamps = together(sig, seen, append, stamps)
    stamp_links(sig, visitor, append, stamps)
    box, key = sig["kwargs"], "header"
    if is_signature(box[key]):
        box, key = box[key]["kwargs"], "tasks"
    _stamp_members(box, key, visitor, append, stamps)
    if not visitor:
        return
    visitor.on_chord_header_end(sig, **stamps)
    if sig["kwargs"]["body"] is not None:
        seen = visitor.on_chord_body(sig, **stamps) or {}
        stamps = together(sig, seen, append, stamps)
        stamp(sig["kwargs"]["body"], visitor, append, stamps)


_STAMP = {CHAIN: _stamp_chain, GROUP: _stamp_group, CHORD: _stamp_chord}


def _stamp_members(box: dict[str, Any], key: str, visitor: Visitor | None, append: bool, stamps: Stamps) -> None:
    tasks = box[key]
    if not is_lazy(tasks):
        for task in tasks:
            stamp(task, visitor, append, stamps)
        return

    def later() -> Iterator[Signature]:
        for task in tasks:
            copy = owned(task)
            stamp(copy, visitor, append, stamps)
            yield copy

    box[key] = later()


def stamp_links(sig: Signature, visitor: Visitor | None, append: bool, stamps: Stamps) -> None:
    for key, ask in (("link", "on_callback"), ("link_error", "on_errback")):
        # Each link hands what it was given to the next one of its kind.
        passed = stamps
        for linked in listed(sig["options"].get(key)):
            seen = getattr(visitor, ask)(linked, **passed) or {} if visitor else None
            passed = together(None, seen, append, passed)
            stamp(linked, visitor, append, passed)


def together(sig: Signature | None, seen: Stamps | None, append: bool, stamps: Stamps) -> Stamps:
    """The stamps given, those that a visitor named, and those that the signature already has."""
    both = dict(stamps)
    if _NAMES not in both:
        both[_NAMES] = list(both)
    names = list(both[_NAMES])
    if seen is not None:
        extra = dict(seen)
        names += extra.pop(_NAMES, extra)
        _merge(both, extra, append)
    if sig is not None:
        own = sig["options"]
        names += own.get(_NAMES) or ()
        _merge(both, {name: own[name] for name in own if name in names}, append)
    both[_NAMES] = list(dict.fromkeys(names))
    return both


def _merge(first: Stamps, second: Mapping[str, Any], append: bool) -> None:
    """In place: `second` into `first`; two lists always become one, other values only when appending."""
    for key, value in second.items():
        if key not in first:
            first[key] = value
            continue
        old = first[key]
        if isinstance(old, dict) and isinstance(value, Mapping):
            first[key] = old = dict(old)
            _merge(old, value, append)
        elif isinstance(old, list) and isinstance(value, list):
            first[key] = old + value
        elif append:
            first[key] = _as_list(old) + _as_list(value) if isinstance(value, list) else [*_as_list(old), value]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]
