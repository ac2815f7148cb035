"""What makes starting cheap, and that a program which sends one task gets it."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from celeriac.worker import ids, late


def test_a_logger_comes_late(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert late.logger("late.now") is logging.getLogger("late.now")
    monkeypatch.delitem(sys.modules, "logging")
    found = late.logger("late.later")
    assert type(found) is not logging.Logger
    monkeypatch.undo()
    found.warning("something %s", "happened")
    assert caplog.record_tuples == [("late.later", logging.WARNING, "something happened")]
    assert caplog.records[0].filename == "test_late.py"


def test_the_collector_is_as_it_was() -> None:
    for before in (True, False):
        (gc.enable if before else gc.disable)()
        try:
            with late.uncollected():
                assert not gc.isenabled()
            with suppress(ZeroDivisionError), late.uncollected():
                raise ZeroDivisionError
            assert gc.isenabled() is before
        finally:
            gc.enable()


def test_what_was_loaded_is_not_looked_through_at_once() -> None:
    looked: list[str] = []
    gc.unfreeze()  # pools that were started in this process have frozen what there was
    gc.callbacks.append(lambda phase, _info: looked.append(phase))
    try:
        with late.uncollected():
            kept = [[number] for number in range(20_000)]
        assert gc.get_count()[0] < 700
        assert not looked
        assert gc.get_freeze_count() == 0
        gc.collect()
        assert looked
    finally:
        gc.callbacks.pop()
    assert len(kept) == 20_000


def test_what_somebody_keeps_frozen_stays_so() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with late.uncollected():
            pass
        assert gc.get_freeze_count() == frozen
    finally:
        gc.unfreeze()


def test_chances_are_chances() -> None:
    found = [ids.chance() for _ in range(200)]
    assert all(0 <= one < 1 for one in found)
    assert len(set(found)) > 100


# What costs an import, and what of ours a program that sends one task has no use for.
HEAVY = {
    *("dataclasses", "inspect", "logging", "uuid", "platform", "decimal", "calendar", "zoneinfo", "pickle", "msgpack"),
    *("hashlib", "random", "difflib", "encodings.idna", "asyncio", "kombu", "redis", "amqp", "click", "traceback"),
    *("typing", "re", "json", "urllib.parse", "ipaddress", "fnmatch", "numbers", "queue", "heapq", "subprocess", "ssl"),
    *("socket", "selectors", "array", "opcode"),
}
MOST_OF_OURS = 80
"""Each module costs 0.2 ms and more; who needs another one says here what for."""
NOT_TO_SEND = {
    *("datetime", "math", "bisect", "weakref", "contextvars"),
    *("compat.backends.base", "compat.backends.redis", "compat.backends.stored", "compat.utils.functional"),
    *("compat.utils.bounded", "compat.utils.text", "compat.utils.nodenames", "compat.app.showing", "compat.app.trace"),
    *("worker.insisting", "worker.brokers.redis_ear", "worker.brokers.redis_lease", "protocol.wire.redis_held"),
    *(
        *("protocol.wire.sealed", "protocol.wire.event", "protocol.wire.dates", "protocol.wire.message_v1"),
        *("protocol.wire.compression", "protocol.wire.formats", "worker.options", "worker.redis_advice"),
        *("compat.app.builtins", "compat.app.autoretry", "compat.app.annotations", "compat.canvas"),
    ),
}


@pytest.mark.real
@pytest.mark.parametrize("backend", [False, True], ids=["without results", "with results"])
def test_the_first_task_brings_little(redis_server: object, backend: bool) -> None:
    """Without `site`: neither what an editable installation loads is there before, nor any other package at all."""
    url = redis_server.url  # type: ignore[attr-defined]  # a server of tests.servers
    program = (
        "import sys; from celeriac import Celery\n"
        f"app = Celery('first', broker={url!r}, backend={url if backend else None!r})\n"
        "@app.task(name='first.add')\n"
        "def add(x, y): pass\n"
        "add.delay(2, 2)\n"
        "print(*sys.modules)"
    )
    env = {"PYTHONPATH": str(Path(__file__).parents[2] / ".dev")}
    done = subprocess.run([sys.executable, "-S", "-c", program], env=env, capture_output=True, text=True, check=True)
    loaded = {*done.stdout.split()}
    assert sorted(HEAVY & loaded) == [], "for annotations there is celeriac.protocol.hints"
    assert sorted({*NOT_TO_SEND, *(f"celeriac.{name}" for name in NOT_TO_SEND)} & loaded) == []
    ours = sorted(name for name in loaded if name.startswith("celeriac"))
    assert len(ours) <= MOST_OF_OURS, ours


def test_rabbitmqs_broker_brings_little() -> None:
    program = "import sys, celeriac.compat.app.amqp, celeriac.worker.brokers.amqp; print(*sys.modules)"
    env = {"PYTHONPATH": str(Path(__file__).parents[2] / ".dev")}
    done = subprocess.run([sys.executable, "-S", "-c", program], env=env, capture_output=True, text=True, check=True)
    assert sorted(HEAVY & {*done.stdout.split()}) == []


@pytest.mark.real
def test_a_worker_brings_what_it_uses(redis_server: object, tmp_path: Path) -> None:
    """Plain queues, plain tasks: no kombu, no asyncio, and what a result needs is there before children are forked."""
    url = redis_server.url  # type: ignore[attr-defined]  # a server of tests.servers
    redis_server.call("FLUSHALL")  # type: ignore[attr-defined]  # the same: what nobody knows brings kombu
    (tmp_path / "brings.py").write_text(
        "import sys; from pathlib import Path; from celery import Celery\n"
        f"app = Celery('brings', broker={url!r}, backend={url!r})\n"
        "@app.task(name='brings.told')\n"
        "def told(path):\n"
        "    Path(path + '.part').write_text(' '.join(sys.modules))\n"
        "    Path(path + '.part').rename(path)\n"
    )
    told = tmp_path / "told"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    send = f"import celeriac; celeriac.install(); from brings import told; told.delay({str(told)!r})"
    subprocess.run([sys.executable, "-c", send], env=env, check=True)
    command = [sys.executable, "-m", "celeriac", "-A", "brings", "worker", "-c", "1", "-Q", "celery,other"]
    worker = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        end = time.monotonic() + 60
        while not told.exists() and time.monotonic() < end and worker.poll() is None:
            time.sleep(0.02)
    finally:
        worker.terminate()
        said, _ = worker.communicate(timeout=60)
    assert told.exists(), said
    assert ".> other            exchange=other(direct) key=other" in said
    loaded = {*told.read_text().split()}
    assert not loaded & {"kombu.entity", "kombu.connection", "kombu.exceptions", "amqp", "asyncio", "redis", "yaml"}
    assert "celeriac.worker.backends.redis" in loaded
