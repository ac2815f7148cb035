"""`python -m celeriac` and `celeriac`: the command line."""

import sys


def main() -> int:
    from .compat.__main__ import main as run

    run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
