"""A task message in the usual envelope, known by its looks: who only passes it on need not open it.

Law: what is sealed reads, once opened, as `envelope.parse` reads it, and says of itself what `message_reading` would
say: a task of protocol 2 in JSON, with nothing that delays, limits, ends or stamps it. Whatever is in any doubt is not
sealed. It is told by one expression, which holds the whole of JSON's grammar for the one layout that Celery writes.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable
from functools import cache
from json import loads
from typing import Any

from .message import Message

_QUIET = r"[ !#-\[\]-~]*"  # of a text without escapes
_TEXT = rf'(?:null|"({_QUIET})")'
_SHOWN = rf'(?:null|"({_QUIET}(?:\\(?:["\\/bfnrt]|u[0-9a-f]{{4}}){_QUIET})*)")'
_NUMBER = "(?:null|(0|[1-9][0-9]{0,8}))"
_QUARTET = 4  # letters of base64
_FLAGS = {"true": True, "false": False, "null": None}
BLANK: dict[str, Any] = {
    **dict.fromkeys(("lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit")),
    **dict.fromkeys(("root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result")),
    **dict.fromkeys(("replaced_task_nesting", "stamped_headers", "stamps")),
}
"""The headers of a sealed message, in their order: those that say nothing in all of them, and room for the rest."""


@cache
def _usual() -> Callable[[str], re.Match[str] | None]:
    """Compiled by the first that takes: who only sends needs it never."""
    return re.compile(
        # A body that begins with a bracket, which base64 writes so.
        r'\{"body": "(W[w-z0-9+/][A-Za-z0-9+/]*={0,2})", "content-encoding": "utf-8", '
        r'"content-type": "application/json", '
        rf'"headers": \{{"lang": {_TEXT}, "task": "([ !#-\[\]-~]+)", "id": "([ !#-\[\]-~]+)", "shadow": null, '
        rf'"eta": null, "expires": null, "group": {_TEXT}, "group_index": {_NUMBER}, "retries": (0|[1-9][0-9]{{0,8}}), '
        rf'"timelimit": \[null, null\], "root_id": {_TEXT}, "parent_id": {_TEXT}, "argsrepr": {_SHOWN}, '
        rf'"kwargsrepr": {_SHOWN}, "origin": {_TEXT}, "ignore_result": (true|false|null), '
        rf'"replaced_task_nesting": {_NUMBER}, "stamped_headers": null, "stamps": \{{\}}\}}, '
        rf'"properties": \{{"correlation_id": {_TEXT}, "reply_to": {_TEXT}, "delivery_mode": ([12]), '
        rf'"delivery_info": \{{"exchange": "({_QUIET})", "routing_key": "({_QUIET})"\}}, "priority": ([0-9]), '
        rf'"body_encoding": "base64", "delivery_tag": "{_QUIET}"\}}\}}'
    ).fullmatch


class Sealed:
    """Stands for a `Message`, and is opened when somebody looks inside. `parts` are plain values: texts as the
    expression has found them, or what they stand for (a body in bytes, numbers) where that was known."""

    __slots__ = ("_opened", "parts")

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = parts
        self._opened: Message | None = None

    @property
    def task(self) -> str:
        task: str = self.parts[2]
        return task

    @property
    def id(self) -> str:
        found: str = self.parts[3]
        return found

    @property
    def retries(self) -> int:
        return int(self.parts[6])

    @property
    def priority(self) -> int:
        return int(self.parts[-1])

    def unsealed(self) -> Message:
        """The message itself."""
        if self._opened is None:
            body, headers, properties = self.contents()
            self._opened = Message(body, "application/json", "utf-8", headers, properties)
        return self._opened

    def contents(self) -> tuple[bytes, dict[str, Any], dict[str, Any]]:
        """Its body, headers and properties, made anew for whoever asks."""
        headers = BLANK.copy()
        return self.fill(headers), headers, self.properties_anew()

    def fill(self, headers: dict[str, Any]) -> bytes:
        """Put its headers in the place of those of `BLANK`, and give its body."""
        body, lang, task, task_id, group, index, retries, root, parent, args, kwargs, origin, *more = self.parts[:14]
        ignored, nesting = more
        headers["lang"] = lang
        headers["task"] = task
        headers["id"] = task_id
        headers["group"] = group
        headers["group_index"] = index and int(index)
        headers["retries"] = int(retries)
        headers["timelimit"] = [None, None]
        headers["root_id"] = root
        headers["parent_id"] = parent
        headers["argsrepr"] = loads(f'"{args}"') if args and "\\" in args else args
        headers["kwargsrepr"] = loads(f'"{kwargs}"') if kwargs and "\\" in kwargs else kwargs
        headers["origin"] = origin
        headers["ignore_result"] = _FLAGS[ignored]
        headers["replaced_task_nesting"] = nesting and int(nesting)
        headers["stamps"] = {}
        return body if type(body) is bytes else a2b_base64(body)

    def properties_anew(self) -> dict[str, Any]:
        correlated, reply_to, mode, _, _, priority = self.parts[14:]
        return {
            "correlation_id": correlated,
            "reply_to": reply_to,
            "delivery_mode": int(mode),
            "priority": int(priority),
        }

    @property
    def body(self) -> bytes:
        return self.unsealed().body

    @property
    def content_type(self) -> str | None:
        return self.unsealed().content_type

    @property
    def content_encoding(self) -> str | None:
        return self.unsealed().content_encoding

    @property
    def headers(self) -> Any:
        return self.unsealed().headers

    @property
    def properties(self) -> dict[str, Any]:
        return self.unsealed().properties

    def __eq__(self, other: object) -> bool:
        same: bool = self.unsealed() == opened(other)
        return same

    __hash__ = None  # type: ignore[assignment]  # as a message, whose headers are a dict

    def __repr__(self) -> str:
        return repr(self.unsealed())


def opened(message: Any) -> Any:
    """The message, whether it was sealed or not."""
    return message.unsealed() if type(message) is Sealed else message


def seal(envelope: bytes) -> tuple[Sealed, str, str, int] | None:
    """With its exchange, routing key and priority; None if it must be read."""
    if not envelope.isascii():
        return None
    found = _usual()(envelope.decode())
    if found is None:
        return None
    parts = found.groups()
    if len(parts[0]) % _QUARTET:
        return None
    return Sealed(parts), parts[-3], parts[-2], int(parts[-1])
