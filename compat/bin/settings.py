"""`celeriac settings`: every setting with its type, default and meaning, from the table that the program reads."""

from __future__ import annotations

import json as _json
from collections.abc import Iterator
from typing import Any

import click

from .base import CeleryCommand, option


@click.command(cls=CeleryCommand)
@click.argument("words", nargs=-1)
@option(None, "--own", is_flag=True, help="Those that Celery does not have.")
@option(None, "-j", "--json", is_flag=True, help="Print JSON.")
@click.pass_context
def settings(ctx: click.Context, /, words: tuple[str, ...], own: bool, json: bool, **_: Any) -> None:
    """Show all settings, or those whose name or meaning has all WORDS in it."""
    rows = [
        row
        for row in table()
        if (row["own"] or not own) and all(word.lower() in f"{row['name']} {row['help']}".lower() for word in words)
    ]
    if json:
        ctx.obj.echo(_json.dumps(rows))
        return
    formatter = click.HelpFormatter()
    for row in rows:
        with formatter.section(f"{row['name']} ({row['type']}, {row['default']})"):
            formatter.write_text(row["help"])
            if row["advice"]:
                formatter.write_text(f"{row['support']}: {row['advice']}")
    ctx.obj.echo(formatter.getvalue().strip("\n"))
    if not rows:
        ctx.obj.error("No setting has that in its name or meaning.", fg="red")
        ctx.exit(1)


def table() -> Iterator[dict[str, Any]]:
    from ..app.defaults import DEFAULTS, NAMESPACES, flatten

    for name, option_ in sorted(flatten(NAMESPACES)):
        kind = option_.type if isinstance(option_.type, str) else option_.type.__name__
        yield {
            "name": name,
            "type": kind,
            "default": repr(DEFAULTS[name]),
            "help": option_.help,
            "own": option_.own,
            "support": option_.support,
            "advice": option_.advice,
        }
