"""Serializers, compressions and JSON types that a program registered with kombu, and signed messages, in our worker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.compat.test_security import identity

PROGRAM = """
import codecs, json, sys
import celeriac; celeriac.install()
from celery import Celery
from celery.contrib.testing.worker import start_worker
from kombu import compression, serialization
from kombu.utils.json import register_type

class Point:
    def __init__(self, x):
        self.x = x

register_type(Point, "tests.point", lambda point: point.x, Point)
serialization.register(
    "rot13", lambda value: codecs.encode(json.dumps(value), "rot13"),
    lambda data: json.loads(codecs.decode(data.decode() if isinstance(data, bytes) else data, "rot13")),
    content_type="application/x-rot13", content_encoding="utf-8",
)
compression.register(lambda body: body[::-1], lambda body: body[::-1], "application/x-backwards", aliases=["backwards"])

app = Celery("own", broker="memory://", backend="cache+memory://")
app.conf.accept_content = ["json", sys.argv[1]]

@app.task(bind=True)
def add(self, x, y):
    x = getattr(x, "x", x)
    return [x + y, type(x).__name__, self.request.delivery_info["routing_key"]]

@app.task
def point(value):
    return type(value).__name__

found = {}
with start_worker(app, perform_ping_check=False, loglevel="CRITICAL"):
    def get(task, *args, **options):
        return task.apply_async(args, **options).get(timeout=30)
    found["serializer"] = get(add, 1, 2, serializer="rot13")[0]
    found["chain"] = (add.s(1).set(serializer="rot13") | point.s().set(serializer="rot13")).apply_async((1,)).get(timeout=30)
    found["compression"] = get(add, 2, 2, compression="backwards")[0]
    found["both"] = get(add, 2, 3, compression="backwards", serializer="rot13")[0]
    found["type"] = get(point, Point(5))
    found["type beside others"] = get(add, Point(5), 1)[0]
print(json.dumps(found))
"""
SIGNED = """
import json, sys
import celeriac; celeriac.install()
from celery import Celery
from celery.contrib.testing.worker import start_worker

app = Celery("signed", broker="memory://", backend="cache+memory://")
app.conf.update(security_key=sys.argv[1], security_certificate=sys.argv[2], security_cert_store=sys.argv[2],
                task_serializer="auth", event_serializer="auth", accept_content=["auth"],
                result_accept_content=["json"])
app.setup_security()

@app.task
def add(x, y):
    return x + y

@app.task
def never():
    raise AssertionError("it was not signed")

with start_worker(app, perform_ping_check=False, loglevel="CRITICAL"):
    unsigned = never.apply_async(serializer="json")
    print(json.dumps([add.delay(2, 2).get(timeout=30), unsigned.state]))
"""


def told(*command: str) -> Any:
    done = subprocess.run([sys.executable, "-c", *command], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("accepted", ["rot13", "application/x-rot13"])
def test_what_was_registered_with_kombu_is_read(accepted: str) -> None:
    assert told(PROGRAM, accepted) == {
        "serializer": 3, "chain": "list", "compression": 4, "both": 5, "type": "Point", "type beside others": 6,
    }  # fmt: skip


def test_signed_messages_are_run_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(identity(tmp_path, "me")[0])
    assert told(SIGNED, str(tmp_path / "key"), str(tmp_path / "me.pem")) == [4, "PENDING"]
