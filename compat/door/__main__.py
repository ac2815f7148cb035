"""`python -m celeriac` and `celeriac`: the command line."""

import sys
from importlib import import_module


def main() -> int:
    # By name: this file is `celeriac.__main__` where it is installed, and in `compat/door` for whoever reads the tree.
    import_module(".compat.__main__", __package__).main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
