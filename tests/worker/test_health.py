"""What a worker says of its health, and what it counts."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.protocol.rules import decisions as decided
from celeriac.protocol.rules.delivery import Stop
from celeriac.protocol.rules.outcome import Fate, Report
from celeriac.worker import health
from celeriac.worker.events import Dispatcher
from celeriac.worker.health import Health
from celeriac.worker.metrics import KIND, Counts, Meter
from tests import proxy, servers
from tests.worker.running import Project, Running, wait_until


def request(name: str = "proj.add", queue: str = "q", *, known: bool = True) -> Any:
    kind = SimpleNamespace(tells=True) if known else None
    delivery = SimpleNamespace(queue=queue, message=SimpleNamespace(body=b"", headers={}))
    return SimpleNamespace(name=name, shown_name=name, id="i", number=1, kind=kind, delivery=delivery, headers={})


@pytest.fixture
def meter() -> Meter:
    owner = SimpleNamespace(
        **{name: lambda *_, **__: None for name in ("revoked", "timed_out", "lost", "unregistered", "signal")},
        listens=lambda _: False,
    )
    made = Meter(owner, Dispatcher("w@h", lambda: 0, on=False, exists=False, exchange="e"), None)  # type: ignore[arg-type]  # what it asks of an app here
    made.counts = Counts("h")
    return made


def samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_what_is_announced_is_counted(meter: Meter) -> None:
    one, stranger = request(), request("evil\nname", known=False)
    meter.received(one, decided.Received(1))
    meter.started(one)
    meter.ended(one, Report("SUCCESS", Fate.DONE, 0.3))
    meter.ended(one, Report("SUCCESS", Fate.DONE, 60))
    meter.ended(one, Report("FAILURE", Fate.FAILED, error="some.module.Bad('x')"))
    meter.ended(one, Report("FAILURE", Fate.FAILED, error="<?>"))
    meter.ended(one, Report("RETRY", Fate.RETRIED, error="Bad()"))
    meter.overdue(one, 1.0)
    meter.timed_out(one, decided.TimedOut(1, 2.0))
    meter.lost(one, decided.WorkerLost(1, "signal 9"))
    meter.revoked(one, decided.Revoked(1))
    meter.rejected(one, requeue=False)
    meter.unregistered(stranger, decided.Unregistered(1))
    meter.buried("q")
    told = samples(meter.counts.text([("process_x", "gauge", "about", {(): 1.5})]))
    of = 'name="proj.add",queue_name="q",hostname="h"'
    assert told[f"celery_task_received_total{{{of}}}"] == 1
    assert told[f"celery_task_started_total{{{of}}}"] == 1
    assert told[f"celery_task_succeeded_total{{{of}}}"] == 2
    assert told[f"celery_task_retried_total{{{of}}}"] == 1
    assert told[f"celery_task_revoked_total{{{of}}}"] == 1
    assert told[f"celery_task_rejected_total{{{of}}}"] == 1
    assert told[f"celeriac_task_lost_total{{{of}}}"] == 1
    failed = 'celery_task_failed_total{name="proj.add",queue_name="q",exception="%s",hostname="h"}'
    for exception in ("Bad", "Unknown", "TimeLimitExceeded", "WorkerLostError"):
        assert told[failed % exception] == 1
    assert told['celery_task_failed_total{name="other",queue_name="q",exception="NotRegistered",hostname="h"}'] == 1
    for limit in ("soft", "hard"):
        assert told[f'celeriac_task_timeout_total{{name="proj.add",queue_name="q",limit="{limit}",hostname="h"}}'] == 1
    assert told['celeriac_messages_dead_total{queue_name="q",hostname="h"}'] == 1
    runtime = 'celery_task_runtime_bucket{name="proj.add",queue_name="q",hostname="h",le="%s"}'
    assert [told[runtime % bound] for bound in ("0.25", "0.5", "10.0", "+Inf")] == [0, 1, 1, 2]
    assert told[f"celery_task_runtime_sum{{{of}}}"] == pytest.approx(60.3)
    assert told[f"celery_task_runtime_count{{{of}}}"] == 2
    assert told["process_x"] == 1.5


def test_exceptions_without_end_are_bounded(meter: Meter) -> None:
    names = {meter.counts.exception(f"E{number}()") for number in range(1000)}
    assert len(names) == 101
    assert "other" in names


def test_labels_cannot_break_the_page(meter: Meter) -> None:
    meter.started(request('a"b\\c\nd'))
    assert 'name="a\\"b\\\\c\\nd"' in meter.counts.text([])


class Stage:
    """A worker as far as its health looks at it."""

    def __init__(self) -> None:
        self.owner: Any = SimpleNamespace(listens=lambda _: False)
        self.events = Dispatcher("w@h", lambda: 0, on=False, exists=False, exchange="e")
        self.hostname, self.pid, self.started, self.shown_url = "w@h", 1, 0.0, "redis://there"
        self.consumer: Any = SimpleNamespace(announcer=None, deliveries=SimpleNamespace(aside=2), requests=range(5))
        self.consumer.broker = None
        self.pool: Any = SimpleNamespace(size=4, members=lambda: [{"pid": 7, "memory": 3}], occupied=False)
        self.stopping = Stop.NOT

    def counts(self) -> tuple[int, int]:
        return 1, 9


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_ready_is_who_takes_messages(stage: Stage) -> None:
    told = Health(stage, "0")  # type: ignore[arg-type]  # all that it looks at
    assert told._answer("/readyz") == (503, "it is not connected to redis://there\n", "text/plain; charset=utf-8")
    assert told._answer("/livez").status == 200  # type: ignore[union-attr]  # there is that page
    stage.consumer.broker = object()
    assert told._answer("/readyz").status == 200  # type: ignore[union-attr]  # there is that page
    stage.stopping = Stop.WARM
    assert "shutting down" in told._answer("/readyz").text  # type: ignore[union-attr]  # there is that page
    assert told._answer("/livez").status == 200  # type: ignore[union-attr]  # there is that page
    assert told._answer("/") is None


def test_alive_is_whose_thread_turns(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Health(stage, "0")  # type: ignore[arg-type]  # all that it looks at
    stage.consumer.broker = object()
    now = told._turned
    monkeypatch.setattr(health.time, "monotonic", lambda: now + health.WEDGED + 1)
    assert told._answer("/livez") == (503, "the worker's thread has not turned for 31 s\n", "text/plain; charset=utf-8")
    assert told._answer("/readyz").status == 503  # type: ignore[union-attr]  # there is that page
    stage.pool.occupied = True
    assert told._answer("/livez").status == 200  # type: ignore[union-attr]  # there is that page


def test_the_pool_is_shown_as_it_was_at_the_last_look(stage: Stage) -> None:
    told = Health(stage, "0")  # type: ignore[arg-type]  # all that it looks at
    told._open = True
    assert told.tend(100.0) == 102.0
    page = told._answer("/metrics")
    assert page is not None
    assert page.kind == KIND
    seen = samples(page.text)
    assert seen['celery_worker_up{hostname="h"}'] == 1
    assert seen['celery_worker_tasks_active{hostname="h"}'] == 1
    assert seen['celeriac_worker_tasks_scheduled{hostname="h"}'] == 2
    assert seen['celeriac_worker_tasks_reserved{hostname="h"}'] == 2
    assert seen['celeriac_worker_child_memory_bytes{hostname="h",pid="7"}'] == 3072
    assert seen["process_cpu_seconds_total"] > 0


def test_an_address_that_is_taken_is_tried_again(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        told = Health(stage, str(other.getsockname()[1]))  # type: ignore[arg-type]  # all that it looks at
        told.open(100.0)
        told.open(105.0)
        assert caplog.text.count("in use") == 1
    told.tend(109.0)
    assert not told._open
    told.tend(110.0)
    assert told._open
    told.close()


# --- whole workers


@pytest.fixture
def project(tmp_path: Path, redis_server: servers.RedisServer, stock_python: Path) -> Iterator[tuple[Project, Any]]:
    redis_server.call("FLUSHALL")
    with proxy.to(redis_server.port) as wire:
        yield Project(tmp_path, f"redis://127.0.0.1:{wire.port}/0", redis_server.url, stock_python), wire


def asker(worker: Running) -> Any:
    worker.wait_for("Health at http://")
    found = re.search(r"Health at http://127\.0\.0\.1:(\d+)", worker.text())
    assert found

    def get(path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", int(found.group(1)), timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    return get


@pytest.mark.real
@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_a_worker_is_asked_for_its_health(project: tuple[Project, Any], pool: str) -> None:
    if pool == "gevent":
        pytest.importorskip("gevent")
    place, wire = project
    with place.worker("--health", ":0", "-c", "2", pool=pool) as worker:
        get = asker(worker)
        assert get("/livez") == (200, "ok\n")
        assert get("/readyz") == (200, "ok\n")
        place.client("add.delay(1, 2).get(timeout=10), boom.delay().get(timeout=10, propagate=False)")

        def counted() -> dict[str, float]:
            return samples(get("/metrics")[1])

        of = 'name="proj.add",queue_name="celery"'
        done = [name for name in counted() if name.startswith(f"celery_task_succeeded_total{{{of}")]
        assert [counted()[name] for name in done] == [1]
        assert any('exception="ValueError"' in name for name in counted())
        wire.refuse()
        wire.cut()
        away = f"it is not connected to redis://127.0.0.1:{wire.port}/0\n"
        wait_until(lambda: get("/readyz") == (503, away))
        assert get("/livez")[0] == 200
        assert [get("/readyz")[0] for _ in range(200)] == [503] * 200  # also while it tries to connect again
        wire.heal()
        wait_until(lambda: get("/readyz")[0] == 200, 20)
        place.client("nap.delay(3)")
        wait_until(lambda: any(n.startswith("celery_worker_tasks_active") and v == 1 for n, v in counted().items()))
        worker.process.send_signal(signal.SIGTERM)
        wait_until(lambda: get("/readyz") == (503, "it is shutting down\n"))
        assert get("/livez")[0] == 200
        assert worker.process.wait(15) == 0


@pytest.mark.real
def test_lines_of_the_log_as_json(project: tuple[Project, Any]) -> None:
    place, _ = project
    (place.folder / "celeryconfig.py").write_text("worker_json_logs = True\n")
    place.more(
        "app.config_from_object('celeryconfig')\n"
        "import logging\n"
        "@app.task\ndef tells():\n    logging.getLogger('mine').warning('told %s', 1, extra={'order': 7})\n"
        "    print('printed')\n    1 / 0\n"
    )
    with place.worker("-c", "1", pool="prefork") as worker:
        task_id = place.client("r = tells.delay(); r.get(timeout=10, propagate=False); print(r.id)")
        worker.wait_for("raised unexpected")
    lines = [json.loads(line) for line in worker.text().splitlines() if line.startswith("{")]
    about = [line for line in lines if line.get("task_id") == task_id]
    assert {line["task_name"] for line in about} == {"proj.tells"}
    received, told, printed, raised = about
    assert "received" in received["message"]
    assert (told["message"], told["order"], told["root_id"]) == ("told 1", 7, task_id)
    assert told["pid"] != received["pid"]
    assert printed["message"] == "printed"
    assert raised["exception"].startswith("Traceback (most recent call last):")
    assert "ZeroDivisionError" in raised["exception"]
    assert raised["root_id"] == received["root_id"] == task_id
