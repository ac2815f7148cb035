"""kombu's SQLAlchemy transport, mended: it leaves no session open, and no connection to a forked child.

Law: the tables are kombu's, as kombu writes them.
"""

from __future__ import annotations

import os
from typing import Any

from kombu.transport import sqlalchemy as stock
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

_NOT_THE_ENGINES = frozenset(
    {
        *("queue_tablename", "message_tablename", "polling_interval", "body_encoding", "deadletter_queue"),
        *("callback", "errback", "max_retries", "interval_start", "interval_step", "interval_max", "retry_errors"),
    }
)


class Channel(stock.Channel):
    """kombu's, with an end."""

    def _engine_from_config(self) -> Any:
        """kombu hands on every option but its own, `polling_interval` among them, which no engine knows."""
        client = self.connection.client
        options = {name: value for name, value in client.transport_options.items() if name not in _NOT_THE_ENGINES}
        return create_engine(client.hostname, **options)

    def _has_queue(self, queue: str, **_: Any) -> bool:
        found = self.session.query(self.queue_cls).filter(self.queue_cls.name == queue).first()
        return found is not None

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002  # kombu's signature
        try:
            return super()._get(queue)  # type: ignore[no-untyped-call]  # kombu's
        except OperationalError as problem:
            # sqlite refuses the row whenever it is asked for, and with it all that wait behind.
            if "decode to UTF-8" not in str(problem):
                raise
            self.session.rollback()
            self._set_aside(queue)
            raise ValueError(str(problem.orig)) from problem

    def _set_aside(self, queue: str) -> None:
        message, wanted = self.message_cls, self._get_or_create(queue).id  # type: ignore[no-untyped-call]  # kombu's
        waiting = self.session.query(message.id).filter(message.queue_id == wanted, message.visible.is_(True))
        first = waiting.order_by(message.sent_at, message.id).limit(1).scalar()
        self.session.query(message).filter(message.id == first).update({"visible": False}, synchronize_session=False)
        self.session.commit()

    def close(self) -> None:
        super().close()  # type: ignore[no-untyped-call]  # kombu's
        if self._session is not None:
            self._session.close()
            self._session = None


class Transport(stock.Transport):
    Channel = Channel


def _leave_engines_to_the_parent() -> None:
    for engine, _ in Channel._engines.values():  # noqa: SLF001  # kombu's cache, shared by all its channels
        engine.dispose(close=False)
    Channel._engines.clear()  # noqa: SLF001  # as above


os.register_at_fork(after_in_child=_leave_engines_to_the_parent)
