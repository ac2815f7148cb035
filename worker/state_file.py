"""The form of the file that `statedb` keeps: the shelve of Celery's workers, so that each goes on with the other's.

Law: nothing in it is believed. Its pickles may hold plain values and Celery's set of revoked ids, and no class is
looked up for them. What stock does not keep (since when, stamps) stands beside its entries, which it leaves alone.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import schedule_file

_PROTOCOL = 4  # the highest pickle that every Python reads that Celery runs on
_OWN = "celeriac"
_OURS = (_OWN, "zrevoked", "revoked", "clock", "__proto__")


class StateFile:
    """`read` says what it held; what others put there stays."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._others: dict[str, bytes] = {}

    def read(self) -> dict[str, Any]:
        """`clock`, `revoked` (ids), and what `Revokes.dump` gave. ValueError, OSError: it cannot be read."""
        try:
            kept = schedule_file.read(self._path)
            own = json.loads(_plain(kept[_OWN])) if _OWN in kept else {}
            zipped = _plain(kept["zrevoked"]) if "zrevoked" in kept else None
            told = _plain(zlib.decompress(zipped)) if zipped else _plain(kept["revoked"]) if "revoked" in kept else ()
            clock = _plain(kept["clock"]) if "clock" in kept else 0
            revoked = [each for each in told or () if isinstance(each, str)]
        except OSError:
            raise
        except schedule_file.Unreadable as problem:
            raise ValueError(str(problem.__cause__)) from None
        except Exception as problem:  # noqa: BLE001 - a pickle may raise whatever it likes
            raise ValueError(f"{type(problem).__name__}: {problem}") from None
        self._others = {name: value for name, value in kept.items() if name not in _OURS}
        return {**(own if isinstance(own, dict) else {}), "revoked": revoked, "clock": clock}

    def write(self, clock: int, dumped: Mapping[str, Any]) -> None:
        revoked = [task_id for task_id, _ in dumped["ids"]]
        values = {
            "__proto__": 3,
            "zrevoked": zlib.compress(pickle.dumps(revoked, _PROTOCOL)),
            "clock": clock,
            _OWN: json.dumps(dumped),
        }
        form, is_foreign = schedule_file.form_of(self._path)
        if is_foreign:
            schedule_file.set_aside(self._path)
        ours = {name: pickle.dumps(value, _PROTOCOL) for name, value in values.items()}
        os.close(schedule_file.write(self._path, form, {**self._others, **ours}))


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) == ("celery.utils.collections", "LimitedSet"):
            return _limited_set
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a state file")


def _limited_set(_most: Any = None, _expires: Any = None, ids: Any = None, _fewest: Any = None) -> Any:
    """What the pickle of such a set is made of: its ids, by the time at which they were added."""
    return ids


def _plain(pickled: bytes) -> Any:
    return _Plain(io.BytesIO(pickled)).load()
