"""Random programs of tasks, the same for the same seed: canvases of tasks that are told what to do.

A program is what a client sends: `{"number", "send": canvas, "how": options, "control": what happens meanwhile}`.
A canvas is a list that `programs_app.build` understands. Each task in it has an id of its own, `p<number>.<letter>`,
so that all that is seen of it on either side can be put side by side.
"""

from __future__ import annotations

import random
from itertools import count
from typing import Any

Form = list[Any]

ERRORS = (
    *("value", "key", "odd", "silent", "holding", "lambda", "deep", "os", "unicode", "long", "empty", "bytes"),
    *("slotted", "surrogate", "assertion", "stop", "timeout", "soft", "decimal", "group", "local"),
)
"""No MemoryError: it ends stock workers, with all that they hold."""
VALUES = (
    *("object", "set", "bytes", "text", "surrogate", "nan", "huge", "wide", "number", "decimal", "keys", "tuple"),
    *("exception", "generator", "lambda", "none", "deep"),
)
TASKS = (
    *("act", "act", "act", "late", "early_fails", "tracked", "quiet", "half_quiet", "auto", "auto_not", "throws"),
    *("limited", "untrailed", "unevented", "short", "later", "later"),
)
OPTIONS: tuple[tuple[str, float, Any], ...] = (
    ("immutable", 0.1, True),
    ("expires", 0.03, -5),
    ("ignore_result", 0.05, True),
    ("shadow", 0.04, "nickname"),
    ("time_limit", 0.03, 60),
    ("headers", 0.03, {"x": 1}),
    ("countdown", 0.03, 0.2),
)
"""Of a task in a program, and how often each has it."""


class Programs:
    def __init__(self, seed: int, *, limits: bool) -> None:
        self.limits = limits
        self.random = random.Random(seed)
        self._number = 0
        self._letters = count()

    def program(self) -> dict[str, Any]:
        self._number += 1
        self._letters = count()
        pick = self.random.random()
        if pick < 0.06:
            return self._revoked()
        form = self.task() if pick < 0.45 else self.canvas(2)
        return {"number": self._number, "send": form, "control": None}

    def _id(self) -> str:
        return f"p{self._number}.t{next(self._letters)}"

    def _revoked(self) -> dict[str, Any]:
        """Revoked before it is sent."""
        form = self.random.choice((self.task, lambda: ["chain", self.task(), self.task()]))()
        first = form[1] if form[0] == "task" else form[1][1]
        return {"number": self._number, "send": form, "control": ["revoke", first]}

    def canvas(self, depth: int) -> Form:
        pick = self.random
        kind = pick.random()
        if depth <= 0 or kind < 0.3:
            return self.task(depth)
        if kind < 0.6:
            return ["chain", *self._several(depth, 2, 4)]
        if kind < 0.8:
            return ["group", *self._several(depth, 1, 3)]
        return ["chord", self._several(depth, 1, 3), self.task(0)]

    def _several(self, depth: int, least: int, most: int) -> list[Form]:
        return [self.canvas(depth - 1) for _ in range(self.random.randint(least, most))]

    def task(self, depth: int = 1) -> Form:
        pick = self.random
        own = self._id()
        name = pick.choice(TASKS) if pick.random() < 0.98 else "strict"
        options: dict[str, Any] = {name: value for name, chance, value in OPTIONS if pick.random() < chance}
        if depth > 0 and pick.random() < 0.1:
            options["link"] = [self.task(0) for _ in range(pick.randint(1, 2))]
        if pick.random() < 0.12:
            options["link_error"] = [["old_errback", self._id()] if pick.random() < 0.5 else ["new_errback"]]
        return ["task", own, name, self._steps(depth, name), options]

    def _steps(self, depth: int, name: str) -> list[list[Any]]:
        pick = self.random
        steps: list[list[Any]] = []
        if pick.random() < 0.12:
            steps.append(["state", pick.choice(("PROGRESS", "STARTED", "ODD", "SUCCESS")), {"at": pick.randrange(9)}])
        if depth > 0 and pick.random() < 0.08:
            spawned = self.task(0)
            # Who spawns it may run again: then several with its id would begin by the clock, in either order.
            spawned[-1].pop("countdown", None)
            steps.append(["spawn", spawned])
        if name == "limited" and self.limits and pick.random() < 0.3:
            return [*steps, ["catch soft"] if pick.random() < 0.5 else ["sleep", 3]]
        kind = pick.random()
        if kind < 0.35:
            steps.append(["return", pick.randrange(100)])
        elif kind < 0.45:
            steps.append(["value", pick.choice(VALUES)])
        elif kind < 0.6:
            steps.append(["raise", self._error(name)])
        elif kind < 0.66:
            steps.append(["retry", pick.randint(1, 3), pick.randint(1, 2), pick.choice((None, *ERRORS[:8]))])
        elif kind < 0.7:
            steps.append(["catch retry", pick.randint(0, 2), pick.choice(ERRORS)])
        elif kind < 0.72:
            steps.append(["changed retry"])
        elif kind < 0.77:
            steps.append(["fail first", pick.randint(1, 3), self._error(name)])
        elif kind < 0.79:
            steps.append(["ignore", *(["because"] if pick.random() < 0.5 else [])])
        elif kind < 0.81:
            steps.append(["reject"])
        elif kind < 0.86 and depth > 0:
            steps.append(["replace", self.canvas(1)])
        elif kind < 0.87:
            steps.append(["sleep", 0.02])
        return steps

    def _error(self, name: str) -> str:
        error = self.random.choice(ERRORS)
        # No coroutine may raise a StopIteration: Python makes a RuntimeError of it.
        return "value" if error == "stop" and name == "later" else error
