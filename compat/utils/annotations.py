"""What the annotation of a parameter says about its values."""

from __future__ import annotations

import types
import typing
from inspect import isclass


def is_none_type(value: typing.Any) -> bool:
    """Whether it is the type of None."""
    return value is types.NoneType


def get_optional_arg(annotation: typing.Any) -> typing.Any:
    """X of `X | None`; None for anything else."""
    if typing.get_origin(annotation) not in {typing.Union, types.UnionType}:
        return None
    members = typing.get_args(annotation)
    others = [member for member in members if not is_none_type(member)]
    return others[0] if len(members) == 2 and len(others) == 1 else None


def annotation_is_class(annotation: typing.Any) -> bool:
    """Whether isinstance takes it."""
    return isclass(annotation) and not isinstance(annotation, types.GenericAlias)


def annotation_issubclass(annotation: typing.Any, cls: type) -> bool:
    """Whether it is a class, and under this one."""
    return annotation_is_class(annotation) and issubclass(annotation, cls)
