"""What `import celeriac` gives: an explicit list of names, each loaded when it is first asked for.

Law: importing this package loads nothing but this file, so that `import celeriac.protocol` stays pure.
"""

TYPE_CHECKING = False  # by its name; `typing` costs 3 ms of CPU, and nothing else here needs it

if TYPE_CHECKING:
    from celeriac.compat import Celery as Celery
    from celeriac.compat import Signature as Signature
    from celeriac.compat import Task as Task
    from celeriac.compat import bugreport as bugreport
    from celeriac.compat import chain as chain
    from celeriac.compat import chord as chord
    from celeriac.compat import chunks as chunks
    from celeriac.compat import current_app as current_app
    from celeriac.compat import current_task as current_task
    from celeriac.compat import group as group
    from celeriac.compat import maybe_signature as maybe_signature
    from celeriac.compat import shared_task as shared_task
    from celeriac.compat import signature as signature
    from celeriac.compat import uuid as uuid
    from celeriac.compat import xmap as xmap
    from celeriac.compat import xstarmap as xstarmap
    from celeriac.compat.alias import install as install

__version__ = "0.1.0"

__all__ = [
    "Celery",
    "Signature",
    "Task",
    "__version__",
    "bugreport",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_task",
    "group",
    "install",
    "maybe_signature",
    "shared_task",
    "signature",
    "uuid",
    "xmap",
    "xstarmap",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'celeriac' has no attribute {name!r}")
    from importlib import import_module

    origin = import_module("celeriac.compat.alias" if name == "install" else "celeriac.compat")
    value: object = getattr(origin, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
