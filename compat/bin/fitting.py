"""Help that fits the terminal, however narrow it is.

Law: at 80 columns and more it is click's own, byte for byte. Below, columns move together and long lines are broken
where a person would break them.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import click

_USUAL = 80
_NARROWEST = 20
_BREAKS = re.compile(r"(?<=[|,/=])")
"""Where a word that is too long may be broken: a list of choices, a path."""


class Formatter(click.HelpFormatter):
    """click's, for less than the usual width."""

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl(rows, min(col_max, self.width // 3), col_spacing)

    def getvalue(self) -> str:
        lines = super().getvalue().split("\n")
        return "\n".join(part for line in lines for part in broken(line, self.width))


def broken(line: str, width: int) -> list[str]:
    """The line as several, each no wider than this, if that can be had."""
    if len(line) <= width:
        return [line]
    lead = line[: len(line) - len(line.lstrip())]
    after = lead + "  "
    if len(after) > width // 2:
        lead = after = " " * (width // 4)
    words = _words(line.split(), width - len(after))
    return _filled(words, width, lead, after)


def _words(words: Sequence[str], room: int) -> list[tuple[str, str]]:
    """Each with what stands before it: parts of a word that was broken stand close together."""
    found = []
    for word in words:
        parts = _BREAKS.split(word) if len(word) > room else [word]
        for place, part in enumerate(parts):
            pieces = textwrap.wrap(part, room) or [part]
            found += [("" if place or piece else " ", text) for piece, text in enumerate(pieces)]
    return found


def _filled(words: Sequence[tuple[str, str]], width: int, lead: str, after: str) -> list[str]:
    lines, line = [], lead
    for gap, word in words:
        empty = not line.strip()
        if not empty and len(line) + len(gap) + len(word) > width:
            lines.append(line)
            line, empty = after, True
        line += word if empty else gap + word
    return [*lines, line]


class Context(click.Context):
    """Of a command whose help is made to fit."""

    def make_formatter(self) -> click.HelpFormatter:
        width = self.terminal_width or shutil.get_terminal_size().columns
        if width >= _USUAL:
            return super().make_formatter()
        return Formatter(width=max(width, _NARROWEST))


def fit(command: Any) -> Any:
    """The command, and those beneath it, with help that fits."""
    if command.context_class is click.Context:  # else it has one of its own
        command.context_class = Context
    for each in getattr(command, "commands", {}).values():
        fit(each)
    return command
