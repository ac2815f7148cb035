"""Pools by name, by path and by class."""

from __future__ import annotations

import pytest

from celeriac.protocol.errors import BadCall
from celeriac.worker.options import PoolOptions
from celeriac.worker.pools import TABLE, make
from celeriac.worker.pools.solo import Solo
from celeriac.worker.pools.threads import Threads
from tests.worker.pools.programs import Script


@pytest.mark.parametrize("name", [name for name in TABLE if name not in ("gevent", "eventlet")])
def test_by_name(name: str, tmp_path) -> None:
    pool = make(Script(tmp_path / "ledger"), PoolOptions(name, 3))
    assert pool.size == (1 if name == "solo" else 3)


@pytest.mark.parametrize(
    "kind", ["celeriac.worker.pools.threads:Threads", "celeriac.worker.pools.threads.Threads", Threads]
)
def test_by_path_and_class(kind: object, tmp_path) -> None:
    assert type(make(Script(tmp_path / "ledger"), PoolOptions(kind, 2))) is Threads


def test_a_wrong_name_is_told_the_nearest(tmp_path) -> None:
    with pytest.raises(BadCall, match="did you mean threads"):
        make(Script(tmp_path / "ledger"), PoolOptions("thread", 2))
    with pytest.raises(BadCall, match="there are prefork"):
        make(Script(tmp_path / "ledger"), PoolOptions("xyz", 2))
    assert Solo
