"""`celeriac upgrade settings`: rewrite a file of settings with the names that Celery has had since version 4."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..app import defaults
from .base import CeleryCommand, handle_preload_options, option

_UPGRADING = "Upgrading Options"


@click.group()
@click.pass_context
@handle_preload_options
def upgrade(ctx: click.Context) -> None:
    """Rewrite what has changed between versions."""


def _compat_key(key: str, namespace: str = "CELERY") -> str:
    key = key.upper()
    return key if key.startswith(namespace) else f"{namespace}_{key}"


def _to_new_key(
    line: str,
    keyfilter: Callable[[str], str] = str,
    source: Any = defaults._TO_NEW_KEY,  # Celery's name
) -> tuple[int, str]:
    """Whether it changed, and the line. Of old names one is replaced, the longest: a line sets one setting."""
    for old in sorted(source, key=len, reverse=True):
        changed = re.sub(rf"(?<![A-Za-z0-9_]){re.escape(old)}(?![A-Za-z0-9_])", keyfilter(source[old]), line)
        if changed != line:
            return 1, changed
    return 0, line


@upgrade.command(cls=CeleryCommand)
@click.argument("filename")
@option(_UPGRADING, "--django", is_flag=True, help="Write the names as Django wants them: CELERY_...")
@option(_UPGRADING, "--compat", is_flag=True, help="Keep capital letters, for old programs.")
@option(_UPGRADING, "--no-backup", is_flag=True, help="Keep no copy of the file.")
def settings(filename: str, django: bool, compat: bool, no_backup: bool) -> None:
    """Rewrite the settings in FILENAME from the names of Celery 3 to those of Celery 4."""
    path = Path(filename)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(file)
    except (OSError, UnicodeDecodeError) as problem:
        raise click.UsageError(f"Cannot read {filename}: {problem}") from None
    click.echo(f"processing {filename}...", err=True)
    changed = [_to_new_key(line, _compat_key if django or compat else str) for line in lines]
    if not any(did for did, _ in changed):
        click.echo("Does not seem to require any changes :-)")
        return
    if not no_backup:
        click.echo(f"writing backup to {filename}.orig...", err=True)
        shutil.copyfile(path, f"{filename}.orig")
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(line for _, line in changed)
    click.echo("Changes to your setting have been made!")
