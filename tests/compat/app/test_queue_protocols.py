"""`task_queue_protocols`: what goes to a queue is in the protocol that its readers know, chains and all."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Celery, chain
from celeriac.compat.app import sending


@pytest.fixture
def app() -> Celery:
    app = Celery("queues", broker="memory://", backend="cache+memory://")
    app.conf.task_queue_protocols = {"old": 1}
    return app


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    messages: list[Any] = []

    def keep(app: Any, connection: Any, producer: Any, task_id: str, name: str, message: Any, *rest: Any) -> None:
        messages.append(message)

    monkeypatch.setattr(sending, "_publish", keep)
    return messages


def test_a_chain_that_begins_at_an_old_reader_travels_as_callbacks(app: Celery, sent: list[Any]) -> None:
    chain(app.signature("add", (1, 2), queue="old"), app.signature("add", (10,), queue="new")).apply_async()

    (message,) = sent
    assert not message.headers.get("task")  # protocol 1 tells all in its body
    assert message.body["task"] == "add"
    assert [each["task"] for each in message.body["callbacks"]] == ["add"]
    assert message.body["callbacks"][0]["options"]["queue"] == "new"


def test_a_chain_that_begins_at_a_new_reader_travels_as_a_chain(app: Celery, sent: list[Any]) -> None:
    chain(app.signature("add", (1, 2), queue="new"), app.signature("add", (10,), queue="old")).apply_async()

    (message,) = sent
    assert message.headers["task"] == "add"
    assert [each["task"] for each in message.body[2]["chain"]] == ["add"]
