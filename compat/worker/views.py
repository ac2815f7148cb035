"""Sets and mappings that show what a worker holds at the moment. See `celery.worker.state`."""

from __future__ import annotations

import time
from ast import literal_eval
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping, MutableSet
from typing import Any

from ...protocol.rules.delivery import Place
from ..utils.collections import LimitedSet


def _begun(core: Any, request: Any) -> bool:
    return request.begun is not None


def _scheduled(core: Any, request: Any) -> bool:
    return request.number in set(core.deliveries.at(Place.ASIDE)) and bool(request.headers.get("eta"))


def _reserved(core: Any, request: Any) -> bool:
    return not _scheduled(core, request)


_SHOWS: dict[str, Callable[[Any, Any], bool]] = {"active": _begun, "scheduled": _scheduled, "reserved": _reserved}


class Running(MutableSet[Any]):
    """Requests of one kind: those of the worker, and those that somebody has added."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._shows = _SHOWS[kind]
        self._added: dict[Any, None] = {}
        self._core: Any = None

    def bind(self, core: Any) -> None:
        self._core = core
        self._added.clear()

    def _all(self) -> list[Any]:
        core = self._core
        own = list(self._added)
        if core is None:
            return own
        found = [core.owner.request(each) for each in list(core.requests.values()) if self._shows(core, each)]
        return found + [each for each in own if each not in found]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._all())

    def __len__(self) -> int:
        core = self._core
        if core is None or self._added:
            return len(self._all())
        if self._kind == "reserved":
            return len(core.requests) - len(core.at(Place.ASIDE))
        return sum(self._shows(core, each) for each in list(core.requests.values()))

    def __contains__(self, request: object) -> bool:
        return request in self._all()

    def add(self, value: Any) -> None:
        self._added[value] = None

    def discard(self, value: Any) -> None:
        self._added.pop(value, None)

    def clear(self) -> None:
        self._added.clear()

    def __repr__(self) -> str:
        return f"<{self._kind} requests: {self._all()}>"


class Requests(MutableMapping[str, Any]):
    """By the id of the task."""

    def __init__(self) -> None:
        self._added: dict[str, Any] = {}
        self._core: Any = None

    def bind(self, core: Any) -> None:
        self._core = core
        self._added.clear()

    def _all(self) -> dict[str, Any]:
        core = self._core
        if core is None:
            return dict(self._added)
        own = {each.id: core.owner.request(each) for each in list(core.requests.values())}
        return {**own, **self._added}

    def __getitem__(self, key: str) -> Any:
        return self._all()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._added[key] = value

    def __delitem__(self, key: str) -> None:
        del self._added[key]

    def pop(self, key: str, default: Any = None) -> Any:
        return self._added.pop(key, default)

    def clear(self) -> None:
        self._added.clear()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class Total(list[int]):
    """One number: the sum of a counter's."""

    def __init__(self, counter: Counter[str]) -> None:
        super().__init__([0])
        self._counter = counter

    def __getitem__(self, index: Any) -> Any:
        return [sum(self._counter.values())][index]

    def __iter__(self) -> Iterator[int]:
        return iter([sum(self._counter.values())])


class Succeeded(LimitedSet):
    """Ids of tasks that have succeeded lately: those of the worker, and those that somebody has added."""

    _core: Any = None

    def bind(self, core: Any) -> None:
        self._core = core

    def _own(self) -> list[Any]:
        return [] if self._core is None else [each for each in list(self._core.succeeded) if each not in self._data]

    def as_dict(self) -> dict[Any, float]:
        return {**dict.fromkeys(self._own(), time.monotonic()), **super().as_dict()}

    def clear(self) -> None:
        if self._core is not None:
            self._core.succeeded.clear()
        super().clear()

    def __iter__(self) -> Iterator[Any]:
        yield from self._own()
        yield from super().__iter__()

    def __len__(self) -> int:
        return super().__len__() + len(self._own())

    def __contains__(self, item: Any) -> bool:
        return super().__contains__(item) or (self._core is not None and item in list(self._core.succeeded))

    def __bool__(self) -> bool:
        return len(self) > 0

    def __reduce__(self) -> Any:
        return LimitedSet, (self.maxlen, self.expires, self.as_dict(), self.minlen)


class RevokedStamps(MutableMapping[str, Any]):
    """What must not run by its stamps: names, and values each. The worker hears of what is set and of what goes."""

    def __init__(self) -> None:
        self._added: dict[str, Any] = {}
        self._core: Any = None

    def bind(self, core: Any) -> None:
        self._core = core
        self._revokes.revoke_stamps(self._added, time.time())
        self._added.clear()

    @property
    def _revokes(self) -> Any:
        return self._core.deliveries.revokes

    def _all(self) -> dict[str, Any]:
        if self._core is None:
            return self._added
        found = self._revokes.stamps(time.time())
        return {name: list(map(_value, values)) for name, values in found.items()}

    def __getitem__(self, key: str) -> Any:
        return self._all()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if self._core is None:
            self._added[key] = value
        else:
            self._revokes.forgive_stamps([key])
            self._revokes.revoke_stamps({key: value}, time.time())

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        if self._core is None:
            del self._added[key]
        else:
            self._revokes.forgive_stamps([key])

    def clear(self) -> None:
        self._added.clear()
        if self._core is not None:
            self._revokes.forgive_stamps()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())


def _value(text: str) -> Any:
    """A value from its repr, if it is a plain one."""
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


class Revoked(LimitedSet):
    """Ids that must not run. The worker hears of what is added, and what it was told itself is here too."""

    _core: Any = None

    def bind(self, core: Any) -> None:
        self._core = core
        for item in super().__iter__():
            self._revokes.revoke([item], time.time())

    @property
    def _revokes(self) -> Any:
        return self._core.deliveries.revokes

    def add(self, item: Any, now: float | None = None) -> None:
        super().add(item, now)
        if self._core is not None:
            self._revokes.revoke([item], time.time())

    def discard(self, item: Any) -> None:
        super().discard(item)

    def pop_value(self, item: Any) -> None:
        super().discard(item)
        if self._core is not None:
            self._revokes.forgive(item)

    def clear(self) -> None:
        if self._core is not None:
            for item in list(self):
                self._revokes.forgive(item)
        super().clear()

    def _told(self) -> list[Any]:
        own = self._data
        return [] if self._core is None else [each for each in self._revokes.ids(time.time()) if each not in own]

    def as_dict(self) -> dict[Any, float]:
        return {**dict.fromkeys(self._told(), time.monotonic()), **super().as_dict()}

    def __iter__(self) -> Iterator[Any]:
        yield from self._told()
        yield from super().__iter__()

    def __len__(self) -> int:
        return super().__len__() + len(self._told())

    def __contains__(self, item: Any) -> bool:
        return super().__contains__(item) or (self._core is not None and self._revokes.revoked(item, time.time()))

    def __bool__(self) -> bool:
        return len(self) > 0

    def __reduce__(self) -> Any:
        return LimitedSet, (self.maxlen, self.expires, self.as_dict(), self.minlen)
