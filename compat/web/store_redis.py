"""The memory in a Redis, for a page that has no disk of its own: the same as the file's, and kept elsewhere.

Law: what is asked is answered from here, as by a store in a file; what is written goes to Redis soon after, by a
thread, so that a Redis that is slow or away holds nobody up. What it has not got yet is tried again until it has. Keys
of others in that Redis are left alone.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ...protocol.errors import BadCall
from ...protocol.wire.resp import ErrorReply
from ...worker.redis_link import Link, connect, operational_error
from ...worker.redis_place import parse
from ..utils.log import get_logger
from .records import Node, Record
from .series import Series
from .store import DEFAULT, Limits, Store, json_of

logger = get_logger("celery.web")

PREFIX = "celeriac.web"
_VERSION = "1"
_KINDS = ("tasks", "nodes", "buckets", "notes")
_AT_ONCE = 200
"""Fields of one command, and hints of one scan."""
_AGAIN = 2.0
"""Seconds between attempts while Redis is away."""
_GOODBYE = 5.0
"""Seconds in which what is left is written at the end."""


class RedisStore(Store):
    """One Redis, and in it hashes whose names begin with `celeriac.web`. `close` it.

    Raises OSError where it cannot be reached, or where what is there under these names is no history.
    """

    def __init__(self, url: str, limits: Limits = DEFAULT) -> None:
        try:
            self._place = parse(url)
        except BadCall as problem:
            raise OSError(f"no history in Redis: {problem}") from problem
        super().__init__(":memory:", limits)
        self.path = str(self._place)
        self._link: Link | None = None
        self._changed = threading.Condition()
        self._pending: dict[str, dict[str, str | None]] = {kind: {} for kind in _KINDS}
        self._is_away = False
        self._over = False
        try:
            self._load()
        except (operational_error(), ValueError, TypeError, KeyError) as problem:
            super().close()
            self._hang_up()
            raise OSError(f"no history in Redis: {problem}") from problem
        self._writer = threading.Thread(target=self._write_on, name="web-history", daemon=True)
        self._writer.start()

    def close(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
        self._writer.join(_GOODBYE * 2)
        left = sum(map(len, self._pending.values()))
        if left:
            logger.warning("%s is away: the last %s changes are not in the history", self.path, left)
        self._hang_up()
        super().close()

    # --- the contract, as for a file, and then for Redis

    def write(self, records: Iterable[Record], nodes: Iterable[Node], series: Series) -> None:
        records, nodes, buckets = list(records), list(nodes), set(series.changed)
        super().write(records, nodes, series)
        found = ((span, start, series.buckets[span].get(start)) for span, start in buckets)
        self._later(
            tasks={record.id: json_of(record.document()) for record in records},
            nodes={node.name: json_of(node.document()) for node in nodes},
            buckets={f"{span}:{start}": json_of(each.document()) for span, start, each in found if each is not None},
        )

    def prune(self, series: Series, now: float) -> dict[str, list[str]]:
        gone = super().prune(series, now)
        self._later(**{kind: dict.fromkeys(names) for kind, names in gone.items()})
        return gone

    def remember(self, name: str, document: Any) -> None:
        super().remember(name, document)
        self._later(notes={name: json_of(document)})

    # --- from Redis, once

    def _load(self) -> None:
        version = self._open.call("GET", f"{PREFIX}.version")
        if version is None:
            self._open.call("SET", f"{PREFIX}.version", _VERSION)
        elif _text(version) != _VERSION:
            raise ValueError(f"{self.path} holds a history of another version: {_text(version)}")
        series = Series()
        documents = [Record.read(json.loads(text)) for _, text in self._all("tasks")]
        nodes = [json.loads(text) for _, text in self._all("nodes")]
        for name, text in self._all("buckets"):
            span, _, start = name.partition(":")
            series.take(span, int(start), json.loads(text))
        series.changed = {(span, start) for span, buckets in series.buckets.items() for start in buckets}
        super().write(documents, [Node(**{**node, "load": tuple(node["load"])}) for node in nodes], series)
        for name, text in self._all("notes"):
            super().remember(name, json.loads(text))

    def _all(self, kind: str) -> Iterable[tuple[str, str]]:
        cursor = "0"
        while True:
            found, pairs = self._open.call("HSCAN", f"{PREFIX}.{kind}", cursor, "COUNT", _AT_ONCE)
            cursor = _text(found)
            yield from zip(map(_text, pairs[::2]), map(_text, pairs[1::2]), strict=True)
            if cursor == "0":
                return

    # --- to Redis, all the time

    def _later(self, **changes: Mapping[str, str | None]) -> None:
        with self._changed:
            for kind, fields in changes.items():
                self._pending[kind].update(fields)
            waiting = self._pending["tasks"]
            for name in list(waiting)[: max(0, len(waiting) - 2 * self._limits.tasks)]:
                del waiting[name]  # so much has happened while Redis was away that these would be pruned already
            self._changed.notify()

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._over or any(self._pending.values()))
                over, taken = self._over, self._pending
                self._pending = {kind: {} for kind in _KINDS}
            try:
                self._send(taken)
            except (operational_error(), OSError) as problem:
                self._not_now(taken, problem)
                if over:
                    return
                with self._changed:
                    self._changed.wait_for(lambda: self._over, _AGAIN)
                continue
            if self._is_away:
                self._is_away = False
                logger.warning("%s is back, and has what was kept for it", self.path)
            if over:
                return

    def _send(self, changes: Mapping[str, Mapping[str, str | None]]) -> None:
        for kind, fields in changes.items():
            key = f"{PREFIX}.{kind}"
            kept = [(name, text) for name, text in fields.items() if text is not None]
            gone = [name for name, text in fields.items() if text is None]
            for at in range(0, len(kept), _AT_ONCE):
                self._told("HSET", key, *(each for pair in kept[at : at + _AT_ONCE] for each in pair))
            for at in range(0, len(gone), _AT_ONCE):
                self._told("HDEL", key, *gone[at : at + _AT_ONCE])

    def _told(self, *command: str) -> None:
        (reply,) = self._open.ask(command, timeout=_GOODBYE)
        if isinstance(reply, ErrorReply):
            raise OSError(f"{self.path} refuses the history: {reply.text}")

    def _not_now(self, taken: Mapping[str, Mapping[str, str | None]], problem: Exception) -> None:
        """It stays to be written, unless it has changed since."""
        with self._changed:
            for kind, fields in taken.items():
                self._pending[kind] = {**fields, **self._pending[kind]}
        if not self._is_away:
            self._is_away = True
            logger.warning("%s does not take the history: %s. It is kept here, and tried again.", self.path, problem)

    @property
    def _open(self) -> Link:
        if self._link is None or not self._link.open:
            self._link = connect(self._place, timeout=_GOODBYE)
        return self._link

    def _hang_up(self) -> None:
        if self._link is not None:
            with suppress(OSError):
                self._link.close()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
