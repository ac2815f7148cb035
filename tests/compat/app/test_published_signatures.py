"""Receivers of the publishing signals see what follows a task as signatures, and looking changes nothing of the message."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.compat import signals
from celeriac.compat.app.base import Celery
from celeriac.compat.canvas import Signature, chord, group


@pytest.fixture
def app() -> Any:
    with Celery("published", broker="memory://", backend="cache+memory://", set_as_current=False) as made:
        yield made


def test_signatures_are_shown_as_signatures(app: Any) -> None:
    sent: list[Any] = []

    @app.task(name="published.step")
    def step(*_: Any) -> None: ...

    def publish(body: Any, **_: Any) -> None:
        sent.append(body[2])

    def look(body: Any = None, **_: Any) -> None:
        for each in (*(body[2]["callbacks"] or ()), *(body[2]["chain"] or ()), body[2]["chord"]):
            assert each is None or type(each) is dict or each.name.startswith(("published.", "celery.chord"))
            seen.append(type(each).__name__)

    def call_all() -> list[Any]:
        sent.clear()
        (step.s(1) | step.s(2)).delay()
        (step.s(1) | group(step.s(2), step.s(3)) | step.s(5)).delay()
        step.apply_async(link=[step.s(1), {"task": "plain"}], chord=step.s(4))
        chord([step.s(1), step.s(2)], step.s(3)).delay()
        return [_without_ids(each) for each in sent]

    app.amqp.outlet.publish = publish
    seen: list[str] = []
    unseen = call_all()
    signals.before_task_publish.connect(look)
    try:
        assert call_all() == unseen
    finally:
        signals.before_task_publish.disconnect(look)
    assert {"Signature", "_chord", "dict"} <= set(seen)
    assert isinstance(sent[-1]["chord"], Signature)


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: None if key.endswith(("_id", "reply_to")) else _without_ids(each) for key, each in value.items()}
    return [_without_ids(each) for each in value] if isinstance(value, (list, tuple)) else value
