"""What a result backend is to Celery: the names by which apps, tasks, results and other people's backends know it.

Law: who subclasses says `_store_result`, `_get_task_meta_for` and `_forget` (or `get`, `set`, `delete` and `mget` of a
key-value store), and all the rest works upon these. celeriac's own backends say them over a `Store` (`stored.py`), and
every backend gives one: `store`, which may be used by all threads at once. Nothing connects before it is used.
"""

from __future__ import annotations

import importlib
import sys
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from ...worker.ids import chance
from .. import states
from .._state import current_app, get_current_task
from ..exceptions import (
    BackendGetMetaError,
    BackendStoreError,
    ChordError,
    ImproperlyConfigured,
    NotRegistered,
    TaskRevokedError,
    TimeoutError,
)
from ..result import GroupResult, ResultBase, ResultSet, allow_join_result, result_from_tuple

if TYPE_CHECKING:
    from ...worker.backends.base import Store

__all__ = ("BaseBackend", "DisabledBackend", "KeyValueStoreBackend")

EXCEPTION_ABLE_CODECS = frozenset({"pickle"})
COMPRESSED_PAYLOAD_MAGIC = b"\x00celery-compressed\x00"
MESSAGE_BUFFER_MAX = 8192

E_NO_BACKEND = "No result backend is configured.\nPlease see the documentation for more information."
E_CHORD_NO_BACKEND = (
    "Starting chords requires a result backend to be configured.\n\n"
    "Note that a group chained with a task is also upgraded to be a chord,\n"
    "as this pattern requires synchronization.\n\n"
    "Result backends that supports chords: Redis, Database, Memcached, and more."
)


class pending_results_t(NamedTuple):
    """Results that somebody waits for: held here, or by who waits alone."""

    concrete: Any
    weak: Any


class _Kept(OrderedDict[str, Any]):
    """The results that were read last, so many at most; none with a limit of -1."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def __setitem__(self, key: str, value: Any) -> None:
        if self.limit < 0:
            return
        super().__setitem__(key, value)
        while self.limit and len(self) > self.limit:
            self.popitem(last=False)


def unpickle_backend(cls: Any, args: Any, kwargs: Any) -> Any:
    """A backend for the current app, as pickles of one ask for it."""
    return cls(*args, app=current_app._get_current_object(), **kwargs)


unpickle_backend.__module__ = "celery.backends.base"  # a result that is pickled is read by stock Celery too
_OURS = "celeriac.compat."
_OURS_ALONE = frozenset({"backends.embedded", "backends.memory"})


class _Named:
    """A class of ours as a pickle names it: by Celery's module, where stock Celery finds its own."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.kind(*args, **kwargs)

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce__(self) -> Any:
        module = "celery." + self.kind.__module__[len(_OURS) :]
        return getattr, (_Module(module), self.kind.__qualname__)


class _Module:
    """What pickle cannot write, and finds by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> Any:
        return importlib.import_module, (self.name,)


def _named(kind: Any) -> Any:
    module = kind.__module__
    return _Named(kind) if module.startswith(_OURS) and module[len(_OURS) :] not in _OURS_ALONE else kind


def compress_payload(payload: Any, compression: str) -> bytes:
    """Compressed, and saying so itself."""
    from kombu.compression import compress

    body, content_type = compress(payload, compression)
    return b"%b%b\x00%b" % (COMPRESSED_PAYLOAD_MAGIC, content_type.encode(), body)


def decompress_payload(payload: Any) -> Any:
    """What `compress_payload` was given, up to 512 MiB; anything else as it is."""
    if isinstance(payload, memoryview):
        payload = payload.tobytes()
    if not isinstance(payload, (bytes, bytearray)) or not payload.startswith(COMPRESSED_PAYLOAD_MAGIC):
        return payload
    from ...protocol.wire.compression import decompress
    from .foreign import codecs

    content_type, _, body = bytes(payload[len(COMPRESSED_PAYLOAD_MAGIC) :]).partition(b"\x00")
    return decompress(body, content_type.decode(), table=codecs(()).compressions)


def _create_chord_error_with_cause(message: str, original_exc: Any = None) -> ChordError:
    error = ChordError(message)
    if isinstance(original_exc, Exception):
        error.__cause__ = original_exc
    return error


def _create_fake_task_request(task_id: Any, errbacks: Any = None, task_name: str = "unknown", **extra: Any) -> Any:
    return _aftermath().context(
        {"id": task_id, "errbacks": errbacks or [], "delivery_info": {}, "task": task_name, **extra}
    )


def _failing() -> Any:
    from . import failing

    return failing


def _aftermath() -> Any:
    from . import aftermath

    return aftermath


def _logger() -> Any:
    from ..utils.log import get_logger

    return get_logger(__name__)


class Backend:
    """The base of all result backends."""

    READY_STATES = states.READY_STATES
    UNREADY_STATES = states.UNREADY_STATES
    EXCEPTION_STATES = states.EXCEPTION_STATES

    TimeoutError = TimeoutError

    #: Seconds between the items of one pass of `ResultSet.iterate`.
    subpolling_interval: float | None = None

    #: `get_many` waits for many at once.
    supports_native_join = False

    #: Results go by themselves when their time is over.
    supports_autoexpire = False

    #: Results survive the store's restart, unless `result_persistent` says otherwise.
    persistent = True

    #: Any bytes can be stored.
    supports_result_compression = False

    #: Failures may have a lifetime of their own.
    supports_failure_expires = False

    retry_policy: Any = {"max_retries": 20, "interval_start": 0, "interval_step": 1, "interval_max": 1}

    def __init__(
        self,
        app: Any,
        serializer: str | None = None,
        max_cached_results: int | None = None,
        accept: Any = None,
        expires: Any = None,
        expires_type: Any = None,
        url: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.app = app
        conf = app.conf
        self.serializer = serializer or conf.result_serializer
        self.compression = self.prepare_compression(conf.get("result_compression"))
        self._cache: Any = _Kept(max_cached_results or conf.result_cache_max)
        self.expires = self.prepare_expires(expires, expires_type)
        self._accept = accept
        if conf.get("result_failure_expires") is not None and not self.supports_failure_expires:
            warnings.warn(
                f"{type(self).__name__} keeps failures as long as any result: it does not know result_failure_expires.",
                UserWarning,
                stacklevel=2,
            )
        self.always_retry = conf.get("result_backend_always_retry", False)
        self.max_sleep_between_retries_ms = conf.get("result_backend_max_sleep_between_retries_ms", 10000)
        self.base_sleep_between_retries_ms = conf.get("result_backend_base_sleep_between_retries_ms", 10)
        self.max_retries = conf.get("result_backend_max_retries", float("inf"))
        self.thread_safe = conf.get("result_backend_thread_safe", False)
        self._pending_results = pending_results_t({}, WeakValueDictionary())
        self._pending_messages: Any = {}
        self.url = url

    @cached_property
    def store(self) -> Store:
        """This backend as a result store, for workers."""
        from ...worker.backends.plugged import PluggedStore

        return PluggedStore(self, _settings(self))

    def as_uri(self, include_password: bool = False) -> str | None:
        """The URL, without its password."""
        if include_password:
            return self.url
        from ..app.utils import shown_url

        url: str = shown_url(self.url or "")
        return url[:-1] if url.endswith(":///") else url

    # --- bytes and values

    @cached_property
    def _codec(self) -> tuple[str, str, Any]:
        from kombu.serialization import registry

        found: tuple[str, str, Any] = registry._encoders[self.serializer]
        return found

    @cached_property
    def content_type(self) -> str:
        return self._codec[0]

    @cached_property
    def content_encoding(self) -> str:
        return self._codec[1]

    @cached_property
    def encoder(self) -> Any:
        return self._codec[2]

    @cached_property
    def accept(self) -> Any:
        """The content types that are read: of the argument, or `result_accept_content`, or `accept_content`."""
        from kombu.serialization import prepare_accept_content

        conf = self.app.conf
        given = conf.result_accept_content if self._accept is None else self._accept
        return prepare_accept_content(conf.accept_content if given is None else given)

    def encode(self, data: Any) -> Any:
        payload = self._encode(data)[2]
        return compress_payload(payload, self.compression) if self.compression else payload

    def _encode(self, data: Any) -> tuple[str, str, Any]:
        from kombu.serialization import dumps

        found: tuple[str, str, Any] = dumps(data, serializer=self.serializer)
        return found

    def decode(self, payload: Any) -> Any:
        if payload is None:
            return payload
        from kombu.serialization import loads

        return loads(
            decompress_payload(payload or str(payload)),
            content_type=self.content_type,
            content_encoding=self.content_encoding,
            accept=self.accept,
        )

    def decode_result(self, payload: Any) -> Any:
        return self.meta_from_decoded(self.decode(payload))

    def meta_from_decoded(self, meta: Any) -> Any:
        if meta["status"] in self.EXCEPTION_STATES:
            meta["result"] = self.exception_to_python(meta["result"])
        return meta

    def prepare_exception(self, exc: BaseException, serializer: str | None = None) -> Any:
        """An exception as it is stored."""
        return _failing().prepared(exc, self.serializer if serializer is None else serializer, self.encode)

    def exception_to_python(self, exc: Any) -> Any:
        """The exception in what is stored."""
        return _failing().to_python(exc, self.serializer)

    def prepare_value(self, result: Any) -> Any:
        if self.serializer != "pickle" and isinstance(result, ResultBase):
            return result.as_tuple()  # type: ignore[attr-defined]  # all but the bare base have it
        return result

    def encode_result(self, result: Any, state: str) -> Any:
        if state in self.EXCEPTION_STATES and isinstance(result, BaseException):
            return self.prepare_exception(result)
        return self.prepare_value(result)

    def prepare_compression(self, compression: str | None) -> str | None:
        """The compression to use, or None where compressed results cannot be kept."""
        if not compression:
            return None
        if not self.supports_result_compression:
            warnings.warn(
                f"{type(self).__name__} cannot store compressed results: result_compression is ignored.",
                UserWarning,
                stacklevel=3,
            )
            return None
        from kombu.compression import encoders, get_encoder

        try:
            get_encoder(compression)
        except KeyError:
            raise ImproperlyConfigured(
                f"Unknown compression method {compression!r} configured in result_compression.\n"
                f"Available methods are: {', '.join(sorted(encoders()))}."
            ) from None
        return compression

    def prepare_expires(self, value: Any, type: Callable[[Any], Any] | None = None) -> Any:
        if value is None:
            value = self.app.conf.result_expires
        if isinstance(value, timedelta):
            value = value.total_seconds()
        return type(value) if value is not None and type else value

    def prepare_persistent(self, enabled: bool | None = None) -> Any:
        if enabled is not None:
            return enabled
        persistent = self.app.conf.result_persistent
        return self.persistent if persistent is None else persistent

    # --- a task's states

    def mark_as_started(self, task_id: str, **meta: Any) -> Any:
        return self.store_result(task_id, meta, states.STARTED)

    def mark_as_done(
        self, task_id: str, result: Any, request: Any = None, store_result: bool = True, state: str = states.SUCCESS
    ) -> None:
        """The task succeeded."""
        if store_result and not (request is not None and request.ignore_result):
            self.store_result(task_id, result, state, request=request)
        if request and request.chord:
            self.on_chord_part_return(request, state, result)

    def mark_as_failure(
        self,
        task_id: str,
        exc: Any,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,
        call_errbacks: bool = True,
        state: str = states.FAILURE,
    ) -> None:
        """The task failed, and with it what was to follow."""
        if store_result:
            self.store_result(task_id, exc, state, traceback=traceback, request=request)
        if not request:
            return
        if request.chord:
            self.on_chord_part_return(request, state, exc)
        self._fail_chain(getattr(request, "chain", None), exc, traceback, store_result=store_result, state=state)
        if call_errbacks and request.errbacks:
            self._call_task_errbacks(request, exc, traceback)

    def mark_as_revoked(
        self,
        task_id: str,
        reason: str = "",
        request: Any = None,
        store_result: bool = True,
        state: str = states.REVOKED,
    ) -> None:
        exc = TaskRevokedError(reason)
        if store_result:
            self.store_result(task_id, exc, state, traceback=None, request=request)
        if request and request.chord:
            self.on_chord_part_return(request, state, exc)

    def mark_as_retry(
        self,
        task_id: str,
        exc: Any,
        traceback: Any = None,
        request: Any = None,
        store_result: bool = True,
        state: str = states.RETRY,
    ) -> Any:
        """The task is to be run again."""
        return self.store_result(task_id, exc, state, traceback=traceback, request=request)

    def _fail_chain(
        self, chain: Any, exc: Any, traceback: Any = None, store_result: bool = True, state: str = states.FAILURE
    ) -> None:
        _aftermath().fail_chain(self, chain, exc, traceback, store_result, state)

    def _call_task_errbacks(self, request: Any, exc: Any, traceback: Any) -> None:
        _aftermath().call_errbacks(self, request, exc, traceback)

    def chord_error_from_stack(self, callback: Any, exc: Any = None) -> Any:
        """The body of a chord fails, since its header did."""
        return _aftermath().chord_error_from_stack(self, callback, exc)

    def fail_from_current_stack(self, task_id: str, exc: Any = None) -> Any:
        """The task fails with this exception, or with the one that is being handled; its traceback as text."""
        import traceback

        kind, current, tb = sys.exc_info()
        exc = current if exc is None else exc
        text = "".join(traceback.format_exception(kind or type(exc), exc, tb))
        self.mark_as_failure(task_id, exc, text)
        from ...worker.einfo import ExceptionInfo

        return ExceptionInfo((kind or type(exc), exc, tb))

    # --- storing

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        """Store a state; again when the store fails, if `result_backend_always_retry` says so."""
        result = self.encode_result(result, state)
        self._ensure_retryable(
            self._store_result,  # type: ignore[attr-defined]  # whoever subclasses has it
            task_id,
            result,
            state,
            traceback,
            fallback_exc=partial(BackendStoreError, task_id=task_id, state=state),
            fallback_msg="failed to store result on the backend",
            request=request,
            **kwargs,
        )
        return result

    def _get_result_meta(
        self,
        result: Any,
        state: str,
        traceback: Any,
        request: Any,
        format_date: bool = True,
        encode: bool = False,
    ) -> dict[str, Any]:
        """The document of a result."""
        date_done = self.app.now() if state in self.READY_STATES else None
        if date_done is not None and format_date:
            date_done = date_done.isoformat()
        meta: dict[str, Any] = {
            "status": state,
            "result": result,
            "traceback": traceback,
            "children": self.current_task_children(request),
            "date_done": date_done,
        }
        if request and getattr(request, "group", None):
            meta["group_id"] = request.group
        if request and getattr(request, "parent_id", None):
            meta["parent_id"] = request.parent_id
        if request and self.app.conf.result_extended:
            meta.update(self._call_meta(request, encode))
        return meta

    def _call_meta(self, request: Any, encode: bool) -> dict[str, Any]:
        """What `result_extended` adds."""
        delivery_info = getattr(request, "delivery_info", None)
        meta = {
            "name": getattr(request, "task", None),
            "args": getattr(request, "args", None),
            "kwargs": getattr(request, "kwargs", None),
            "worker": getattr(request, "hostname", None),
            "retries": getattr(request, "retries", None),
            "queue": delivery_info.get("routing_key") if delivery_info else None,
        }
        stamps = getattr(request, "stamps", None)
        if stamps:
            meta["stamped_headers"] = request.stamped_headers
            meta.update({name: value for name, value in stamps.items() if name in (request.stamped_headers or ())})
        if encode:
            for name in ("args", "kwargs"):
                encoded = self.encode(meta[name])
                meta[name] = encoded.encode() if isinstance(encoded, str) else encoded
        return meta

    def current_task_children(self, request: Any = None) -> Any:
        request = request or getattr(get_current_task(), "request", None)
        if request:
            return [result.as_tuple() for result in getattr(request, "children", None) or []]
        return None

    def forget(self, task_id: str) -> None:
        self._cache.pop(task_id, None)
        self._ensure_retryable(self._forget, task_id)

    def _forget(self, task_id: str) -> None:
        raise NotImplementedError("backend does not implement forget.")

    # --- trying again

    def _sleep(self, amount: float) -> None:
        time.sleep(amount)

    def _ensure_retryable(
        self,
        func: Callable[..., Any],
        *args: Any,
        fallback_exc: Any = None,
        fallback_msg: str | None = None,
        max_retries: float | None = None,
        **kwargs: Any,
    ) -> Any:
        limit = self.max_retries if max_retries is None else max_retries
        retries = 0
        while True:
            try:
                return func(*args, **kwargs)
            except Exception as exc:  # noqa: PERF203 - a loop of attempts
                if not (self.always_retry and self.exception_safe_to_retry(exc)):
                    raise
                if retries >= limit:
                    if fallback_exc:
                        raise fallback_exc(fallback_msg) from exc
                    raise
                retries += 1
                name = getattr(func, "__name__", repr(func))
                _logger().warning("Failed operation %s. Retrying %s more times.", name, limit - retries, exc_info=True)
                try:
                    self.on_backend_retryable_error(exc)
                except Exception:  # noqa: BLE001 - a user's hook
                    _logger().exception("on_backend_retryable_error failed; trying again all the same")
                longest = min(
                    self.max_sleep_between_retries_ms, self.base_sleep_between_retries_ms * 2 ** min(retries, 64)
                )
                self._sleep(longest * chance() / 1000)

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """Whether a subclass' operation may be made again after this."""
        return False

    def on_backend_retryable_error(self, exc: BaseException) -> None:
        """Called before it is."""

    # --- asking

    def get_state(self, task_id: str) -> Any:
        return self.get_task_meta(task_id)["status"]

    get_status = get_state

    def get_traceback(self, task_id: str) -> Any:
        return self.get_task_meta(task_id).get("traceback")

    def get_result(self, task_id: str) -> Any:
        return self.get_task_meta(task_id).get("result")

    def get_children(self, task_id: str) -> Any:
        return self.get_task_meta(task_id).get("children")

    def _ensure_not_eager(self) -> None:
        conf = self.app.conf
        if conf.task_always_eager and not conf.task_store_eager_result:
            warnings.warn(
                "Results are not stored in backend and should not be retrieved when "
                "task_always_eager is enabled, unless task_store_eager_result is enabled.",
                RuntimeWarning,
                stacklevel=2,
            )

    ensure_not_eager = _ensure_not_eager

    def get_task_meta(self, task_id: str, cache: bool = True) -> Any:
        """The document of a task's last state, the exception in it a live one."""
        self._ensure_not_eager()
        if cache:
            kept = self._cache.get(task_id)
            if kept is not None:
                return kept
        meta = self._ensure_retryable(
            self._get_task_meta_for,  # type: ignore[attr-defined]  # whoever subclasses has it
            task_id,
            fallback_exc=partial(BackendGetMetaError, task_id=task_id),
            fallback_msg="failed to get meta",
        )
        if cache and meta.get("status") == states.SUCCESS:
            self._cache[task_id] = meta
        return meta

    def reload_task_result(self, task_id: str) -> None:
        """Read it again."""
        self._cache[task_id] = self.get_task_meta(task_id, cache=False)

    def task_result_exists(self, task_id: str) -> bool:
        """Whether anything is stored for this task."""
        found: bool = self._get_task_meta_for(task_id)["status"] != states.PENDING  # type: ignore[attr-defined]  # whoever subclasses has it
        return found

    def is_cached(self, task_id: str) -> bool:
        return task_id in self._cache

    # --- groups

    def reload_group_result(self, group_id: str) -> None:
        self._cache[group_id] = self.get_group_meta(group_id, cache=False)

    def get_group_meta(self, group_id: str, cache: bool = True) -> Any:
        self._ensure_not_eager()
        if cache:
            kept = self._cache.get(group_id)
            if kept is not None:
                return kept
        meta = self._ensure_retryable(self._restore_group, group_id)  # type: ignore[attr-defined]  # whoever subclasses has it
        if cache and meta is not None:
            self._cache[group_id] = meta
        return meta

    def restore_group(self, group_id: str, cache: bool = True) -> Any:
        """The group that was saved, or None."""
        meta = self.get_group_meta(group_id, cache=cache)
        return meta["result"] if meta else None

    def save_group(self, group_id: str, result: Any) -> Any:
        return self._ensure_retryable(self._save_group, group_id, result)  # type: ignore[attr-defined]  # whoever subclasses has it

    def delete_group(self, group_id: str) -> Any:
        self._cache.pop(group_id, None)
        return self._ensure_retryable(self._delete_group, group_id)  # type: ignore[attr-defined]  # whoever subclasses has it

    # --- chords

    def ensure_chords_allowed(self) -> None:
        """Raise where chords cannot be counted."""

    def add_to_chord(self, chord_id: str, result: Any) -> Any:
        raise NotImplementedError("Backend does not support add_to_chord")

    def on_chord_part_return(self, request: Any, state: str, result: Any, **kwargs: Any) -> None:
        """A member of a chord has ended."""

    def set_chord_size(self, group_id: str, chord_size: int) -> None:
        """How many members will report."""

    def apply_chord(self, header_result_args: Any, body: Any, **kwargs: Any) -> Any:
        """Called before the header is sent: here a task that asks again and again whether it is done."""
        self.ensure_chords_allowed()
        header_result = self.app.GroupResult(*header_result_args)
        self.fallback_chord_unlock(header_result, body, **kwargs)

    def fallback_chord_unlock(self, header_result: Any, body: Any, countdown: float = 1, **kwargs: Any) -> None:
        """Send `celery.chord_unlock`, where the body will go."""
        kwargs["result"] = [result.as_tuple() for result in header_result]
        try:
            body_type = getattr(body, "type", None)
        except NotRegistered:
            body_type = None
        queue = body.options.get("queue", getattr(body_type, "queue", None))
        if queue is None:
            queue = self.app.amqp.router.route(kwargs, body.name)["queue"].name
        stamped = body.options.get("stamped_headers", ())
        routing = {
            name: body.options[name]
            for name in ("exchange", "exchange_type", "routing_key", "headers")
            if name not in stamped and body.options.get(name) is not None
        }
        if "exchange_type" not in routing:
            try:
                declared = self.app.amqp.queues[queue] if isinstance(queue, str) else queue
                routing["exchange_type"] = declared.exchange.type
            except (AttributeError, KeyError):
                pass
        if "exchange_type" in routing:
            kwargs["_chord_unlock_exchange_type"] = routing["exchange_type"]
        self.app.tasks["celery.chord_unlock"].apply_async(
            (header_result.id, body),
            kwargs,
            countdown=countdown,
            queue=queue,
            priority=body.options.get("priority", getattr(body_type, "priority", 0)),
            **routing,
        )

    # --- at times

    def cleanup(self) -> None:
        """Delete what is over, where that does not go by itself; `celery.backend_cleanup` calls it daily."""

    def process_cleanup(self) -> None:
        """A process that ran tasks ends."""

    def on_task_call(self, producer: Any, task_id: str) -> Any:
        """A task is about to be sent; what this returns goes into its message's properties."""
        return {}

    def __reduce__(self, args: Any = (), kwargs: Any = None) -> Any:
        return unpickle_backend, (_named(self.__class__), args, kwargs or {})


class SyncBackendMixin:
    """Waiting for a store that does not tell: by looking again and again."""

    if TYPE_CHECKING:
        get_task_meta: Callable[..., Any]
        get_many: Callable[..., Any]
        _ensure_not_eager: Callable[[], None]

    def iter_native(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Any = None,
        on_interval: Any = None,
    ) -> Iterator[tuple[str, Any]]:
        self._ensure_not_eager()
        task_ids = set()
        for each in result.results or ():
            if isinstance(each, ResultSet):
                yield each.id, each.results  # type: ignore[attr-defined]  # a set within a set is a group
            else:
                task_ids.add(each.id)
        if task_ids:
            yield from self.get_many(
                task_ids,
                timeout=timeout,
                interval=interval,
                no_ack=no_ack,
                on_message=on_message,
                on_interval=on_interval,
            )

    def wait_for_pending(
        self,
        result: Any,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Any = None,
        on_interval: Any = None,
        callback: Any = None,
        propagate: bool = True,
    ) -> Any:
        self._ensure_not_eager()
        if on_message is not None:
            raise ImproperlyConfigured("Backend does not support on_message callback")
        meta = self.wait_for(result.id, timeout=timeout, interval=interval, on_interval=on_interval, no_ack=no_ack)
        if not meta:
            return None
        result._maybe_set_cache(meta)
        return result.maybe_throw(propagate=propagate, callback=callback)

    def wait_for(
        self,
        task_id: str,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_interval: Any = None,
    ) -> Any:
        """The document of a task once it has ended; `TimeoutError` when the time is over."""
        self._ensure_not_eager()
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            meta = self.get_task_meta(task_id)
            if meta["status"] in states.READY_STATES:
                return meta
            if on_interval:
                on_interval()
            left = interval if end is None else end - time.monotonic()
            if end is not None and left <= 0:
                raise TimeoutError("The operation timed out.")
            time.sleep(min(interval, left))

    def add_pending_result(self, result: Any, weak: bool = False) -> Any:
        return result

    def remove_pending_result(self, result: Any) -> Any:
        return result

    @property
    def is_async(self) -> bool:
        return False


class BaseBackend(Backend, SyncBackendMixin):
    """The base of backends that do not tell."""


BaseDictBackend = BaseBackend


def _ensure_bytes(s: Any) -> bytes:
    return s if isinstance(s, bytes) else str(s).encode()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value


class BaseKeyValueStoreBackend(Backend):
    """Results by key: `get`, `set`, `delete` and `mget` are the subclass' own."""

    key_t: Any = _ensure_bytes
    task_keyprefix: Any = "celery-task-meta-"
    group_keyprefix: Any = "celery-taskset-meta-"
    chord_keyprefix: Any = "chord-unlock-"
    implements_incr = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if hasattr(self.key_t, "__func__"):
            self.key_t = self.key_t.__func__
        super().__init__(*args, **kwargs)
        self._chord_expires = self.app.conf.get("result_chord_expires")
        self._add_global_keyprefix()
        self._encode_prefixes()
        if self.implements_incr:
            self.apply_chord = self._apply_chord_incr  # type: ignore[method-assign]  # as those subclasses expect

    @property
    def chord_expires(self) -> Any:
        if self._chord_expires is None:
            return self.expires
        return self.prepare_expires(self._chord_expires, type=int)

    @property
    def _chord_result_expires(self) -> Any:
        expires = self.chord_expires
        return max(expires, self.expires) if expires and self.expires else 0

    def _add_global_keyprefix(self) -> None:
        prefix = (self.app.conf.get("result_backend_transport_options") or {}).get("global_keyprefix")
        if not prefix:
            return
        if prefix[-1] not in ":_-.":
            prefix += "_"
        self.task_keyprefix = f"{prefix}{self.task_keyprefix}"
        self.group_keyprefix = f"{prefix}{self.group_keyprefix}"
        self.chord_keyprefix = f"{prefix}{self.chord_keyprefix}"

    def _encode_prefixes(self) -> None:
        self.task_keyprefix = self.key_t(self.task_keyprefix)
        self.group_keyprefix = self.key_t(self.group_keyprefix)
        self.chord_keyprefix = self.key_t(self.chord_keyprefix)

    # --- the subclass' own

    def get(self, key: Any) -> Any:
        raise NotImplementedError("Must implement the get method.")

    def mget(self, keys: Any) -> Any:
        raise NotImplementedError("Does not support get_many")

    def set(self, key: Any, value: Any) -> Any:
        raise NotImplementedError("Must implement the set method.")

    def delete(self, key: Any) -> Any:
        raise NotImplementedError("Must implement the delete method")

    def incr(self, key: Any) -> Any:
        raise NotImplementedError("Does not implement incr")

    def expire(self, key: Any, value: Any) -> Any:
        """Have a key go in so many seconds, where that can be done."""

    def _set_with_state(self, key: Any, value: Any, state: str) -> Any:
        return self.set(key, value)

    # --- keys

    def get_key_for_task(self, task_id: Any, key: Any = "") -> Any:
        return self._get_key_for("task_id", self.task_keyprefix, task_id, key)

    def get_key_for_group(self, group_id: Any, key: Any = "") -> Any:
        return self._get_key_for("group_id", self.group_keyprefix, group_id, key)

    def get_key_for_chord(self, group_id: Any, key: Any = "") -> Any:
        return self._get_key_for("group_id", self.chord_keyprefix, group_id, key)

    def _get_key_for(self, what: str, prefix: Any, id: Any, key: Any) -> Any:
        if not id:
            raise ValueError(f"{what} must not be empty. Got {id} instead.")
        key_t = self.key_t
        return key_t("").join([prefix, key_t(id if isinstance(id, (str, bytes)) else str(id)), key_t(key)])

    def _strip_prefix(self, key: Any) -> str:
        key = self.key_t(key)
        for prefix in (self.task_keyprefix, self.group_keyprefix):
            if key.startswith(prefix):
                return _text(key[len(prefix) :])
        return _text(key)

    # --- results

    def _filter_ready(self, values: Any, READY_STATES: Any = states.READY_STATES) -> Iterator[tuple[Any, Any]]:
        for key, value in values:
            if value is not None:
                meta = self.decode_result(value)
                if meta["status"] in READY_STATES:
                    yield key, meta

    def _mget_to_results(self, values: Any, keys: Any, READY_STATES: Any = states.READY_STATES) -> dict[str, Any]:
        """The documents by task, whether the client gave a mapping or a list."""
        if hasattr(values, "items"):
            found = self._filter_ready(values.items(), READY_STATES)
            return {self._strip_prefix(key): meta for key, meta in found}
        return {_text(keys[index]): meta for index, meta in self._filter_ready(enumerate(values), READY_STATES)}

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
        missing = dict.fromkeys(map(_text, task_ids))
        end = None if timeout is None else time.monotonic() + timeout
        for task_id in list(missing):
            kept = self._cache.get(task_id)
            if kept is not None and kept["status"] in READY_STATES:
                del missing[task_id]
                yield task_id, kept
        rounds = 0
        while missing:
            keys = list(missing)
            found = self._mget_to_results(self.mget([self.get_key_for_task(key) for key in keys]), keys, READY_STATES)
            for task_id, meta in found.items():
                self._cache[task_id] = meta
                missing.pop(task_id, None)
                if on_message is not None:
                    on_message(meta)
                yield task_id, meta
            if not missing:
                return
            left = interval if end is None else end - time.monotonic()
            if end is not None and left <= 0:
                raise TimeoutError(f"Operation timed out ({timeout})")
            if on_interval:
                on_interval()
            time.sleep(min(interval, left))
            rounds += 1
            if max_iterations and rounds >= max_iterations:
                return

    def _forget(self, task_id: str) -> None:
        self.delete(self.get_key_for_task(task_id))

    def _store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        meta = self._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        meta["task_id"] = _text(task_id)
        if self._get_task_meta_for(task_id)["status"] == states.SUCCESS:
            return result  # a SUCCESS is never written over
        try:
            self._set_with_state(self.get_key_for_task(task_id), self.encode(meta), state)
        except BackendStoreError as problem:
            raise BackendStoreError(str(problem), state=state, task_id=task_id) from problem
        return result

    def _get_task_meta_for(self, task_id: str) -> Any:
        meta = self.get(self.get_key_for_task(task_id))
        return self.decode_result(meta) if meta else {"status": states.PENDING, "result": None}

    def task_result_exists(self, task_id: str) -> bool:
        return bool(self.get(self.get_key_for_task(task_id)))

    def _save_group(self, group_id: str, result: Any) -> Any:
        self._set_with_state(
            self.get_key_for_group(group_id), self.encode({"result": result.as_tuple()}), states.SUCCESS
        )
        return result

    def _delete_group(self, group_id: str) -> Any:
        self.delete(self.get_key_for_group(group_id))

    def _restore_group(self, group_id: str) -> Any:
        meta = self.get(self.get_key_for_group(group_id))
        if not meta:
            return None
        meta = self.decode(meta)
        meta["result"] = result_from_tuple(meta["result"], self.app)
        return meta

    # --- chords, of those that count

    def _apply_chord_incr(self, header_result_args: Any, body: Any, **kwargs: Any) -> Any:
        self.ensure_chords_allowed()
        header_result = self.app.GroupResult(*header_result_args)
        header_result.save(backend=self)
        self.expire(self.get_key_for_group(header_result.id), self._chord_result_expires)

    def on_chord_part_return(self, request: Any, state: str, result: Any, **kwargs: Any) -> None:
        group_id = request.group
        if not self.implements_incr or not group_id:
            return
        try:
            members = GroupResult.restore(group_id, backend=self, app=self.app)
        except Exception as exc:  # noqa: BLE001 - whatever a subclass raises, the chord must end
            self._chord_failed(request, ChordError(f"Cannot restore group: {exc!r}"), exc)
            return
        if members is None:
            self._chord_failed(request, ChordError(f"GroupResult {group_id} no longer exists"), ValueError(group_id))
            return
        key = self.get_key_for_chord(group_id)
        count = self.incr(key)
        size = request.chord.get("chord_size")
        size = len(members) if size is None else size
        if count < size:
            self.expire(key, self.chord_expires)
            self.expire(self.get_key_for_group(group_id), self._chord_result_expires)
            self.expire(self.get_key_for_task(request.id), self._chord_result_expires)
        elif count > size:
            _logger().warning("Chord counter incremented too many times for %r", group_id)
        else:
            self._chord_complete(request, members, key)

    def _chord_complete(self, request: Any, members: Any, key: Any) -> None:
        from ..canvas import maybe_signature

        join = members.join_native if members.supports_native_join else members.join
        try:
            with allow_join_result():
                values = join(timeout=self.app.conf.result_chord_join_timeout, propagate=True)
        except Exception as exc:  # noqa: BLE001 - a member's own exception, or that it cannot be read
            culprit = next(members._failed_join_report(), None)
            reason = repr(exc) if culprit is None else f"Dependency {culprit.id} raised {exc!r}"
            self._chord_failed(request, _create_chord_error_with_cause(reason, exc), exc)
        else:
            callback = maybe_signature(request.chord, app=self.app)
            try:
                callback.delay(values)
            except Exception as exc:  # noqa: BLE001 - the body's sender may raise anything
                self._chord_failed(request, _create_chord_error_with_cause(f"Callback error: {exc!r}", exc), exc)
        finally:
            members.delete(backend=self)
            self.delete(key)
            for member in members.results:
                self.expire(self.get_key_for_task(member.id), self.expires)

    def _chord_failed(self, request: Any, error: ChordError, exc: BaseException) -> None:
        from ..canvas import maybe_signature

        _logger().error("Chord %r raised: %r", request.group, exc, exc_info=exc)
        self.chord_error_from_stack(maybe_signature(request.chord, app=self.app), error)


class KeyValueStoreBackend(BaseKeyValueStoreBackend, SyncBackendMixin):
    """The base of key-value stores that do not tell."""


class DisabledBackend(BaseBackend):
    """There is none: nothing is stored, and who asks is told."""

    _cache: Any = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.thread_safe = True

    @cached_property
    def store(self) -> Store:
        from ...worker.backends.disabled import DisabledStore

        return DisabledStore(_settings(self))

    def store_result(self, *args: Any, **kwargs: Any) -> None:
        pass

    def ensure_chords_allowed(self) -> None:
        raise NotImplementedError(E_CHORD_NO_BACKEND)

    def _is_disabled(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(E_NO_BACKEND)

    def as_uri(self, *args: Any, **kwargs: Any) -> str:
        return "disabled://"

    get_state = get_status = get_result = get_traceback = _is_disabled
    get_task_meta_for = _get_task_meta_for = wait_for = get_many = _is_disabled


def _settings(backend: Any) -> Any:
    """The configuration as its stores are told it."""
    from .stored import settings_of

    return settings_of(backend)
