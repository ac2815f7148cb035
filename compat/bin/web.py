"""`celeriac web`: the cluster on one page in the browser, live, with a memory and with actions behind a confirm."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import secrets
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import click

from .base import CeleryCommand, handle_preload_options, option

_REACH = "Who Can Reach It"
_MEMORY = "Memory"


@click.command(cls=CeleryCommand)
@option(_REACH, "--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@option(_REACH, "--port", type=click.IntRange(0, 65535), default=5566, show_default=True, help="Port; 0: any free one.")
@option(
    _REACH, "--host-name", multiple=True, help="A name by which browsers reach it, as through a proxy. May be repeated."
)
@option(
    _REACH,
    "--token",
    envvar="CELERIAC_WEB_TOKEN",
    help="What a browser must know, 16 characters at least; by default a new one at each start. "
    "Better given in CELERIAC_WEB_TOKEN or a file: arguments are seen by every user of the machine.",
)
@option(_REACH, "--token-file", type=click.Path(dir_okay=False), help="File with the token.")
@option(_REACH, "--tls-cert", type=click.Path(dir_okay=False), help="Serve HTTPS with this certificate.")
@option(_REACH, "--tls-key", type=click.Path(dir_okay=False), help="Its key, if it is not in the same file.")
@option(
    _REACH,
    "--allow-actions/--read-only",
    default=None,
    help="Whether workers and tasks can be steered from the page. By default only where no other machine reaches it.",
)
@option(
    _MEMORY,
    "--history",
    default="celeriac-web.db",
    show_default=True,
    help="SQLite file with what was seen, or the redis:// URL of a Redis; :memory: forgets it at the end.",
)
@option(_MEMORY, "--keep", type=click.IntRange(100), default=50_000, show_default=True, help="Tasks to remember.")
@option(_MEMORY, "--keep-mb", type=click.IntRange(1), default=256, show_default=True, help="Size of it, roughly.")
@option(
    None,
    "-i",
    "--interval",
    type=click.FloatRange(min=0.2),
    default=2.0,
    help="Seconds between looks at queues and workers.",
)
@option(None, "--no-enable-events", is_flag=True, help="Do not ask the workers for events of their tasks.")
@click.pass_context
@handle_preload_options
def web(
    ctx: click.Context,
    address: str,
    port: int,
    host_name: tuple[str, ...],
    token: str | None,
    token_file: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    allow_actions: bool | None,
    history: str,
    keep: int,
    keep_mb: int,
    interval: float,
    no_enable_events: bool,
    **_: Any,
) -> None:
    """Watch workers, queues and tasks in the browser, and steer them.

    The address that is printed holds the token; open it as it stands. Who reaches the page from another machine can
    only look, unless --allow-actions is given.
    """
    from ..web.guard import Guard
    from ..web.store import Limits, kept_in
    from ..web.watch import Watch

    alone = is_loopback(address)
    acts = alone if allow_actions is None else allow_actions
    secret = _token(token, token_file)
    tls = _tls(tls_cert, tls_key)
    guard = Guard.of(secret, (*host_name, *(() if alone else (socket.gethostname(),))), acts=acts)
    logging.basicConfig(format="[%(asctime)s] %(levelname)s: %(message)s", level=logging.WARNING)
    try:
        store = kept_in(history, Limits(keep, keep_mb * 1024 * 1024))
    except OSError as problem:
        raise click.ClickException(f"{problem}. Name another place with --history.") from None
    watch = Watch(ctx.obj.app, store, interval, enable=not no_enable_events)
    shown = None if token or token_file else secret
    try:
        asyncio.run(_serve(ctx, watch, guard, address, port, tls, shown))
    finally:
        watch.stop()
        store.close()


async def _serve(
    ctx: click.Context, watch: Any, guard: Any, address: str, port: int, tls: ssl.SSLContext | None, shown: str | None
) -> None:
    from ..web.server import Server, told
    from ..web.site import Site

    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    server = Server(Site(watch, guard, title(ctx.obj.app)))
    try:
        bound = await server.open(address, port, tls)
    except OSError as problem:
        raise click.ClickException(
            f"Cannot listen on {address}:{port}: {problem.strerror or problem}. Choose another --port or --address."
        ) from None
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, over.set)
    watch.on_change = told(loop, server)
    watch.start()
    host = f"[{address}]" if ":" in address else socket.gethostname() if address == "0.0.0.0" else address  # noqa: S104 - compared, not bound
    url = f"{'https' if tls else 'http'}://{host}:{bound}/"
    ctx.obj.echo(f"celeriac web: {url}{f'#token={shown}' if shown else ''}")
    ctx.obj.echo("Actions are allowed." if guard.acts else "For looking only; --allow-actions lets it act.")
    if not tls and not is_loopback(address):
        ctx.obj.error("Whoever is on the way can read the token: use --tls-cert, or a proxy with TLS.", fg="yellow")
    sys.stdout.flush()
    try:
        await over.wait()
    finally:
        await server.close()


def title(app: Any) -> str:
    return str(app.main or "celeriac")[:100]


def is_loopback(address: str) -> bool:
    """No other machine reaches it."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _token(token: str | None, file: str | None) -> str:
    if token and file:
        raise click.UsageError("Give --token or --token-file, not both.")
    if file:
        try:
            token = Path(file).read_text("utf-8").strip()
        except (OSError, ValueError) as problem:
            raise click.ClickException(f"The token cannot be read from {os.fspath(file)}: {problem}") from None
    if token is None and not file:
        return secrets.token_urlsafe(24)
    if len(token or "") < 16:
        raise click.UsageError("The token is too short: it must have 16 characters at least.")
    return str(token)


def _tls(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if cert is None:
        if key is not None:
            raise click.UsageError("--tls-key is the key of --tls-cert: give that too.")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as problem:
        raise click.ClickException(f"The certificate cannot be used: {problem}") from None
    return context
