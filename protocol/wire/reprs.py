"""The bounded text of arguments and results, as Celery shows them: `argsrepr`, `kwargsrepr`, results in events.

Law: the text is Celery's, character for character, wherever Celery gives one; it never raises, and beyond the limit
nothing is looked at. It is for people: nobody parses it.

Celery's text is a sequence of tokens (brackets, separators, keys, values), and the limit is a budget that they use up.
A value too long for what is left is cut. Once nothing is left the next token becomes `, ...`, and the brackets that are
open are closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..hints import Any, NamedTuple

MAXLEN = 1024
MAXLEVELS = 3
FLAT = 64  # longer containers, and longer texts, are not for the short way
SAFE_INT = 10**18
_INT_BITS = 14_280  # about the digits that Python writes: beyond them an integer takes quadratic time
_NO_LIMIT = 1 << 62


class Shown(NamedTuple):
    """How much is shown of the arguments of a call."""

    args: int | None = MAXLEN
    kwargs: int | None = MAXLEN
    levels: int = MAXLEVELS


def saferepr(value: Any, maxlen: int | None = MAXLEN, maxlevels: int = MAXLEVELS) -> str:
    """The text of a value. Without `maxlen` it is as long as the value is; zero levels are as many as there are.

    >>> saferepr((1, "it's", {"k": [b"x", None]}))
    "(1, 'it\\\\'s', {'k': [b'x', None]})"
    """
    kind = type(value)
    if (kind is tuple or kind is list) and len(value) <= FLAT:
        for item in value:
            if type(item) is not int or not -SAFE_INT < item < SAFE_INT:
                flat = _flat(value)
                break
        else:
            flat = repr(value)  # of integers alone, as most arguments are: Python's text is Celery's
    else:
        flat = _flat(value)
    if flat is not None and (maxlen is None or len(flat) <= maxlen):
        return flat
    return _render(value, _NO_LIMIT if maxlen is None else maxlen, maxlevels or _NO_LIMIT)


def _flat(value: Any) -> str | None:
    """The short way, for a small tuple, list or dict of plain values. Where all of it fits nothing needs a budget."""
    kind = type(value)
    if kind is tuple or kind is list:
        if len(value) > FLAT:
            return None
        parts = [
            str(item) if type(item) is int and -SAFE_INT < item < SAFE_INT else _short(item)  # most arguments are
            for item in value
        ]
    elif kind is dict:
        if len(value) > FLAT:
            return None
        parts = [_pair(_short(key), _short(item)) for key, item in value.items()]
    else:
        return None
    if None in parts:
        return None
    text = ", ".join(parts)  # type: ignore[arg-type] # no None is left
    if kind is dict:
        return f"{{{text}}}"
    if kind is list:
        return f"[{text}]"
    return f"({text},)" if len(parts) == 1 else f"({text})"


def _pair(key: str | None, item: str | None) -> str | None:
    return None if key is None or item is None else f"{key}: {item}"


def _short(value: Any) -> str | None:
    kind = type(value)
    if kind is str:
        return _quoted(value) if len(value) <= FLAT else None
    if kind is int:
        return str(value) if -SAFE_INT < value < SAFE_INT else None
    if value is None or kind is bool or kind is float:
        return repr(value)
    return None


class _Full(Exception):
    """No error: the budget is used up, and what is open wants closing."""


class _Page:
    """What has been written, and how much more may be."""

    __slots__ = ("left", "levels", "open", "parts")

    def __init__(self, left: int, levels: int) -> None:
        self.left = left
        self.levels = levels
        self.parts: list[str] = []
        self.open: set[int] = set()

    def check(self) -> None:
        if self.left <= 0:
            self.parts.append(", ...")
            raise _Full

    def token(self, text: str) -> None:
        self.check()
        self.close(text)

    def close(self, text: str) -> None:
        """A closing bracket is written whatever is left."""
        self.parts.append(text)
        self.left -= len(text)


def _render(value: Any, left: int, levels: int) -> str:
    page = _Page(left, levels)
    try:
        _value(page, value, 0)
    except _Full:
        pass
    except Exception as problem:  # noqa: BLE001 - a container may be anybody's
        page.parts.append(_unrepresentable(value, problem))
    return "".join(page.parts)


def _value(page: _Page, value: Any, level: int) -> None:
    page.check()
    show = _LEAVES.get(type(value))
    if show is None and not isinstance(value, (set, frozenset, tuple, dict, list)):
        show = _leaf_of(value)
    if show is not None:
        page.close(show(value, page.left))
    elif not value and isinstance(value, (set, frozenset)):
        page.close(_cut(f"{type(value).__name__}()", page.left))
    else:
        _container(page, value, level)


def _container(page: _Page, value: Any, level: int) -> None:
    opening, closing = _brackets(value)
    if level >= page.levels:
        page.close(f"{opening}...{closing}")
        return
    me = id(value)
    if me in page.open:
        page.close(_cut(f"<Recursion on {type(value).__name__} with id={me}>", page.left))
        return
    page.open.add(me)
    page.close(opening)
    try:
        if isinstance(value, dict):
            _pairs(page, value, level + 1)
        else:
            _items(page, value, level + 1)
    except _Full:
        page.parts.append(closing)
        raise
    page.open.discard(me)
    page.close(closing)


def _items(page: _Page, items: Iterable[Any], level: int) -> None:
    between = False
    for item in items:
        if between:
            page.token(", ")
        _value(page, item, level)
        between = True


def _pairs(page: _Page, pairs: dict[Any, Any], level: int) -> None:
    between = False
    for key, item in pairs.items():
        if between:
            page.token(", ")
        page.check()
        page.close(_render(key, page.left, page.levels))
        page.token(": ")
        _value(page, item, level)
        between = True


def _brackets(value: Any) -> tuple[str, str]:
    if isinstance(value, tuple):
        return "(", ",)" if len(value) == 1 else ")"
    if isinstance(value, dict):
        return "{", "}"
    if isinstance(value, list):
        return "[", "]"
    return ("{", "}") if type(value) is set else (f"{type(value).__name__}({{", "})")


Leaf = Callable[[Any, int], str]


def _leaf_of(value: Any) -> Leaf:
    from numbers import Number  # decimal's, numpy's and others': for who sends any but Python's own

    for kind, show in ((Number, _some_number), (bytes, _bytes), (str, _text)):
        if isinstance(value, kind):
            return show
    return _other


def _cut(text: str, left: int) -> str:
    """Celery's cut: at a limit that it reaches, back to the last space."""
    return text if len(text) < left else text[:left].rsplit(" ", 1)[0] + "..."


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'"


def _text(value: str, left: int) -> str:
    return _quoted(_cut(value, left))


def _bytes(value: bytes, left: int) -> str:
    shown = value if len(value) <= left else memoryview(value)[:left].tobytes()
    more = "" if shown is value else "..."
    try:
        return f"b'{shown.decode()}{more}'"
    except UnicodeDecodeError:
        return f"b'{shown.hex()}{more}'"


def _number(value: Any, left: int) -> str:
    try:
        return _cut(str(value), left)
    except Exception as problem:  # noqa: BLE001 - a number may be anybody's
        return _cut(_unrepresentable(value, problem), left)


def _int(value: int, left: int) -> str:
    if -SAFE_INT < value < SAFE_INT or value.bit_length() <= _INT_BITS:
        return _cut(str(value), left)
    return _cut(f"<int of {value.bit_length()} bits>", left)


def _other(value: Any, left: int) -> str:
    try:
        return _cut(repr(value), left)
    except Exception as problem:  # noqa: BLE001 - a repr may raise anything
        return _cut(_unrepresentable(value, problem), left)


def _unrepresentable(value: Any, problem: Exception) -> str:
    return f"<Unrepresentable {type(value).__name__} at {id(value):#x}: {type(problem).__name__}>"


def _some_number(value: Any, left: int) -> str:
    from decimal import Decimal  # imported already, if this is one

    return (_other if isinstance(value, Decimal) else _number)(value, left)


_LEAVES: dict[type, Leaf] = {
    int: _int,
    float: _number,
    bool: _number,
    str: _text,
    bytes: _bytes,
    type(None): _other,
}
