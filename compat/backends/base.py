"""What a result backend is to Celery: the names by which apps, tasks, results and other people's backends know it.

Its kinds have their names here too, and are loaded when somebody asks: those that are looked at again and again
(`polling`), those that keep results by key (`keyvalue`), and the one that keeps none (`disabled`).

Law: who subclasses says `_store_result`, `_get_task_meta_for` and `_forget` (or `get`, `set`, `delete` and `mget` of a
key-value store), and all the rest works upon these. celeriac's own backends say them over a `Store` (`stored.py`), and
every backend gives one: `store`, which may be used by all threads at once. Nothing connects before it is used.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from ...worker.ids import chance
from .. import states
from .._state import get_current_task
from ..exceptions import (
    BackendGetMetaError,
    BackendStoreError,
    ChordError,
    ImproperlyConfigured,
    NotRegistered,
    TaskRevokedError,
    TimeoutError,
)
from ..result import ResultBase
from .naming import named, unpickle_backend

if TYPE_CHECKING:
    from ...worker.backends.base import Store
    from .disabled import DisabledBackend
    from .keyvalue import BaseKeyValueStoreBackend as BaseKeyValueStoreBackend  # noqa: PLC0414 - typed for who imports it from here
    from .keyvalue import KeyValueStoreBackend
    from .polling import BaseBackend
    from .polling import BaseDictBackend as BaseDictBackend  # noqa: PLC0414 - typed for who imports it from here
    from .polling import SyncBackendMixin as SyncBackendMixin  # noqa: PLC0414 - typed for who imports it from here

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
        from ..app.showing import shown_url

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
        return unpickle_backend, (named(self.__class__), args, kwargs or {})


def _settings(backend: Any) -> Any:
    """The configuration as its stores are told it."""
    from .stored import settings_of

    return settings_of(backend)


_ELSEWHERE = {
    **dict.fromkeys(("SyncBackendMixin", "BaseBackend", "BaseDictBackend"), ".polling"),
    **dict.fromkeys(("BaseKeyValueStoreBackend", "KeyValueStoreBackend"), ".keyvalue"),
    "DisabledBackend": ".disabled",
    # What Celery's own module has imported, and others take from there.
    **dict.fromkeys(("GroupResult", "ResultSet", "allow_join_result", "result_from_tuple"), "..result"),
    "current_app": ".._state",
}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module 'celery.backends.base' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(_ELSEWHERE[name], __package__), name)
    return found
