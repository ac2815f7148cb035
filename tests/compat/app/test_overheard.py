"""What an agent wraps around kombu's `publish` is in the messages of an app that does not publish by kombu."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kombu import messaging

from celeriac import Celery
from celeriac.compat.app import overheard
from celeriac.compat.app.producing import Outlet
from tests.servers import RedisServer

pytestmark = pytest.mark.real
HEARD: list[Any] = []


@pytest.fixture
def app(redis_server: RedisServer) -> Iterator[Celery]:
    redis_server.call("FLUSHALL")
    app = Celery("heard", broker=redis_server.url, set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """As tracers do it: by name, with headers of their own, and all else handed on."""
    HEARD.clear()
    real = messaging.Producer.publish

    def publish(self: Any, body: Any, *args: Any, **options: Any) -> Any:
        HEARD.append((body, options.get("routing_key")))
        options["headers"] = {"traceparent": "00-1", **(options.get("headers") or {})}
        return real(self, body, *args, **options)

    return lambda: monkeypatch.setattr(messaging.Producer, "publish", publish)


def sent(app: Celery) -> Any:
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        message = queue.get(timeout=5)
        message.ack()
        return message


def test_its_headers_go_along(app: Celery, agent: Callable[[], None]) -> None:
    agent()

    @app.task(name="heard.add", shared=False)
    def add(x: int, y: int) -> int:
        return x + y

    result = add.apply_async((1, 2), priority=3, headers={"mine": 1}, retry=True)
    message = sent(app)
    assert message.headers["id"] == result.id
    assert (message.headers["traceparent"], message.headers["mine"]) == ("00-1", 1)
    assert message.properties["priority"] == 3
    assert message.payload[0] == [1, 2]
    assert [key for _, key in HEARD] == ["celery"]


def test_nobody_there_nothing_is_asked(app: Celery) -> None:
    assert type(app.amqp.outlet) is Outlet
    assert not overheard.wrapped()
