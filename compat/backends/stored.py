"""A Celery backend over a result store of ours: what all of celeriac's own backends have in common.

Law: the store does the work, and any thread may use it. A subclass of somebody else's that says anew how a key is
read or written, or a result, is asked for that, by clients and by workers; the rest stays with the store.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from ...protocol.errors import BadCall, BadMessage
from ...protocol.values import replace
from .. import result as kinds
from .. import states
from ..exceptions import BackendGetMetaError, BackendStoreError, ImproperlyConfigured, TimeoutError

if TYPE_CHECKING:
    from ...protocol.wire.result import Result
    from ...worker.backends.base import Address, Claim, Found, Settings, Store

KEY_METHODS = ("get", "set", "delete", "mget", "_set_with_state")
RESULT_METHODS = (
    *("store_result", "_store_result", "get_task_meta", "_get_task_meta_for", "forget", "_forget"),
    *("save_group", "_save_group", "restore_group", "_restore_group", "delete_group", "_delete_group"),
    *("encode", "decode", "encode_result", "decode_result"),
)
T = TypeVar("T")
_CLAIMS_LAST = 4
"""So many times as long as a claim is waited for its end: who has one holds it for longer while he sends."""
_LOOKS_AGAIN = 0.2
_OURS = __name__.rpartition(".")[0]
_DOCUMENT = frozenset(("status", "result", "traceback", "children", "date_done", "group_id", "parent_id", "task_id"))


def settings_of(backend: Any) -> Settings:
    """What the configuration and the backend's own arguments say of results."""
    from ...worker.backends import settings as store_settings
    from ..app.settings_for_store import by_new_names

    try:
        found = store_settings.read(by_new_names(backend.app.conf), _serializers(backend))
    except BadCall as problem:
        raise ImproperlyConfigured(str(problem)) from problem
    codec = found.codec
    if backend.compression is None and codec.compress is not None:
        codec = replace(codec, compress=None)
    if backend.serializer != codec.serializer:
        codec = replace(codec, serializer=backend.serializer)
    if backend._accept is not None:
        codec = replace(codec, accept=backend.accept)
    expires = backend.expires
    return replace(found, codec=codec, expires=found.expires if expires is None else max(0, math.ceil(expires)))


def _serializers(backend: Any) -> Any:
    """Ours, and those that were registered with kombu."""
    from .foreign import table

    conf = backend.app.conf
    return table([backend.serializer, *map(str, conf.result_accept_content or conf.accept_content or ())])


def overridden(backend: Any, names: Iterable[str]) -> bool:
    """Whether somebody else's class, or an attribute of this object, says one of these anew."""
    for name in names:
        if name in vars(backend):
            return True
        owner = next((kind for kind in type(backend).__mro__ if name in vars(kind)), None)
        if owner is not None and not owner.__module__.startswith(_OURS):
            return True
    return False


def _either(method: Callable[..., Any]) -> Any:
    """A method whose parameters are those of both bases that a subclass may have."""
    return method


class Stored:
    """To be named before Celery's base class, whose methods it says over a store."""

    supports_native_join = True
    supports_failure_expires = True
    supports_result_compression = True
    waits_by_itself = True

    app: Any
    url: str | None
    _cache: Any
    _pending_results: Any
    _ensure_not_eager: Callable[[], None]
    _get_result_meta: Callable[..., dict[str, Any]]

    #: What `worker.backends` calls this kind of store.
    scheme = "disabled"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.thread_safe = True

    # --- the store

    def store_url(self) -> str:
        """The URL for `worker.backends`."""
        return self.url or self.scheme

    @cached_property
    def plain(self) -> Store:
        """The store as it is, whatever a subclass says."""
        from ...worker.backends.shared import connect as connect_shared

        try:
            return connect_shared(self.store_url(), settings_of(self))
        except BadCall as problem:
            raise ImproperlyConfigured(str(problem)) from problem

    def load_ahead(self) -> None:
        """What the first use would load, for who forks and would have it loaded once. Nothing is connected."""
        from ...worker.backends import load
        from ...worker.backends import shared as _shared  # noqa: F401 - `plain` is made by it

        settings_of(self)
        with suppress(ImportError, BadCall):  # told when it is used
            load(self.store_url())

    def await_strangers(self) -> None:
        """A worker is ready to answer: what those need who look for results in ways of their own."""

    @cached_property
    def _kept(self) -> Store:
        """The store, its keys read and written by a subclass that says how."""
        if not overridden(self, KEY_METHODS):
            return self.plain
        from .routed import Routed

        return Routed(self, self.plain)

    @cached_property
    def store(self) -> Store:
        """This backend as a store."""
        if not overridden(self, RESULT_METHODS):
            return self._kept
        from .routed import PluggedOver

        return PluggedOver(self, self._kept)

    # --- results

    def _id(self, task_id: Any) -> str:
        """As the stores have it. Where ids make keys, none at all is an error: a task called by hand has no id."""
        if not task_id and hasattr(self, "get_key_for_task"):
            raise ValueError(f"task_id must not be empty. Got {task_id} instead.")
        return _text(task_id)

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        meta = self._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        try:
            self._kept.store(_result(self._id(task_id), meta), _address(task_id, request))
        except BadCall as problem:
            raise _unwritable(problem) from problem
        except Exception as problem:
            if self.app.conf.result_backend_always_retry and _is_operational(problem):
                raise BackendStoreError(str(problem), state=state, task_id=task_id) from problem
            raise
        return result

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        try:
            found = self._kept.fetch(self._id(task_id))
        except BadMessage as bad:
            raise _unreadable(task_id, bad, self._raw(task_id)) from bad
        except Exception as problem:
            if self.app.conf.result_backend_always_retry and _is_operational(problem):
                raise BackendGetMetaError(str(problem), task_id=task_id) from problem
            raise
        return {"status": states.PENDING, "result": None} if found is None else self._meta(found)

    def _meta(self, found: Result) -> dict[str, Any]:
        from ...protocol.wire.failure import Failure
        from ...protocol.wire.result import document

        meta = document(found)
        value = found.result
        if isinstance(value, (Failure, BaseException)):
            meta["result"] = _failing().to_python(value, self.serializer)  # type: ignore[attr-defined]  # the base has it
        return meta

    def _raw(self, task_id: str) -> bytes | None:
        """What is stored, for who must be told why it cannot be read."""
        with suppress(Exception):  # an error is on its way already
            found: bytes = on_keys(self._kept, lambda store: store.get(store.settings.keys.task(self._id(task_id))))
            return found
        return None

    def task_result_exists(self, task_id: str) -> bool:
        try:
            return self._kept.fetch(self._id(task_id)) is not None
        except BadMessage:
            return True

    def _forget(self, task_id: str) -> None:
        self._kept.forget(self._id(task_id))

    # --- groups

    def _save_group(self, group_id: str, result: Any) -> Any:
        try:
            from ...protocol.wire import children

            node = children.parse(result.as_tuple())
            self._kept.store_group(node if node.id == group_id else replace(node, id=group_id))
        except BadCall as problem:
            raise _unwritable(problem) from problem
        return result

    def _restore_group(self, group_id: str) -> Any:
        try:
            node = self._kept.fetch_group(group_id)
        except BadMessage as bad:
            raise _unreadable(group_id, bad) from bad
        if node is None:
            return None
        from ...protocol.wire import children

        return {"result": kinds.result_from_tuple(children.build(node), self.app), "task_id": group_id}

    def _delete_group(self, group_id: str) -> None:
        self._kept.forget_group(group_id)

    # --- waiting

    def add_pending_result(self, result: Any, weak: bool = False, start_drainer: bool = True) -> Any:
        """Somebody was promised this result: whoever waits for anything waits for it too."""
        if isinstance(result, kinds.ResultSet):
            return result
        table = self._pending_results.weak if weak else self._pending_results.concrete
        table[result.id] = result
        result._pending = True
        return result

    def add_pending_results(self, results: Iterable[Any], weak: bool = False) -> list[Any]:
        return [self.add_pending_result(result, weak=weak) for result in results]

    def remove_pending_result(self, result: Any) -> Any:
        for table in self._pending_results:
            if table.get(result.id) is result:
                table.pop(result.id, None)
        result._pending = False
        self.on_result_fulfilled(result)
        return result

    def on_result_fulfilled(self, result: Any) -> None:
        """A result is no longer waited for."""

    @property
    def is_async(self) -> bool:
        return True

    @_either
    def wait_for_pending(
        self,
        result: Any,
        callback: Any = None,
        propagate: bool = True,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Any = None,
        on_interval: Any = None,
    ) -> Any:
        self._ensure_not_eager()
        for _, meta in self.arrivals([result.id], timeout, interval, on_interval, on_message):
            result._maybe_set_cache(meta)
        return result.maybe_throw(callback=callback, propagate=propagate)

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Any = None,
    ) -> Any:
        """The document of a task once it has ended."""
        self._ensure_not_eager()
        return dict(self.arrivals([task_id], timeout, interval, on_interval))[task_id]

    @_either
    def iter_native(
        self,
        result: Any,
        no_ack: bool = True,
        timeout: float | None = None,
        interval: float = 0.5,
        on_message: Any = None,
        on_interval: Any = None,
    ) -> Iterator[tuple[str, Any]]:
        """`(id, document)` of each member as it gets ready."""
        self._ensure_not_eager()
        waiting: dict[str, list[Any]] = {}
        for each in result.results or ():
            if isinstance(each, kinds.ResultSet):
                yield each.id, each.results  # type: ignore[attr-defined]  # a set within a set is a group
            elif each._cache is not None:
                yield each.id, each._cache
            else:
                waiting.setdefault(each.id, []).append(each)
        for task_id, meta in self.arrivals(waiting, timeout, interval, on_interval, on_message):
            for each in waiting[task_id]:
                each._maybe_set_cache(dict(meta))
            yield task_id, waiting[task_id][0]._cache or meta  # as a result has it: its children are results

    def get_many(
        self,
        task_ids: Iterable[str],
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Any = None,
        on_interval: Any = None,
        max_iterations: int | None = None,
        READY_STATES: Any = states.READY_STATES,
    ) -> Iterator[tuple[str, Any]]:
        """`(id, document)` of each as it gets ready."""
        interval = interval or 0.5
        ids = list(map(_text, task_ids))
        if not max_iterations:
            yield from self.arrivals(ids, timeout, interval, on_interval, on_message)
            return
        seconds = (max_iterations - 1) * interval
        try:
            yield from self.arrivals(ids, seconds, interval, on_interval, on_message)
        except TimeoutError:
            if timeout is not None and timeout <= seconds:
                raise

    def arrivals(
        self,
        task_ids: Iterable[str],
        timeout: float | None,
        interval: float = 0.5,
        on_interval: Any = None,
        on_message: Any = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """`(id, document)` of each of these, once, as it gets ready; `TimeoutError` when the time is over before."""
        missing = dict.fromkeys(task_ids)
        for task_id in list(missing):
            kept = self._cache.get(task_id)
            if kept is not None and kept["status"] in states.READY_STATES:
                del missing[task_id]
                yield task_id, kept
        if not missing:
            return
        end = math.inf if timeout is None else time.monotonic() + max(0.0, timeout)
        try:
            for task_id, found in self._waited(missing, end, max(0.001, interval), on_interval, on_message):
                meta = self._arrived(task_id, found, wanted=task_id in missing)
                if meta is None:
                    continue
                del missing[task_id]
                if on_message is not None:
                    on_message(meta)
                yield task_id, meta
                if not missing:
                    return
        except Exception as problem:
            if time.monotonic() >= end - interval and _is_operational(problem):
                raise TimeoutError(f"The operation timed out: {problem}") from problem
            raise
        raise TimeoutError("The operation timed out.")

    def _waited(
        self, missing: Mapping[str, Any], end: float, interval: float, on_interval: Any, on_message: Any
    ) -> Iterator[tuple[str, Found]]:
        promised = [task_id for table in self._pending_results for task_id in list(table)]
        ids = list(dict.fromkeys([*promised, *missing]))  # who waits goes when it has its own
        tick = _Tick(interval, on_interval)
        timeout = end if end == math.inf else max(0.0, end - time.monotonic())
        store = self.store
        if on_message is None:
            return store.wait(ids, timeout, interval=interval, stop=tick)
        return _seen(store, ids, timeout, interval, tick, lambda found: on_message(self._meta(found)))

    def _arrived(self, task_id: str, found: Found, *, wanted: bool) -> dict[str, Any] | None:
        """The document, if it was asked for; whoever else was promised it gets it."""
        promised = [table.pop(task_id, None) for table in self._pending_results]
        if isinstance(found, BadMessage):
            if wanted:
                raise _unreadable(task_id, found, self._raw(task_id)) from found
            return None
        meta = self._meta(found)
        if meta["status"] == states.SUCCESS:
            self._cache[task_id] = meta
        for result in promised:
            if result is not None:
                result._maybe_set_cache(dict(meta))
        return meta if wanted else None

    # --- chords

    @property
    def _counts(self) -> bool:
        return "chord" in self.plain.can

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        if self._counts:
            self.plain.chord_start(group_id, chord_size)

    def add_to_chord(self, chord_id: str, result: Any) -> Any:
        if not self._counts:
            raise NotImplementedError("Backend does not support add_to_chord")
        self.plain.chord_grow(chord_id)

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> Any:
        if not self._counts:
            return super().apply_chord(header_result_args, body, **kwargs)  # type: ignore[misc]  # the base has it
        self.ensure_chords_allowed()  # type: ignore[attr-defined]  # the base has it
        header = self.app.GroupResult(*header_result_args)
        if any(isinstance(each, kinds.ResultSet) for each in header.results):
            self.save_group(header.id, header)  # type: ignore[attr-defined]  # the base has it
        return None

    def on_chord_part_return(self, request: Any, state: str, result: Any, **kwargs: Any) -> None:
        if not request.group:
            return
        if not self._counts:
            super().on_chord_part_return(request, state, result, **kwargs)  # type: ignore[misc]  # the base has it
            return
        import uuid

        from ...protocol.wire.chord_keys import Member, size_in
        from . import aftermath

        value = self.encode_result(result, state)  # type: ignore[attr-defined]  # the base has it
        member = Member(request.id, state, value)
        size = size_in(request.chord)
        index = getattr(request, "group_index", None)
        tell = partial(self.plain.chord_part, request.group, member, index, str(uuid.uuid4()), size)
        claim = tell()
        if claim is None and (getattr(request, "delivery_info", None) or {}).get("redelivered"):
            claim = self._taken_over(request.group, tell)
        if claim is not None and request.chord:
            aftermath.send_body(self, request, claim)

    def _taken_over(self, group_id: str, tell: Callable[[], Claim | None]) -> Claim | None:
        """A member's message has come again: who had it, and a claim to the body with it, may be dead.

        Nobody tells of a member again once this message is acknowledged. So we wait until the body is out, or the claim
        has lapsed and is ours.
        """
        end = time.monotonic() + _CLAIMS_LAST * self.plain.settings.chord_claim
        while self.plain.chord_taken(group_id) and time.monotonic() < end:
            time.sleep(_LOOKS_AGAIN)
            if (claim := tell()) is not None:
                return claim
        return None

    # --- at times

    def cleanup(self) -> None:
        self.plain.expire(time.time())

    def process_cleanup(self) -> None:
        """Tracers of others call it after each task: what is connected is kept for the next, and for who waits."""


class StoredKeys(Stored):
    """The same over a store of keys: `get`, `set`, `delete` and `mget` are the store's."""

    expires: Any

    def get(self, key: Any) -> Any:
        return on_keys(self.plain, lambda store: store.get(_text(key)))

    def mget(self, keys: Any) -> Any:
        return on_keys(self.plain, lambda store: store.get_many(list(map(_text, keys))))

    def set(self, key: Any, value: Any) -> Any:
        seconds = self.plain.settings.expires
        on_keys(self.plain, lambda store: store.put(_text(key), _bytes(value) or b"", seconds))

    def delete(self, key: Any) -> Any:
        on_keys(self.plain, lambda store: store.delete(_text(key)))

    def ended(self, task_ids: Iterable[str]) -> dict[str, dict[str, Any]] | None:
        """The documents of those of these tasks that have ended. None: each is to be asked for by itself, which says
        what is wrong."""
        if self.store is not self.plain or overridden(self, ("meta_from_decoded",)):
            return None
        self._ensure_not_eager()
        metas = {}
        for task_id, found in self.plain.fetch_many(map(self._id, task_ids)).items():
            if isinstance(found, BadMessage):
                return None
            if found.ready:
                meta = metas[task_id] = self._meta(found)
                if meta["status"] == states.SUCCESS:
                    self._cache[task_id] = meta
        return metas


def on_keys(store: Store, do: Callable[[Any], T]) -> T:
    """What only a store of keys can do, with the one that is below."""
    from ...worker.backends.retrying import Retrying
    from ...worker.backends.shared import Leasing

    if isinstance(store, Retrying):
        store = store.inner
    if isinstance(store, Leasing):
        return store.use(do)
    return do(store)


class _Tick:
    """Asked now and then by who waits: calls `on_interval` when an interval is over, and never says stop."""

    def __init__(self, interval: float, on_interval: Any) -> None:
        self._interval = interval
        self._call = on_interval
        self._next = time.monotonic() + interval

    def __call__(self) -> bool:
        if self._call is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval
            self._call()
        return False


def _seen(
    store: Store,
    ids: Sequence[str],
    timeout: float,
    interval: float,
    stop: Callable[[], bool],
    see: Callable[[Result], Any],
) -> Iterator[tuple[str, Found]]:
    """`store.wait`, telling of each state in between that is stored when we look."""
    last: dict[str, Any] = {}
    end = time.monotonic() + timeout
    missing = dict.fromkeys(ids)
    while True:
        for task_id, found in store.fetch_many(list(missing)).items():
            if not isinstance(found, BadMessage) and not found.ready:
                shown = (found.status, found.result)
                if last.get(task_id) != shown:
                    last[task_id] = shown
                    see(found)
        left = max(0.0, end - time.monotonic())
        turn = min(_LOOK, interval, left)
        for task_id, found in store.wait(list(missing), turn, interval=turn or interval):
            del missing[task_id]
            yield task_id, found
        if not missing or time.monotonic() >= end or stop():
            return


_LOOK = 0.05  # seconds between two looks at the states in between


# --- documents


def _result(task_id: str, meta: Mapping[str, Any]) -> Result:
    """A document as the store takes it: its value as it is to be written."""
    from ...protocol.wire.result import ABOUT, About, Result

    about: About | None = None
    names: tuple[str, ...] = ()
    if "worker" in meta or "queue" in meta:
        names = tuple(meta.get("stamped_headers") or ())
        stamps = {name: meta[name] for name in names if name in meta}
        call: dict[str, Any] = {name: meta.get(name) for name in ABOUT}
        about = About(**call, stamps=stamps, stamped_headers=names)
    traceback = meta.get("traceback")
    known = _DOCUMENT.union(ABOUT, ("stamped_headers",), names) if about else _DOCUMENT
    return Result(
        task_id,
        meta["status"],
        meta["result"],
        traceback if traceback is None else str(traceback),
        meta.get("children"),
        meta.get("date_done"),
        meta.get("group_id"),
        meta.get("parent_id"),
        about,
        {name: value for name, value in meta.items() if name not in known},
    )


def _address(task_id: str, request: Any) -> Address | None:
    if request is None:
        return None
    from ...worker.backends.base import Address

    return Address(getattr(request, "reply_to", None), getattr(request, "correlation_id", None) or task_id)


def _unreadable(task_id: str, bad: BadMessage, stored: bytes | None = None) -> Exception:
    found: Exception = _failing().unreadable(task_id, bad, stored)
    return found


def _failing() -> Any:
    from . import failing

    return failing


def _is_operational(problem: BaseException) -> bool:
    from kombu.exceptions import OperationalError

    return isinstance(problem, OperationalError)


def _unwritable(problem: BadCall) -> Exception:
    if isinstance(problem, NotImplementedError):
        return problem
    from kombu.exceptions import EncodeError

    return EncodeError(str(problem))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
