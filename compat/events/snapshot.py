"""Cameras: a class that looks at the state of the cluster every so often, to store it or to tell somebody.

Law: while a picture is taken no event changes the state. A camera that fails takes its next picture all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..app import app_or_default
from ..utils.dispatch import Signal
from ..utils.imports import instantiate
from ..utils.log import get_logger
from ..utils.time import rate
from ..utils.timer2 import Timer

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ("Polaroid", "evcam")

logger = get_logger("celery.evcam")


class Polaroid:
    """A camera. Subclasses say in `on_shutter` what to do with the state."""

    timer: Any = None
    shutter_signal = Signal(name="shutter_signal", providing_args={"state"})
    cleanup_signal = Signal(name="cleanup_signal")
    clear_after = False

    _tref: Any = None
    _ctref: Any = None

    def __init__(
        self,
        state: Any,
        freq: float = 1.0,
        maxrate: Any = None,
        cleanup_freq: float = 3600.0,
        timer: Any = None,
        app: Any = None,
    ) -> None:
        self.app = app_or_default(app)
        self.state = state
        self.freq = freq
        self.cleanup_freq = cleanup_freq
        self.timer = timer or self.timer or Timer()
        self.logger = logger
        self.maxrate = maxrate and _bucket(maxrate)

    def install(self) -> None:
        """Take pictures from now on."""
        self._tref = self.timer.call_repeatedly(self.freq, self.capture)
        self._ctref = self.timer.call_repeatedly(self.cleanup_freq, self.cleanup)

    def cancel(self) -> None:
        """Take one more picture, of what came since the last, and stop."""
        if self._tref:
            self._tref()
            self._tref.cancel()
        if self._ctref:
            self._ctref.cancel()

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cancel()

    def capture(self) -> None:
        """Take a picture."""
        self.state.freeze_while(self.shutter, clear_after=self.clear_after)

    def shutter(self) -> None:
        if self.maxrate is None or self.maxrate.can_consume():
            logger.debug("Shutter: %s", self.state)
            self.shutter_signal.send(sender=self.state)
            self.on_shutter(self.state)

    def cleanup(self) -> None:
        logger.debug("Cleanup: Running...")
        self.cleanup_signal.send(sender=self.state)
        self.on_cleanup()

    def on_shutter(self, state: Any) -> None:
        """A picture is to be taken."""

    def on_cleanup(self) -> None:
        """What is old may be thrown away."""


def _bucket(maxrate: Any) -> Any:
    from kombu.utils.limits import TokenBucket

    return TokenBucket(rate(maxrate))


def evcam(
    camera: Any,
    freq: float = 1.0,
    maxrate: Any = None,
    loglevel: Any = 0,
    logfile: Any = None,
    pidfile: Any = None,
    timer: Any = None,
    app: Any = None,
    **kwargs: Any,
) -> None:
    """Run a camera until it is interrupted, over lost connections too."""
    app = app_or_default(app)
    if pidfile:
        from .. import platforms

        platforms.create_pidlock(pidfile)
    app.log.setup_logging_subsystem(loglevel, logfile)
    print(f"-> evcam: Taking snapshots with {camera} (every {freq} secs.)", flush=True)  # noqa: T201 - what Celery prints
    state = app.events.State()
    cam = instantiate(camera, state, app=app, freq=freq, maxrate=maxrate, timer=timer)
    cam.install()
    try:
        app.events.Receiver(None, handlers={"*": state.event}).run()
    except KeyboardInterrupt:
        raise SystemExit from None
    finally:
        cam.cancel()
