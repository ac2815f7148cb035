"""What a program is told that asks for something of Celery's that is not here: what it is, and the way out.

Law: it is told when it asks in vain, by the error that it would have got anyway: `hasattr`, `getattr` with a default
and `except ImportError` work as ever.
"""

from __future__ import annotations

import sys
from types import FrameType, ModuleType

from ..protocol.hints import Any

_WAY_OUT = (
    "What needs it runs on Celery: with `celery` in the place of `celeriac`, without `celeriac run` or "
    "`celeriac.install()`, or after `pip uninstall -y celery && pip install celery`. What else is asked for in "
    "vain, where it can be imported: `celeriac -A proj doctor`"
)


def no_module(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"No module named {name!r}: celeriac stands in for celery here, and has no such module. {_WAY_OUT}", name=name
    )


def tell(module: ModuleType, name: str) -> None:
    """From now on who asks this module, under this name of Celery's, for what is not in it is told."""
    before = vars(module).get("__getattr__")
    if not isinstance(before, _Asked):
        vars(module)["__getattr__"] = _Asked(module, name, before)


class _Asked:
    """A module's `__getattr__`."""

    __slots__ = ("before", "module", "name")

    def __init__(self, module: ModuleType, name: str, before: Any) -> None:
        self.module, self.name, self.before = module, name, before

    def __call__(self, attribute: str) -> Any:
        if self.before is not None:
            try:
                return self.before(attribute)
            except AttributeError:
                pass
        told = f"module {self.name!r} has no attribute {attribute!r}"
        if not attribute.startswith("__"):  # the import system asks each module for its __path__
            told = f"{told}: celeriac stands in for celery here, and has no such name. {_WAY_OUT}"
            # Python makes an error of its own from an AttributeError there, unless it finds a module of that name.
            if _is_import(sys._getframe(1)) and f"{self.module.__name__}.{attribute}" not in sys.modules:
                told = f"cannot import name {attribute!r} from {self.name!r}: {told.partition(': ')[2]}"
                raise ImportError(told, name=self.name, path=getattr(self.module, "__file__", None))
        raise AttributeError(told, name=attribute, obj=self.module)


def _is_import(frame: FrameType) -> bool:
    """Whether this frame is at `from module import name`."""
    if frame.f_code.co_filename.startswith("<frozen importlib"):  # asks of each such name whether it is a module's
        return False
    import opcode

    return frame.f_lasti >= 0 and opcode.opname[frame.f_code.co_code[frame.f_lasti]] == "IMPORT_FROM"
