"""The check of a task's arguments where it is called: Python's own, on a function that has the task's parameters.

Law: importing a module full of tasks compiles nothing. The check is made when a task is called for the first time.
"""

from __future__ import annotations

from collections.abc import Callable

from ...protocol.hints import Any


class Header:
    """`Task.__header__`: a class attribute that becomes the check itself as soon as it is read."""

    __slots__ = ("_bound", "_check", "_fun", "_name", "_owner")

    def __init__(self, fun: Callable[..., Any], *, bound: bool = False) -> None:
        self._fun, self._bound = fun, bound
        self._check: Callable[..., Any] | None = None
        self._owner: type | None = None
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name

    @property
    def __func__(self) -> Callable[..., Any]:
        """The check, as a staticmethod has its function."""
        if self._check is None:
            from ..utils.heads import head_from_fun

            self._check = head_from_fun(self._fun, bound=self._bound)
        return self._check

    def __get__(self, task: Any, owner: type | None = None) -> Callable[..., Any]:
        check = self.__func__
        # The next call shall not come through here. A subclass or a tool may have put something else in our place.
        if self._owner is not None and self._owner.__dict__.get(self._name) is self:
            setattr(self._owner, self._name, staticmethod(check))
        return check

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__func__(*args, **kwargs)
