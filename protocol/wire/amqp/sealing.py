"""A task message as RabbitMQ carries it, known by its looks: `wire.sealed`, for properties and a body.

Law: `sealed`'s. What is sealed reads as `contents.read_message` reads it. A text is as long as was said, and a byte
that no text here has comes behind it. Whatever else there is, or is in any doubt, is not sealed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from ..sealed import Sealed

_QUIET = r"[ -\[\]-~]"
"""What a text may hold: nothing that begins the next key, and no backslash, which `Sealed` would take for JSON's."""
_TEXT = rf"(?:V|S\0\0\0(.)({_QUIET}*))"
_NAME = rf"S\0\0\0(.)({_QUIET}+)"
_COUNT = r"I([\0-\x7f]...)"
_FIELDS = (
    *(("lang", _TEXT), ("task", _NAME), ("id", _NAME), ("shadow", "V"), ("eta", "V"), ("expires", "V")),
    *(("group", _TEXT), ("group_index", f"(?:V|{_COUNT})"), ("retries", _COUNT), ("timelimit", r"A\0\0\0\x02VV")),
    *(("root_id", _TEXT), ("parent_id", _TEXT), ("argsrepr", _TEXT), ("kwargsrepr", _TEXT), ("origin", _TEXT)),
    *(("ignore_result", r"(?:V|t([\0\1]))"), ("replaced_task_nesting", f"(?:V|{_COUNT})")),
    *(("stamped_headers", "V"), ("stamps", r"F\0\0\0\0")),
)
_HEAD = r"\xfe\x00\x10application/json\x05utf-8"  # first the flags of all that is here, and of nothing else
_HEAD_SIZE = 29  # with the length of the table
_TEXTS = (1, 3, 5, 7, 11, 13, 15, 17, 19)
"""Which groups, from 0, are lengths of texts; those follow."""
_MODE = 24
"""The group, from 1, behind the table."""
_FLAGS = {"\0": "false", "\1": "true", None: "null"}


@cache
def _usual() -> Callable[[str], re.Match[str] | None]:
    """Compiled by the first that takes: who only sends needs it never."""
    headers = "".join(re.escape(chr(len(name)) + name) + value for name, value in _FIELDS)
    return re.compile(rf"{_HEAD}(....){headers}([\1\2])([\0-\x09])(.)(.*)", re.DOTALL).fullmatch


def seal(properties: bytes, body: bytes) -> Sealed | None:
    """None if it must be read."""
    found = _usual()(properties.decode("latin-1"))
    if found is None or body[:1] != b"[":
        return None
    groups = found.groups()
    for at in _TEXTS:
        length = groups[at]
        if length is not None and ord(length) != len(groups[at + 1]):
            return None
    size, _, lang, _, task, _, task_id, _, group, index, retries, *more = groups
    _, root, _, parent, _, args, _, kwargs, _, origin, ignored, nesting, mode, priority, length, last = more
    # The last two texts stand side by side: what ends the first is the length of the second.
    split = ord(length)
    correlated, reply_to = last[:split], last[split + 1 :]
    if last[split : split + 1] != chr(len(reply_to)) or not last.isascii():
        return None
    if _number(size) != found.start(_MODE) - _HEAD_SIZE:
        return None
    return Sealed(
        (
            *(body, lang, task, task_id, group, index and _number(index), _number(retries), root, parent, args, kwargs),
            *(origin, _FLAGS[ignored], nesting and _number(nesting), correlated, reply_to),
            *(ord(mode), "", "", ord(priority)),
        )
    )


def _number(raw: str) -> int:
    return int.from_bytes(raw.encode("latin-1"), "big")
