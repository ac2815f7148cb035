"""`celeriac top`: workers, queues and tasks on the terminal, live, with keys for what to do about them.

Law: what is shown and what a key means is `top_screen`'s. Here events are heard, workers and queues asked, each in a
thread of its own, and the terminal is given back as it was, whatever happens.
"""

from __future__ import annotations

import ast
import os
import select
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import click

from ...protocol.wire.reprs import saferepr
from ...worker.brokers.redis_ages import Ages
from ..states import PENDING
from . import top_screen as screen
from .base import CeleryCommand, handle_preload_options, handle_remote_command_error, option

_ESCAPES = 0.02  # seconds in which the rest of an arrow key comes


@click.command(cls=CeleryCommand)
@option(
    None,
    "-i",
    "--interval",
    type=click.FloatRange(min=0.2),
    default=2.0,
    help="Seconds between looks at queues and workers.",
)
@option(None, "--once", is_flag=True, help="Print one screen of each page and leave; so it is without a terminal.")
@option(None, "--no-enable-events", is_flag=True, help="Do not ask the workers for events of their tasks.")
@click.pass_context
@handle_preload_options
def top(ctx: click.Context, interval: float, once: bool, no_enable_events: bool, **_: Any) -> None:
    """Watch workers, queues and tasks, and steer them."""
    watch = Watch(ctx.obj.app, interval, enable=not no_enable_events)
    try:
        if once or not (sys.stdin.isatty() and sys.stdout.isatty()):
            watch.look()
            for page in screen.PAGES:
                lines = screen.lines(watch.view(), screen.Look(page=page), 200, 40)
                ctx.obj.echo("\n".join(text for _, text in lines[:-2] if text.strip()) + "\n")
            return
        watch.start()
        run(watch)
    except Exception as problem:  # noqa: BLE001 - told in one line, with the right exit code
        handle_remote_command_error("top", problem)
    finally:
        watch.stop()


class Watch:
    """What is known of the cluster, kept up by two threads."""

    def __init__(self, app: Any, interval: float, *, enable: bool = True) -> None:
        self.app = app
        self.state = app.events.State()
        self.message = ""
        self._interval = interval
        self._enable = enable
        self._queues: list[Any] = []
        self._unknown: dict[str, str] = {}
        self._ages = Ages()
        self._active: dict[str, Any] = {}
        self._held: dict[str, Any] = {}
        self._paused: dict[str, list[str]] = {}
        self._problem = ""
        self._over = threading.Event()
        self._receiver = app.events.Receiver(None, handlers={"*": self._heard})

    def start(self) -> None:
        for target in (self._receiver.run, self._keep_looking):
            threading.Thread(target=target, daemon=True).start()

    def stop(self) -> None:
        self._receiver.should_stop = True
        self._over.set()

    def _heard(self, event: Any) -> None:
        try:
            self.state.event(event)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            self._problem = f"an event that makes no sense: {problem!r}"

    def _keep_looking(self) -> None:
        while not self._over.is_set():
            try:
                self.look()
                self._problem = ""
            except Exception as problem:  # noqa: BLE001 - it is shown, and tried again
                self._problem = f"{type(problem).__name__}: {problem}"
            self._over.wait(self._interval)

    def look(self) -> None:
        """Ask workers and queues once."""
        from .queues import look

        if self._enable:
            self.app.control.enable_events()
        timeout = min(1.0, self._interval)
        self._active = self.app.control.inspect(timeout=timeout).active(safe=True) or {}
        there = len(self._active)  # when so many have answered, no other is waited for
        self._held = (self.app.control.inspect(timeout=timeout, limit=there).reserved() or {}) if there else {}
        self.state.freeze_while(self._know, self._active, time.time())
        found = look(self.app, timeout, ages=self._ages, sent=self._sent)
        self._queues, self._unknown = found["queues"], found["unknown"]

    def _sent(self, uuid: str) -> float | None:
        """When a task was sent that no worker has received yet, as its sender's event said."""
        task = self.state.tasks.data.get(uuid)
        return task.sent if task is not None and task.state == PENDING else None

    def _know(self, active: dict[str, Any], now: float) -> None:
        """Events that came before we listened are not heard: what workers say now stands in for them."""
        for node, requests in active.items():
            self.state.get_or_create_worker(node)[0].heartbeats[:] = [now]
            for request in requests:
                task, _ = self.state.get_or_create_task(request["id"])
                if task.name is None:
                    task.name, task.args, task.kwargs = (str(request.get(name)) for name in ("type", "args", "kwargs"))

    def view(self) -> screen.View:
        return self.state.freeze_while(  # type: ignore[no-any-return]  # it calls anything
            screen.view,
            self.state,
            self._queues,
            self._active,
            time.time(),
            self._paused,
            self._problem,
            self._unknown,
            self._held,
        )

    # --- what is to be done

    def perform(self, action: screen.Action) -> str:
        """Do it, and say in a line what came of it."""
        try:
            return _DOING[action.kind](self, action)
        except Exception as problem:  # noqa: BLE001 - it is shown to who asked for it
            return f"{action.kind}: {type(problem).__name__}: {problem}"

    def _revoke(self, action: screen.Action) -> str:
        return said(self.app.control.revoke(action.key, terminate=True, reply=True))

    def _rate_limit(self, action: screen.Action) -> str:
        return said(self.app.control.rate_limit(action.name, action.value, reply=True))

    def _pause(self, action: screen.Action) -> str:
        """Let the workers that take from the queue do so no more, and remember which they were."""
        found = self.app.control.inspect().active_queues() or {}
        takers = [node for node, queues in found.items() if action.key in [queue["name"] for queue in queues]]
        if not takers:
            return f"nobody takes from {action.key}"
        self._paused[action.key] = takers
        return said(self.app.control.cancel_consumer(action.key, destination=takers, reply=True))

    def _resume(self, action: screen.Action) -> str:
        takers = self._paused.pop(action.key)
        return said(self.app.control.add_consumer(action.key, destination=takers, reply=True))

    def _retry(self, action: screen.Action) -> str:
        name, args, kwargs = call_of(self.app, self.state.tasks.get(action.key), action.key)
        return f"sent {name} again as {self.app.send_task(name, args, kwargs).id}"


_DOING = {
    "revoke": Watch._revoke,
    "rate limit": Watch._rate_limit,
    "pause": Watch._pause,
    "resume": Watch._resume,
    "retry": Watch._retry,
}


def said(replies: Any) -> str:
    """What workers replied, in a line."""
    told = [
        f"{node}: {reply.get('ok') or reply.get('error')}" for each in replies or () for node, reply in each.items()
    ]
    return "  ".join(told) or "no worker replied"


def call_of(app: Any, task: Any, uuid: str) -> tuple[str, Any, Any]:
    """How the task was called: as its result says (`result_extended`), or its events, where they say it in full.

    Events show arguments as text for people. It is taken for the arguments only where these give that text again.
    """
    meta = app.AsyncResult(uuid)._get_task_meta() if type(app.backend).__name__ != "DisabledBackend" else {}
    if meta.get("name") and meta.get("args") is not None:
        return meta["name"], meta["args"], meta.get("kwargs") or {}
    if task is None or not task.name:
        raise ValueError("its name is not known: neither events nor its result tell it")
    return task.name, read(task.args, "arguments") or (), read(task.kwargs, "keyword arguments") or {}


def read(text: Any, what: str) -> Any:
    """Values from what `saferepr` made of them; ValueError where the text may mean something else."""
    if not text:
        return None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        value = ...
    if value is ... or "\\" in text or saferepr(value) != text:
        raise ValueError(f"its {what} are not known in full; set result_extended to have them kept")
    return value


# --- the terminal


@contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """Keys come one by one, and the screen is another; after that all is as it was."""
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        sys.stdout.write("\x1b[?1049h\x1b[?25l")
        yield
    finally:
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def run(watch: Watch) -> None:
    """Draw and obey until the user has enough."""
    look = screen.Look()
    descriptor = sys.stdin.fileno()
    with raw(descriptor):
        while not look.over:
            if watch.message:
                look, watch.message = replace(look, message=watch.message), ""
            given = watch.view()
            width, height = shutil.get_terminal_size()
            sys.stdout.write(screen.painted(screen.lines(given, look, width, height)))
            sys.stdout.flush()
            for key in keys(descriptor, 0.5):
                look, action = screen.pressed(look, key, given)
                if action is not None:
                    look = replace(look, message=f"{action.kind}...")
                    threading.Thread(target=_performed, args=(watch, action), daemon=True).start()


def _performed(watch: Watch, action: screen.Action) -> None:
    watch.message = watch.perform(action)


def keys(descriptor: int, timeout: float) -> list[str]:
    """What was pressed. An arrow is one key, though it comes as three bytes."""
    if not select.select([descriptor], [], [], timeout)[0]:
        return []
    came = os.read(descriptor, 1024)
    if not came:
        return ["q"]  # nobody is there any more
    if came == b"\x1b" and select.select([descriptor], [], [], _ESCAPES)[0]:
        came += os.read(descriptor, 16)
    text = came.decode(errors="replace")
    return [text] if text.startswith("\x1b") else list(text)
