"""The classes of `datetime` are the same, wherever they come from; who has replaced one is asked."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from celeriac.protocol import moments

NAMES = ("date", "datetime", "time", "timedelta", "timezone", "tzinfo")


def found() -> dict[str, object]:
    """What the module would hold if it were loaded now."""
    path = Path(moments.__file__)
    names: dict[str, object] = {"__name__": moments.__name__, "__package__": moments.__package__}
    exec(compile(path.read_bytes(), path, "exec"), names)
    return names


def test_they_are_those_of_datetime(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = {name: getattr(dt, name) for name in NAMES}
    assert found().items() >= theirs.items()
    monkeypatch.delitem(sys.modules, "datetime")
    assert found().items() >= theirs.items()
    assert "datetime" not in sys.modules


def test_python_without_them_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "datetime")
    monkeypatch.setitem(sys.modules, "_datetime", None)
    classes = found()
    assert str(classes["timedelta"]).endswith("datetime.timedelta'>")  # `_pydatetime`'s from Python 3.12 on
    assert classes["timedelta"] is not dt.timedelta


def test_who_has_replaced_one_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Frozen(dt.datetime):
        pass

    monkeypatch.setattr(dt, "datetime", Frozen)
    assert found()["datetime"] is Frozen


def test_what_they_do_needs_no_datetime() -> None:
    program = (
        "import sys; from celeriac.protocol.moments import datetime, timedelta, timezone\n"
        "now = datetime.now(timezone.utc); print((now + timedelta(days=1) > now, 'datetime' in sys.modules))\n"
        "import pickle; print(pickle.loads(pickle.dumps(now)) == now)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / ".dev")}  # `site` would load it
    done = subprocess.run([sys.executable, "-S", "-c", program], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "(True, False)\nTrue\n"
