"""What docs/interop.md says of the core peers holds: real Celery 5.7, gocelery, node-celery and celery-node, installed
and run here. A peer that cannot be installed fails, it is not passed over; `make interop` tries the whole family.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from interop import brokers, peers, promises, recorded
from interop.matrix import How
from interop.processes import stop_all

pytestmark = [pytest.mark.real, pytest.mark.interop]

TITLES = {"Redis": "redis", "RabbitMQ classic": "rabbitmq", "RabbitMQ, results too": "rpc"}
CORE = {peer.name for peer in peers.CORE}
# Left to the full run: what other tests prove of us alone, and what tells no more than the mirrored pair.
LEFT = {
    f"{peers.OURS} → {peers.OURS}",
    f"{peers.OURS} → {peers.OURS} + {peers.OURS}",
    f"{peers.STOCK} → {peers.OURS} + {peers.OURS}",
    f"{peers.OURS} → {peers.STOCK} + {peers.STOCK}",
    f"{peers.OURS} → {peers.STOCK} + {peers.OURS}",
    f"{peers.STOCK} → {peers.OURS} + {peers.STOCK}",
}


def chosen(pledge: promises.Pledge) -> bool:
    if f"{pledge.producer} → {pledge.worker}" in LEFT:
        return False
    if pledge.broker == "rpc" and {pledge.producer, pledge.worker} <= {peers.OURS, peers.STOCK}:
        return False
    return {pledge.producer, *pledge.worker.split(" + ")} <= {*CORE, recorded.RECORDED}


PLEDGES = [pledge for pledge in promises.pledges(TITLES) if chosen(pledge)]
UNTRUE = promises.Pledge("celery-node", peers.OURS, "redis", {"chain": How.works})  # it has no chains
# Side by side, since most of the time is waiting; each lane has servers of its own.
LANES: dict[tuple[bool, bool], list[promises.Pledge]] = {(True, True): [UNTRUE]}
for _pledge in PLEDGES:
    one_of_each = _pledge.broker != "rpc" and " + " not in _pledge.worker and _pledge.producer != recorded.RECORDED
    LANES.setdefault((_pledge.broker == "redis", one_of_each), []).append(_pledge)


@pytest.fixture(scope="module")
def core_peers() -> None:
    if missing := [said for peer in peers.CORE if (said := peers.installed(peer))]:
        pytest.fail("\n".join(missing), pytrace=False)


@pytest.fixture(scope="module")
def kept(core_peers: None, request: pytest.FixtureRequest) -> Iterator[Mapping[promises.Pledge, dict[str, str]]]:
    """What does not hold of each pledge whose test is run now; all lanes are tried at once, before the first test."""
    asked = {item.callspec.params.get("pledge") for item in request.session.items if hasattr(item, "callspec")}

    def lane(pledges: Sequence[promises.Pledge]) -> dict[promises.Pledge, dict[str, str]]:
        with brokers.Servers() as here:
            return {each: each.broken(here.broker(each.broker)) for each in pledges if each in asked or each is UNTRUE}

    pool = ThreadPoolExecutor(len(LANES))
    try:
        running = [pool.submit(lane, pledges) for pledges in LANES.values()]
        yield {pledge: broken for each in running for pledge, broken in each.result().items()}
    except BaseException:
        stop_all()
        raise
    finally:
        pool.shutdown()


@pytest.mark.parametrize("pledge", PLEDGES, ids=str)
def test_what_the_page_says_holds(pledge: promises.Pledge, kept: Mapping[promises.Pledge, dict[str, str]]) -> None:
    if broken := kept[pledge]:
        lines = "\n".join(f"  {name}: {why}" for name, why in broken.items())
        pytest.fail(f"docs/interop.md says of {pledge} that this works:\n{lines}", pytrace=False)


def test_a_promise_that_is_not_so_is_seen(kept: Mapping[promises.Pledge, dict[str, str]]) -> None:
    assert kept[UNTRUE].keys() == {"chain"}
    assert "no canvas" in kept[UNTRUE]["chain"]


def test_the_page_speaks_of_every_core_peer_on_both_brokers() -> None:
    told = {(name, pledge.broker) for pledge in PLEDGES for name in (pledge.producer, pledge.worker)}
    assert told >= {(peer.name, broker) for peer in peers.CORE for broker in ("redis", "rabbitmq")}
    assert sum(len(pledge.cells) for pledge in PLEDGES) > 300, "the page promises much less than it did"
