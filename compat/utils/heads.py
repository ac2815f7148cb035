"""Functions that take what another one takes and do nothing: the first call of each task is checked by one.

Law: of `celery.utils.functional`, and in a file of its own, since who sends a task needs no more of that one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from itertools import count as counted
from types import FunctionType

from ...protocol.hints import Any

FUNHEAD_TEMPLATE = """
def {fun_name}({fun_args}):
    return {fun_value}
"""

# inspect.CO_VARARGS and CO_VARKEYWORDS, without the five milliseconds of importing inspect.
_VARARGS, _VARKEYWORDS = 0x04, 0x08


def _arguments(signature: Any) -> str:
    """The parameters of a signature as source text; each default is named by its position alone."""
    parts: list[str] = []
    defaults = keyword_defaults = 0
    starred = False
    for name, parameter in signature.parameters.items():
        kind = parameter.kind
        optional = parameter.default is not parameter.empty
        if kind is parameter.VAR_POSITIONAL:
            parts.append(f"*{name}")
            starred = True
        elif kind is parameter.VAR_KEYWORD:
            parts.append(f"**{name}")
        elif kind is parameter.KEYWORD_ONLY:
            if not starred:
                parts.append("*")
                starred = True
            parts.append(f'{name}="{keyword_defaults}"' if optional else name)
            keyword_defaults += optional
        else:
            parts.append(f"{name}={defaults}" if optional else name)
            defaults += optional
    return ", ".join(parts)


def _arguments_of(fun: FunctionType) -> str:
    """The same of a plain function, from its code alone: `inspect` takes 5 ms of CPU to import."""
    code = fun.__code__
    names, count, only = code.co_varnames, code.co_argcount, code.co_kwonlyargcount
    required = count - len(fun.__defaults__ or ())
    parts = [name if at < required else f"{name}={at - required}" for at, name in enumerate(names[:count])]
    rest = count + only
    if code.co_flags & _VARARGS:
        parts.append(f"*{names[rest]}")
        rest += 1
    elif only:
        parts.append("*")
    optional = fun.__kwdefaults__ or {}
    numbers = counted()
    parts += [f'{name}="{next(numbers)}"' if name in optional else name for name in names[count : count + only]]
    if code.co_flags & _VARKEYWORDS:
        parts.append(f"**{names[rest]}")
    return ", ".join(parts)


def head_from_fun(fun: Callable[..., Any], bound: bool = False) -> Any:
    """A function of the same parameters that does nothing: calling it checks arguments as Python does."""
    if type(fun) is FunctionType and not hasattr(fun, "__signature__"):
        return _head(fun.__name__, _arguments_of(fun), fun.__module__, bound)
    import inspect

    is_cython = fun.__class__.__name__ == "cython_function_or_method"
    if inspect.isfunction(fun) or inspect.ismethod(fun) or is_cython or not callable(fun):
        name = fun.__name__
    else:
        name, fun = fun.__class__.__name__, getattr(fun, "__call__")  # noqa: B004, B009 - the bound method, not the call
    target = getattr(fun, "__func__", fun)
    options: dict[str, Any] = {}
    if sys.version_info >= (3, 14):
        import annotationlib  # annotations may name what is imported for type checkers alone

        options["annotation_format"] = annotationlib.Format.STRING
    return _head(name, _arguments(inspect.signature(target, follow_wrapped=False, **options)), fun.__module__, bound)


def _head(name: str, parameters: str, module: str, bound: bool) -> Any:
    definition = FUNHEAD_TEMPLATE.format(fun_name=name, fun_args=parameters, fun_value=1)
    namespace: dict[str, Any] = {"__name__": module}
    exec(definition, namespace)  # noqa: S102 - names and positions alone, none of it a value
    head = namespace[name]
    head._source = definition
    return partial(head, object()) if bound else head
