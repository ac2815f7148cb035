"""The screen of `celeriac top`, as values: what is known becomes a `View`, a key changes the `Look`, both become lines.

Law: nothing here asks, waits, reads a clock or knows a terminal but by its size. What is to be done is an `Action`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ..utils.term import harmless
from .queues import cell, unserved

PAGES = ("tasks", "failures", "queues", "workers")
_RUNNING = ("STARTED",)
_FAILED = ("FAILURE", "RETRY", "REJECTED")
_MOST = 500  # rows of a page that are looked at
_HELP = "tab/1-4 page  j/k move  / search  c revoke  l rate limit  p pause/resume queue  r retry  q quit"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a page. `key` is what actions are told: a task's id, a queue's or a worker's name."""

    key: str
    cells: tuple[str, ...]
    bad: bool = False
    name: str = ""
    """Of the task."""


@dataclass(frozen=True, slots=True)
class View:
    """What is known."""

    pages: Mapping[str, Sequence[Row]]
    summary: str = ""
    problem: str = ""
    unknown: str = ""
    """Why something of the queues is not known."""


@dataclass(frozen=True, slots=True)
class Action:
    """What is to be done, once it is confirmed."""

    kind: str
    key: str
    name: str = ""
    value: str = ""

    @property
    def question(self) -> str:
        what = f"{self.name} {self.key}".strip()
        return f"{self.kind} {what}{' to ' + self.value if self.value else ''}? y/n"


@dataclass(frozen=True, slots=True)
class Look:
    """What the user looks at. `typing`: what the text that is typed is for. `asked`: waits for a yes."""

    page: str = "tasks"
    at: int = 0
    search: str = ""
    typing: str = ""
    typed: str = ""
    asked: Action | None = None
    message: str = ""
    over: bool = False


_HEADS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "tasks": (("STATE", 9), ("TIME", 8), ("TASK", 30), ("WORKER", 22), ("ID", 37), ("ARGUMENTS", 0)),
    "failures": (("STATE", 9), ("AGO", 8), ("TASK", 30), ("WORKER", 22), ("ID", 37), ("ERROR", 0)),
    "queues": (("QUEUE", 30), ("READY", 9), ("OLDEST", 9), ("CONSUMERS", 10), ("UNACKED", 9), ("PARKED", 9), ("", 0)),
    "workers": (("WORKER", 30), ("STATE", 8), ("RUNNING", 8), ("DONE", 10), ("LOAD", 16), ("SOFTWARE", 0)),
}


# --- what is known


def view(
    state: Any,
    queues: Iterable[Mapping[str, Any]] = (),
    active: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    now: float = 0.0,
    paused: Iterable[str] = (),
    problem: str = "",
    unknown: Mapping[str, str] = MappingProxyType({}),
    reserved: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> View:
    """From the state that events made, the queues as they were found, and what workers say that they run and hold."""
    running = _running(state, active or {}, now)
    held = _held(state, reserved or {}, running)
    known = [task for _, task in zip(range(_MOST), _newest(state), strict=False)]
    failures = [_failure(task, now) for task in known if task.state in _FAILED]
    listed = {*running, *held}
    done = [_task(task, now) for task in known if task.state not in _RUNNING and task.uuid not in listed]
    workers = sorted(state.workers.values(), key=lambda worker: str(worker.hostname))
    rows = list(queues)
    waiting = sum(row["ready"] or 0 for row in rows if not row.get("dead"))
    alive = sum(1 for worker in workers if _alive(worker, now))
    return View(
        {
            "tasks": [*running.values(), *held.values(), *done],
            "failures": failures,
            "queues": [_queue(row, frozenset(paused), unknown) for row in rows],
            "workers": [_worker(worker, now) for worker in workers],
        },
        f"{alive}/{len(workers)} workers  {len(running)} running  {len(held)} held  {waiting} waiting  "
        f"{len(failures)} failed",
        problem,
        "; ".join(f"{column}: {why}" for column, why in unknown.items() if column != "litter"),
    )


def _newest(state: Any) -> Iterable[Any]:
    return (task for _, task in state.tasks_by_time())


def _running(state: Any, active: Mapping[str, Sequence[Mapping[str, Any]]], now: float) -> dict[str, Row]:
    found: dict[str, tuple[float, Row]] = {}
    for node, requests in active.items():
        for request in requests if isinstance(requests, list) else ():
            uuid, since = str(request.get("id")), request.get("time_start") or now
            told = state.tasks.data.get(uuid)
            if told is not None and told.ready:
                continue  # it has ended since
            name, args = (
                str(request.get("type") or request.get("name")),
                f"{request.get('args')} {request.get('kwargs')}",
            )
            found[uuid] = (since, Row(uuid, ("RUNNING", age(now - since), name, node, uuid, args), name=name))
    for task in _newest(state):
        if task.state in _RUNNING and task.uuid not in found:
            since = task.started or now
            cells = ("RUNNING", age(now - since), str(task.name or "?"), _node(task), task.uuid, _arguments(task))
            found[task.uuid] = (since, Row(task.uuid, cells, name=task.name or ""))
    return {uuid: row for uuid, (_, row) in sorted(found.items(), key=lambda item: item[1][0])}


def _held(
    state: Any, reserved: Mapping[str, Sequence[Mapping[str, Any]]], running: Mapping[str, Row]
) -> dict[str, Row]:
    """What workers have taken and not begun: it waits, though in no queue any more."""
    found = {}
    for node, requests in reserved.items():
        for request in requests if isinstance(requests, list) else ():
            uuid, name = str(request.get("id")), str(request.get("type") or request.get("name"))
            told = state.tasks.data.get(uuid)
            if uuid in running or (told is not None and (told.ready or told.state in _RUNNING)):
                continue  # it has begun since
            arguments = f"{request.get('args')} {request.get('kwargs')}"
            found[uuid] = Row(uuid, ("HELD", "-", name, node, uuid, arguments), name=name)
    return found


def _task(task: Any, now: float) -> Row:
    spent = f"{task.runtime:.2f}s" if isinstance(task.runtime, (int, float)) else age(now - (task.timestamp or now))
    cells = (str(task.state), spent, str(task.name or "?"), _node(task), str(task.uuid), _arguments(task))
    return Row(str(task.uuid), cells, task.state in _FAILED, task.name or "")


def _failure(task: Any, now: float) -> Row:
    ago = age(now - (task.timestamp or now))
    cells = (str(task.state), ago, str(task.name or "?"), _node(task), str(task.uuid), str(task.exception or ""))
    return Row(str(task.uuid), cells, bad=True, name=task.name or "")


def _queue(row: Mapping[str, Any], paused: frozenset[str], unknown: Mapping[str, str]) -> Row:
    name = str(row["queue"])
    ready, *numbers = (cell(row, column, unknown) for column in ("ready", "oldest", "consumers", "unacked", "parked"))
    lack = unserved(row)
    note = "paused" if name in paused else "dead letters" if row.get("dead") else lack
    return Row(name, (name, ready, *numbers, note), bad=bool(lack))


def _alive(worker: Any, now: float) -> bool:
    return bool(worker.heartbeats and now < worker.heartbeat_expires)


def _worker(worker: Any, now: float) -> Row:
    load = " ".join(f"{value:.2f}" for value in worker.loadavg or ())
    software = " ".join(str(each) for each in (worker.sw_ident, worker.sw_ver, worker.sw_sys) if each)
    counts = ("-" if value is None else str(value) for value in (worker.active, worker.processed))
    alive = _alive(worker, now)
    state = "online" if alive else "offline"
    return Row(worker.hostname, (worker.hostname, state, *counts, load, software), bad=not alive)


def _node(task: Any) -> str:
    return str(task.worker.hostname) if task.worker else "-"


def _arguments(task: Any) -> str:
    return f"{task.args or ''} {task.kwargs if task.kwargs not in (None, '{}') else ''}".strip()


def age(seconds: float) -> str:
    """A time as people say it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.1f}{unit}"
    return f"{max(seconds, 0):.1f}s"


# --- lines


def shown(given: View, look: Look) -> Sequence[Row]:
    """The rows of the page that hold every word of the search."""
    words = (look.typed if look.typing == "search" else look.search).lower().split()
    rows = given.pages.get(look.page, ())
    return [row for row in rows if all(word in " ".join(row.cells).lower() for word in words)]


def lines(given: View, look: Look, width: int, height: int) -> list[tuple[str, str]]:
    """The screen: as many pairs of a style and a text as it is high, none wider than it."""
    rows = shown(given, look)
    room = max(height - 5, 0)
    at = min(look.at, max(len(rows) - 1, 0))
    first = max(0, at - room + 1)
    tabs = "  ".join(
        f"[{page} {len(given.pages.get(page, ()))}]"
        if page == look.page
        else f"{page} {len(given.pages.get(page, ()))}"
        for page in PAGES
    )
    heads = _HEADS[look.page]
    page = [("title", f"celeriac top  {given.summary}"), ("plain", tabs), ("head", _line([h for h, _ in heads], heads))]
    for number, row in enumerate(rows[first : first + room], first):
        style = "selected" if number == at else "bad" if row.bad else "plain"
        page.append((style, _line(row.cells, heads)))
    page += [("plain", "")] * (height - 2 - len(page))
    page += [_status(given, look), ("dim", _HELP)]
    return [(style, harmless(text)[:width]) for style, text in page][:height]


def _status(given: View, look: Look) -> tuple[str, str]:
    if look.asked:
        return "bad", look.asked.question
    if look.typing:
        return "head", f"{look.typing}: {look.typed}_"
    if look.message or given.problem:
        return "head", look.message or given.problem
    if look.search:
        return "dim", f"search: {look.search}"
    return "dim", f"? {given.unknown}" if given.unknown and look.page == "queues" else ""


def _line(cells: Sequence[str], heads: Sequence[tuple[str, int]]) -> str:
    parts = (
        (cell if len(cell) < width else f"{cell[: width - 2]}~").ljust(width) if width else cell
        for cell, (_, width) in zip(cells, heads, strict=False)
    )
    return " ".join(parts).rstrip()


_STYLES = {"title": "1", "head": "1;4", "selected": "7", "bad": "31", "dim": "2", "plain": ""}


def painted(page: Sequence[tuple[str, str]]) -> str:
    """For a terminal: the whole screen anew, without a flicker."""
    return "\x1b[H" + "\r\n".join(f"\x1b[{_STYLES[style]}m{text}\x1b[0m\x1b[K" for style, text in page) + "\x1b[J"


# --- keys


def pressed(look: Look, key: str, given: View) -> tuple[Look, Action | None]:
    """What a key does: another look, and something to do, where it was confirmed."""
    look = replace(look, message="")
    if look.asked:
        action = look.asked
        return replace(look, asked=None, message="" if key in "yY" else "nothing done"), action if key in "yY" else None
    if look.typing:
        return _typed(look, key, given), None
    if key in ("q", "\x03"):
        return replace(look, over=True), None
    if key == "/":
        return replace(look, typing="search", typed=look.search), None
    if key == "\t":
        return replace(look, page=PAGES[(PAGES.index(look.page) + 1) % len(PAGES)], at=0), None
    if key.isdigit() and 0 < int(key) <= len(PAGES):
        return replace(look, page=PAGES[int(key) - 1], at=0), None
    rows = shown(given, look)
    at = min(look.at, max(len(rows) - 1, 0))
    if key in _MOVES:
        return replace(look, at=min(max(at + _MOVES[key], 0), max(len(rows) - 1, 0))), None
    return (_asked(look, key, rows[at]) if rows else look), None


_MOVES = {"j": 1, "k": -1, "\x1b[B": 1, "\x1b[A": -1, "\x1b[6~": 20, "\x1b[5~": -20, "g": -(10**6), "G": 10**6}


def _typed(look: Look, key: str, given: View) -> Look:
    if key == "\x1b":
        return replace(look, typing="", typed="")
    if key in ("\x7f", "\b"):
        return replace(look, typed=look.typed[:-1])
    if key not in ("\r", "\n"):
        return replace(look, typed=look.typed + key) if key.isprintable() else look
    done = replace(look, typing="", typed="")
    if look.typing == "search":
        return replace(done, search=look.typed, at=0)
    rows = shown(given, done)
    if not rows or not look.typed.strip():
        return done
    row = rows[min(look.at, len(rows) - 1)]
    return replace(done, asked=Action("rate limit", "", row.name, look.typed.strip()))


def _asked(look: Look, key: str, row: Row) -> Look:
    of_task = look.page in ("tasks", "failures")
    if key == "c" and of_task:
        return replace(look, asked=Action("revoke", row.key, row.name))
    if key == "r" and of_task:
        return replace(look, asked=Action("retry", row.key, row.name))
    if key == "l" and of_task and row.name:
        return replace(look, typing="rate limit", typed="")
    if key == "p" and look.page == "queues":
        kind = "resume" if row.cells[-1] == "paused" else "pause"
        return replace(look, asked=Action(kind, row.key))
    return look
