"""Looking into a running process: what blocks it, what it holds in memory, where its threads are."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pprint import pprint
from typing import Any

from ..local import try_import
from ..platforms import signals
from .text import WhateverIO

__all__ = (
    "blockdetection",
    "cry",
    "humanbytes",
    "mem_rss",
    "memdump",
    "ps",
    "sample",
    "sample_mem",
)  # fmt: skip

UNITS = ((2**40.0, "TB"), (2**30.0, "GB"), (2**20.0, "MB"), (2**10.0, "KB"), (0.0, "b"))

_process: Any = None
_mem_sample: list[Any] = []


def _on_blocking(signum: int, frame: Any) -> None:
    import inspect

    raise RuntimeError(f"Blocking detection timed-out at: {inspect.getframeinfo(frame)}")


@contextmanager
def blockdetection(timeout: float | None) -> Iterator[Any]:
    """Raises in what runs within this context for longer than so many seconds."""
    if not timeout:
        yield None
        return
    before = signals["ALRM"]
    signals["ALRM"] = _on_blocking
    try:
        yield signals.arm_alarm(timeout)
    finally:
        if before and before is not _on_blocking:
            signals["ALRM"] = before
        signals.reset_alarm()


def sample_mem() -> Any:
    """Notes how much memory is in use, for `memdump`."""
    current = mem_rss()
    _mem_sample.append(current)
    return current


def memdump(samples: int = 10, file: Any = None) -> None:
    """Prints what was noted, and how much is in use once the garbage is collected."""
    say = partial(print, file=file)
    if ps() is None:
        say("- rss: (psutil not installed).")
        return
    noted = list(_mem_sample) if len(_mem_sample) <= samples else list(sample(_mem_sample, samples))
    _mem_sample.clear()
    import gc

    gc.collect()
    if noted:
        say("- rss (sample):")
        for mem in noted:
            say(f"-    > {mem},")
    say(f"- rss (end): {mem_rss()}.")


def sample(x: Any, n: int, k: int = 0) -> Iterator[Any]:
    """n items of x, evenly spaced, from the k-th on."""
    step = len(x) // n
    for _ in range(n):
        if k >= len(x):
            return
        yield x[k]
        k += step


def hfloat(f: float, p: int = 5) -> Any:
    """A number without needless digits."""
    whole = int(f)
    return whole if whole == f else f"{f:.{p}}"


def humanbytes(s: float) -> str:
    """Bytes in the unit that fits."""
    div, unit = next((div, unit) for div, unit in UNITS if s >= div)
    return f"{hfloat(s / div if div else s)}{unit}"


def mem_rss() -> str | None:
    """How much memory this process has; None without psutil."""
    process = ps()
    return humanbytes(process.memory_info().rss) if process is not None else None


def ps() -> Any:
    """psutil's object for this process; None without psutil."""
    global _process
    if _process is None:
        psutil = try_import("psutil")
        _process = psutil.Process(os.getpid()) if psutil is not None else None
    return _process


def cry(out: Any = None, sepchr: str = "=", seplen: int = 49) -> Any:
    """Where every thread is, and its local variables."""
    import threading

    out = WhateverIO() if out is None else out
    say = partial(print, file=out)
    threads = {thread.ident: thread for thread in threading.enumerate()}
    line = sepchr * seplen
    for ident, frame in sys._current_frames().items():
        thread = threads.get(ident)
        if thread is None:
            continue  # left over from before a fork
        say(thread.name)
        say(line)
        traceback.print_stack(frame, file=out)
        say(line)
        say("LOCAL VARIABLES")
        say(line)
        pprint(frame.f_locals, stream=out)
        say("\n")
    return out.getvalue()
