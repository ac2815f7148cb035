"""What follows when a backend is told that a task ended: its chord, the rest of its chain, its errbacks.

Law: what is lost with a task is said by `protocol.rules`; here it is stored and sent, through Celery's names.
celeriac's own worker does this by itself: these are the calls for whoever tells a backend directly, as packages do.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterable
from typing import Any

from ...protocol.rules.continuing import lost_steps
from ...worker import insisting
from ...worker.backends.base import Claim
from .. import states
from ..exceptions import ChordError, NotRegistered, SecurityError


def _log() -> Any:
    from ..utils.log import get_logger

    return get_logger("celery.backends.base")


def context(known: dict[str, Any]) -> Any:
    """A request with these attributes."""
    from ..app.task import Context

    return Context(known)


# --- chains


def fail_chain(backend: Any, chain: Any, exc: Any, traceback: Any, store_result: bool, state: str) -> None:
    """The tasks that were to follow fail with it, and count in their chords."""
    if not isinstance(chain, (list, tuple)):
        return
    for step in lost_steps(chain):
        request = context({**step.sig, **step.sig["options"], "id": step.task_id, "group": step.group_id})
        told = step.chord is not None and backend.get_state(step.task_id) in states.PROPAGATE_STATES
        if store_result and state in states.PROPAGATE_STATES:
            backend.store_result(step.task_id, exc, state, traceback=traceback, request=request)
        if step.chord is not None and not told:
            backend.on_chord_part_return(request, state, exc)


# --- errbacks


def call_errbacks(backend: Any, request: Any, exc: Any, traceback: Any) -> None:
    """Call those of the new style that are registered here; send the others, with the id of the task."""
    from ..app.trace import takes_more

    app = backend.app
    away = []
    for each in request.errbacks:
        errback = app.signature(each)
        if not errback._app:
            errback._app = app
        try:
            here = takes_more(errback.type, errback)
        except NotRegistered:
            here = False
        if not here:
            away.append(errback)
            continue
        try:
            errback(request, exc, traceback)
        except Exception:  # noqa: BLE001 - a user's errback
            _log().exception("Errback %r raised an exception", errback.name)
    if away:
        from ..canvas import group

        sent = group(away, app=app)
        relatives = {"parent_id": request.id, "root_id": getattr(request, "root_id", None) or request.id}
        eager = app.conf.task_always_eager or (getattr(request, "delivery_info", None) or {}).get("is_eager", False)
        (sent.apply if eager else sent.apply_async)((request.id,), **relatives)


# --- chords


def chord_error_from_stack(backend: Any, callback: Any, exc: Any = None) -> Any:
    """The header failed: so does the body, and its errbacks are called."""
    from ..canvas import chord, group, maybe_signature

    app = backend.app
    if exc is None:
        exc = sys.exc_info()[1]
    if isinstance(callback, chord) and callback.body is not None:  # who waits for a chord waits for its body
        body = maybe_signature(callback.body, app=app)
        for name in ("chord", "group_id", "group_index", "chain"):
            if callback.options.get(name) is not None:
                body.options.setdefault(name, callback.options[name])
        known = _listed(body.options.get("link_error"))
        more = [each for each in _listed(callback.options.get("link_error")) if each not in known]
        body.options["link_error"] = [*known, *more]
        return chord_error_from_stack(backend, body, exc)
    task = app._tasks.get(callback.task)
    owner = backend if task is None else task.backend
    if isinstance(callback, group):
        _fail_group(owner, callback, getattr(exc, "__cause__", None) or exc)
        info = None
    else:
        task_id = callback.id
        if not task_id:
            task_id = callback.options["task_id"] = str(uuid.uuid4())
        errbacks = _only_here(callback, _listed(callback.options.get("link_error")), app)
        request = context({"delivery_info": {}, **callback, "id": task_id, "errbacks": errbacks})
        try:
            backend._call_task_errbacks(request, exc, None)
        except Exception as problem:  # noqa: BLE001 - a user's errback
            exc = problem
        info = owner.fail_from_current_stack(task_id, exc=exc)
        _tell_outer(owner, callback, task_id, exc)
    owner._fail_chain(callback.options.get("chain"), exc)
    return info


def _only_here(sig: Any, errbacks: list[Any], app: Any) -> list[Any]:
    """Without those of the chord around it: `link_error` puts one into each chord within, and that one calls it."""
    if not _is_member(sig):
        return errbacks
    _, outer = _errbacks_of(sig.options["chord"], app)
    return [each for each in errbacks if each not in outer]


def _is_member(sig: Any) -> bool:
    """Whether it would count itself in a chord, and no later step of a chain does."""
    return sig.options.get("chord") is not None and not sig.options.get("chain")


def _tell_outer(backend: Any, sig: Any, task_id: str, exc: Any, group_id: str | None = None) -> None:
    """What never ran will not count itself in the chord that it is a member of: that one fails too, and so on up."""
    if _is_member(sig):
        options = sig.options
        request = context({**sig, **options, "id": task_id, "group": group_id or options.get("group_id")})
        backend.on_chord_part_return(request, states.FAILURE, exc)


def _fail_group(backend: Any, body: Any, exc: Any) -> None:
    frozen = body.freeze()
    own = _listed(body.options.get("link_error"))
    each = dict(_errbacks_of(task, backend.app) for task in body.tasks)
    for result in frozen.results:
        errbacks: list[Any] = []
        for errback in (*each.get(result.id, ()), *own):
            if errback not in errbacks:
                errbacks.append(errback)
        errbacks = _only_here(body, errbacks, backend.app)
        request = context({"id": result.id, "errbacks": errbacks, "delivery_info": {}, "task": "unknown"})
        try:
            backend._call_task_errbacks(request, exc, None)
        except Exception:  # noqa: BLE001 - a user's errback
            _log().exception("Errbacks of %r raised an exception", result.id)
        backend.fail_from_current_stack(result.id, exc=exc)
    if body.options.get("chord") is not None:  # its members count under its own id, as they do when they are sent
        members = list(_leaves(frozen))
        backend.set_chord_size(frozen.id, len(members))
        for member in members:
            _tell_outer(backend, body, member.id, exc, frozen.id)
    if frozen.id:
        backend.mark_as_failure(frozen.id, exc)
    frozen.revoke()


def _leaves(result: Any) -> Iterable[Any]:
    """The members of a group that count in the chord around it: those of groups in it, too."""
    for each in result.results:
        if hasattr(each, "results"):
            yield from _leaves(each)
        else:
            yield each


def _errbacks_of(sig: Any, app: Any) -> tuple[Any, list[Any]]:
    from ..canvas import chord, group, maybe_signature

    sig = maybe_signature(sig, app=app)
    errbacks: list[Any] = []
    while isinstance(sig, chord) and sig.body is not None:
        errbacks.extend(_listed(sig.options.get("link_error")))
        sig = maybe_signature(sig.body, app=app)
    errbacks.extend(_listed(sig.options.get("link_error")))
    if isinstance(sig, group):
        for task in sig.tasks:
            errbacks.extend(_errbacks_of(task, app)[1])
    return sig.options.get("task_id"), errbacks


def _listed(found: Any) -> list[Any]:
    if found is None:
        return []
    return list(found) if isinstance(found, (list, tuple, set)) else [found]


def send_body(backend: Any, request: Any, claim: Claim) -> None:
    """A chord is complete, and its body ours to send: once, or its errors."""
    from ...protocol.wire.failure import Failure
    from ...worker.recording import safe_repr
    from ..canvas import maybe_signature
    from .failing import rebuilt

    store = backend.store
    callback = maybe_signature(request.chord, app=backend.app)
    failed = next((member for member in claim.members if member.failed), None)
    if failed is not None:
        try:
            exc = rebuilt(failed.value) if isinstance(failed.value, Failure) else failed.value
        except SecurityError as refused:  # it names no exception: the body is told that, too
            exc = refused
        # The text of a chord that failed for another is not quoted once more at each level: quotes of quotes double.
        reason = f"ChordError: {exc}" if isinstance(exc, ChordError) else safe_repr(exc)
        error = ChordError(f"Dependency {failed.task_id} raised {reason}")
        if isinstance(exc, Exception):
            error.__cause__ = exc
        chord_error_from_stack(backend, callback, error)
        store.chord_failed(claim)
        return
    if not store.chord_hold(claim, store.settings.chord_claim):
        return
    try:
        with insisting.own(f"The body of the chord {claim.group_id}, {callback.task}[{callback.id}],"):
            callback.delay(shaped(claim))
    except Exception as problem:  # noqa: BLE001 - the sender may raise anything
        _log().exception("Chord %r raised: %r", claim.group_id, problem)
        error = ChordError(f"Callback error: {problem!r}")
        error.__cause__ = problem
        chord_error_from_stack(backend, callback, error)
        store.chord_failed(claim)
    else:
        store.chord_done(claim)


def shaped(claim: Claim) -> list[Any]:
    """The values of the members, nested where the header held groups."""
    values: Iterable[Any] = (member.value for member in claim.members)
    if claim.saved is None:
        return list(values)
    by_id = {member.task_id: member.value for member in claim.members}

    def of(node: Any) -> Any:
        return by_id.get(node.id) if node.members is None else [of(member) for member in node.members]

    return [of(member) for member in claim.saved.members or ()]
