"""`celery.apps.worker.Worker`: a worker as a program, with its banner, its log and its signal handlers."""

from __future__ import annotations

import faulthandler
import logging
import os
import platform
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from .. import platforms, signals
from ..app import trace
from ..app.defaults import PROFILES
from ..worker.worker import EX_FAILURE, EX_OK, WorkController

__all__ = ("Worker",)

logger = logging.getLogger("celery.apps.worker")

BANNER = """\
{hostname} v{version}

{platform} {timestamp}

[config]
.> app:         {app}
.> transport:   {conninfo}
.> results:     {results}
.> concurrency: {concurrency}
.> task events: {events}
.> profile:     {profile}

[queues]
{queues}
"""

EXTRA_INFO_FMT = """
[tasks]
{tasks}
"""


def _profile(name: str) -> str:
    """Which defaults are on, and what others there are."""
    if PROFILES.get(name):
        return f"{name} ({', '.join(PROFILES[name])})"
    return f"{name} (Celery's defaults; celeriac_profile = 'safe' survives a lost worker)"


def safe_say(msg: str, f: Any = sys.__stderr__) -> None:
    """From a signal handler: no buffers, no locks."""
    with suppress(OSError, AttributeError, ValueError):
        os.writev(f.fileno(), [f"\n{msg}\n".encode()])  # `write` waits where eventlet has patched it


class Worker(WorkController):
    """A worker as a program."""

    quiet = False

    def on_before_init(self, quiet: bool = False, **kwargs: Any) -> None:
        self.quiet = quiet
        trace.setup_worker_optimizations(self.app, self.hostname)
        signals.celeryd_init.send(sender=self.hostname, instance=self, conf=self.app.conf, options=kwargs)

    def on_after_init(
        self,
        purge: bool = False,
        no_color: Any = None,
        redirect_stdouts: Any = None,
        redirect_stdouts_level: Any = None,
        **kwargs: Any,
    ) -> None:
        self.redirect_stdouts = self.app.either("worker_redirect_stdouts", redirect_stdouts)
        self.redirect_stdouts_level = self.app.either("worker_redirect_stdouts_level", redirect_stdouts_level)
        self.purge = purge
        self.no_color = no_color
        self.colored = self.app.log.colored(self.logfile, enabled=None if no_color is None else not no_color)

    def on_init_blueprint(self) -> None:
        self._custom_logging = self.setup_logging()
        trace.setup_worker_optimizations(self.app, self.hostname)

    def on_start(self) -> None:
        try:
            super().on_start()
        except (platforms.LockFailed, OSError) as problem:  # another worker runs, or the file cannot be written
            safe_say(f"celeriac worker: cannot write the pid file: {problem}")
            raise SystemExit(platforms.EX_CANTCREAT) from None
        signals.celeryd_after_setup.send(sender=self.hostname, instance=self, conf=self.app.conf)
        if self.purge:
            self.purge_messages()
        if not self.quiet:
            self.emit_banner()
        self.install_platform_tweaks(self)
        if not self._custom_logging and self.redirect_stdouts:
            self.app.log.redirect_stdouts(self.redirect_stdouts_level)

    def on_consumer_ready(self, consumer: Any) -> None:
        signals.worker_ready.send(sender=consumer)

    def setup_logging(self, colorize: bool | None = None) -> Any:
        if colorize is None and self.no_color is not None:
            colorize = not self.no_color
        return self.app.log.setup(
            self.loglevel, self.logfile, redirect_stdouts=False, colorize=colorize, hostname=self.hostname
        )

    def purge_messages(self) -> None:
        count = self.app.control.purge()
        if count:
            print(f"purge: Erased {count} message{'s' * (count != 1)} from the queue.\n", flush=True)  # noqa: T201 - a program speaks

    # --- the banner

    def emit_banner(self) -> None:
        print(f" \n{self.startup_info()}{self.extra_info() or ''}", file=sys.__stdout__, flush=True)

    def tasklist(self, include_builtins: bool = True, sep: str = "\n", int_: str = "celery.") -> str:
        names = sorted(name for name in self.app.tasks if include_builtins or not name.startswith(int_))
        return sep.join(f"  . {name}" for name in names)

    def extra_info(self) -> str | None:
        if self.loglevel is None or self.loglevel > logging.INFO:
            return None
        return EXTRA_INFO_FMT.format(tasks=self.tasklist(include_builtins=self.loglevel <= logging.DEBUG))

    def startup_info(self, artlines: bool = True) -> str:
        app, told = self.app, self._options
        kind = told.pool.kind if isinstance(told.pool.kind, str) else told.pool.kind.__module__
        bounds = told.pool.autoscale
        count = f"{{min={bounds[1]}, max={bounds[0]}}}" if bounds else str(self.concurrency)
        return BANNER.format(
            app=f"{app.main or '__main__'}:{id(app):#x}",
            hostname=self.hostname,
            timestamp=datetime.now().replace(microsecond=0),  # noqa: DTZ005 - a person's own time
            version=_version(),
            conninfo=self._serving.shown_url(told.broker.urls[0]),
            results=app.backend.as_uri(),
            concurrency=f"{count} ({kind.rpartition('.')[-1]})",
            platform=platform.platform(),
            profile=_profile(app.conf.celeriac_profile),
            events="ON" if told.telling.events else "OFF (enable -E to monitor tasks in this worker)",
            queues=app.amqp.shown_taken(),
        )

    def macOS_proxy_detection_workaround(self) -> None:
        """Workers of ours do not fork after threads have begun."""

    def set_process_status(self, info: Any) -> Any:
        from ..platforms import set_mp_process_title

        return set_mp_process_title("celeryd", info=f"{info} ({' '.join(sys.argv[1:])})", hostname=self.hostname)

    # --- signals

    def install_platform_tweaks(self, worker: Any) -> None:
        """Handlers of signals; only the main thread may have them."""
        soft = os.environ.get("REMAP_SIGTERM") == "SIGQUIT"
        install = signal.signal
        try:
            install(signal.SIGINT, self._handler("SIGINT", "Warm", self.stop, EX_OK, then=True))
        except ValueError:  # tried, since eventlet's `threading` does not know the main thread
            return
        install(
            signal.SIGTERM,
            self._handler("SIGTERM", "Cold", self.terminate, EX_FAILURE)
            if soft
            else self._handler("SIGTERM", "Warm", self.stop, EX_OK),
        )
        install(signal.SIGQUIT, self._handler("SIGQUIT", "Cold", self.terminate, EX_FAILURE))
        if hasattr(signal, "SIGHUP") and not sys.stdout.isatty():
            install(signal.SIGHUP, self._restart)
        if hasattr(signal, "SIGUSR1"):
            with suppress(AttributeError, OSError, RuntimeError, ValueError):
                faulthandler.register(signal.SIGUSR1, all_threads=True)

    def _handler(
        self, name: str, how: str, act: Callable[..., None], code: int, *, then: bool = False
    ) -> Callable[..., None]:
        seen: list[int] = []
        pid = os.getpid()

        def handle(*_: Any) -> None:
            if os.getpid() != pid:
                return  # a child that has not taken its own handlers yet
            again = bool(seen) and then
            seen.append(1)
            if again:
                safe_say("worker: Cold shutdown (MainProcess)")
                self.terminate(in_sighandler=True)
                return
            if then:
                safe_say("worker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running tasks!")
            safe_say(f"worker: {how} shutdown (MainProcess)")
            signals.worker_shutting_down.send(sender=self.hostname, sig=name, how=how, exitcode=code)
            if how == "Warm":
                self.stop(in_sighandler=True, exitcode=code)
            else:
                act(in_sighandler=True)

        return handle

    def _restart(self, *_: Any) -> None:
        """A new process image with the same arguments, once the running tasks are done."""
        import atexit

        safe_say(f"Restarting celery worker ({' '.join(sys.argv)})")
        # `sys.argv` has lost how it was started: `-m celeriac`, and what the interpreter itself was told.
        atexit.register(os.execv, sys.executable, [sys.executable, *sys.orig_argv[1:]])
        self.stop(in_sighandler=True)


def _install(sig: str, how: str, method: str, worker: Any, code: int) -> None:
    def handle(*_: Any) -> None:
        safe_say(f"worker: {how} shutdown (MainProcess)")
        signals.worker_shutting_down.send(sender=worker.hostname, sig=sig, how=how, exitcode=code)
        getattr(worker, method)(in_sighandler=True)

    platforms.signals[sig] = handle


def install_worker_term_handler(worker: Any, sig: str = "SIGTERM", how: str = "Warm", exitcode: int = EX_OK) -> None:
    """This signal stops the worker once what runs is done."""
    _install(sig, how, "stop", worker, exitcode)


def install_worker_term_hard_handler(
    worker: Any, sig: str = "SIGQUIT", how: str = "Cold", exitcode: int = EX_FAILURE
) -> None:
    """This signal stops the worker at once."""
    _install(sig, how, "terminate", worker, exitcode)


def _version() -> str:
    own = getattr(sys.modules.get(__name__.partition(".")[0]), "__version__", "")
    return f"5.7.0 (celeriac {own})"
