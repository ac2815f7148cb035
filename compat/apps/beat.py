"""`celery.apps.beat.Beat`: beat as a program, with its banner, its log, its pid file and its signal handlers."""

from __future__ import annotations

import logging
import numbers
import socket
import sys
from datetime import datetime
from typing import Any

from .. import VERSION_BANNER, beat, beat_check, platforms
from ..utils.imports import qualname
from ..utils.log import LOG_LEVELS, get_logger
from ..utils.time import humanize_seconds

__all__ = ("Beat",)

STARTUP_INFO_FMT = """
LocalTime -> {timestamp}
Configuration ->
    . broker -> {conninfo}
    . loader -> {loader}
    . scheduler -> {scheduler}
{scheduler_info}
    . logfile -> {logfile}@%{loglevel}
    . maxinterval -> {hmax_interval} ({max_interval}s)
{remote_control_info}""".strip()

logger: logging.Logger = get_logger("celery.beat")


class Beat:
    """Beat as a program; `run` returns when it was stopped."""

    Service: Any = beat.Service
    app: Any = None

    def __init__(
        self,
        max_interval: float | None = None,
        app: Any = None,
        socket_timeout: int = 30,
        pidfile: str | None = None,
        no_color: bool | None = None,
        loglevel: Any = "WARN",
        logfile: str | None = None,
        schedule: str | None = None,
        scheduler: Any = None,
        scheduler_cls: Any = None,
        redirect_stdouts: bool | None = None,
        redirect_stdouts_level: Any = None,
        quiet: bool = False,
        remote_control: bool | None = None,
        hostname: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.app = app = app or self.app
        either = app.either
        self.loglevel = loglevel
        self.logfile = logfile
        self.schedule = either("beat_schedule_filename", schedule)
        self.scheduler_cls = either("beat_scheduler", scheduler, scheduler_cls)
        self.redirect_stdouts = either("worker_redirect_stdouts", redirect_stdouts)
        self.redirect_stdouts_level = either("worker_redirect_stdouts_level", redirect_stdouts_level)
        self.quiet = quiet
        self.remote_control = remote_control
        self.hostname = hostname
        self.max_interval = max_interval
        self.socket_timeout = socket_timeout
        self.no_color = no_color
        self.colored = app.log.colored(self.logfile, enabled=no_color if no_color is None else not no_color)
        self.pidfile = pidfile
        if not isinstance(self.loglevel, numbers.Integral):
            self.loglevel = LOG_LEVELS[self.loglevel.upper()]

    def run(self) -> None:
        if not self.quiet:
            print(str(self.colored.cyan(f"celery beat v{VERSION_BANNER} is starting.")), flush=True)  # noqa: T201 - a program's first words
        self.init_loader()
        self.set_process_title()
        self.start_scheduler()

    def check(self) -> None:
        """Whether it could start: a misspelt class, a broken entry, a file that cannot be written."""
        self.init_loader()
        beat_check.check(self.app, self.scheduler_cls, self.schedule)

    def setup_logging(self, colorize: bool | None = None) -> None:
        if colorize is None and self.no_color is not None:
            colorize = not self.no_color
        self.app.log.setup(
            self.loglevel, self.logfile, self.redirect_stdouts, self.redirect_stdouts_level, colorize=colorize
        )

    def start_scheduler(self) -> None:
        if self.pidfile:
            platforms.create_pidlock(self.pidfile)
        beat_check.check(self.app, self.scheduler_cls, self.schedule)
        service = self.Service(
            app=self.app,
            max_interval=self.max_interval,
            scheduler_cls=self.scheduler_cls,
            schedule_filename=self.schedule,
            remote_control=self.remote_control,
            hostname=self.hostname,
        )
        if not self.quiet:
            print(self.banner(service), flush=True)  # noqa: T201 - a program's banner
        self.setup_logging()
        if self.socket_timeout:
            logger.debug("Setting default socket timeout to %r", self.socket_timeout)
            socket.setdefaulttimeout(self.socket_timeout)
        try:
            self.install_sync_handler(service)
            service.start()
        except Exception as exc:
            plain = isinstance(exc, OSError) and exc.filename  # a file that cannot be written: its name says all
            logger.critical("beat raised exception %s: %r", exc.__class__, exc, exc_info=not plain)
            raise

    def banner(self, service: Any) -> str:
        c = self.colored
        line = c.blue("__    ", c.magenta("-"), c.blue("    ... __   "), c.magenta("-"), c.blue("        _\n"))
        return f"{line}{c.reset(self.startup_info(service))}"

    def init_loader(self) -> None:
        self.app.loader.init_worker()
        self.app.finalize()

    def startup_info(self, service: Any) -> str:
        scheduler = service.get_scheduler(lazy=True)
        return STARTUP_INFO_FMT.format(
            conninfo=self.app.connection().as_uri(),
            timestamp=datetime.now().replace(microsecond=0),  # noqa: DTZ005 - a person's own time
            logfile=self.logfile or "[stderr]",
            loglevel=LOG_LEVELS[self.loglevel],
            loader=qualname(self.app.loader),
            scheduler=qualname(scheduler),
            scheduler_info=scheduler.info,
            hmax_interval=humanize_seconds(scheduler.max_interval),
            max_interval=scheduler.max_interval,
            remote_control_info=self._remote_control_info(service),
        )

    def _remote_control_info(self, service: Any) -> str:
        return f"    . remote control -> {beat.beat_nodename(service.hostname)}" if service.remote_control else ""

    def set_process_title(self) -> None:
        start = 2 if "manage" in sys.argv[0] else 1
        platforms.set_process_title("celery beat", info=" ".join(sys.argv[start:]))

    def install_sync_handler(self, service: Any) -> None:
        """SIGTERM and SIGINT save the schedule; what is being sent is sent first, unless they come twice."""

        def leave(_signum: Any, _frame: Any) -> None:
            beat.stop_gently(service)

        platforms.signals.update(SIGTERM=leave, SIGINT=leave)
