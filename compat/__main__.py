"""`python -m celery`: the command line."""

import sys

from . import maybe_patch_concurrency

__all__ = ("main",)


def main() -> None:
    """gevent and eventlet come first: before anything else is loaded."""
    if "multi" not in sys.argv:
        _patch()
    from ..worker.late import uncollected

    with uncollected():
        from .bin.celery import main as run

    sys.exit(run())


def _patch() -> None:
    try:
        maybe_patch_concurrency()
    except ImportError as problem:
        if problem.name in {"gevent", "eventlet"}:
            sys.exit(f"celeriac: -P {problem.name} needs {problem.name}: pip install {problem.name}")
        # A pool that cannot be imported is told of by the worker, with what to type instead.
    except IndexError:
        return  # -P is the last word


if __name__ == "__main__":
    main()
