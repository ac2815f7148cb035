"""The file of a worker's state, by itself: whole or left alone, and the same as stock's."""

from __future__ import annotations

import pickle
import shelve
import time
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.compat.utils.collections import LimitedSet
from celeriac.protocol.rules.revokes import Revokes
from celeriac.worker import statedb
from celeriac.worker.statedb import StateDb


def test_the_state_file_is_whole_or_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = [5]
    owner: Any = SimpleNamespace(clock_value=lambda: clock[0], clock_adjust=clock.append)
    now = time.time()

    def held(folder: Path) -> dict[str, bytes]:
        return {each.name: each.read_bytes() for each in folder.iterdir()}

    path = tmp_path / "state"
    first = Revokes()
    first.revoke(["a"], now)
    first.revoke_stamps({"k": "v"}, now)
    db = StateDb(str(path), first, owner)
    db.load(now)
    clock[:] = [5]
    assert db.tend(now) == now + 1
    times = {each: each.stat().st_mtime_ns for each in tmp_path.iterdir()}
    db.tend(now + 1)
    assert {each: each.stat().st_mtime_ns for each in tmp_path.iterdir()} == times  # nothing has changed
    second = Revokes()
    StateDb(str(path), second, owner).load(now)
    assert second.dump(now) == first.dump(now), "with the times at which they were revoked"
    assert clock == [5, 5]
    assert {name.partition(".")[0] for name in held(tmp_path)} == {"state"}, "nothing beside it"

    (tmp_path / "odd").mkdir()
    odd = tmp_path / "odd" / "state"
    odd.write_bytes(b"\0no shelf")
    other = StateDb(str(odd), second, owner)
    other.load(now)
    other.save(now)
    assert held(odd.parent) == {"state": b"\0no shelf"}
    assert "cannot be read" in caplog.text
    assert StateDb(None, second, owner).tend(now) == float("inf")
    lost = StateDb(str(tmp_path / "none" / "state"), second, owner)
    for turn in range(5):
        lost.tend(now + turn)
    assert caplog.text.count("cannot be written") == 1, "said once, and not each second"
    (tmp_path / "none").mkdir()
    lost.tend(now + 9)
    assert held(tmp_path / "none")
    assert caplog.text.count("is written again") == 1


@pytest.mark.parametrize("form", ["zrevoked", "revoked"])
def test_a_shelve_of_stock_workers_is_gone_on_with(form: str, tmp_path: Path) -> None:
    """What it holds besides stays, and no class that it names is looked up."""
    owner: Any = SimpleNamespace(clock_value=lambda: 7, clock_adjust=lambda _clock: None)
    path = str(tmp_path / "state")
    ids = LimitedSet(maxlen=10, expires=1000)
    for each in ("a", "b"):
        ids.add(each)
    kept: Any
    with shelve.open(path) as kept:
        kept[form] = zlib.compress(pickle.dumps(ids)) if form == "zrevoked" else ids
        kept["clock"], kept["mine"] = 3, {"x": 1}
    revokes = Revokes()
    db = StateDb(path, revokes, owner)
    db.load(1e9)
    assert revokes.ids(1e9) == ("a", "b")
    db.save(1e9)
    with shelve.open(path) as kept:
        assert list(pickle.loads(zlib.decompress(kept["zrevoked"]))) == ["a", "b"]
        assert (kept["clock"], kept["mine"], "revoked" in kept) == (7, {"x": 1}, False)


class Opened:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    "kept",
    [
        lambda loot: {"zrevoked": zlib.compress(pickle.dumps(Opened(loot)))},
        lambda loot: {"zrevoked": Opened(loot)},
        lambda loot: {"clock": Opened(loot)},
        lambda _loot: {"zrevoked": b"not compressed"},
        lambda _loot: {"zrevoked": zlib.compress(b"no pickle")},
        lambda _loot: {"zrevoked": zlib.compress(pickle.dumps(7))},
        lambda _loot: {"celeriac": "no json"},
    ],
)
def test_a_shelve_of_something_else_is_left_alone(kept: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    owner: Any = SimpleNamespace(clock_value=lambda: 7, clock_adjust=lambda _clock: None)
    loot, path = tmp_path / "loot", str(tmp_path / "state")
    with shelve.open(path) as written:
        written.update(kept(loot))
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    db = StateDb(path, Revokes(), owner)
    db.load(1e9)
    db.save(1e9)
    assert "cannot be read" in caplog.text
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before
    assert not loot.exists()


def test_a_state_file_that_cannot_be_written_is_found_before_anything_begins(tmp_path: Path) -> None:
    statedb.try_out(None)
    statedb.try_out(str(tmp_path / "state"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        statedb.try_out(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="the state file cannot be written: No such file or directory"):
        statedb.try_out(str(tmp_path / "none" / "state"))
