"""The order of words before Celery 5: `worker -A proj -q` becomes `-A proj -q worker`, with a hint.

Law: only global options move, and only where the command has no option of that name; nothing moves past `--`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import click

HINT = "hint: {option_name} belongs before the command: {info_name} {shown} <command> ..."
_APP = frozenset({"-A", "--app"})
_VALUES = {
    "app": "<app>",
    "broker": "<url>",
    "result_backend": "<url>",
    "loader": "<loader>",
    "config": "<module>",
    "workdir": "<folder>",
}


class Globals:
    """The options of the group itself, by each of their names."""

    def __init__(self, params: Sequence[click.Parameter]) -> None:
        options = [param for param in params if isinstance(param, click.Option)]
        self.flags = {name for param in options if param.is_flag for name in param.opts}
        self.valued = {name: param.name or "" for param in options if not param.is_flag for name in param.opts}

    def names_in(self, word: str) -> tuple[str, bool] | None:
        """The option that this word is, and whether its value is the next word."""
        if word in self.flags:
            return word, False
        if word in self.valued:
            return word, True
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        return (name, False) if name != word and name in self.valued else None


def command_at(own: Globals, words: Sequence[str]) -> int:
    """Where the command stands; behind the last word when there is none."""
    index = 0
    while index < len(words) and words[index].startswith("-"):
        found = own.names_in(words[index])
        index += 2 if found and found[1] else 1
    return index


def reordered(
    own: Globals, words: Sequence[str], at: int, taken: Callable[[], frozenset[str]] | None
) -> tuple[list[str], str]:
    """The words as Celery 5 has them, and the first option that moved. `taken`: what the command takes by itself."""
    front, rest, moved = list(words[:at]), [words[at]], ""
    left: Iterator[str] = iter(words[at + 1 :])
    for word in left:
        found = own.names_in(word)
        if word == "--":
            rest += [word, *left]
        elif found is None or (found[0] not in _APP and (taken is None or found[0] in taken())):
            rest.append(word)
        else:
            name, is_next = found
            front.append(word)
            if is_next:
                front += [value for value in (next(left, None),) if value is not None]
            moved = moved or name
    return front + rest, moved


def hint(own: Globals, name: str, program: str) -> str:
    """What to type instead."""
    value = _VALUES.get(own.valued.get(name, ""), "")
    return HINT.format(option_name=name, info_name=program, shown=f"{name} {value}".rstrip())


def options_of(command: click.Command | None) -> frozenset[str]:
    """The names of all options of a command, and of those beneath it."""
    if command is None:
        return frozenset()
    names = {name for param in command.params if isinstance(param, click.Option) for name in param.opts}
    beneath = getattr(command, "commands", {}).values()
    return frozenset(names.union(*map(options_of, beneath)))
