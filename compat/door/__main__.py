"""`python -m celeriac` and `celeriac`: the command line."""

import sys


def main() -> int:
    from celeriac.compat.bin.celery import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
