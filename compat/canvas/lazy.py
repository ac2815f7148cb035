"""Members that come from an iterator: pulled when they are needed, looked at as a list.

Law: what was looked at is kept, so that it can be looked at again; what is streamed is kept only while it is little,
so that a group of any size can be sent in flat memory. A stream too long to keep can be sent once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, SupportsIndex

KEPT = 1000
"""How many streamed members are kept, to be sent again."""


class Lazy(list[Any]):
    """Subclass of list, as encoders ask for; its own storage stays empty."""

    __slots__ = ("_rest", "_seen", "_spent")
    __hash__ = None

    def __init__(self, it: Iterable[Any]) -> None:
        super().__init__()
        self._rest = iter(it)
        self._seen: list[Any] = []
        self._spent = 0

    def _pull(self, upto: int | None = None) -> list[Any]:
        """What is there, at least so many (None: all)."""
        if self._spent:
            raise RuntimeError(
                f"the members of this group came from an iterator, and the first {self._spent} of them are sent and "
                "gone: give a list to use a group of this size twice"
            )
        if upto is None:
            self._seen.extend(self._rest)
        else:
            self._seen.extend(islice(self._rest, max(0, upto - len(self._seen))))
        return self._seen

    def stream(self) -> Iterator[Any]:
        """Each member once; of a long stream none is kept."""
        index = 0
        while True:
            if not self._spent:
                seen = self._seen
                if index == len(seen):
                    for member in self._rest:
                        seen.append(member)
                        break
                    else:
                        return
                else:
                    member = seen[index]
                index += 1
                if index >= KEPT:
                    self._seen, self._spent = [], index
                yield member
            else:
                for member in self._rest:
                    self._spent += 1
                    yield member
                return

    def map(self, change: Callable[[Any], Any]) -> None:
        """In place: every member as `change` makes it, each when it is pulled."""
        self._seen = list(map(change, self._seen))
        self._rest = map(change, self._rest)

    @property
    def data(self) -> list[Any]:
        return self._pull()

    def __iter__(self) -> Iterator[Any]:
        index = 0
        while len(self._pull(index + 1)) > index:
            yield self._seen[index]
            index += 1

    def __reversed__(self) -> Iterator[Any]:
        yield from self._pull()[::-1]

    def __len__(self) -> int:
        return len(self._pull())

    def __bool__(self) -> bool:
        return bool(self._spent) or bool(self._pull(1))

    def __contains__(self, item: object) -> bool:
        return any(member == item for member in self)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice) or index < 0:
            return self._pull()[index]
        return self._pull(index + 1)[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._pull()[index] = value

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        del self._pull()[index]

    def __eq__(self, other: object) -> bool:
        return self._pull() == (other._pull() if isinstance(other, Lazy) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __add__(self, other: Any) -> list[Any]:
        return self._pull() + list(other)

    def append(self, item: Any) -> None:
        self._pull().append(item)

    def extend(self, items: Iterable[Any]) -> None:
        self._pull().extend(items)

    def copy(self) -> list[Any]:
        return list(self._pull())

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        from copy import deepcopy

        return deepcopy(self._pull(), memo)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self._pull()),)

    def __json__(self) -> list[Any]:
        return list(self._pull())

    def __repr__(self) -> str:
        return "<spent generator>" if self._spent else repr(self._pull())


def regen(it: Any) -> Any:
    """Lists and tuples as they are; anything else that can be iterated as something to look at more than once."""
    return it if isinstance(it, (list, tuple)) else Lazy(it)
