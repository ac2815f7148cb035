"""`celery.worker.request.Request`: what signals, and packages that look into a worker, call a request.

Law: a view of the worker's own request. Nothing is decoded before it is asked for.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ...protocol.errors import BadMessage
from ...protocol.wire.message_reading import Reader, read_body

__all__ = ("Request",)


class Request:
    """One task message in a worker."""

    def __init__(self, request: Any, app: Any, reader: Reader, hostname: str) -> None:
        self._request = request
        self._reader = reader
        self.app = app
        self.hostname = hostname
        self.id: str = request.id
        self.name: str = request.name
        self.type: str = request.name
        self.message = request.delivery.message
        self.content_type = self.message.content_type
        self.content_encoding = self.message.content_encoding
        self.body = self.message.body
        self.task = request.kind.task if request.kind is not None else app.tasks.get(request.name)

    task_id = property(lambda self: self.id)
    task_name = property(lambda self: self.name)

    @cached_property
    def _head(self) -> Any:
        return self._request.head(self._reader)

    @cached_property
    def _content(self) -> tuple[Any, Any, dict[str, Any]]:
        nothing = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
        try:
            body = read_body(self.message, self._head, self._reader)
        except BadMessage:
            return (), {}, nothing
        embed = {name: getattr(body, name) for name in nothing}
        return body.args if body.args is not None else (), body.kwargs, embed

    @property
    def args(self) -> Any:
        return self._content[0]

    @property
    def kwargs(self) -> Any:
        return self._content[1]

    @property
    def argsrepr(self) -> str | None:
        return self._head.argsrepr  # type: ignore[no-any-return]

    @property
    def kwargsrepr(self) -> str | None:
        return self._head.kwargsrepr  # type: ignore[no-any-return]

    @property
    def errbacks(self) -> Any:
        return self._content[2]["errbacks"]

    @property
    def chord(self) -> Any:
        return self._content[2]["chord"]

    eta = property(lambda self: self._head.eta)
    expires = property(lambda self: self._head.expires)
    root_id = property(lambda self: self._head.root_id)
    parent_id = property(lambda self: self._head.parent_id)
    group = property(lambda self: self._head.group)
    group_index = property(lambda self: self._head.group_index)
    correlation_id = property(lambda self: self._head.correlation_id)
    reply_to = property(lambda self: self._head.reply_to)
    utc = property(lambda self: self._head.utc)
    stamped_headers = property(lambda self: list(self._head.stamped_headers or ()))
    stamps = property(lambda self: {name: self._head.stamps.get(name) for name in self._head.stamped_headers or ()})
    replaced_task_nesting = property(lambda self: self._head.replaced_task_nesting)
    time_limits = property(lambda self: list(self._head.timelimit))
    time_start = property(lambda self: self._request.begun)
    worker_pid = property(lambda self: self._request.pid)

    @property
    def ignore_result(self) -> bool:
        said = self._head.ignore_result
        return bool(getattr(self.task, "ignore_result", False) if said is None else said)

    @property
    def store_errors(self) -> bool:
        return not self.ignore_result or bool(getattr(self.task, "store_errors_even_if_ignored", False))

    @property
    def delivery_info(self) -> dict[str, Any]:
        delivery = self._request.delivery
        return {
            "exchange": delivery.exchange,
            "routing_key": delivery.routing_key,
            "priority": self.message.properties.get("priority"),
            "redelivered": delivery.redelivered,
        }

    @cached_property
    def request_dict(self) -> dict[str, Any]:
        """The headers, and what is around them."""
        return {
            **self._head.fields,
            "properties": self.message.properties,
            "reply_to": self.reply_to,
            "correlation_id": self.correlation_id,
            "hostname": self.hostname,
            "delivery_info": self.delivery_info,
            "args": self.args,
            "kwargs": self.kwargs,
        }

    @cached_property
    def _context(self) -> Any:
        from ..app.context import Context

        return Context({**self.request_dict, **self._content[2], "called_directly": False, "is_eager": False})

    def info(self, safe: bool = False) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "args": self.argsrepr if safe else self.args,
            "kwargs": self.kwargsrepr if safe else self.kwargs,
            "type": self.type,
            "hostname": self.hostname,
            "time_start": self.time_start,
            "acknowledged": self._request.buried,
            "delivery_info": self.delivery_info,
            "worker_pid": self.worker_pid,
        }

    def humaninfo(self) -> str:
        return f"{self.name}[{self.id}]"

    def __str__(self) -> str:
        parts = [
            self.humaninfo(),
            f"ETA:[{self.eta}]" if self.eta else "",
            f"expires:[{self.expires}]" if self.expires else "",
        ]
        return " ".join(filter(None, parts))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.humaninfo()} {self.argsrepr} {self.kwargsrepr}>"
