"""`celery.beat`: entries and schedulers as packages use them, the file, the service, and beat inside a worker."""

from __future__ import annotations

import heapq
import logging
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import celeriac
from celeriac import Celery
from celeriac.compat import alias, beat, beat_control, beat_entries, signals
from celeriac.compat.apps.beat import Beat
from celeriac.compat.schedules import crontab, schedule, solar
from celeriac.worker.schedule_file import InUse
from tests.compat.stock import ask
from tests.conftest import Environment
from tests.servers import RedisServer

UTC = timezone.utc
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
_OPENED: list[Celery] = []


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    alias.uninstall()
    while _OPENED:
        _OPENED.pop().amqp.outlet.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(clock: Clock) -> Celery:
    app = Celery("beat", broker="memory://", set_as_current=False)
    app.conf.update(result_expires=None)
    app.now = clock  # type: ignore[method-assign] # the app's own clock
    return app


class Recording(beat.Scheduler):
    producer = None

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        self.__dict__.setdefault("sent", []).append(entry.name)


def every(seconds: float) -> schedule:
    return schedule(timedelta(seconds=seconds))


# --- entries


def test_an_entry_begins_now_and_counts_its_runs(app: Celery, clock: Clock) -> None:
    entry = beat.ScheduleEntry(name="a", task="t", schedule=30, args=(1,), app=app)
    assert (entry.last_run_at, entry.total_run_count, entry.kwargs, entry.options) == (NOON, 0, {}, {})
    clock.at += timedelta(seconds=30)
    assert entry.is_due() == (True, 30)
    following = next(entry)
    assert (following.last_run_at, following.total_run_count) == (clock.at, 1)
    assert following == entry
    assert dict(following)["name"] == "a"
    assert repr(entry) == "<ScheduleEntry: a t(1) <freq: 30.00 seconds>"
    other = beat.ScheduleEntry(name="b", task="u", schedule=30, app=app)
    assert other != entry
    entry.update(other)
    assert (entry.task, entry.name) == ("u", "a")
    assert entry < other or other < entry
    assert entry.__lt__(1) is NotImplemented


def test_entries_pass_between_stock_and_us(stock_python: Path, app: Celery) -> None:
    celeriac.install()
    entry = beat.ScheduleEntry(
        name="a", task="t", last_run_at=NOON, total_run_count=3, schedule=crontab("0", "4"), args=[1], app=app
    )
    program = """
import pickle
entry = pickle.loads(bytes.fromhex(question))
answer = [entry.name, entry.total_run_count, entry.last_run_at.isoformat(), repr(entry.schedule), pickle.dumps(entry).hex()]
"""
    name, count, last, when, back = ask(stock_python, program, pickle.dumps(entry, 4).hex())
    assert (name, count, last, when) == ("a", 3, NOON.isoformat(), "<crontab: 0 4 * * * (m/h/dM/MY/d)>")
    again = pickle.loads(bytes.fromhex(back))
    assert type(again) is beat.ScheduleEntry
    assert again == entry


# --- the scheduler


def test_a_tick_sends_one_due_task_and_says_when_to_come_again(app: Celery, clock: Clock) -> None:
    scheduler = Recording(app)
    scheduler.add(name="a", task="t", schedule=every(10))
    scheduler.add(name="b", task="t", schedule=every(25))
    assert scheduler.tick() == pytest.approx(9.99)
    clock.at += timedelta(seconds=10)
    assert scheduler.tick() == 0
    assert scheduler.sent == ["a"]
    assert scheduler.tick() == pytest.approx(9.99)
    clock.at += timedelta(seconds=15)
    assert [scheduler.tick(), scheduler.tick()] == [0, 0]
    assert sorted(scheduler.sent) == ["a", "a", "b"]


def test_nothing_to_do_is_the_longest_sleep(app: Celery) -> None:
    assert Recording(app).tick() == 300
    assert Recording(app, max_interval=7).tick() == 7
    app.conf.beat_max_loop_interval = 9
    assert Recording(app).tick() == 9


def test_a_changed_schedule_makes_a_new_heap(app: Celery, clock: Clock) -> None:
    scheduler = Recording(app)
    scheduler.add(name="a", task="t", schedule=every(1000))
    assert scheduler.tick() == 300
    scheduler.add(name="b", task="t", schedule=every(5))
    assert scheduler.tick() == pytest.approx(4.99)
    del scheduler.schedule["b"]
    assert scheduler.tick() == 300


def test_who_wants_to_be_asked_later_hides_nobody(app: Celery, clock: Clock) -> None:
    class Later(schedule):
        def is_due(self, last_run_at: Any) -> Any:
            return False, 60 if clock.at > NOON else 1

    scheduler = Recording(app)
    scheduler.add(name="later", task="t", schedule=Later(timedelta(seconds=1)))
    scheduler.add(name="a", task="t", schedule=every(2))
    scheduler.tick()
    clock.at += timedelta(seconds=2)
    for _ in range(3):
        scheduler.tick()
    assert scheduler.sent == ["a"]


def test_an_entry_that_cannot_tell_stops_nobody(app: Celery, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(schedule):
        def is_due(self, last_run_at: Any) -> Any:
            raise OverflowError("too far")

    scheduler = Recording(app)
    scheduler.add(name="broken", task="t", schedule=Broken(timedelta(seconds=1)))
    scheduler.add(name="a", task="t", schedule=every(400))
    assert scheduler.tick() == pytest.approx(299.99)
    clock.at += timedelta(seconds=400)
    for _ in range(4):
        scheduler.tick()
    assert scheduler.sent == ["a"]
    assert "Cannot calculate the next run of 'broken', trying again in 5.00 minutes" in caplog.text


def test_a_tick_takes_other_doors_of_the_heap(app: Celery, clock: Clock) -> None:
    scheduler = Recording(app)
    scheduler.add(name="a", task="t", schedule=every(10))
    scheduler.populate_heap()
    clock.at += timedelta(seconds=10)
    pop, push = mock.Mock(wraps=heapq.heappop), mock.Mock(wraps=heapq.heappush)
    scheduler.old_schedulers = dict(scheduler.schedule)
    assert scheduler.tick(event_t=beat.event_t, min=min, heappop=pop, heappush=push) == 0
    assert pop.called
    assert push.called
    assert scheduler._heap[0].entry.total_run_count == 1


def test_the_schedule_becomes_what_is_configured(app: Celery) -> None:
    app.conf.beat_schedule = {"a": {"task": "t", "schedule": 5}, "b": {"task": "t", "schedule": 5}}
    scheduler = Recording(app)
    kept = scheduler.schedule["a"]
    kept.last_run_at = NOON - timedelta(days=1)
    scheduler.merge_inplace({"a": {"task": "other", "schedule": 6}, "c": {"task": "t", "schedule": 5}})
    assert set(scheduler.schedule) == {"a", "c"}
    assert scheduler.schedule["a"] is kept
    assert (kept.task, kept.last_run_at) == ("other", NOON - timedelta(days=1))
    assert scheduler._maybe_entry("x", kept) is kept


def test_results_that_do_not_expire_are_cleaned_up_at_four(app: Celery) -> None:
    app.conf.result_expires = 3600
    assert "celery.backend_cleanup" in Recording(app).schedule
    app.backend.supports_autoexpire = True
    assert Recording(app).schedule == {}


def test_what_is_sent_carries_the_mark_of_beat_and_fresh_arguments(app: Celery) -> None:
    numbers = iter(range(10))
    lazy = beat.BeatLazyFunc(lambda: next(numbers))
    options = {"queue": "q", "headers": {"mine": 1}}
    entry = beat.ScheduleEntry(
        name="a", task="t", schedule=5, args=[lazy, 7], kwargs={"k": lazy}, options=options, app=app
    )
    scheduler = Recording(app)
    with mock.patch.object(app, "send_task") as send:
        beat.Scheduler.apply_entry(scheduler, entry, producer="p")
        beat.Scheduler.apply_entry(scheduler, entry)
    first, second = send.call_args_list
    headers = {"mine": 1, "celery_beat_task": True}
    assert first == mock.call("t", [0, 7], {"k": 1}, producer="p", queue="q", headers=headers)
    assert second.args[1] == [2, 7]
    assert options == {"queue": "q", "headers": {"mine": 1}}


def test_a_task_of_the_app_is_sent_by_itself_and_failure_is_told(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    @app.task(name="t", shared=False)
    def task() -> None: ...

    scheduler = Recording(app)
    entry = scheduler.add(name="a", task="t", schedule=5)
    with mock.patch.object(type(app.tasks["t"]), "apply_async", side_effect=OSError("gone")) as send:
        with caplog.at_level(logging.INFO, "celery.beat"):
            beat.Scheduler.apply_entry(scheduler, entry)
        assert send.called
        with pytest.raises(beat.SchedulingError, match="Couldn't apply scheduled task a: gone"):
            scheduler.apply_async(entry)
    assert "Scheduler: Sending due task a (t)" in caplog.text
    assert "Message Error: Couldn't apply scheduled task a: gone" in caplog.text
    assert scheduler.schedule["a"].total_run_count == 1


def test_syncs_are_due_by_time_and_by_number(app: Celery) -> None:
    scheduler = Recording(app, sync_every_tasks=2)
    scheduler.sync = mock.Mock()  # type: ignore[method-assign] # counted
    scheduler._do_sync()
    entry = scheduler.add(name="a", task="t", schedule=5)
    with mock.patch.object(app, "send_task"):
        for _ in range(4):
            scheduler.apply_async(entry)
    assert scheduler.sync.call_count == 3


# --- the file


def persistent(app: Celery, path: Path) -> Any:
    return beat.PersistentScheduler(app, schedule_filename=str(path))


@pytest.fixture
def two(app: Celery) -> Celery:
    celeriac.install()
    app.conf.beat_schedule = {"a": {"task": "t", "schedule": 10}, "b": {"task": "t", "schedule": 10}}
    return app


STOCK_FILE = """
from datetime import datetime, timezone
from celery import Celery
from celery.beat import PersistentScheduler
app = Celery("stock", broker="memory://")
app.conf.update(result_expires=None, beat_schedule={name: {"task": "t", "schedule": 10} for name in question[1]})
scheduler = PersistentScheduler(app, schedule_filename=question[0])
if question[2]:
    scheduler.schedule["a"].last_run_at = datetime(2026, 6, 1, tzinfo=timezone.utc)
    scheduler.schedule["a"].total_run_count = 41
answer = {name: [entry.total_run_count, entry.last_run_at.isoformat()] for name, entry in scheduler.schedule.items()}
scheduler.close()
"""


def test_a_file_goes_from_stock_to_us_and_back(stock_python: Path, two: Celery, tmp_path: Path) -> None:
    path = tmp_path / "celerybeat-schedule"
    ask(stock_python, STOCK_FILE, [str(path), ["a", "gone"], True])
    scheduler = persistent(two, path)
    assert set(scheduler.schedule) == {"a", "b"}
    entry = scheduler.schedule["a"]
    assert (entry.total_run_count, entry.last_run_at) == (41, datetime(2026, 6, 1, tzinfo=UTC))
    scheduler.reserve(entry)
    scheduler.close()
    told = ask(stock_python, STOCK_FILE, [str(path), ["a", "b"], False])
    assert told == {"a": [42, NOON.isoformat()], "b": [0, NOON.isoformat()]}


def test_a_run_is_on_the_disk_before_it_is_sent(two: Celery, tmp_path: Path) -> None:
    path = tmp_path / "schedule"
    scheduler = persistent(two, path)
    scheduler.reserve(scheduler.schedule["a"])
    scheduler._store.discard()  # as a kill does
    assert persistent(two, path).schedule["a"].total_run_count == 1


def test_a_file_that_is_none_is_set_aside(two: Celery, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "schedule"
    path.write_bytes(b"what is this")
    scheduler = persistent(two, path)
    assert set(scheduler.schedule) == {"a", "b"}
    assert (tmp_path / "schedule.aside1").read_bytes() == b"what is this"
    assert "cannot be read and is set aside" in caplog.text
    assert "schedule.aside1" in caplog.text
    scheduler.close()


def test_entries_that_cannot_be_read_are_set_aside(two: Celery, tmp_path: Path) -> None:
    path = tmp_path / "schedule"
    scheduler = persistent(two, path)
    scheduler._store._kept["entries"] = b"no pickle"
    scheduler._store._live.clear()
    scheduler._store.sync()
    scheduler._store.discard()
    assert set(persistent(two, path).schedule) == {"a", "b"}
    assert list(tmp_path.glob("*.aside1"))


def test_another_zone_begins_anew(two: Celery, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "schedule"
    scheduler = persistent(two, path)
    scheduler.reserve(scheduler.schedule["a"])
    scheduler.close()
    two.conf.timezone = "Europe/Berlin"
    again = persistent(two, path)
    assert again.schedule["a"].total_run_count == 1  # None is no zone that changed, in stock too
    assert not caplog.text
    again.close()
    two.conf.timezone, two.conf.enable_utc = "Asia/Tokyo", False
    fresh = persistent(two, path)
    assert fresh.schedule["a"].total_run_count == 0
    fresh.close()
    assert "Reset: Timezone changed from 'Europe/Berlin' to 'Asia/Tokyo'" in caplog.text


def test_two_beats_do_not_share_a_file(two: Celery, tmp_path: Path) -> None:
    path = tmp_path / "schedule"
    first = persistent(two, path)
    with pytest.raises(InUse):
        persistent(two, path)
    first.close()
    second = persistent(two, path)
    assert second.info == f"    . db -> {path}"
    second.close()


def test_the_cleanup_keeps_its_last_run(two: Celery, tmp_path: Path, clock: Clock) -> None:
    two.conf.result_expires = 3600
    path = tmp_path / "schedule"
    persistent(two, path).close()
    clock.at += timedelta(hours=20)
    scheduler = persistent(two, path)
    assert scheduler.schedule["celery.backend_cleanup"].last_run_at == NOON
    assert scheduler.schedule["celery.backend_cleanup"].is_due()[0]
    scheduler.close()


def test_a_disk_that_is_full_does_not_stop_beat(two: Celery, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scheduler = persistent(two, tmp_path / "schedule")
    with mock.patch.object(type(scheduler._store), "sync", side_effect=OSError(28, "No space left")):
        assert scheduler.reserve(scheduler.schedule["a"]).total_run_count == 1
    assert "cannot be saved" in caplog.text
    scheduler.close()


# --- the service


class Three(Recording):
    """Three ticks, and it is over."""

    service: Any = None
    closed = 0

    def tick(self, *args: Any, **kwargs: Any) -> float:
        self.ticks = getattr(self, "ticks", 0) + 1
        if self.ticks == 3:
            self.service.stop()
        return 0.001

    def close(self) -> None:
        self.closed += 1


def test_a_service_ticks_until_it_is_stopped(app: Celery) -> None:
    service = beat.Service(app, scheduler_cls=Three, max_interval=11)
    service.scheduler.service = service
    heard: list[Any] = []
    with mock.patch.object(beat.platforms, "set_process_title"):
        signals.beat_init.connect(lambda sender, **_: heard.append(sender), weak=False, dispatch_uid="i")
        signals.beat_embedded_init.connect(lambda sender, **_: heard.append("embedded"), weak=False, dispatch_uid="e")
        service.start(embedded_process=True)
    signals.beat_init.disconnect(dispatch_uid="i")
    signals.beat_embedded_init.disconnect(dispatch_uid="e")
    assert heard == [service, "embedded"]
    assert (service.scheduler.ticks, service.scheduler.closed, service.effective_max_interval) == (3, 1, 11)
    assert service._is_stopped.is_set()
    assert service._last_tick <= time.monotonic()
    assert service.__reduce__()[1][1:4] == (11, "celerybeat-schedule", Three)


def test_a_stop_ends_a_sleep_at_once(app: Celery) -> None:
    service = beat.Service(app, scheduler_cls=Recording)
    thread = threading.Thread(target=service.start)
    thread.start()
    begun = time.monotonic()
    service.stop(wait=True)
    thread.join(5)
    assert time.monotonic() - begun < 2


def test_who_is_asked_twice_leaves_in_the_middle(app: Celery) -> None:
    service = beat.Service(app, scheduler_cls=Recording)
    service._loop.ticking = True
    beat.stop_gently(service)
    with pytest.raises(SystemExit):
        beat.stop_gently(service)
    service.scheduler._is_waiting = True
    service._is_shutdown.clear()
    with pytest.raises(SystemExit):
        beat.stop_gently(service)


def test_beat_is_a_thread_or_a_process_of_its_own(app: Celery, tmp_path: Path) -> None:
    for thread in (True, False):
        embedded = beat.EmbeddedService(
            app, thread=thread, scheduler_cls=beat.Scheduler, schedule_filename=str(tmp_path / "s")
        )
        assert embedded.name == "Beat"
        assert embedded.service.remote_control is False
        embedded.start()
        time.sleep(0.2)
        assert embedded.is_alive()
        embedded.stop()
        embedded.join(5)
        assert not embedded.is_alive()


def test_a_mailbox_is_silent_when_beat_hangs(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    service = beat.Service(app, scheduler_cls=Recording, hostname="b@%h")
    mailbox = beat.BeatPidbox(service)
    assert mailbox.hostname.startswith("b@")
    assert beat.beat_nodename().startswith("celerybeat@")
    assert (mailbox.max_tick_age, mailbox.tick_age(), mailbox.is_stale()) == (600, None, False)
    service._loop.ticked_at = time.monotonic() - 700
    assert mailbox.is_stale()
    assert mailbox.node.dispatch("ping") is None
    assert "not answering ping" in caplog.text
    service._loop.ticked_at = time.monotonic()
    assert mailbox.node.dispatch("ping") == {"ok": "pong"}
    app.conf.beat_remote_control_max_tick_age = 0
    assert not mailbox.is_stale()
    mailbox.on_message("no dict", None)
    mailbox.on_message({"method": "active"}, None)
    assert beat_control.BeatPidbox is beat.BeatPidbox


# --- the program


PROJECT = """\
import os
from celery import Celery
app = Celery("proj", broker=os.environ["PROJ_BROKER"])
app.conf.update(
    task_default_queue="of-beat", beat_schedule={"one": {"task": "t", "schedule": 0.1}}, beat_enable_remote_control=True
)
"""
PING = """\
import celeriac
celeriac.install()
from proj import app
print(app.control.ping(timeout=0.7))
"""


@pytest.mark.real
def test_the_program_says_what_it_does_and_leaves_a_schedule(
    redis_server: RedisServer, celeriac_env: Environment, tmp_path: Path
) -> None:
    redis_server.call("DEL", "of-beat")
    (tmp_path / "proj.py").write_text(PROJECT)
    environment = {**celeriac_env.variables, "PROJ_BROKER": redis_server.url}
    options = ["--pidfile", "beat.pid", "-s", "times", "-l", "INFO", "--max-interval", "5"]
    command = [sys.executable, "-m", "celeriac", "-A", "proj", "beat", *options]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        end = time.monotonic() + 15
        while redis_server.call("LLEN", "of-beat") < 3 and time.monotonic() < end:
            time.sleep(0.02)
        assert (tmp_path / "beat.pid").read_text() == f"{process.pid}\n"
        ping = subprocess.run(
            [sys.executable, "-c", PING], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert again.returncode == 73
        assert "already exists" in again.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        out, log = process.communicate(timeout=15)
    assert process.returncode == 0
    assert "celerybeat@" in ping.stdout, ping.stderr + log
    for line in ("is starting.", ". scheduler -> celery.beat.PersistentScheduler", ". db -> times", "(5s)"):
        assert line in out
    assert "beat: Starting..." in log
    assert "Scheduler: Sending due task one (t)" in log
    assert not (tmp_path / "beat.pid").exists()
    assert list(tmp_path.glob("times*"))


def test_the_program_is_a_class_of_the_app(app: Celery) -> None:
    program = app.Beat(loglevel="info", quiet=True, schedule="s", no_color=True)
    assert isinstance(program, Beat)
    assert (program.app, program.loglevel, program.schedule) == (app, logging.INFO, "s")
    assert program.scheduler_cls == "celery.beat:PersistentScheduler"


# --- entries at run time


@pytest.mark.parametrize("text", ["30", "~90", "0.5", "0 4 * * 1,3", "*/5 * 1-15 * *", "sunset -37.8 144.96"])
def test_schedules_are_texts(text: str) -> None:
    assert beat_entries.text_of(beat_entries.schedule_of(text)) == text


@pytest.mark.parametrize("text", ["", "soon", "61 * * * *", "1 2", "moonrise 1 2", "nan", "sunset x y"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no schedule"):
        beat_entries.schedule_of(text)


def test_a_schedule_of_somebody_elses_is_shown_somehow() -> None:
    assert beat_entries.text_of(crontab(minute=[1, 2], hour="4, 5")) == "1,2 4,5 * * *"
    assert beat_entries.text_of(solar("sunset", 1, 2)) == "sunset 1 2"
    assert beat_entries.text_of("anything") == "'anything'"


@pytest.fixture(params=["redis", "database"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Of the lease: the broker's, or another one."""
    return None if request.param == "redis" else f"db+sqlite:///{tmp_path / 'lease.db'}"


def leased(redis_server: RedisServer, clock: Clock, name: str, place: str | None) -> tuple[Celery, Any]:
    app = Celery("leased", broker=redis_server.url, set_as_current=False)
    _OPENED.append(app)
    app.conf.beat_lease_url = place
    name += "-in-database" * bool(place)
    app.now = clock  # type: ignore[method-assign] # the app's own clock
    app.conf.update(
        result_expires=None,
        beat_lease_name=name,
        task_default_queue=f"of-{name}",
        beat_schedule={"a": {"task": "t", "schedule": 10}},
    )
    redis_server.call("DEL", f"of-{name}")
    return app, beat.LeasedScheduler(app)


@pytest.mark.real
def test_one_leads_and_the_other_takes_over_where_it_was(
    redis_server: RedisServer, clock: Clock, place: str | None
) -> None:
    app, first = leased(redis_server, clock, "takes-over", place)
    queue = app.conf.task_default_queue
    second = beat.LeasedScheduler(app)
    assert first.tick() < 10
    assert second.tick() > 0
    assert not second.lease.leads(time.monotonic())
    clock.at += timedelta(seconds=10)
    assert first.tick() == 0
    assert redis_server.call("LLEN", queue) == 1
    first.close()  # gives the lease back
    second.lease.ended(time.monotonic())
    assert second.tick() > 0
    assert second.lease.token == 2
    assert second.schedule["a"].total_run_count == 1
    assert redis_server.call("LLEN", queue) == 1
    clock.at += timedelta(seconds=10)
    first.lease.granted(1, time.monotonic() + 100)  # a sleeper who takes himself for the leader
    first.store.acquire = mock.Mock(side_effect=AssertionError)  # type: ignore[method-assign] # nobody asks
    first.tick()
    assert redis_server.call("LLEN", queue) == 1
    assert not first.lease.leads(time.monotonic())
    assert second.tick() == 0
    assert redis_server.call("LLEN", queue) == 2
    assert "lease -> takes-over" in second.info
    first.store.close()
    second.close()


@pytest.mark.real
@pytest.mark.parametrize(("missed", "deadline", "sent"), [("once", None, 1), ("each", None, 5), ("each", 25, 3)])
def test_missed_ticks_are_made_up_for_as_is_configured(
    redis_server: RedisServer, clock: Clock, place: str | None, missed: str, deadline: float | None, sent: int
) -> None:
    app, scheduler = leased(redis_server, clock, f"missed-{missed}-{deadline}", place)
    app.conf.update(beat_missed=missed, beat_missed_deadline=deadline)
    scheduler.tick()
    clock.at += timedelta(seconds=50)
    for _ in range(10):
        scheduler.tick()
    assert redis_server.call("LLEN", app.conf.task_default_queue) == sent
    scheduler.close()


@pytest.mark.real
def test_entries_come_pause_and_go_while_beat_runs(redis_server: RedisServer, clock: Clock, place: str | None) -> None:
    app, scheduler = leased(redis_server, clock, "at-run-time", place)
    scheduler.tick()
    beat_entries.add(app, "b", "t.b", "5", [1], {"k": 2}, queue="other")
    beat_entries.pause(app, "a")
    scheduler.lease.ask_at = 0
    scheduler.tick()
    assert set(scheduler.schedule) == {"b"}
    assert [(each.name, each.schedule, each.configured, each.paused) for each in beat_entries.listed(app)] == [
        ("a", "10", True, True),
        ("b", "5", False, False),
    ]
    beat_entries.resume(app, "a")
    beat_entries.remove(app, "b")
    scheduler.lease.ask_at = 0
    scheduler.tick()
    assert set(scheduler.schedule) == {"a"}
    for act in (beat_entries.remove, beat_entries.pause, beat_entries.resume):
        with pytest.raises(KeyError):
            act(app, "nobody")
    for wrong in (lambda: beat_entries.remove(app, "a"), lambda: beat_entries.add(app, "a", "t", 1)):
        with pytest.raises(ValueError, match="is configured"):
            wrong()
    scheduler.close()


def test_a_lease_needs_a_redis_or_a_database(app: Celery) -> None:
    for url in (None, "db+nothing"):
        app.conf.beat_lease_url = url
        with pytest.raises(celeriac.compat.exceptions.ImproperlyConfigured, match="beat_lease_url"):
            beat.LeasedScheduler(app)
