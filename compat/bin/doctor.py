"""`celeriac doctor`: reads an app and says what will not work, what is risky, and what to do; `--live` asks the broker.

Exit code: 0 when there is nothing to mend, 1 when there is, for CI. Without `--live` no broker is needed.
"""

from __future__ import annotations

import json as _json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import click

from ..app import checking
from .base import CeleryCommand, handle_preload_options, option
from .doctor_finding import FAULT, NOTE, RISK, Finding
from .doctor_rules import examine
from .faults import told
from .imports import told_of_import

_COLOURS = {FAULT: "red", RISK: "yellow", NOTE: "cyan"}


@click.command(cls=CeleryCommand)
@option(None, "--live", is_flag=True, help="Ask the broker and the workers as well.")
@option(None, "-t", "--timeout", type=float, default=1.0, help="Seconds to wait for the workers.")
@option(None, "-j", "--json", is_flag=True, help="Print JSON.")
@click.pass_context
@handle_preload_options
def doctor(ctx: click.Context, live: bool, timeout: float, json: bool, **_: Any) -> None:
    """Examine the app: its settings, tasks, schedule, hooks and imports."""
    named = ctx.obj.named
    app = ctx.obj.app
    unread, settings = _read(app)
    if not (named or settings or unread or (live and os.environ.get("CELERY_BROKER_URL"))):
        ctx.fail("Name the app that is to be examined: celeriac -A proj doctor. With -b URL, --live looks at a broker.")
    findings = unread or list(examine(app))
    if live and not unread:
        from .doctor_live import STEPS

        findings += _steps(app, STEPS, timeout, quiet=json or ctx.obj.quiet)
    to_mend = sum(finding.level in {FAULT, RISK} for finding in findings)
    if json:
        counted = {level: sum(finding.level == level for finding in findings) for level in (FAULT, RISK, NOTE)}
        rows = [finding.as_dict() for finding in findings]
        told = [{"setting": each.setting, "is": each.kind, "text": each.text} for each in settings]
        ctx.obj.echo(
            _json.dumps({"app": app.main, "ok": not to_mend, "counts": counted, "findings": rows, "settings": told})
        )
    else:
        _show_settings(ctx, settings, {finding.subject for finding in findings})
        _show(ctx, findings, to_mend)
    ctx.exit(1 if to_mend else 0)


def _read(app: Any) -> tuple[list[Finding], Sequence[checking.Remark]]:
    """The settings that are set. What keeps an app from being read is a finding, and all that can be found."""
    try:
        app.loader.import_default_modules()
        app.finalize()
        return [], checking.standing(app.conf)
    except Exception as problem:
        plain = told(problem, app)
        if plain is None:
            raise
        kind = "import" if told_of_import(problem) or isinstance(problem, ImportError) else "settings"
        subject = "modules of tasks" if kind == "import" else "settings"
        advice = "a worker stops at this too: mend it, then ask again for the rest"
        return [Finding(FAULT, kind, subject, plain.message.strip(), advice)], []


def _show_settings(ctx: click.Context, settings: Sequence[checking.Remark], told_below: Collection[str]) -> None:
    """All that are set, by class: their names alone, for values may be secrets. What is wrong is told below."""
    for kind in (checking.HONOURED, checking.DIFFERENT, checking.UNSUPPORTED, checking.UNKNOWN, checking.WRONG):
        names = [each.setting for each in settings if each.kind == kind]
        if names:
            text = f"{len(names)} {kind}: {', '.join(names)}"
            ctx.obj.echo(click.wrap_text(text, 100, "settings  ", " " * 10))
    for each in settings:
        if each.kind == checking.DIFFERENT and each.setting not in told_below:  # it is set to what it was anyway
            ctx.obj.echo(click.wrap_text(f"{each.setting}: {each.text}", 100, " " * 10, " " * 10))
    if settings:
        ctx.obj.echo()


def _steps(app: Any, steps: Iterable[Callable[..., Any]], timeout: float, *, quiet: bool) -> list[Finding]:
    found: list[Finding] = []
    hidden = quiet or not sys.stderr.isatty()
    with click.progressbar(list(steps), label="asking", file=sys.stderr, hidden=hidden) as bar:
        for step in bar:
            try:
                found += step(app, timeout)
            except Exception as problem:  # noqa: BLE001, PERF203 - one answer that does not come is told
                text = f"{type(problem).__name__}: {problem}"
                found.append(
                    Finding(FAULT, "broker", step.__name__, text, "check that the broker runs and broker_url is right")
                )
                break
    return found


def _show(ctx: click.Context, findings: list[Finding], to_mend: int) -> None:
    for level in (FAULT, RISK, NOTE):
        for finding in findings:
            if finding.level == level:
                mark = ctx.obj.style(f"{level:<5}", fg=_COLOURS[level], bold=level == FAULT)
                ctx.obj.echo(f"{mark}  {finding.subject}: {finding.text}")
                if finding.advice:
                    ctx.obj.echo(f"       -> {finding.advice}")
    ctx.obj.echo(f"{to_mend} to mend." if to_mend else "Nothing to mend.")
