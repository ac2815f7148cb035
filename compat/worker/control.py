"""Remote-control commands by Celery's names: `Panel`, and the decorators with which users add their own.

A command of a user is a function `(state, **arguments)`; `state` has `app`, `hostname` and `consumer`.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

from ...protocol.wire import commands as wire
from ...worker.control import mailbox as _commands  # noqa: F401 - they are there because it was imported
from ...worker.control.registry import COMMANDS

__all__ = ("Panel", "control_command", "inspect_command")

DEFAULT_TASK_INFO_ITEMS = ("exchange", "routing_key", "rate_limit")


class controller_info_t(NamedTuple):
    """What the command line knows of a command."""

    alias: str | None
    type: str
    visible: bool
    default_timeout: float
    help: str | None
    signature: str | None
    args: Any
    variadic: Any


def ok(value: Any) -> dict[str, Any]:
    return {"ok": value}


def nok(value: Any) -> dict[str, Any]:
    return {"error": value}


class Panel(UserDict):  # type: ignore[type-arg]  # names and functions
    """All commands by name; its class is the registry."""

    data: dict[str, Any] = {}  # of the class, as in Celery
    meta: dict[str, controller_info_t] = {}
    own: dict[str, Any] = {}
    """Those that users have added."""

    @classmethod
    def register(cls, *args: Any, **kwargs: Any) -> Any:
        if args:
            return cls._register(**kwargs)(*args)
        return cls._register(**kwargs)

    @classmethod
    def _register(
        cls,
        name: str | None = None,
        alias: str | None = None,
        type: str = "control",
        visible: bool = True,
        default_timeout: float = 1.0,
        help: str | None = None,
        signature: str | None = None,
        args: Any = None,
        variadic: Any = None,
    ) -> Callable[[Any], Any]:
        def register(fun: Any) -> Any:
            known = name or fun.__name__
            text = help or (fun.__doc__ or "").strip().partition("\n")[0]
            cls.meta[known] = controller_info_t(alias, type, visible, default_timeout, text, signature, args, variadic)
            for each in filter(None, (known, alias)):
                cls.data[each] = cls.own[each] = fun
            return fun

        return register


def control_command(**kwargs: Any) -> Any:
    """A command that changes something."""
    return Panel.register(type="control", **kwargs)


def inspect_command(**kwargs: Any) -> Any:
    """A command that only asks."""
    return Panel.register(type="inspect", **kwargs)


def _built_in(name: str, state: Any, *args: Any, **kwargs: Any) -> Any:
    known = wire.BY_NAME[name]
    given = dict(zip((*known.needs, *known.takes), args, strict=False))
    return COMMANDS[name](state.consumer.controller.worker, **given, **kwargs)


for _name, _known in wire.BY_NAME.items():
    Panel.data[_name] = partial(_built_in, _name)
    if _name == _known.name:
        Panel.meta[_name] = controller_info_t(
            _known.alias, _known.kind, _known.visible, _known.timeout, None, _known.signature, _known.line, _known.rest
        )


_BUILT_IN = dict(Panel.data)


def maybe_list(obj: Any, scalars: Any = (Mapping, str)) -> Any:
    """A list, unless it is None."""
    return (
        obj
        if obj is None or isinstance(obj, list)
        else [obj]
        if not hasattr(obj, "__iter__") or isinstance(obj, scalars)
        else list(obj)
    )


def _owned() -> dict[str, Any]:
    """Those that users have added or replaced, by whatever way."""
    return {name: answer for name, answer in Panel.data.items() if _BUILT_IN.get(name) is not answer}


def __getattr__(name: str) -> Any:
    """`celery.worker.control.revoke` and the others, called with a state."""
    try:
        return Panel.data[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def own_commands(app: Any, hostname: str, consumer: Callable[[], Any]) -> Mapping[str, Callable[..., Any]]:
    """Users' own, for the worker's desk: each gets its state when it is called."""

    def answer(name: str, **arguments: Any) -> Any:
        found = consumer()
        state = SimpleNamespace(app=app, hostname=hostname, consumer=found, tset=set)
        return Panel.data[name](state, **arguments)

    return _Own(answer)


class _Own(Mapping[str, Any]):
    """Looked up late: a module that is imported with the tasks may register more."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        self._answer = answer

    def __getitem__(self, name: str) -> Any:
        if Panel.data.get(name) is _BUILT_IN.get(name):
            raise KeyError(name)
        return partial(self._answer, name)

    def __iter__(self) -> Any:
        return iter(_owned())

    def __len__(self) -> int:
        return len(_owned())
