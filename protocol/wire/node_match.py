"""Whether a control request's pattern fits a node name: `glob` or `pcre`, as kombu calls them.

Law: a pattern comes from whoever can publish, so no pattern may cost much. A glob is matched in time that grows
with pattern times name. A regular expression goes to `re` only when what backtracking could cost at worst, for
this very name, stays below a limit; groups that repeat, look-around and back references are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import comb

from ..errors import BadMessage, shown

LONGEST = 500
"""Characters of a pattern, and of a name, that are looked at."""

COSTLIEST = 2_000_000
"""Steps of backtracking that a regular expression may take at worst: some hundredths of a second."""

_WHAT = "control pattern"
_GLOB_SET = r"\[(!?)(\]?[^\]]*)\]"
# What may multiply the ways to match, outside of escapes and sets: quantifiers, alternatives, groups.
_QUANTIFIERS = frozenset("*+?")
_TOKEN = r"\\(?s:.)|\[\^?\]?(?:\\(?s:.)|[^\]\\])*\]|\{\d*,?\d*\}|(?s:.)"


def fits(name: str, pattern: str, matcher: str) -> bool:
    """Stock's rule: a glob fits the whole name, a regular expression its beginning."""
    match = _MATCHERS.get(matcher)
    if match is None:
        raise BadMessage(_WHAT, f"expected glob or pcre, got {shown(matcher)}", field="matcher")
    if len(pattern) > LONGEST or len(name) > LONGEST:
        raise BadMessage(_WHAT, f"longer than {LONGEST} characters", field="pattern")
    return match(name, pattern)


# --- glob


def _glob(name: str, pattern: str) -> bool:
    """The classical matcher: on a mismatch, the last star takes one character more."""
    parts = _glob_parts(pattern)
    at = here = 0
    star, resume = -1, 0
    while here < len(name):
        if at < len(parts) and parts[at] is None:
            star, resume = at, here
            at += 1
        elif at < len(parts) and _fits_one(parts[at], name[here]):
            at += 1
            here += 1
        elif star >= 0:
            resume += 1
            at, here = star + 1, resume
        else:
            return False
    return all(part is None for part in parts[at:])


Part = tuple[bool, str] | None  # a star; or a set of characters, and whether it is the others that fit


@lru_cache(maxsize=64)
def _glob_parts(pattern: str) -> tuple[Part, ...]:
    parts: list[Part] = []
    at = 0
    while at < len(pattern):
        char, found = pattern[at], re.compile(_GLOB_SET).match(pattern, at)
        at = found.end() if found else at + 1
        if found:
            parts.append((found[1] == "!", _spread(found[2])))
        elif char == "*":
            parts.append(None)
        else:
            parts.append((True, "") if char == "?" else (False, char))
    return tuple(parts)


def _spread(chars: str) -> str:
    """The characters of a set, ranges written out."""
    out: list[str] = []
    at = 0
    while at < len(chars):
        if at + 2 < len(chars) and chars[at + 1] == "-":
            out.extend(map(chr, range(ord(chars[at]), min(ord(chars[at + 2]), ord(chars[at]) + 1024) + 1)))
            at += 3
        else:
            out.append(chars[at])
            at += 1
    return "".join(out)


def _fits_one(part: Part, char: str) -> bool:
    return part is not None and (char in part[1]) is not part[0]


# --- regular expressions


def _pcre(name: str, pattern: str) -> bool:
    choices, alternatives = _freedom(pattern)
    # Each quantifier ends somewhere in the name, each alternative doubles the ways to get there.
    if comb(len(name) + choices + 1, choices) * 2**alternatives > COSTLIEST:
        raise BadMessage(_WHAT, f"matching {shown(pattern)} may take too long", field="pattern")
    return _compiled(pattern).match(name) is not None


@lru_cache(maxsize=64)
def _freedom(pattern: str) -> tuple[int, int]:
    """How many quantifiers and how many alternatives it has."""
    choices = alternatives = 0
    before = ""  # the token before, where it matters; `(?` for what tells kinds of groups apart
    for token in re.findall(_TOKEN, pattern):
        after = token
        if before == "(" and token == "?":
            after = "(?"
        elif before == "(?" and token != ":":
            _refuse(pattern, "looks around or names a group")
        elif _quantifies(token):
            if before == ")":
                _refuse(pattern, "repeats a group")
            choices += not _quantifies(before)  # otherwise it makes the one before lazy or possessive
        elif token == "|":
            alternatives += 1
        elif token[0] == "\\" and token[1:].isdigit():
            _refuse(pattern, "refers back")
        before = after
    return choices, alternatives


def _quantifies(token: str) -> bool:
    return token in _QUANTIFIERS or (token[:1] == "{" and len(token) > len("{}"))


def _refuse(pattern: str, why: str) -> None:
    raise BadMessage(_WHAT, f"{shown(pattern)} {why}", field="pattern")


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:  # where warnings are made errors
        raise BadMessage(_WHAT, f"{shown(pattern)} is no regular expression: {error}", field="pattern") from None


_MATCHERS: Mapping[str, Callable[[str, str], bool]] = {"glob": _glob, "pcre": _pcre}
