"""A signal: whoever connected to it is called when it is sent.

Law: a receiver that raises is logged and answered for; it never stops the sender. `receivers` is an empty list while
nobody listens, so a sender that asks for it first pays nothing.
"""

# ruff: noqa: PERF203 - a receiver that raises stops no other; what wraps a receiver is marked

from __future__ import annotations

import sys
import threading
import time
from _weakref import ReferenceType, ref  # the rest of `weakref`, 0.4 ms of CPU, is for who connects
from collections.abc import Callable

from ....protocol.hints import Any
from ....worker import late
from ...local import PromiseProxy, Proxy

__all__ = ("Signal",)

logger = late.logger("celery.utils.dispatch.signal")

Receiver = Callable[..., Any]
Key = tuple[Any, Any]

NO_RECEIVERS = object()
RECEIVER_RETRY_ERROR = "Could not process signal receiver %(receiver)s. Retrying %(when)s..."

_PAUSE_STEP = 2.0
_LONGEST_PAUSE = 30.0


def _make_id(target: Any) -> Any:
    if isinstance(target, Proxy):
        target = target._get_current_object()
    if isinstance(target, (bytes, str)):
        return target  # equal names are one sender
    if hasattr(target, "__func__"):  # bound methods are made anew at every access
        return (id(getattr(target, "__self__", None)), id(target.__func__))
    return id(target)


NONE_ID = _make_id(None)


def _make_lookup_key(receiver: Any, sender: Any, dispatch_uid: Any) -> Key:
    if dispatch_uid:
        return (dispatch_uid, _make_id(sender))
    if hasattr(receiver, "_dispatch_uid"):  # a receiver with retries goes by the function it wraps
        return (receiver._dispatch_uid, _make_id(sender))
    return (_make_id(receiver), _make_id(sender))


def _weakly(receiver: Receiver) -> tuple[Any, Any]:
    """A weak reference to the receiver, and the object whose end is the receiver's."""
    if hasattr(receiver, "__func__") and hasattr(receiver, "__self__"):
        from weakref import WeakMethod

        return WeakMethod(receiver), receiver.__self__
    return ref(receiver), receiver


def _retrying(receiver: Receiver) -> Receiver:
    """The receiver, called until it does not raise."""

    def call_until_done(*args: Any, **kwargs: Any) -> Any:
        pause = 0.0
        while True:
            try:
                return receiver(*args, **kwargs)
            except Exception:  # noqa: BLE001 - whatever it is: retry was asked for
                from ..time import humanize_seconds

                pause = min(pause + _PAUSE_STEP, _LONGEST_PAUSE)
                when = humanize_seconds(pause, "in", " ")
                logger.error(RECEIVER_RETRY_ERROR % {"receiver": receiver, "when": when})  # noqa: G002, TRY400 - the line as Celery writes it
                time.sleep(pause)

    return call_until_done


def _weak_keys() -> Any:
    from weakref import WeakKeyDictionary

    return WeakKeyDictionary()


class Signal:
    """One signal, with the receivers that are connected to it."""

    receivers: Any = None

    def __init__(self, providing_args: Any = None, use_caching: bool = False, name: str | None = None) -> None:
        self.receivers = []  # of (key, receiver or weak reference to it)
        self.providing_args = set(providing_args if providing_args is not None else ())
        self.lock = threading.Lock()
        self.use_caching = use_caching
        self.name = name
        self.sender_receivers_cache: Any = _weak_keys() if use_caching else {}
        self._dead_receivers = False

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Connects a receiver; also a decorator, with or without arguments.

        `sender` narrows it to one sender. Receivers are held weakly unless `weak=False`. Of receivers with the same
        `dispatch_uid` the first alone is connected. With `retry` it is called until it does not raise.
        """

        def options(sender: Any = None, weak: bool = True, dispatch_uid: Any = None, retry: bool = False) -> Any:
            def connect(receiver: Receiver) -> Receiver:
                if not retry:
                    self._connect_signal(receiver, sender, weak, dispatch_uid)
                    return receiver
                wrapped: Any = _retrying(receiver)
                wrapped._dispatch_uid = dispatch_uid or _make_id(receiver)
                self._connect_signal(wrapped, sender, weak=False, dispatch_uid=wrapped._dispatch_uid)
                return wrapped  # type: ignore[no-any-return] # marked above

            return connect

        if args and callable(args[0]):
            return options(*args[1:], **kwargs)(args[0])
        return options(*args, **kwargs)

    def _connect_signal(self, receiver: Receiver, sender: Any, weak: bool, dispatch_uid: Any) -> Any:
        if not callable(receiver):
            raise AssertionError("Signal receivers must be callable")  # noqa: TRY004 - what Celery raises
        from ..functional import fun_accepts_kwargs  # most programs connect nothing

        if not fun_accepts_kwargs(receiver):
            raise ValueError("Signal receiver must accept keyword arguments.")
        if isinstance(sender, PromiseProxy):
            sender.__then__(self._connect_proxy, receiver, sender, weak, dispatch_uid)
            return receiver
        key = _make_lookup_key(receiver, sender, dispatch_uid)
        held: Any = receiver
        if weak:
            held, owner = _weakly(receiver)
            from weakref import finalize

            finalize(owner, self._remove_receiver).atexit = False
        with self.lock:
            self._clear_dead_receivers()
            if all(known != key for known, _ in self.receivers):
                self.receivers.append((key, held))
            self.sender_receivers_cache.clear()
        return held

    def _connect_proxy(self, receiver: Receiver, sender: Any, weak: bool, dispatch_uid: Any) -> Any:
        return self.connect(receiver, sender=sender._get_current_object(), weak=weak, dispatch_uid=dispatch_uid)

    def disconnect(self, receiver: Any = None, sender: Any = None, weak: Any = None, dispatch_uid: Any = None) -> bool:
        """Disconnects the receiver that was connected with the same sender or uid; says whether there was one."""
        if weak is not None:
            import warnings

            from ...exceptions import CDeprecationWarning

            warnings.warn("Passing `weak` to disconnect has no effect.", CDeprecationWarning, stacklevel=2)
        key = _make_lookup_key(receiver, sender, dispatch_uid)
        with self.lock:
            self._clear_dead_receivers()
            found = next((index for index, (known, _) in enumerate(self.receivers) if known == key), None)
            if found is not None:
                del self.receivers[found]
            self.sender_receivers_cache.clear()
        return found is not None

    def has_listeners(self, sender: Any = None) -> bool:
        """Whether anybody would be called."""
        return bool(self._live_receivers(sender))

    def send(self, sender: Any, **named: Any) -> list[tuple[Receiver, Any]]:
        """Calls every receiver and returns each with its answer, or with what it raised."""
        responses: list[tuple[Receiver, Any]] = []
        if not self.receivers:
            return responses
        for receiver in self._live_receivers(sender):
            try:
                response = receiver(signal=self, sender=sender, **named)
            except Exception as exc:
                logger.exception("Signal handler %r raised: %r", receiver, exc)  # noqa: TRY401 - the line as Celery writes it
                responses.append((receiver, exc))
            else:
                responses.append((receiver, response))
        return responses

    send_robust = send

    def _clear_dead_receivers(self) -> None:
        """Drops receivers that are gone. The caller holds the lock."""
        if self._dead_receivers:
            self._dead_receivers = False
            self.receivers[:] = [
                entry for entry in self.receivers if not (isinstance(entry[1], ReferenceType) and entry[1]() is None)
            ]

    def _live_receivers(self, sender: Any) -> list[Receiver]:
        held = self._cached(sender)
        if held is None:
            wanted = _make_id(sender)  # a task that is made now connects what waited for it: not within the lock
            with self.lock:
                self._clear_dead_receivers()
                held = [receiver for (_, of), receiver in self.receivers if of in (NONE_ID, wanted)]
                if self.use_caching:
                    self.sender_receivers_cache[sender] = held or NO_RECEIVERS
        live = (receiver() if isinstance(receiver, ReferenceType) else receiver for receiver in held)
        return [receiver for receiver in live if receiver is not None]

    def _cached(self, sender: Any) -> list[Any] | None:
        if not self.use_caching or self._dead_receivers:
            return None
        held = self.sender_receivers_cache.get(sender)
        return [] if held is NO_RECEIVERS else held

    def _remove_receiver(self, receiver: Any = None) -> None:
        # The collector calls this wherever it runs, also where the lock is held: so it takes none.
        self._dead_receivers = True

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name} providing_args={self.providing_args!r}>"

    __str__ = __repr__


_ = sys  # `celery.utils.dispatch.signal.sys` is read by packages
