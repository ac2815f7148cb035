"""The house's dataclasses beside the standard library's: nobody can tell them apart but by the clock."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from typing import Any, ClassVar

import pytest

from celeriac.protocol import values


def both(**how: bool) -> tuple[Any, Any]:
    """The same class, made by us and by the standard library."""

    def made(library: Any) -> Any:
        @library.dataclass(**how)
        class Point:
            """A place."""

            x: int
            y: int = 2
            tags: list[str] = library.field(default_factory=list)
            secret: str = library.field(default="s", repr=False)
            odd: int = library.field(default=0, compare=False)
            total: int = library.field(init=False, default_factory=lambda: 7)
            late: str = library.field(init=False)
            known: ClassVar[int] = 3

            def __post_init__(self) -> None:
                object.__setattr__(self, "total", self.x + self.y)
                object.__setattr__(self, "late", "set")

        return Point

    return made(values), made(dataclasses)


@pytest.mark.parametrize("how", [{"frozen": True, "slots": True}, {"frozen": True}, {"slots": True}, {}], ids="+".join)
@pytest.mark.parametrize("slowly", [0, 1, 1000])
def test_they_do_what_the_standard_librarys_do(
    how: dict[str, bool], slowly: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "_SLOWLY", slowly)
    ours, theirs = both(**how)
    seen = []
    for kind in (ours, theirs):
        one = kind(1)
        with pytest.raises(TypeError):
            kind()
        frozen = []
        for change in (lambda one=one: setattr(one, "x", 9), lambda one=one: delattr(one, "y")):
            try:
                change()
                frozen.append(False)
            except dataclasses.FrozenInstanceError:  # noqa: PERF203 - there are two
                frozen.append(True)
        one = kind(1)
        two = dataclasses.replace(one, y=5)
        seen.append(
            (
                repr(one).rpartition(".")[2],
                one == kind(1, 2, [], "s", 8),
                one == two,
                one != 1,
                frozen,
                hasattr(one, "__dict__"),
                kind.__hash__ is None,
                kind.__match_args__,
                kind.__doc__,
                kind.known,
                two.total,
                dataclasses.asdict(two),
                dataclasses.is_dataclass(one),
                [(each.name, each.init, each.repr, each.compare, each.type) for each in dataclasses.fields(kind)],
                copy.copy(two).y,
                copy.deepcopy(two) == two,
                one.tags is kind(1).tags,
                kind.__qualname__,
            )
        )
    assert seen[0] == seen[1]
    one = ours(1, tags=["a"])
    assert values.replace(one, x=4) == dataclasses.replace(one, x=4)
    assert values.replace(one, x=4).tags is one.tags
    with pytest.raises(ValueError, match="total"):
        values.replace(one, total=4)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((1,), {"total": 3}), ((1,), {"x": 3}), ((1, 2, [], "s", 0, 5), {}), ((), {"y": 1})]
)
def test_what_they_are_not_made_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    for kind in both(frozen=True, slots=True):
        with pytest.raises(TypeError):
            kind(*args, **kwargs)


@values.dataclass(frozen=True, slots=True)
class Sent:
    a: int
    b: tuple[int, ...] = ()


@values.dataclass(frozen=True)
class Own:
    """Says itself what is to be said."""

    a: Any

    def __repr__(self) -> str:
        return "own"

    def __hash__(self) -> int:
        return 5


@values.dataclass(frozen=True, slots=True)
class Empty:
    pass


def test_they_travel_and_have_hashes() -> None:
    sent = Sent(1, (2,))
    assert pickle.loads(pickle.dumps(sent)) == sent
    assert len({sent, Sent(1, (2,)), Sent(2)}) == 2
    with pytest.raises(TypeError):
        hash(Sent(1, [2]))  # type: ignore[arg-type]  # a list has no hash, and neither has what holds one
    assert sent != (1, (2,))
    assert [Sent(number).a for number in range(20)] == [*range(20)]
    assert Sent.__init__.__qualname__ == "Sent.__init__"
    assert (repr(Own(1)), hash(Own(1)), Own(1) == Own(1), Own(1) == Own(2)) == ("own", 5, True, False)
    assert (repr(Empty()), Empty() == Empty(), hash(Empty()) == hash(Empty())) == ("Empty()", True, True)


def test_importing_them_brings_neither_dataclasses_nor_inspect() -> None:
    program = (
        "import sys; sys.modules.pop('dataclasses', None); sys.modules.pop('inspect', None)\n"
        "from celeriac.protocol.wire import message\n"
        "message.Message(b'')\n"
        "print('dataclasses' in sys.modules, 'inspect' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("library", [values, dataclasses])
@pytest.mark.parametrize("slots", [True, False])
def test_some_are_equal_to_themselves_alone(library: Any, slots: bool) -> None:
    @library.dataclass(eq=False, slots=slots)
    class Child:
        pid: int

    one, other = Child(1), Child(1)
    assert one != other
    assert {one: "one", other: "other"}[one] == "one"
