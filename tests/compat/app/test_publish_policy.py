"""How often a send is tried again: `task_publish_retry_policy`, or what `broker_transport_options` say of connecting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac import Celery
from tests import servers

QUICK = {"interval_start": 0, "interval_step": 0, "interval_max": 0}
Send = Callable[[Any], Any]


def nothing() -> None: ...


@pytest.mark.parametrize(
    ("settings", "tries"),
    [
        ({}, 4),
        ({"broker_transport_options": {"max_retries": 1, **QUICK}}, 2),
        ({"broker_transport_options": {"max_retries": 0}}, 1),
        ({"task_publish_retry_policy": {"max_retries": 2, **QUICK}, "broker_transport_options": {"max_retries": 9}}, 3),
        ({"task_publish_retry": False, "broker_transport_options": {"max_retries": 9}}, 1),
    ],
)
@pytest.mark.parametrize("send", [lambda task: task.delay(), lambda task: task.apply_async(headers={"x": 1})])
def test_a_send_is_tried_as_often_as_it_is_told(
    settings: dict[str, Any], tries: int, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Celery("t", broker=f"redis://127.0.0.1:{servers.free_port()}", set_as_current=False)
    app.conf.update(settings)
    task = app.task(nothing)
    tried = []
    connect = app.amqp.outlet.producer._pool._connect
    monkeypatch.setattr(app.amqp.outlet.producer._pool, "_connect", lambda: (tried.append(1), connect())[1])
    with pytest.raises(OperationalError):
        send(task)
    assert len(tried) == tries
