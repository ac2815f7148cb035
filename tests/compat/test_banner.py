"""The banner of a worker says at a glance where it is connected, what it runs, and which profile is on."""

from __future__ import annotations

import pytest

from celeriac import Celery


@pytest.mark.parametrize(
    ("profile", "told"),
    [("compatible", "compatible (Celery's defaults"), ("safe", "safe (task_acks_late, task_reject_on_worker_lost,")],
)
def test_a_banner_tells_the_profile(profile: str, told: str) -> None:
    app = Celery("banner", broker="redis://:secret@127.0.0.1:1/0", set_as_current=False)
    app.conf.celeriac_profile = profile
    app.conf.task_default_queue = "jobs"
    worker = app.Worker(hostname="w@here", pool_cls="solo", concurrency=3, loglevel="INFO")
    try:
        lines = {
            name.strip(".> "): text.strip()
            for name, _, text in (x.partition(":") for x in worker.startup_info().splitlines())
        }
        assert lines["profile"].startswith(told)
        assert lines["transport"] == "redis://:**@127.0.0.1:1/0"
        assert lines["results"] == "disabled://"
        assert lines["concurrency"] == "3 (solo)"
        assert lines["task events"].startswith("OFF")
        assert "jobs" in worker.startup_info()
    finally:
        app.close()
