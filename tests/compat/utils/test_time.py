"""The zone of a machine that tells it in one way or another, or not at all."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from celeriac.compat.utils import time


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its /etc."""
    monkeypatch.delenv("TZ", raising=False)
    monkeypatch.setattr(time, "_LOCALTIME", tmp_path / "localtime")
    monkeypatch.setattr(time, "_TIMEZONE", tmp_path / "timezone")
    return tmp_path


def test_it_is_where_localtime_leads(machine: Path) -> None:
    (machine / "zoneinfo" / "Europe").mkdir(parents=True)
    (machine / "zoneinfo" / "Europe" / "Berlin").touch()
    (machine / "localtime").symlink_to(machine / "zoneinfo" / "Europe" / "Berlin")
    assert time._local_zone() == ZoneInfo("Europe/Berlin")


def test_it_is_what_timezone_names_where_localtime_is_a_copy(machine: Path) -> None:
    (machine / "localtime").touch()
    (machine / "timezone").write_text("Asia/Tokyo\n")
    assert time._local_zone() == ZoneInfo("Asia/Tokyo")


def test_a_copy_without_a_name_is_a_zone_by_the_system_clock(machine: Path) -> None:
    (machine / "localtime").touch()
    assert time._local_zone() is None
    assert isinstance(time._Zone().local, time.LocalTimezone)


def test_a_machine_that_was_set_to_no_zone_is_in_utc(machine: Path) -> None:
    assert time._local_zone() == time.timezone.utc


def test_the_environment_says_more(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", ":America/New_York")
    assert time._local_zone() == ZoneInfo("America/New_York")
