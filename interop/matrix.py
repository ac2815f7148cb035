"""The matrix: which pairs are tried, and what became of each cell.

Law: each cell of ours stands beside the same cell of stock Celery, run the same way; a cell that stock manages and
celeriac does not is a defect, whatever its reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from interop.brokers import Broker
from interop.capabilities import BRIEF, CALM, CHECKS, QUICK, Cannot, Pair, Patience, Wrong
from interop.peers import OURS, STOCK, Peer
from interop.processes import PeerFailed, Producer, Worker


class How(IntEnum):
    """In the order of their worth."""

    cannot = 0
    setting = 1
    works = 2


@dataclass(frozen=True)
class Cell:
    how: How
    why: str = ""  # the setting's name, or what was seen instead


@dataclass(frozen=True)
class Place:
    """Where a cell stands in the matrix."""

    producer: str
    worker: str
    broker: str
    capability: str

    def __str__(self) -> str:
        return f"{self.producer} -> {self.worker} on {self.broker}: {self.capability}"

    @property
    def of_stock(self) -> Place:
        """The same cell with stock Celery in our place."""
        return Place(self.producer.replace(OURS, STOCK), self.worker.replace(OURS, STOCK), self.broker, self.capability)


Cells = dict[Place, Cell]


def pairs(peers: Sequence[Peer]) -> Iterator[tuple[Peer, Peer]]:
    """Each peer with us and with stock, as producer and as worker: what two strangers do together is not our matter."""
    both = [peer for peer in peers if peer.name in {STOCK, OURS}]
    for producer in peers:
        for worker in peers:
            if producer.producer and worker.worker and (producer in both or worker in both):
                yield producer, worker


def try_pair(
    producer: Peer,
    worker: Peer,
    broker: Broker,
    only: Sequence[str] = (),
    patience: Patience = QUICK,
) -> Cells:
    """All cells of one pair: first as both come, then what did not work once more with the setting that helps."""
    names = [name for name in CHECKS if (name in broker.only if broker.only else name not in ALONE)]
    names = [name for name in names if name not in broker.unasked and (not only or name in only)]
    helps = helping(producer, worker, broker)
    cells = _try(producer, worker, broker, names, Settings(), patience, hopeless=bool(helps))
    failed = [name for name in names if cells[name].how is How.cannot and not _for_good(cells[name])]
    if helps and failed:
        for name, cell in _try(producer, worker, broker, failed, helps, patience).items():
            cells[name] = Cell(How.setting, str(helps)) if cell.how is How.works else cell
    return {Place(producer.name, worker.name, broker.name, name): cell for name, cell in cells.items()}


def helping(producer: Peer, worker: Peer, broker: Broker) -> Settings:
    sending = worker.settings_of_ours if producer.name == OURS else worker.settings_of_stock
    answering = producer.answers_of_ours if worker.name == OURS and not broker.keeps else {}
    return Settings(sending if producer.python else {}, answering)


ALONE = {"order"}  # asked only where a broker is about it
HAS_NO = "has no such thing: "


@dataclass(frozen=True)
class Settings:
    """What makes two strangers understand each other: at whom sends, and at whom works."""

    sending: Mapping[str, Any] = field(default_factory=dict)
    working: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.sending or self.working)

    def __str__(self) -> str:
        return ", ".join(f"`{name} = {value!r}`" for name, value in {**self.sending, **self.working}.items())


def _for_good(cell: Cell) -> bool:
    return cell.why.startswith(HAS_NO)


def _try(
    producer: Peer,
    worker: Peer,
    broker: Broker,
    names: Sequence[str],
    settings: Settings,
    patience: Patience,
    hopeless: bool = False,
) -> dict[str, Cell]:
    broker.sweep()
    with tempfile.TemporaryDirectory(prefix="celeriac-interop-") as folder:
        at_work = Worker(worker, broker.variables(worker, "celery", settings.working), Path(folder) / "worker")
        asker: Producer | None = None
        try:
            at_work.wait()
            asker = Producer(
                producer, broker.variables(producer, "celery", settings.sending), Path(folder) / "producer"
            ).wait()
            pair = Pair(
                asker, broker, worker.lacks, worker.python, settings.sending, worker.by_keyword, worker.task_name,
                patience, producer.by_trace or worker.by_trace,
            )  # fmt: skip
            cells: dict[str, Cell] = {}
            for name in names:
                cells[name] = seen(CHECKS[name], pair)
                if hopeless and cells[name].how is How.cannot:  # all of it will be tried with the setting that helps
                    return dict.fromkeys(names, cells[name]) | cells
                if (
                    name in {names[0], "read"}
                    and patience.wait > BRIEF.wait
                    and patience is not CALM
                    and _never_came(cells[name])
                ):
                    pair.patience = BRIEF  # where nothing runs at all each further cell waits in vain
                if is_spoilt(at_work, worker, cells[name]):
                    at_work = at_work.again(broker)
            return cells  # noqa: TRY300 - an else would stand far from what it belongs to
        except PeerFailed as error:
            return {name: Cell(How.cannot, short(str(error))) for name in names}
        finally:
            for process in (asker, at_work):
                if process is not None:
                    process.stop()


def is_spoilt(at_work: Worker, worker: Peer, cell: Cell) -> bool:
    """A stranger that has met what it cannot understand may read no more at all; what follows is not to blame."""
    return (not worker.python and _never_came(cell)) or at_work.process.poll() is not None


def _never_came(cell: Cell) -> bool:
    return cell.why in {"the worker stored nothing", "no result came", "it did not run"}


def seen(check: Callable[[Pair], None], pair: Pair) -> Cell:
    """What this check finds of the pair."""
    try:
        check(pair)
    except Cannot as error:
        return Cell(How.cannot, HAS_NO + short(str(error)))
    except Wrong as error:
        return Cell(How.cannot, short(str(error)))
    except (KeyError, TypeError, AttributeError) as error:
        return Cell(How.cannot, short(f"an answer of another shape: {error!r}"))
    return Cell(How.works)


def short(text: str) -> str:
    return " ".join(text.split())[-250:]


def worse_than_stock(cells: Mapping[Place, Cell]) -> dict[Place, str]:
    """The cells that stock manages, or manages without a setting, and we do not."""
    found = {}
    for place, cell in cells.items():
        theirs = cells.get(place.of_stock)
        if place.of_stock != place and theirs is not None and cell.how < theirs.how:
            found[place] = f"{_told(cell)}; stock: {_told(theirs)}"
    return found


def worse_than_promised(cells: Mapping[Place, Cell], promised: Mapping[Place, How]) -> dict[Place, str]:
    """Where docs/interop.md says more than was seen."""
    found = {}
    for place, how in promised.items():
        cell = cells.get(place, Cell(How.cannot, "nobody knows such a cell"))
        if cell.how < how:
            theirs = cells.get(place.of_stock) if place.of_stock != place else None
            stock = f"; stock: {_told(theirs)}" if theirs else ""
            found[place] = f"{_told(cell)}; the page says: {how.name}{stock}"
    return found


def _told(cell: Cell) -> str:
    return f"{cell.how.name} ({cell.why})" if cell.why else cell.how.name
