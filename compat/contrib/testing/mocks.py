"""Messages and contexts that are not what they seem."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

from ...utils import uuid


def TaskMessage(
    name: str,
    id: str | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    callbacks: Sequence[Any] | None = None,
    errbacks: Sequence[Any] | None = None,
    chain: Sequence[Any] | None = None,
    shadow: str | None = None,
    utc: bool | None = None,
    **options: Any,
) -> Any:
    """A task message of protocol 2."""
    from kombu.serialization import dumps

    id = id or uuid()
    message = Mock(name=f"TaskMessage-{id}")
    message.headers = {"id": id, "task": name, "shadow": shadow, **options}
    message.payload = (args, kwargs or {}, {"callbacks": callbacks, "errbacks": errbacks, "chain": chain})
    message.content_type, message.content_encoding, message.body = dumps(message.payload, serializer="json")
    return message


def TaskMessage1(
    name: str,
    id: str | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    callbacks: Sequence[Any] | None = None,
    errbacks: Sequence[Any] | None = None,
    chain: Sequence[Any] | None = None,
    **options: Any,
) -> Any:
    """A task message of protocol 1."""
    from kombu.serialization import dumps

    id = id or uuid()
    message = Mock(name=f"TaskMessage-{id}")
    message.headers = {}
    message.payload = {
        "task": name,
        "id": id,
        "args": args,
        "kwargs": kwargs or {},
        "callbacks": callbacks,
        "errbacks": errbacks,
        **options,
    }
    message.content_type, message.content_encoding, message.body = dumps(message.payload)
    return message


def _moment(app: Any, value: Any) -> Any:
    if value and isinstance(value, numbers.Real):
        value = app.now() + timedelta(seconds=float(value))
    return value.isoformat() if isinstance(value, datetime) else value


def task_message_from_sig(app: Any, sig: Any, utc: bool = True, TaskMessage: Any = TaskMessage) -> Any:
    """The message that a signature would send."""
    sig.freeze()
    taken = {name: sig.options.pop(name, None) for name in ("link", "link_error", "countdown", "eta", "expires")}
    return TaskMessage(
        sig.task,
        id=sig.id,
        args=sig.args,
        kwargs=sig.kwargs,
        callbacks=[dict(callback) for callback in taken["link"] or ()] or None,
        errbacks=[dict(errback) for errback in taken["link_error"] or ()] or None,
        eta=_moment(app, taken["countdown"] or taken["eta"]),
        expires=_moment(app, taken["expires"]),
        utc=utc,
        **sig.options,
    )


class _ContextMock(Mock):
    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


def ContextMock(*args: Any, **kwargs: Any) -> Any:
    """A mock that is a context as well."""
    obj: Any = _ContextMock(*args, **kwargs)
    obj.attach_mock(_ContextMock(), "__enter__")
    obj.attach_mock(_ContextMock(), "__exit__")
    obj.__enter__.return_value = obj
    obj.__exit__.return_value = None
    return obj
