"""Result backends that keep results by key: `get`, `set`, `delete` and `mget` are the subclass' own. Their names are
`backends.base`'s."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from .. import result as kinds
from .. import states
from ..exceptions import BackendStoreError, ChordError, TimeoutError
from .base import Backend, _create_chord_error_with_cause, _logger
from .polling import SyncBackendMixin


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
        meta["result"] = kinds.result_from_tuple(meta["result"], self.app)
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
            members = kinds.GroupResult.restore(group_id, backend=self, app=self.app)
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
            with kinds.allow_join_result():
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


# Packages and pickles know them by the module that has always had them.
BaseKeyValueStoreBackend.__module__ = KeyValueStoreBackend.__module__ = Backend.__module__
