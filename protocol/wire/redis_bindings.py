"""Who is bound to what: the members of `_kombu.binding.<exchange>`, and which queues a routing key reaches.

Law: kombu's answers, in time linear in the key. Kombu stores a regex beside each topic binding and runs it as it
finds it; anybody who can write to that set can make it run for ever. So the stored regex is never run: the binding
key beside it says the same, and is matched here by stepping through it, without backtracking.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from ..errors import BadMessage, shown
from ..values import dataclass

_WHAT = "binding"
LONGEST = 4096  # characters of a key that takes part in matching; AMQP allows 255
_WORDS = {"*": r"[^\.]+", "#": r".*?"}


@dataclass(frozen=True, slots=True)
class Binding:
    routing_key: str
    pattern: str
    queue: str


def member(binding: Binding, sep: str) -> bytes:
    """One member of the set, as kombu joins it."""
    return sep.join((binding.routing_key, binding.pattern, binding.queue)).encode()


def parse_member(data: bytes, sep: str) -> Binding:
    try:
        fields = data.decode().split(sep)
    except UnicodeDecodeError:
        raise BadMessage(_WHAT, f"not UTF-8: {shown(data)}") from None
    if len(fields) != 3:  # noqa: PLR2004 - routing key, pattern, queue
        raise BadMessage(_WHAT, f"expected routing key, pattern and queue, got {shown(data)}")
    return Binding(*fields)


def parse_members(members: Iterable[bytes], sep: str) -> list[Binding]:
    """A whole set. A member that is none binds nobody (kombu's publish fails on it) and is left out."""
    return [binding for data in members if (binding := _readable(data, sep)) is not None]


def _readable(data: bytes, sep: str) -> Binding | None:
    try:
        return parse_member(data, sep)
    except BadMessage:
        return None


def pattern_of(routing_key: str) -> str:
    """The regex that kombu stores beside a topic binding. `a.#` does not match `a`, unlike RabbitMQ."""
    escaped = "".join(
        char if char.isalnum() or char in ".#*" else "\\000" if char == "\0" else f"\\{char}" for char in routing_key
    )
    return f"^{_DOT.join(_WORDS.get(word, word) for word in escaped.split('.'))}$"


_DOT = r"\."


def reached(exchange_type: str, bindings: Iterable[Binding], routing_key: str) -> list[str]:
    """The queues a message with this key is pushed to, each once, in the order of their names."""
    if exchange_type == "topic":
        hits = {each.queue for each in bindings if matches(each.routing_key, routing_key)}
    elif exchange_type == "fanout":
        hits = {each.queue for each in bindings}
    else:
        hits = {each.queue for each in bindings if each.routing_key == routing_key}
    hits.discard("")
    return sorted(hits)


def matches(binding_key: str, routing_key: str) -> bool:
    """Whether kombu's regex for the binding key matches, its odd corners included. Absurdly long keys match nothing."""
    if len(binding_key) > LONGEST or len(routing_key) > LONGEST:
        return False
    machine = _compiled(binding_key)
    if machine is None:
        return False
    # `$` is satisfied before a last newline too.
    return machine.accepts(routing_key) or (routing_key.endswith("\n") and machine.accepts(routing_key[:-1]))


@dataclass(frozen=True, slots=True)
class _Machine:
    """Positions of the pattern as bits: where a match may stand before the next character."""

    literal: dict[str, int]  # character -> positions that take exactly it
    any_char: int  # positions that take everything but a newline
    not_dot: int  # positions that take everything but a dot
    stays: int  # positions that may take one more
    skips: int  # positions that may take nothing
    accepting: int

    def accepts(self, text: str) -> bool:
        state = self._skipped(1)
        for char in text:
            hits = state & (
                self.literal.get(char, 0)
                | (self.any_char if char != "\n" else 0)
                | (self.not_dot if char != "." else 0)
            )
            if not hits:
                return False
            state = self._skipped((hits << 1) | (hits & self.stays))
        return bool(state & self.accepting)

    def _skipped(self, state: int) -> int:
        # A carry runs through each row of skippable positions, from the first one reached to the one behind it.
        return state | (((state & self.skips) + self.skips) ^ self.skips)


@lru_cache(maxsize=1024)
def _compiled(binding_key: str) -> _Machine | None:
    """None: kombu's regex for this key does not compile (`**`), nothing can be routed by it.

    A star that is not a whole word is no wildcard but the regex's own star: `ab*` matches `a` and `abb`.
    """
    literal: dict[str, int] = {}
    any_char = not_dot = stays = skips = 0
    position = 0  # the bit of the next token
    starred = True  # nothing to repeat yet
    for index, word in enumerate(binding_key.split(".")):
        if index:
            literal["."] = literal.get(".", 0) | 1 << position
            position, starred = position + 1, False
        if word == "#":
            any_char |= 1 << position
            stays |= 1 << position
            skips |= 1 << position
            position, starred = position + 1, True
        elif word == "*":
            not_dot |= 1 << position
            stays |= 1 << position
            position, starred = position + 1, True
        else:
            for char in word:
                if char != "*":
                    literal[char] = literal.get(char, 0) | 1 << position
                    position, starred = position + 1, False
                elif starred:
                    return None
                else:
                    stays |= 1 << position - 1
                    skips |= 1 << position - 1
                    starred = True
    return _Machine(literal, any_char, not_dot, stays, skips, 1 << position)
