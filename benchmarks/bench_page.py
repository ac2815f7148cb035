"""docs/benchmarks.md from what `bench.py` has measured: each goal with its figures, then everything.

Law: a ratio is of medians, and stands beside the conditions it was measured under; a goal that is not met says so.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Key = tuple[str, str, str]


@dataclass
class Figures:
    """By row, contender and what was measured: all the figures."""

    taken: dict[Key, list[float]] = field(default_factory=dict)

    def add(self, row: str, who: str, what: str, values: list[float]) -> None:
        self.taken.setdefault((row, who, what), []).extend(values)

    def data(self) -> list[dict[str, Any]]:
        return [
            {"row": row, "who": who, "what": what, "median": statistics.median(values), "all": values}
            for (row, who, what), values in self.taken.items()
        ]


class Goal(NamedTuple):
    """One line of the goals: where its figure is, and what it should be. `more`: more is better.

    `then` is what Celery's figure was on the machine on which the goals were set: it makes a ratio of each goal.
    """

    says: str
    row: str
    what: str
    goal: float
    limit: float
    then: float = 0
    unit: str = "us"
    more: bool = False
    ours: str = "ours"
    stock: str = "stock"


GOALS = (
    Goal("enqueue one by one, Redis", "redis one by one", "cpu", 15, 25, 261),
    Goal(
        "enqueue one by one, Redis, results on", "redis one by one", "cpu", 15, 25, 336,
        ours="ours-results", stock="stock-results",
    ),
    Goal("enqueue many at once (`group`), Redis", "redis group of 100", "cpu", 6, 10, 261),
    Goal("enqueue one by one, RabbitMQ, each confirmed", "amqp one by one", "cpu", 10, 20, 200),
    Goal("enqueue one by one, RabbitMQ, no confirms", "amqp one by one", "cpu", 10, 20, 0, ours="ours-unsure", stock=""),
    Goal("enqueue many at once, RabbitMQ, confirmed", "amqp group of 100", "cpu", 10, 20, 200),
    Goal("drain a backlog, prefork 2, Redis, no results", "redis", "cpu", 15, 30, 587),
    Goal("drain a backlog, prefork 2, Redis, results", "redis-results", "cpu", 20, 35, 829),
    Goal("drain, RabbitMQ, no results", "amqp", "cpu", 15, 25, 274),
    Goal("drain, RabbitMQ, results in Redis", "amqp-results", "cpu", 18, 30, 519),
    Goal("Redis' own CPU, drain with results", "redis-results", "server", 10, 15, 95),
    Goal("one task at a time, worker side", "redis-one", "cpu", 80, 120, 1050),
    Goal("round trip submit to result, p50", "redis-one", "p50 ms", 0.2, 0.35, 2.3, "ms"),
    Goal("round trip submit to result, p99", "redis-one", "p99 ms", 1, 1, 9.5, "ms"),
    Goal("chord, client and worker, per task", "chord", "cpu", 80, 150, 1980),
    Goal("100 threads on 10 ms sleeps", "threads", "tasks/s", 8500, 6000, 1570, "/s", more=True),
    Goal("10,000 `async def` sleepers of 5 s, one process", "coroutines", "tasks/s", 1900, 1000, 0, "/s", more=True),
    Goal("idle worker with 2 children, PSS", "redis-boot", "memory MB", 20, 30, 75, "MB"),
    Goal("import and first send, CPU of the whole program", "redis first", "cpu", 30, 45, 125, "ms"),
    Goal("boot to first task done, CPU", "redis-boot", "boot ms", 50, 80, 275, "ms"),
    Goal("memory per waiting ETA task in the worker", "later", "KB", 0.5, 1.5, 9, "KB"),
)  # fmt: skip
NEXT = "[performance.md](performance.md) says where the time goes, and what the next steps would be."


def page(told: dict[str, Any], figures: Figures) -> str:
    return "\n".join((*_head(told), *_goals(figures), *_minute(figures), *_rivals(figures), *_wire(figures))) + "\n"


def _head(told: dict[str, Any]) -> Iterator[str]:
    yield "# Benchmarks: celeriac beside Celery and others"
    yield ""
    yield "Written by `make bench`; not to be edited. " + NEXT
    yield ""
    yield (
        f"Conditions: {told['when']}, commit {told['commit']}, {told['cores']} virtual cores, {told['system']}, Python "
        f"{told['python']}, Redis {told['redis']}, RabbitMQ {told['rabbitmq']}, Celery 5.7.0, servers on the same cores; "
        f"{told['size']} size: {told['messages']} messages and {told['tasks']} tasks a measurement, {told['turns']} turns "
        f"A B B A (twice as many for sending); {told['minutes']:.0f} minutes. Load of the machine before it began: "
        f"{told['load']:.1f}, at its end {told['load_after']:.1f}"
        + (
            " - what is above 1 before may be others: ratios say more than microseconds then."
            if told["load"] > 1
            else "."
        )
    )
    yield ""
    yield (
        "CPU is user + system, in microseconds per task: of the client where something is sent, of the worker with all its "
        "children where something is drained; the server apart. Medians, then lowest to highest. Both Celerys are installed "
        "from their wheels, each in an environment of its own, and serve the same app file (`benchmarks/bench_app.py`). After "
        "each drain the count is exact, the queue empty, nothing unacknowledged, one result each; a run in each row proves "
        "that each task ran once."
    )
    yield ""


def _said(values: list[float]) -> str:
    return f"{_short(statistics.median(values))} ({_short(min(values))}-{_short(max(values))})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _goals(figures: Figures) -> Iterator[str]:
    yield "## The goals"
    yield ""
    yield (
        "The goals were set on a quieter machine, where Celery's own figures were lower (261 us for the first row). So each "
        "is also given as a ratio: so many times less than Celery then, which load changes less."
    )
    yield ""
    yield "| what | celeriac | Celery 5.7.0 | ratio | goal | never above (below, where more is better) | met | met as a ratio to Celery (goal, limit) |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for goal in GOALS:
        ours = figures.taken.get((goal.row, goal.ours, goal.what))
        stock = figures.taken.get((goal.row, goal.stock, goal.what))
        if not ours:
            yield f"| {goal.says} | not measured | | | {goal.goal:g} | {goal.limit:g} {goal.unit} | | |"
            continue
        ratio = 0.0
        if stock:
            pair = statistics.median(stock), statistics.median(ours)
            high, low = pair[::-1] if goal.more else pair
            ratio = high / low if low else 0.0
        yield (
            f"| {goal.says} | {_said(ours)} | {_said(stock) if stock else '-'} | {f'{ratio:.1f} x' if ratio else '-'} | "
            f"{goal.goal:g} | {goal.limit:g} {goal.unit} | {_met(goal, statistics.median(ours))} | {_by_ratio(goal, ratio)} |"
        )
    yield ""


def _by_ratio(goal: Goal, ratio: float) -> str:
    """Times Celery's figure, which a slower machine changes less than microseconds."""
    if not goal.then or not ratio:
        return "-"
    wanted, least = (each / goal.then if goal.more else goal.then / each for each in (goal.goal, goal.limit))
    met = "the goal" if ratio >= wanted else "the limit" if ratio >= least else "**no**"
    return f"{met} ({wanted:.1f} x, {least:.1f} x)"


def _met(goal: Goal, ours: float) -> str:
    share = goal.goal / ours if goal.more else ours / goal.goal
    over = goal.limit / ours if goal.more else ours / goal.limit
    if share <= 1:
        return "the goal"
    return f"the limit; the goal is missed {share:.1f} x" if over <= 1 else f"**no**: {over:.1f} x the limit"


def _minute(figures: Figures) -> Iterator[str]:
    """A million a minute is 60 us of everything, wall."""
    found = figures.taken.get(("redis-results", "ours", "wall"))
    if not found:
        return
    wall = statistics.median(found)
    yield "## A million tasks a minute, through one worker, results stored"
    yield ""
    stock = figures.taken.get(("redis-results", "stock", "wall"))
    beside = f"; Celery {60e6 / statistics.median(stock):,.0f}" if stock else ""
    yield (
        f"{60e6 / wall:,.0f} tasks a minute ({wall:.0f} us each, wall, prefork 2, Redis, results){beside}. A million would be "
        f"60 us each{': it is met.' if wall <= 60 else f': {wall / 60:.1f} times as fast as this.'}"
    )
    yield ""


def _rivals(figures: Figures) -> Iterator[str]:
    rows = (("rivals enqueue", "cpu"), ("rivals drain", "cpu"), ("rivals drain", "wall"))
    names = list(dict.fromkeys(who for row, who, _ in figures.taken if row.startswith("rivals")))
    if not names:
        return
    yield "## huey, dramatiq, taskiq"
    yield ""
    yield (
        "The same task on a Redis of the same run, two worker processes each, no results, each at its defaults, in an "
        "environment of its own. None of them has Celery's canvas, remote control or events, and their guarantees differ: "
        "huey and taskiq's list broker lose what a killed worker has taken."
    )
    yield ""
    yield "| | enqueue one by one, CPU us | drain, CPU us | drain, wall us |"
    yield "| --- | --- | --- | --- |"
    for who, name in (("ours", "celeriac"), ("stock", "Celery 5.7.0")):
        keys = (("redis one by one", who, "cpu"), ("redis", who, "cpu"), ("redis", who, "wall"))
        yield (
            f"| {name} | "
            + " | ".join(_said(figures.taken[key]) if key in figures.taken else "-" for key in keys)
            + " |"
        )
    for name in names:
        yield f"| {name} | " + " | ".join(_said(figures.taken[row, name, what]) for row, what in rows) + " |"
    yield ""


def _wire(figures: Figures) -> Iterator[str]:
    rows = list(dict.fromkeys(row for row, _, what in figures.taken if what == "wire"))
    if not rows:
        return
    yield "## Brokers and stores alone"
    yield ""
    yield (
        "CPU us of the client per message. *celeriac* makes the whole task message each time; *kombu* publishes headers that "
        "are given; *celery* is `apply_async`; redis-py, py-amqp and the bare socket send ready-made bytes."
    )
    yield ""
    yield "| what | who | CPU us | times ours |"
    yield "| --- | --- | --- | --- |"
    for row in rows:
        ours = figures.taken.get((row, "celeriac", "wire"))
        for (each, who, what), values in figures.taken.items():
            if each == row and what == "wire":
                times = (
                    f"{statistics.median(values) / statistics.median(ours):.1f}" if ours and who != "celeriac" else ""
                )
                yield f"| {row} | {who} | {_said(values)} | {times} |"
    yield ""
