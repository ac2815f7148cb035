"""`celeriac unpark`: give what is parked in Redis back to its queues, before its time."""

from __future__ import annotations

from typing import Any

import click

from .base import CeleryCommand, handle_preload_options, handle_remote_command_error, option
from .queues import is_redis


@click.command(cls=CeleryCommand)
@option(None, "--json", "-j", is_flag=True, help="Print JSON.")
@click.pass_context
@handle_preload_options
def unpark(ctx: click.Context, json: bool, **_: Any) -> None:
    """Give all parked tasks back to their queues: before a fleet leaves celeriac.

    Tasks whose time is far are parked in Redis, where stock workers do not see them. Given back they wait in workers,
    as with stock Celery: none is run before its time.
    """
    from ...worker.brokers import check
    from ...worker.brokers.redis_unpark import unpark as give_back
    from ..app.settings_for_broker import broker_options
    from ..app.utils import sanitize_url

    told = broker_options(ctx.obj.app.conf)  # workers park where they take
    if not is_redis(told.urls[0]):
        check(told.urls[0])
        app = "" if ctx.find_root().params.get("app") else ". No app was named: celeriac -A proj unpark"
        where = f"{sanitize_url(told.urls[0])} is no Redis{app}"
        ctx.obj.echo('{"unparked": 0}' if json else f"Nothing is parked: {where}")
        return
    counts, failures = [], {}
    for url in filter(is_redis, told.urls):
        try:
            counts.append(give_back(url, told.options, told.timeout))
        except Exception as problem:  # noqa: BLE001, PERF203 - told in one line, with the right exit code
            failures[url] = problem
    # Any Sentinel leads to the same master; each of other servers may have had its turn as the fleet's broker.
    sentinels = all(url.startswith("sentinel") for url in failures)
    if counts:
        ctx.obj.echo(f'{{"unparked": {sum(counts)}}}' if json else f"{sum(counts)} given back.")
    if failures and not (counts and sentinels):
        handle_remote_command_error("unpark", next(iter(failures.values())))
