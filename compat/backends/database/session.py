"""Sessions of SQLAlchemy on the result tables."""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.orm import declarative_base, sessionmaker
from sqlalchemy.pool import NullPool

__all__ = ("SessionManager",)

ResultModelBase: Any = declarative_base()


class SessionManager:
    """Engines and sessions by URL, anew in a forked child."""

    def __init__(self, engine_callback: Any = None) -> None:
        self.engine_callback = engine_callback
        self.prepared = False
        self._pid = os.getpid()
        self._engines: dict[str, Any] = {}

    @property
    def forked(self) -> bool:
        return self._pid != os.getpid()

    def get_engine(self, dburi: str, **kwargs: Any) -> Any:
        if self.forked:
            self._pid, self._engines = os.getpid(), {}
        engine = self._engines.get(dburi)
        if engine is None:
            known = {name: value for name, value in kwargs.items() if not name.startswith(("pool", "max_overflow"))}
            engine = self._engines[dburi] = create_engine(dburi, poolclass=NullPool, **known)
            if self.engine_callback is not None:
                self.engine_callback(engine)
        return engine

    def create_session(self, dburi: str, short_lived_sessions: bool = False, **kwargs: Any) -> Any:
        engine = self.get_engine(dburi, **kwargs)
        return engine, sessionmaker(bind=engine)

    def invalidate(self, dburi: str) -> None:
        engine = self._engines.pop(dburi, None)
        if engine is not None:
            engine.dispose()

    def prepare_models(self, engine: Any) -> None:
        if not self.prepared:
            ResultModelBase.metadata.create_all(engine)
            self.prepared = True

    def session_factory(self, dburi: str, **kwargs: Any) -> Any:
        engine, session = self.create_session(dburi, **kwargs)
        self.prepare_models(engine)
        return session()
