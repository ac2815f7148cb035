"""Cameras and the dumper: what is photographed, how often, and the lines that people grep."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celery
from celeriac.compat.events.dumper import Dumper, humanize_type
from celeriac.compat.events.snapshot import Polaroid
from celeriac.compat.events.state import State
from tests.compat.stock import ask

EVENTS: list[dict[str, Any]] = [
    {"type": "worker-online", "hostname": "w@h", "timestamp": 1_700_000_000.25, "freq": 2, "active": 0},
    {"type": "worker-offline", "hostname": "w@h", "timestamp": 1_700_000_000},
    {
        "type": "task-received",
        "hostname": "w@h",
        "timestamp": 1_700_000_001.5,
        "uuid": "u",
        "name": "t.add",
        "args": "(1,)",
        "kwargs": "{}",
        "retries": 0,
    },
    {"type": "task-succeeded", "hostname": "w@h", "timestamp": 1_700_000_002.5, "uuid": "u", "result": "1"},
    {"type": "task-started", "hostname": "w@h", "timestamp": 1_700_000_003, "uuid": "unknown"},
    {"type": "Custom-Thing-Done", "hostname": "w@h", "timestamp": 1_700_000_004.0, "z": 1, "a": [2]},
]

_STOCK = """
import io
from celery.events.dumper import Dumper
out = io.StringIO()
dumper = Dumper(out)
for event in question:
    dumper.on_event(event)
answer = out.getvalue()
"""


@pytest.mark.real
def test_the_dumper_writes_stocks_lines(stock_python: Path) -> None:
    out = io.StringIO()
    for event in json.loads(json.dumps(EVENTS)):
        Dumper(out).on_event(event)
    assert out.getvalue() == ask(stock_python, _STOCK, EVENTS)


def test_an_event_that_lacks_everything_is_a_line_all_the_same() -> None:
    out = io.StringIO()
    for event in ({"type": "task-sent"}, {"type": "worker-online", "timestamp": "late"}):
        Dumper(out).on_event(event)
    assert out.getvalue().count("\n") == 2
    assert humanize_type("worker-heartbeat") == "heartbeat"


class Camera(Polaroid):
    clear_after = True
    cleaned = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.taken: list[int] = []

    def on_shutter(self, state: Any) -> None:
        self.taken.append(state.event_count)

    def on_cleanup(self) -> None:
        self.cleaned += 1


@pytest.fixture
def app() -> Celery:
    return Celery("camera", broker="memory://", set_as_current=False)


def test_a_picture_is_taken_and_what_was_seen_is_forgotten(app: Celery) -> None:
    state = State()
    camera, told = Camera(state, app=app, timer=object()), []

    def hear(sender: Any, **_: Any) -> None:
        told.append(sender)

    camera.shutter_signal.connect(hear)
    state.event({"type": "other-thing"})
    camera.capture()
    camera.capture()
    camera.cleanup()
    camera.shutter_signal.disconnect(hear)
    assert (camera.taken, camera.cleaned, told) == ([1, 0], 1, [state, state])


def test_pictures_are_not_taken_more_often_than_wanted(app: Celery) -> None:
    camera = Camera(State(), app=app, timer=object(), maxrate="1/m")
    for _ in range(5):
        camera.capture()
    assert len(camera.taken) == 1


def test_a_camera_runs_by_its_timer_until_cancelled(app: Celery) -> None:
    camera = Camera(State(), freq=0.05, app=app)
    with camera:
        end = time.monotonic() + 5
        while len(camera.taken) < 3 and time.monotonic() < end:
            time.sleep(0.01)
    camera.timer.stop()
    assert len(camera.taken) >= 3
