"""`celeriac logtool`: what a worker's log tells of its tasks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import click

from .base import CeleryCommand, handle_preload_options

__all__ = ("logtool",)

_BEGINS = re.compile(r"\[\d{4}-\d\d-\d\d ")
_TASK = re.compile(r".*?\] (?P<what>Received task:|Task) .*?(?P<name>[\w.]+)\[(?P<id>[^\]]+)\](?P<rest>.*)", re.DOTALL)

REPORT_FORMAT = """
Report
======
Task total: {total}
Task errors: {errors}
Task success: {succeeded}
Task completed: {completed}
Tasks
=====
{types}
"""


class Audit:
    """Reads a log line by line, and counts."""

    def __init__(
        self,
        on_task_error: Callable[..., Any] | None = None,
        on_trace: Callable[[str], Any] | None = None,
        on_debug: Callable[[str], Any] | None = None,
    ) -> None:
        self.ids: dict[str, str] = {}
        self.results: dict[str, str] = {}
        self.task_types: Counter[str] = Counter()
        self.task_errors = 0
        self.on_task_error = on_task_error
        self.on_trace = on_trace
        self.on_debug = on_debug
        self.prev_line: str | None = None

    def run(self, files: Iterable[str]) -> Audit:
        """All lines of these files; of standard input without any."""
        for name in files or ("-",):
            try:
                with click.open_file(name, encoding="utf-8", errors="replace") as file:
                    for line in file:
                        self.feed(line)
            except OSError as problem:  # noqa: PERF203 - a few files
                raise click.UsageError(f"Cannot read {name}: {problem.strerror}") from None
        return self

    def feed(self, line: str) -> None:
        if not _BEGINS.match(line):
            if self.on_trace:
                self.on_trace("\n".join(filter(None, [self.prev_line, line])))
            self.prev_line = None
            return
        found = _TASK.match(line)
        if found is None:
            if self.on_debug:
                self.on_debug(line)
        elif found["what"].startswith("Received") or found["rest"].strip() == "received":
            self.ids[found["id"]] = found["name"]
            self.task_types[found["name"]] += 1
        else:
            self._ready(line, found)
        self.prev_line = line

    def _ready(self, line: str, found: re.Match[str]) -> None:
        outcome = found["rest"].strip()
        self.results[found["id"]] = outcome
        if "succeeded" not in outcome:
            self.task_errors += 1
            if self.on_task_error:
                self.on_task_error(line, found["name"], found["id"], outcome)

    def incomplete_tasks(self) -> set[str]:
        return self.ids.keys() ^ self.results.keys()

    def report(self) -> dict[str, Any]:
        return {
            "types": "\n".join(f"{name}: {count}" for name, count in self.task_types.most_common()),
            "total": len(self.ids),
            "errors": self.task_errors,
            "completed": len(self.results),
            "succeeded": len(self.results) - self.task_errors,
        }


@click.group()
@click.pass_context
@handle_preload_options
def logtool(ctx: click.Context) -> None:
    """Read the log of a worker: FILES, or standard input."""


_files = click.argument("files", nargs=-1)


@logtool.command(cls=CeleryCommand)
@_files
@click.pass_context
def stats(ctx: click.Context, files: tuple[str, ...]) -> None:
    """Count tasks."""
    ctx.obj.echo(REPORT_FORMAT.format(**Audit().run(files).report()))


@logtool.command(cls=CeleryCommand)
@_files
@click.pass_context
def traces(ctx: click.Context, files: tuple[str, ...]) -> None:
    """Show tracebacks."""
    Audit(on_trace=ctx.obj.echo).run(files)


@logtool.command(cls=CeleryCommand)
@_files
@click.pass_context
def errors(ctx: click.Context, files: tuple[str, ...]) -> None:
    """Show the lines of tasks that failed."""
    Audit(on_task_error=lambda line, *_: ctx.obj.echo(line)).run(files)


@logtool.command(cls=CeleryCommand)
@_files
@click.pass_context
def incomplete(ctx: click.Context, files: tuple[str, ...]) -> None:
    """Show the ids of tasks that did not end."""
    for task_id in sorted(Audit().run(files).incomplete_tasks()):
        ctx.obj.echo(f"Did not complete: {task_id}")


@logtool.command(cls=CeleryCommand)
@_files
@click.pass_context
def debug(ctx: click.Context, files: tuple[str, ...]) -> None:
    """Show the lines that are not about tasks."""
    Audit(on_debug=ctx.obj.echo).run(files)
