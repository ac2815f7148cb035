"""What one thread has still to write of the tasks that it ran: results, and that members of chords have succeeded.

Law: one write for all results of a batch, then one for all members of a chord in it. What is not written so is written
one by one, which has patience. A thread claims the bodies of chords by one token: who writes what a dead child had
left has the claim that the child had.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from ..protocol.errors import BadCall
from ..protocol.rules.outcome import Report
from ..protocol.wire import states
from ..protocol.wire.chord_keys import Member
from ..protocol.wire.result import Result
from . import redis_link
from .ids import new_id

_FRESH = 1.0  # seconds for which a connection that was used is taken to be there; if not, all is stored one by one


class Part:
    """A success in the header of a chord, as its chord is told of it."""

    __slots__ = ("complete", "group_id", "said", "token", "value")

    def __init__(self, request: Any, value: Any, member: bytes, token: str, complete: Callable[[Any], None]) -> None:
        self.group_id: str = request.group
        self.said: tuple[str, int | None, bytes] = (request.id, request.group_index, member)
        self.value = value
        self.token = token
        self.complete = complete
        """Sends the chord's body, given the claim to it."""

    def tell(self, store: Any) -> Any:
        """Tell the chord of this one, with the store's patience; a claim if it is complete."""
        task_id, index, _ = self.said
        return store.chord_part(self.group_id, Member(task_id, states.SUCCESS, self.value), index, self.token)


class Debt:
    """A result that is still to be written, and the report that must not leave before. Of a chord's member, its chord
    is still to be told as well."""

    __slots__ = ("_said", "part", "report", "row", "store", "stored")

    def __init__(self, store: Any, said: Result | tuple[Any, ...], row: tuple[str, bytes]) -> None:
        self.store = store
        self._said = said
        self.row = row
        """Its key and its document."""
        self.report: Report | None = None
        self.part: Part | None = None
        self.stored = False
        """Of a member: only its chord is still to be told."""

    @property
    def result(self) -> Result:
        """Of a plain success it is made when somebody asks: nobody does, if all goes well."""
        said = self._said
        return Result(said[0], states.SUCCESS, said[1], None, [], *said[2:]) if type(said) is tuple else said  # type: ignore[return-value]  # else it is one

    @property
    def note(self) -> bytes:
        """What who outlives us has to write, for `owed`."""
        return b"%b\n%b" % (b"" if self.part is None else self.part.token.encode(), self.row[1])


def owed(note: bytes) -> tuple[str, bytes]:
    """The token of a chord's member, and the document of a result."""
    token, _, document = note.partition(b"\n")
    return token.decode(), document


class Debts(threading.local):
    """What one thread has to write, and the connection it writes on."""

    def __init__(self) -> None:
        self.all: list[Debt] = []
        self.last: Debt | None = None
        self.begun = False
        self.token = ""
        self.links: dict[int, Any] = {}
        self._store: Any = None
        self._bulk: Any = None

    def takes(self, store: Any) -> bool:
        """Whether results of this store can wait for each other."""
        return self._bulk_of(store) is not None

    def hold_plain(
        self, store: Any, task_id: str, value: Any, date_done: str, group_id: str | None, parent_id: str | None
    ) -> Debt | None:
        """`hold` of a success that says no more than this, of a store that it `takes`. None: `hold` is to be asked."""
        said = (task_id, value, date_done, group_id, parent_id)
        row = self._bulk_of(store).plain_row(*said)
        return None if row is None else self._held(Debt(store, said, row))

    def counts(self, store: Any) -> bool:
        """Whether members of chords can wait for each other, too."""
        return hasattr(self._bulk_of(store), "chord_parts")

    def part(self, store: Any, request: Any, value: Any, complete: Callable[[Any], None]) -> Part:
        """What the chord of a success is told, of a store that `counts`. Encoded now, as results are."""
        self.token = self.token or new_id()
        return Part(request, value, self._bulk_of(store).member(request.id, value), self.token, complete)

    def _bulk_of(self, store: Any) -> Any:
        """What stores many of its results at once; None: nobody does, each must be stored by itself."""
        if store is not self._store:
            found = store if hasattr(store, "store_all") else getattr(store, "inner", None)
            self._store, self._bulk = store, found if hasattr(found, "store_all") else None
        return self._bulk

    def hold(self, store: Any, result: Result) -> Debt:
        """Encode now, so that a value that cannot be encoded fails its task; write with `pay_all`."""
        return self._held(Debt(store, result, self._bulk_of(store).row(result)))

    def _held(self, debt: Debt) -> Debt:
        self.all.append(debt)
        return debt

    def pay_all(self) -> list[tuple[Debt, Exception]]:
        """Write all that waits; what could not be written, and why."""
        debts, self.all = self.all, []
        first = debts[0].store
        unpaid = self._at_once(first, debts) if all(debt.store is first for debt in debts) else debts
        failed = []
        for debt in unpaid:
            try:
                debt.store.store(debt.result)
            except Exception as exc:  # noqa: BLE001, PERF203 - whatever a store raises, the others are still to be written
                failed.append((debt, exc))
        members = [(debt, debt.part) for debt in debts if debt.part is not None]
        if members:
            unstored = {id(debt) for debt, _ in failed}
            failed += self._count([each for each in members if id(each[0]) not in unstored])
        return failed

    def _at_once(self, store: Any, debts: list[Debt]) -> list[Debt]:
        """In one write. What is left is to be stored one by one, which has patience."""
        bulk = self._bulk_of(store)
        try:
            there = bulk.store_all(self._link(bulk), [debt.row for debt in debts])
        except (redis_link.operational_error(), BadCall):  # or one of them cannot be said: the others can
            return debts
        return [debts[place] for place in there]

    def _count(self, members: list[tuple[Debt, Part]]) -> list[tuple[Debt, Exception]]:
        """Tell the chords of these, and send the bodies of those that are complete, once all are told."""
        chords: dict[tuple[int, str], list[tuple[Debt, Part]]] = {}
        for debt, part in members:
            debt.stored = True
            chords.setdefault((id(debt.store), part.group_id), []).append((debt, part))
        claims: list[tuple[Debt, Part, Any]] = []
        failed: list[tuple[Debt, Exception]] = []
        for (_, group_id), told in chords.items():
            last, bulk = told[-1], self._bulk_of(told[0][0].store)
            try:
                claims.append(
                    (*last, bulk.chord_parts(self._link(bulk), group_id, [p.said for _, p in told], self.token))
                )
            except Exception:  # noqa: BLE001 - whatever it is: one by one, which has patience and says what is wrong
                for debt, part in told:
                    try:
                        claim = part.tell(debt.store)
                    except Exception as exc:  # noqa: BLE001 - the others are still to be told
                        failed.append((debt, exc))
                        continue
                    if claim is not None:
                        claims.append((debt, part, claim))
                        break  # it is complete, so all of these are counted: each would hear so, and one sends the body
        for debt, part, claim in claims:
            if claim is not None:
                try:
                    part.complete(claim)
                except Exception as exc:  # noqa: BLE001 - whatever is raised, the other bodies are still to be sent
                    failed.append((debt, exc))
        return failed

    def _link(self, store: Any) -> Any:
        link = self.links.get(id(store))
        if link is not None:
            if link.open and (monotonic() - link.used < _FRESH or link.alive()):
                return link
            link.close()
        link = self.links[id(store)] = redis_link.connect(store.place)
        return link

    def begin(self) -> None:
        """In a new child."""
        self.all, self.last, self.links, self.token = [], None, {}, ""

    def leave(self) -> None:
        links, self.links = self.links, {}
        for link in links.values():
            link.close()
