"""Celery's consumer of results in Redis: redis-py's pub/sub, for packages and tests that drive it themselves.

Law: celeriac's own waiting is the store's, and makes none of these. Any thread may subscribe or cancel, a finalizer in
the midst of another command too: commands are queued, and whoever sends takes all that is there. Nobody holds the
lock while he waits for the socket.
"""

from __future__ import annotations

import select
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from .. import states
from .asynchronous import BaseResultConsumer

_TURN = 0.5  # seconds after which it is looked whether the socket is still the same


class ResultConsumer(BaseResultConsumer):
    """Listens on the channels of those tasks that somebody waits for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._get_key_for_task = self.backend.get_key_for_task
        self.subscribed_to: set[Any] = set()
        self._pubsub: Any = None
        self._missed = False  # redis-py has connected again by itself, and nobody listened meanwhile
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._todo: deque[tuple[str, Any]] = deque()

    def on_after_fork(self) -> None:
        self._begin()  # who held the lock may not be in this process
        self._pubsub = None
        super().on_after_fork()

    # --- commands

    def start(self, initial_task_id: str, **kwargs: Any) -> None:
        self._pubsub = self._listening()
        self.consume_from(initial_task_id)

    def stop(self) -> None:
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with self._held():
                pubsub.close()

    def consume_from(self, task_id: str) -> Any:
        if self._pubsub is None:
            return self.start(task_id)
        key = self._get_key_for_task(task_id)
        if key not in self.subscribed_to:
            self.subscribed_to.add(key)
            self._send("subscribe", key)
        return None

    def cancel_for(self, task_id: str) -> Any:
        key = self._get_key_for_task(task_id)
        if key in self.subscribed_to:
            self.subscribed_to.discard(key)
            self._send("unsubscribe", key)

    def _send(self, command: str, key: Any) -> None:
        self._todo.append((command, key))
        if self._owner != threading.get_ident():  # else it is sent as soon as the command under way is
            with self.reconnect_on_error():
                self._send_all()

    def _send_all(self) -> None:
        while self._todo:
            with self._held():
                while self._todo:
                    command, key = self._todo.popleft()
                    if self._pubsub is not None:
                        getattr(self._pubsub, command)(key)

    @contextmanager
    def _held(self) -> Generator[None, None, None]:
        with self._lock:
            self._owner = threading.get_ident()
            try:
                yield
            finally:
                self._owner = None

    # --- events

    def drain_events(self, timeout: float | None = None) -> None:
        """Take the next state that comes, if one does in so many seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        with self.reconnect_on_error():
            while True:
                pubsub = self._pubsub
                if pubsub is None:
                    time.sleep(timeout or 0)
                    return
                with self._held():
                    message = pubsub.get_message(timeout=0)
                self._send_all()
                if self._missed:
                    self._missed = False
                    self._look()
                if message is not None and message["type"] == "message" and self._listens(message["channel"]):
                    self.on_state_change(self.backend.decode_result(message["data"]), message)
                    return
                left = _TURN if end is None else min(_TURN, end - time.monotonic())
                if left <= 0:
                    return
                _readable(pubsub, left)

    def on_wait_for_pending(self, result: Any, timeout: float | None = None, **kwargs: Any) -> None:
        for meta in result._iter_meta(**kwargs):
            if meta is not None:
                self.on_state_change(meta, None)
                self._pending_messages.pop(meta["task_id"], None)  # it has been told

    def on_state_change(self, meta: Any, message: Any) -> None:
        super().on_state_change(meta, message)
        if meta["status"] in states.READY_STATES:
            self.cancel_for(meta["task_id"])

    # --- a connection that is lost

    @contextmanager
    def reconnect_on_error(self) -> Generator[None, None, None]:
        """Within, what a lost connection raises has it made anew, as often as the backend's policy allows."""
        try:
            yield
        except self.backend.connection_errors:
            try:
                self.backend.ensure(self._resume, ())
            except self.backend.connection_errors as problem:
                raise RuntimeError(
                    "Retry limit exceeded while trying to reconnect to the Celery redis result store "
                    "backend. Start the process again once Redis can be reached."
                ) from problem

    def _resume(self) -> None:
        """Listen again, and look what has come while nobody did."""
        keys, pubsub = list(self.subscribed_to), self._listening()
        if keys:
            pubsub.subscribe(*keys)
        self._todo.clear()
        self._pubsub = pubsub
        self._look()

    def _look(self) -> None:
        """What is stored already of all that is listened for."""
        keys = list(self.subscribed_to)
        for meta in filter(None, self.backend.client.mget(keys) if keys else ()):
            self.on_state_change(self.backend.decode_result(meta), None)

    def _listening(self) -> Any:
        pubsub = self.backend.client.pubsub(ignore_subscribe_messages=True)
        pubsub.on_connect = self._connected_again  # redis-py keeps it weakly: it has to be a method of ours
        return pubsub

    def _listens(self, channel: Any) -> bool:
        """Not to what has been looked up meanwhile, or is listened for no more."""
        return (channel.encode() if isinstance(channel, str) else channel) in self.subscribed_to

    def _connected_again(self, connection: Any) -> None:
        pubsub = self._pubsub
        if pubsub is not None:
            type(pubsub).on_connect(pubsub, connection)
            self._missed = True


def _readable(pubsub: Any, seconds: float) -> None:
    """Until there is something to read, or the time is over."""
    found = getattr(pubsub.connection, "_sock", None)
    try:
        if found is None:
            time.sleep(min(seconds, 0.01))
        else:
            poll = select.poll()
            poll.register(found, select.POLLIN)
            poll.poll(seconds * 1000)
    except (OSError, ValueError):  # it was closed meanwhile: the next command says so
        time.sleep(min(seconds, 0.01))
