"""Names in the place of `typing`'s: what is made with them at runtime is what `typing` would have made."""

from __future__ import annotations

import pickle
import subprocess
import sys
import typing

import pytest

from celeriac.protocol import hints

T = hints.TypeVar("T", bound=int)
P = hints.ParamSpec("P")


class Pair(hints.NamedTuple):
    """Two."""

    left: str
    right: int = 2

    def both(self) -> str:
        return f"{self.left}{self.right}"


class RealPair(typing.NamedTuple):
    """Two."""

    left: str
    right: int = 2


@hints.runtime_checkable
class Closing(hints.Protocol):
    kept: int

    def close(self) -> None: ...


class Closer:
    kept = 1

    def close(self) -> None:
        """Nothing."""


class Box(hints.Generic[T]):
    pass


class Filled(Box[T]):
    pass


def test_a_named_tuple_is_one() -> None:
    pair = Pair("a")
    assert pair == ("a", 2)
    assert (pair.left, pair.right, pair.both()) == ("a", 2, "a2")
    assert repr(pair) == "Pair(left='a', right=2)"
    assert pickle.loads(pickle.dumps(pair)) == pair
    assert type(pickle.loads(pickle.dumps(pair))) is Pair
    for told in ("_fields", "_field_defaults", "__doc__", "__module__", "__slots__", "__match_args__"):
        assert getattr(Pair, told) == getattr(RealPair, told), told
    assert not hasattr(pair, "__dict__")
    with pytest.raises(TypeError):
        Pair()  # type: ignore[call-arg]  # what is missing is told at runtime too


def test_what_can_be_checked_is_checked_by_names() -> None:
    assert isinstance(Closer(), Closing)
    assert not isinstance(object(), Closing)

    class Own(Closing):
        pass

    assert isinstance(Own(), Own)
    assert not isinstance(Closer(), Own)


def test_classes_take_parameters() -> None:
    assert Filled[int].__origin__ is Filled  # type: ignore[attr-defined,misc]  # as an alias has it
    assert issubclass(Filled, Box)
    assert hints.cast("int", "text") == "text"

    def as_it_is() -> None: ...

    assert hints.overload(as_it_is) is as_it_is
    assert T.__name__ == "T"


def test_annotations_can_be_evaluated() -> None:
    """By tools that show them: a name stands there for each."""

    def of(one: hints.Any, two: list[hints.Any] | None) -> hints.NoReturn: ...

    assert typing.get_type_hints(of)["one"] is hints.Any


def test_typing_is_spared() -> None:
    program = "import sys; before = {*sys.modules}; import celeriac.protocol.hints; print('typing' in {*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
