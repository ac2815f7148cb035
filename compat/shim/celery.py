"""`import celery` finds this file, and gets celeriac; so does `python -m celery`.

Law: it holds nothing. What was imported under this name is replaced by the package itself, before anybody sees it.
It stands outside of every package when it is imported, so it asks for celeriac by its full name.
It gets here in two ways: `celeriac run` puts this folder on PYTHONPATH, and the wheel named `celery` holds this file.
"""

import sys
from importlib import import_module

TYPE_CHECKING = False  # typing would cost each `import celery` its import
if TYPE_CHECKING:
    from typing import Any


def _alias() -> "Any":
    try:
        return import_module("celeriac.compat.alias")
    except ModuleNotFoundError as problem:
        if problem.name != "celeriac":
            raise
        raise ImportError(
            f"this `celery` is celeriac's stand-in ({__file__}), and celeriac is not installed for {sys.executable}. "
            "Install it: pip install celeriac. Or go back to Celery: pip uninstall celery && pip install celery; "
            "if PYTHONPATH leads here, `celeriac run` started a program of another environment: start it without.",
            name="celery",
        ) from None


if __name__ == "__main__":
    _alias()
    sys.exit(import_module("celeriac.__main__").main())

sys.modules.pop("celery", None)
_alias().install()
