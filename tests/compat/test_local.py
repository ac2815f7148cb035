"""Proxies stand for their object in everything; promises call for it once."""

from __future__ import annotations

import copy
import operator
import pickle
from decimal import Decimal
from typing import Any

import pytest

from celeriac.compat.local import PromiseProxy, Proxy, class_property, maybe_evaluate, try_import


class Thing:
    """A thing."""

    def __init__(self) -> None:
        self.colour = "red"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    def __enter__(self) -> str:
        return "in"

    def __exit__(self, *exc_info: object) -> bool:
        return True


def test_a_proxy_is_its_object() -> None:
    thing = Thing()
    proxy = Proxy(lambda: thing)
    assert isinstance(proxy, Thing)
    assert proxy.__class__ is Thing
    assert proxy.colour == "red"
    proxy.size = 3
    assert thing.size == 3  # type: ignore[attr-defined]
    del proxy.size
    assert not hasattr(thing, "size")
    assert proxy(1, a=2) == ((1,), {"a": 2})
    assert proxy == thing
    assert hash(proxy) == hash(thing)
    assert repr(proxy) == repr(thing)
    assert dir(proxy) == dir(thing) == proxy.__members__
    assert proxy.__dict__ is thing.__dict__
    assert proxy.__module__ == thing.__module__ == __name__
    assert proxy.__doc__ == "A thing."
    with proxy as inside:
        assert inside == "in"
        raise ValueError("swallowed")


def test_a_proxy_is_asked_anew() -> None:
    values = iter([1, 2])
    proxy = Proxy(lambda: next(values))
    assert (proxy + 0, proxy + 0) == (1, 2)


@pytest.mark.parametrize(
    "name", ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lshift", "and_", "or_", "xor"]
)
def test_numbers(name: str) -> None:
    function = getattr(operator, name)
    assert function(Proxy(lambda: 12), 5) == function(12, 5)


@pytest.mark.parametrize(
    "function", [int, float, complex, str, abs, operator.neg, operator.pos, operator.invert, hex, bool]
)
def test_conversions(function: Any) -> None:
    assert function(Proxy(lambda: 12)) == function(12)


def test_containers() -> None:
    held: Any = [3, 1, 2]
    proxy = Proxy(lambda: held)
    proxy[0] = 4
    assert (len(proxy), list(proxy), 4 in proxy, proxy[0], list(reversed(proxy))) == (
        3,
        [4, 1, 2],
        True,
        4,
        [2, 1, 4],
    )
    del proxy[0]
    assert held == [1, 2]
    assert proxy < [2]
    assert proxy != [1]
    assert divmod(Proxy(lambda: 7), 2) == (3, 1)


def test_an_unbound_proxy() -> None:
    def nothing() -> Any:
        raise RuntimeError("unbound")

    proxy = Proxy(nothing)
    assert not proxy
    assert dir(proxy) == []
    assert "unbound" in repr(proxy)


def test_a_name_of_its_own() -> None:
    proxy = Proxy(lambda: Thing, name="mine", __doc__="My thing.")
    assert (proxy.__name__, proxy.__qualname__, proxy.__doc__) == ("mine", "mine", "My thing.")
    assert Proxy(lambda: Thing).__name__ == "Thing"
    assert (Proxy.__name__, Proxy.__qualname__, Proxy.__module__) == ("Proxy", "Proxy", "celeriac.compat.local")


def test_pickles_and_copies_are_of_the_object() -> None:
    proxy = Proxy(lambda: Decimal(3))
    assert pickle.loads(pickle.dumps(proxy)) == Decimal(3)
    assert copy.copy(proxy) == Decimal(3)


def test_a_promise_is_kept_once() -> None:
    calls = []

    def make(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return Thing()

    promise = PromiseProxy(make, (1,), {"a": 2})
    then: list[Any] = []
    promise.__then__(then.append, "first")
    assert not promise.__evaluated__()
    assert calls == []
    assert maybe_evaluate(promise) is maybe_evaluate(promise)
    assert promise.colour == "red"
    promise.__then__(then.append, "second")
    assert (calls, then) == ([((1,), {"a": 2})], ["first", "second"])
    assert promise.__evaluated__()
    assert maybe_evaluate(3) == 3


def test_a_broken_promise_is_tried_again() -> None:
    answers = iter([OSError("down"), "up"])

    def make() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    promise = PromiseProxy(make)
    with pytest.raises(OSError, match="down"):
        promise.upper()
    assert promise.upper() == "UP"


def test_a_property_of_the_class() -> None:
    class Base:
        _x = 1

        @class_property
        def x(cls: Any) -> Any:
            """The x."""
            return cls._x

        @x.setter
        def x(cls: Any, value: Any) -> None:
            cls._x = value

    assert (Base.x, Base().x) == (1, 1)
    Base().x = 3
    assert Base.x == 3
    assert Base.__dict__["x"].__doc__ == "The x."


def test_importing_what_may_not_be_there() -> None:
    assert try_import("json").dumps(1) == "1"
    assert try_import("there.is.no.such") is None
    assert try_import("celery.states").SUCCESS == "SUCCESS"
