"""Sending past an agent that has wrapped `kombu.Producer.publish`, as tracers do to put their headers into messages.

Law: the message leaves by the broker of worker/ all the same; kombu's method is called for what is wrapped around it.
Loaded where such an agent is at work when the app sends its first message, and nowhere else.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from kombu import messaging

from .producing import Outlet


def wrapped() -> bool:
    publish = vars(messaging.Producer)["publish"]
    return type(publish) is not FunctionType or publish.__globals__ is not vars(messaging)


class OverheardOutlet(Outlet):
    """An `Outlet` whose messages go through kombu's `publish`, with whatever is around it."""

    def publish(self, body: Any, **options: Any) -> None:  # type: ignore[override]  # all callers name what they give
        asked = {name: value for name, value in options.items() if name not in _OURS}
        sending: Any = _Sending(self, body, options)
        sending.publish(body, **asked)

    def leave(self, body: Any, options: dict[str, Any]) -> None:
        super().publish(body, **options)


_OURS = frozenset({"retry", "retry_policy", "declare"})
"""What is done behind kombu's `publish`, not within it."""


class _Sending(messaging.Producer):
    """One message on its way through `publish`: what comes out of it is the headers."""

    def __init__(self, outlet: OverheardOutlet, body: Any, options: dict[str, Any]) -> None:
        super().__init__(None)  # type: ignore[no-untyped-call]  # kombu's
        self._outlet, self._body, self._options = outlet, body, options
        self._headers: Any = None

    @property
    def connection(self) -> Any:
        """For agents that name the host and the port."""
        return self._outlet.connection

    def _prepare(
        self,
        body: Any,
        serializer: Any = None,
        content_type: Any = None,
        content_encoding: Any = None,
        compression: Any = None,
        headers: Any = None,
    ) -> Any:
        self._headers = headers
        return body, content_type, content_encoding

    def _publish(self, *_: Any, **__: Any) -> None:
        self._outlet.leave(self._body, {**self._options, "headers": self._headers})
