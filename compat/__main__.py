"""`python -m celery`: the command line."""

import sys

from . import maybe_patch_concurrency

__all__ = ("main",)


def main() -> None:
    """gevent and eventlet come first: before anything else is loaded."""
    if "multi" not in sys.argv:
        maybe_patch_concurrency()
    from .bin.celery import main as run

    sys.exit(run())


if __name__ == "__main__":
    main()
