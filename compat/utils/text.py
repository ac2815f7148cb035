"""Small functions on texts."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import partial
from re import Pattern
from typing import Any

__all__ = (
    "abbr",
    "abbrtask",
    "dedent",
    "dedent_initial",
    "ensure_newlines",
    "ensure_sep",
    "fill_paragraphs",
    "indent",
    "join",
    "pluralize",
    "pretty",
    "simple_format",
    "str_to_list",
    "truncate",
)  # fmt: skip

UNKNOWN_SIMPLE_FORMAT_KEY = (
    "Unknown format %{0} in string {1!r}: "
    "was the percent sign meant as such (write '%%{0}'), or was the text expanded twice?"
)

RE_FORMAT = re.compile(r"%([%\w])")
StringIO = io.StringIO


def str_to_list(s: Any) -> Any:
    """The parts between commas; what is no text is left alone."""
    return s.split(",") if isinstance(s, str) else s


def dedent_initial(s: str, n: int = 4) -> str:
    """The text without the n spaces that it begins with."""
    return s[n:] if s[:n] == " " * n else s


def dedent(s: str, sep: str = "\n") -> str:
    """Each line without its first four spaces."""
    return sep.join(dedent_initial(line) for line in s.splitlines())


def fill_paragraphs(s: str, width: int, sep: str = "\n") -> str:
    """Each paragraph broken into lines of this width."""
    from textwrap import fill

    return sep.join(fill(paragraph, width) for paragraph in s.split(sep))


def join(l: list[str], sep: str = "\n") -> str:  # noqa: E741 - Celery's name
    """The texts that are not empty, as one."""
    return sep.join(text for text in l if text)


def ensure_sep(sep: str, s: str, n: int = 2) -> str:
    """The text with at least n separators in it, added at its end."""
    return s + sep * (n - s.count(sep))


ensure_newlines = partial(ensure_sep, "\n")


def abbr(S: str | None, max: int, ellipsis: str | bool = "...") -> str:
    """The text, cut to this length."""
    if S is None:
        return "???"
    if len(S) > max:
        return (isinstance(ellipsis, str) and S[: max - len(ellipsis)] + ellipsis) or S[:max]
    return S


def abbrtask(S: str | None, max: int) -> str:
    """The name of a task, its module cut so that the whole has this length."""
    if S is None:
        return "???"
    if len(S) <= max:
        return S
    module, _, last = S.rpartition(".")
    return abbr(module, max - len(last) - 3, ellipsis=False) + "[.]" + last


def indent(t: str, indent: int = 0, sep: str = "\n") -> str:
    """Each line with so many spaces before it."""
    return sep.join(" " * indent + line for line in t.split(sep))


def truncate(s: str, maxlen: int = 128, suffix: str = "...") -> str:
    """The text, cut at the last space before this length."""
    if maxlen and len(s) >= maxlen:
        return s[:maxlen].rsplit(" ", 1)[0] + suffix
    return s


def pluralize(n: float, text: str, suffix: str = "s") -> str:
    """The word as it is for one, or with its suffix."""
    return text + suffix if n != 1 else text


def pretty(value: Any, width: int = 80, nl_width: int = 80, sep: str = "\n", **kw: Any) -> str:
    """A value as people read it; dicts and tuples begin on a line of their own."""
    from pprint import pformat

    if isinstance(value, dict):
        return f"{sep} {pformat(value, 4, nl_width)[1:]}"
    if isinstance(value, tuple):
        return f"{sep}    {pformat(value, width=nl_width, **kw)}"
    return pformat(value, width=width, **kw)


def match_case(s: str, other: str) -> str:
    """The text in the case of the other."""
    return s.upper() if other.isupper() else s.lower()


def simple_format(s: str, keys: dict[str, Any], pattern: Pattern[str] = RE_FORMAT, expand: str = r"\1") -> str:
    """The text with each `%x` replaced by what `keys` has for x: a text, or a function that makes one."""
    if not s:
        return s
    keys.setdefault("%", "%")

    def resolve(match: re.Match[str]) -> str:
        key = match.expand(expand)
        try:
            value: str | Callable[[], str] = keys[key]
        except KeyError:
            raise ValueError(UNKNOWN_SIMPLE_FORMAT_KEY.format(key, s)) from None
        return value() if callable(value) else value

    return pattern.sub(resolve, s)


def remove_repeating_from_task(task_name: str, s: str) -> str:
    """The text with the task's module named once: `proj.add(1) | proj.mul(2)` is `proj.add(1) | mul(2)`."""
    module = str(task_name).rpartition(".")[0]
    return remove_repeating(module + ".", s) if module else s


def remove_repeating(substr: str, s: str) -> str:
    """The text without the prefix, wherever it begins a name, but for the first time it stands there."""
    head, found, rest = s.partition(substr)
    if not found:
        return s
    return head + found + re.sub(rf"(?<![\w.-]){re.escape(substr)}", "", rest) if rest else s


class WhateverIO(StringIO):
    """A StringIO that takes bytes as well."""

    def __init__(self, v: bytes | str | None = None, *a: Any, **kw: Any) -> None:
        super().__init__(v.decode() if isinstance(v, bytes) else v, *a, **kw)

    def write(self, data: bytes | str) -> int:
        return super().write(data.decode() if isinstance(data, bytes) else data)
