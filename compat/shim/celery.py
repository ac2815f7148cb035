"""`import celery` finds this file, and gets celeriac; so does `python -m celery`.

Law: it holds nothing. What was imported under this name is replaced by the package itself, before anybody sees it.
"""

import sys


def _become() -> None:
    from celeriac.compat.alias import install

    sys.modules.pop("celery", None)
    install()


if __name__ == "__main__":
    from celeriac.__main__ import main

    sys.exit(main())
_become()
