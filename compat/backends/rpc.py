"""The RPC result backend, by Celery's names: results are messages to whoever sent the task."""

from __future__ import annotations

from typing import Any

from .. import states
from .asynchronous import AsyncBackendMixin, BaseResultConsumer
from .base import Backend
from .stored import Stored, on_keys

__all__ = ("BacklogLimitExceeded", "RPCBackend")

E_NO_CHORD_SUPPORT = (
    'The "rpc" result backend does not support chords!\n\n'
    "Note that a group chained with a task is also upgraded to be a chord,\n"
    "as this pattern requires synchronization.\n\n"
    "Result backends that supports chords: Redis, Database, Memcached, and more."
)


class BacklogLimitExceeded(Exception):
    """Too many states were waiting in the queue."""


class ResultConsumer(BaseResultConsumer):
    """What Celery has listen for results; here the store does."""


class _Kombu:
    """A class of kombu's, by its name."""

    def __set_name__(self, owner: Any, name: str) -> None:
        self._name = name

    def __get__(self, backend: Any, kind: Any) -> Any:
        import kombu

        return getattr(kombu, self._name)


class RPCBackend(Stored, Backend, AsyncBackendMixin):
    """Results as messages."""

    ResultConsumer = ResultConsumer
    BacklogLimitExceeded = BacklogLimitExceeded

    Exchange: Any = _Kombu()
    Producer: Any = _Kombu()
    Consumer: Any = _Kombu()
    Queue: Any = _Kombu()

    scheme = "rpc"
    persistent = False
    supports_autoexpire = True
    supports_native_join = True
    supports_failure_expires = False
    retry_policy = {"max_retries": 20, "interval_start": 0, "interval_step": 1, "interval_max": 1}

    def __init__(
        self,
        app: Any,
        connection: Any = None,
        exchange: Any = None,
        exchange_type: Any = None,
        persistent: Any = None,
        serializer: str | None = None,
        auto_delete: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(app=app, serializer=serializer, **kwargs)
        conf = app.conf
        self._connection = connection
        self._out_of_band: dict[str, Any] = {}
        self.persistent = self.prepare_persistent(persistent)
        self.delivery_mode = 2 if self.persistent else 1
        self.exchange_name = exchange or conf.result_exchange
        self.exchange_type = exchange_type or conf.result_exchange_type
        self.auto_delete = auto_delete

    def store_url(self) -> str:
        return "rpc://"

    def as_uri(self, include_password: bool = True) -> str:
        return "rpc://"

    @property
    def oid(self) -> Any:
        """The queue that results are to be sent to: `reply_to` of the tasks that are sent from here."""
        return on_keys(self.plain, lambda store: store.queue_name())

    answer_queue = oid

    @property
    def binding(self) -> Any:
        return self.Queue(self.oid, self.Exchange(""), self.oid, durable=False, auto_delete=True, expires=self.expires)

    def await_strangers(self) -> None:
        on_keys(self.plain, lambda store: store.await_strangers())

    def on_task_call(self, producer: Any, task_id: str) -> Any:
        self.plain.answer_to()
        return {}

    def destination_for(self, task_id: str, request: Any) -> tuple[Any, Any]:
        """Where a result goes: the queue, and the id that it answers to."""
        from .._state import get_current_task

        request = request or getattr(get_current_task(), "request", None)
        if request is None:
            raise RuntimeError(f"RPC backend missing task request for {task_id!r}")
        return request.reply_to, request.correlation_id or task_id

    def ensure_chords_allowed(self) -> None:
        raise NotImplementedError(E_NO_CHORD_SUPPORT)

    def get_task_meta(self, task_id: str, backlog_limit: int = 1000) -> Any:
        return super().get_task_meta(task_id)

    poll = get_task_meta

    def on_reply_declare(self, task_id: str) -> None:
        """Nothing is declared for a single reply."""

    def on_out_of_band_result(self, task_id: str, message: Any) -> None:
        self._out_of_band[task_id] = message

    def revive(self, channel: Any) -> None:
        """Connections are the store's own affair."""

    def reload_task_result(self, task_id: str) -> None:
        raise NotImplementedError("reload_task_result is not supported by this backend.")

    def reload_group_result(self, task_id: str) -> None:
        raise NotImplementedError("reload_group_result is not supported by this backend.")

    def save_group(self, group_id: str, result: Any) -> Any:
        raise NotImplementedError("save_group is not supported by this backend.")

    def restore_group(self, group_id: str, cache: bool = True) -> Any:
        raise NotImplementedError("restore_group is not supported by this backend.")

    def delete_group(self, group_id: str) -> Any:
        raise NotImplementedError("delete_group is not supported by this backend.")

    def task_result_exists(self, task_id: str) -> bool:
        found: bool = self.get_task_meta(task_id)["status"] != states.PENDING
        return found
