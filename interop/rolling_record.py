"""What Redis itself says of who had a message last: its own record of every command, replayed.

A message that stock kombu takes (BRPOP) is nowhere but in its memory until it is noted in the hash `unacked`; killed
in between, kombu has lost it (celery#4354). Celeriac takes and notes in one script. Law: a loss is told of that window
only where the server's order of commands shows that a connection of that very worker popped the message, and that
nobody noted it afterwards; whatever else is lost is a defect of ours, or unexplained, which is as bad.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests import servers

QUEUE, HELD = "celery", "unacked"
_LINE = re.compile(rb"^(?:[0-9.]+) \[\d+ ([^\]]+)\] (.*)$", re.DOTALL)
_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_IDENT = re.compile(rb'\\"id\\": ?\\"roll-(\d+)\\"')
_SCRIPTS = {"EVAL", "EVALSHA", "FCALL"}
_NOBODY = "nobody that is known"
_POPPED = "popped"


@dataclass
class Record:
    """All that a server was told, as connections and commands; `whose` names the worker behind a connection."""

    lines: list[bytes] = field(default_factory=list)
    whose: dict[str, str] = field(default_factory=dict)

    def ascribe(self, worker: str, connections: set[str]) -> None:
        self.whose |= dict.fromkeys(connections, worker)

    def last_hands(self) -> dict[int, Hands]:
        """For each message, who had it last, and how."""
        return _Replay(self.whose).of(self.lines)


@dataclass(frozen=True)
class Hands:
    """`noted`: it stood in `unacked` as well, so that others could bring it back."""

    worker: str
    how: str
    noted: bool = False

    @property
    def popped(self) -> bool:
        return self.how.startswith(_POPPED)

    def __str__(self) -> str:
        return f"{self.how} by {self.worker}"


class _Replay:
    def __init__(self, whose: dict[str, str]) -> None:
        self.whose = whose
        self.waiting: deque[int] = deque()  # the tail is served first
        self.blocked: list[str] = []  # connections that wait in BRPOP, the longest first
        self.tags: dict[bytes, int] = {}
        self.hands: dict[int, Hands] = {}

    def of(self, lines: list[bytes]) -> dict[int, Hands]:
        script = ""
        for line in lines:
            told = _LINE.match(line)
            words = _WORD.findall(told[2]) if told else []
            if not told or not words:
                continue
            connection, name = told[1].decode(), words[0].decode().upper()
            if connection == "lua":
                connection = script
            elif name in _SCRIPTS:
                script = connection
            if connection in self.blocked:  # it has heard nothing, and asks for something else
                self.blocked.remove(connection)
            self._step(connection, name, words[1:])
        return self.hands

    def _step(self, connection: str, name: str, words: list[bytes]) -> None:
        worker = self.whose.get(connection, _NOBODY)
        key = words[0].decode(errors="replace") if words else ""
        if name in {"LPUSH", "RPUSH"} and key == QUEUE:
            for number in map(_number, words[1:]):
                (self.waiting.appendleft if name == "LPUSH" else self.waiting.append)(number)
                self.hands[number] = Hands(worker, "put")
            while self.waiting and self.blocked:
                self._popped(self.blocked.pop(0), "BRPOP, for which it waited")
        elif name == "BRPOP" and QUEUE.encode() in words[:-1]:
            if self.waiting:
                self._popped(connection, "BRPOP")
            else:
                self.blocked.append(connection)
        elif name in {"RPOP", "LTRIM"} and key == QUEUE:
            for _ in range(1 if name == "RPOP" else -1 - int(words[2])):
                if self.waiting:
                    self._popped(connection, name)
        elif name == "HSET" and key == HELD:
            for tag, entry in zip(words[1::2], words[2::2], strict=False):
                self.tags[tag] = _number(entry)
                self.hands[self.tags[tag]] = Hands(worker, "noted", noted=True)
        elif name == "HDEL" and key == HELD:
            for number in (self.tags.pop(tag) for tag in words[1:] if tag in self.tags):
                if self.hands[number].how == "noted":  # else it went back, and this takes the note of it away
                    self.hands[number] = Hands(worker, "let go of", noted=True)

    def _popped(self, connection: str, how: str) -> None:
        number = self.waiting.pop()
        if not self.hands[number].noted:  # celeriac's script notes first, and takes off the list then
            self.hands[number] = Hands(self.whose.get(connection, _NOBODY), f"{_POPPED} ({how})")


def _number(message: bytes) -> int:
    found = _IDENT.search(message)
    return int(found[1]) if found else -1


@contextmanager
def listened(server: servers.RedisServer) -> Iterator[Record]:
    """Listens until it is left."""
    made, over = Record(), threading.Event()
    listener = servers.RespClient(server.port, timeout=0.2)
    listener.call("MONITOR")

    def listen() -> None:
        with suppress(OSError):
            while not over.is_set():
                with suppress(TimeoutError):
                    while True:
                        made.lines.append(listener.read())

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        over.set()
        thread.join(20)
        listener.close()


def connections_of(pid: int) -> set[str]:
    """The local ends of a process's TCP connections, as the server names them; of a process that is gone, none."""
    inodes = set()
    with suppress(OSError):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # it was closed meanwhile
                inodes.add(str(each.readlink()))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"127.0.0.1:{int(row[1].partition(':')[2], 16)}" for row in rows if f"socket:[{row[9]}]" in inodes}
