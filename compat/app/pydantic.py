"""`@app.task(pydantic=True)`: arguments become the models that the annotations name, a returned model becomes a dict.

Law: what a model is, pydantic says; it is imported here and nowhere else, when such a task is made.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ..exceptions import ImproperlyConfigured


def wrap(
    app: Any,
    fun: Callable[..., Any],
    name: str,
    strict: bool = True,
    context: Mapping[str, Any] | None = None,
    dump_kwargs: Mapping[str, Any] | None = None,
    bound: bool = False,
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The function that validates and dumps around `fun`, and the one that makes a caller's models sendable."""
    try:
        base: Any = import_module("pydantic").BaseModel
    except ModuleNotFoundError as problem:
        raise ImproperlyConfigured("@task(pydantic=True) needs pydantic: pip install 'celeriac[pydantic]'") from problem
    models = _Models(
        base, fun, strict, {**(context or {}), "celery_app": app, "celery_task_name": name}, dump_kwargs or {}
    )

    @functools.wraps(fun)
    def validated(*args: Any, **kwargs: Any) -> Any:
        given = models.signature.bind(*args, **kwargs)
        for key, value in given.arguments.items():
            model = models.of(key, value)
            if model is not None:
                given.arguments[key] = models.validate(model, value)
        return models.returned(fun(*given.args, **given.kwargs))

    def dump(args: Any, kwargs: Any) -> tuple[Any, Any]:
        return models.dumped(args, kwargs, bound=bound)

    validated.dump_arguments = models.dumped  # type: ignore[attr-defined]  # Celery's name
    return validated, dump


class _Models:
    """What is known of the models in one function's annotations."""

    def __init__(
        self, base: Any, fun: Callable[..., Any], strict: bool, context: Mapping[str, Any], dump: Mapping[str, Any]
    ) -> None:
        self.base, self.strict, self.context = base, strict, context
        self.dump = {"mode": "json", **dump}
        self.signature = inspect.signature(fun)
        try:
            self.hints: dict[str, Any] = typing.get_type_hints(fun)
        except (NameError, AttributeError, TypeError):
            self.hints = {}  # of a module that is not loaded yet, say: the raw annotations must do
        kinds = {name: parameter.kind for name, parameter in self.signature.parameters.items()}
        either = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self.positional = [n for n, k in kinds.items() if k in (inspect.Parameter.POSITIONAL_ONLY, either)]
        self.by_name = {n for n, k in kinds.items() if k in (inspect.Parameter.KEYWORD_ONLY, either)}

    def of(self, name: str, value: Any) -> Any:
        """The model that this argument is validated with, or None."""
        annotation = self.hints.get(name, self.signature.parameters[name].annotation)
        if value is not None:
            annotation = _of_optional(annotation)
        return annotation if isinstance(annotation, type) and issubclass(annotation, self.base) else None

    def validate(self, model: Any, value: Any) -> Any:
        return model.model_validate(value, strict=self.strict, context=dict(self.context))

    def returned(self, value: Any) -> Any:
        """A model that the annotation promises as a dict; anything else as it is."""
        annotation = _of_optional(self.hints.get("return", self.signature.return_annotation))
        promised = isinstance(annotation, type) and isinstance(value, self.base) and isinstance(value, annotation)
        return value.model_dump(**self.dump) if promised else value

    def dumped(self, args: Any, kwargs: Any, bound: bool = False) -> tuple[Any, Any]:
        """A caller's arguments, with those models as dicts that the other side makes equal models of."""
        positional, named = () if args is None else args, {} if kwargs is None else kwargs
        if not isinstance(positional, (list, tuple)) or not isinstance(named, Mapping):
            return args, kwargs  # refused where it is sent, as for any task
        if not any(isinstance(value, self.base) for value in (*positional, *named.values())):
            return args, kwargs
        try:
            self.signature.bind(*([None] if bound else []), *positional, **named)
        except TypeError:
            return args, kwargs
        names = self.positional[1:] if bound else self.positional
        own = [
            self._argument(names[place] if place < len(names) else None, value)
            for place, value in enumerate(positional)
        ]
        by_name = {name: self._argument(name if name in self.by_name else None, value) for name, value in named.items()}
        if any(new is not old for new, old in zip(own, positional, strict=True)):
            args = own if isinstance(positional, list) else tuple(own)
        if any(by_name[name] is not value for name, value in named.items()):
            kwargs = by_name
        return args, kwargs

    def _argument(self, name: str | None, value: Any) -> Any:
        if name is None or not isinstance(value, self.base) or hasattr(type(value), "__json__"):
            return value
        model = self.of(name, value)
        if model is None:
            return value
        try:
            dumped = value.model_dump(**self.dump)
            return dumped if self.validate(model, dumped) == value else value
        except Exception:  # noqa: BLE001  # a model's own code, which may work on a worker alone: leave it as it is
            return value


def _of_optional(annotation: Any) -> Any:
    """X of `X | None` and Optional[X]; anything else as it is."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        others = [one for one in typing.get_args(annotation) if one is not type(None)]
        if len(others) == 1 and len(others) < len(typing.get_args(annotation)):
            return others[0]
    return annotation
