"""`import celery` finds this file, and gets celeriac; so does `python -m celery`.

Law: it holds nothing. What was imported under this name is replaced by the package itself, before anybody sees it.
It stands outside of every package when it is imported, so it asks for celeriac by its full name.
"""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module("celeriac.__main__").main())

sys.modules.pop("celery", None)
import_module("celeriac.compat.alias").install()
