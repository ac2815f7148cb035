"""`celeriac schedule`: what is listed, added, paused, resumed and removed, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from celeriac import Celery
from celeriac.compat.beat_entries import lease_of
from celeriac.compat.bin.base import CLIContext
from celeriac.compat.bin.schedule import schedule
from tests.servers import RedisServer


@pytest.mark.real
def test_entries_are_seen_and_changed(redis_server: RedisServer) -> None:
    app = Celery("schedule", broker=redis_server.url, set_as_current=False)
    app.conf.update(
        beat_lease_name="by-hand",
        beat_scheduler="celeriac.compat.beat:LeasedScheduler",
        beat_schedule={"a": {"task": "t", "schedule": 10}},
    )

    def told(*words: str) -> Result:
        return CliRunner().invoke(schedule, list(words), obj=CLIContext(app, no_color=True, workdir=None))

    assert told("add", "b", "t.b", "0 4 * * mon", "-a", "[1]", "-o", '{"queue": "q"}').output == "b: added\n"
    assert told("add", "b", "t.c", "30").output == "b: added in the place of t.b [0 4 * * mon]\n"
    assert told("add", "b", "t.c", "30").output == "b: added\n"
    assert told("pause", "b").exit_code == 0
    replaced = told("add", "b", "t.b", "0 4 * * mon")
    assert replaced.output == "b: added in the place of t.c [30], and stays paused\n"
    assert told("resume", "b").exit_code == 0
    assert told("pause", "a").output == "a: paused\n"
    assert told("list").output.splitlines()[::2] == ["a: t [10] (paused)", "b: t.b [0 4 * * mon] (added)"]
    rows = [json.loads(line) for line in told("list", "--json").output.splitlines()]
    assert [(row["name"], row["configured"], row["paused"], row["last_run_at"]) for row in rows] == [
        ("a", True, True, None),
        ("b", False, False, None),
    ]
    assert told("resume", "a").exit_code == told("remove", "b").exit_code == 0
    for words, why in (
        (("remove", "b"), "no entry 'b'"),
        (("remove", "a"), "is configured"),
        (("add", "c", "t", "soon"), "is no schedule"),
        (("add", "c", "t", "0"), "more than 0"),
        (("add", "--", "c", "t", "-3"), "more than 0"),
        (("add", "c", "t", "5", "-a", "{}"), "is no JSON list"),
        (("add", "c", "t", "5", "-k", "nothing"), "is no JSON"),
    ):
        result = told(*words)
        assert result.exit_code != 0
        assert why in result.output


@pytest.mark.real
@pytest.mark.parametrize("kind", ["redis", "database"])
def test_a_change_that_no_beat_reads_is_warned_of(kind: str, redis_server: RedisServer, tmp_path: Path) -> None:
    app = Celery("unread", broker=redis_server.url, set_as_current=False)
    app.conf.update(beat_lease_name=f"unread-{kind}", beat_schedule={"a": {"task": "t", "schedule": 10}})
    if kind == "database":
        app.conf.beat_lease_url = f"db+sqlite:///{tmp_path / 'lease.db'}"

    def told(*words: str) -> Result:
        return CliRunner().invoke(schedule, list(words), obj=CLIContext(app, no_color=True, workdir=None))

    for words in (("add", "b", "t", "5"), ("pause", "a"), ("resume", "a"), ("remove", "b"), ("list",)):
        done = told(*words)
        assert done.exit_code == 0, done.output
        assert "warning: nothing changes as long as beat runs with celery.beat:PersistentScheduler" in done.output
    store = lease_of(app)
    try:
        asked = store.acquire(60)  # somebody leads: beat was started with -S
        assert "warning" not in told("pause", "a").output
        store.release(asked.token)
        assert "warning" in told("pause", "a").output
    finally:
        store.close()
