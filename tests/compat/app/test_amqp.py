"""`app.amqp`: queues, messages, and that kombu is loaded only by who asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Exchange, Queue

from celeriac.compat.app.amqp import AMQP, Queues, utf8dict
from celeriac.compat.app.base import Celery
from tests.conftest import Environment


@pytest.fixture
def app() -> Iterator[Any]:
    made = Celery("amqp", broker="memory://amqp", set_as_current=False, fixups=[])
    yield made
    made.close()


def test_queues_are_found_by_name_and_alias() -> None:
    queue = Queue("q", Exchange("e"), alias="a", routing_key="r")
    queues = Queues([queue])
    assert queues["q"] is queues["a"] is queue
    assert queues["new"].exchange.name == "new"
    with pytest.raises(KeyError):
        Queues(create_missing=False)["new"]


def test_queues_are_selected_and_deselected() -> None:
    queues = Queues({"a": {"exchange": "x", "binding_key": "k"}, "b": {}})
    assert (queues["a"].routing_key, queues["b"].routing_key) == ("k", "b")
    assert list(queues.consume_from) == ["a", "b"]
    queues.deselect("a")
    assert list(queues.consume_from) == ["b"]
    queues.select(["a", "c"])
    queues.select_add("d")
    assert list(queues.consume_from) == ["a", "c", "d"]
    queues.deselect(["c", "nobody"])
    assert queues.format(indent=2).splitlines() == [
        "  .> a                exchange=x(direct) key=k",
        "  .> d                exchange=(direct) key=d",
    ]
    assert queues.format(indent=2, indent_first=False).startswith(".> a")
    assert Queues().format() == ""


def test_missing_queues_are_of_the_kind_that_is_configured() -> None:
    quorum = Queues(create_missing_queue_type="quorum", create_missing_queue_exchange_type="topic", max_priority=4)["q"]
    assert quorum.queue_arguments == {"x-queue-type": "quorum", "x-max-priority": 4}
    assert quorum.exchange.type == "topic"
    with pytest.raises(ValueError, match="Invalid queue type 'odd'"):
        Queues(create_missing_queue_type="odd")["q"]


def test_the_apps_queues_and_router(app: Any) -> None:
    assert app.amqp.default_queue is app.amqp.queues["celery"]
    app.amqp.queues = [Queue("mine")]
    assert list(app.amqp.queues) == ["mine"]
    app.conf.update(task_routes={"a.*": "mine"})
    assert app.amqp.router.route({}, "a.b")["queue"].name == "mine"
    assert app.amqp.Router({"x": 1}).queues == {"x": 1}
    assert isinstance(app.amqp, AMQP)


@pytest.mark.parametrize(
    ("include", "exclude", "names"),
    [
        ((), (), ["celery"]),
        (["a", "celery"], (), ["a", "celery"]),
        (["a", "b"], ["b", "nobody"], ["a"]),
        ((), ["celery"], []),
    ],
)
@pytest.mark.parametrize("looked", [False, True])
def test_a_worker_takes_from_light_queues(app: Any, include: Any, exclude: Any, names: list[str], looked: bool) -> None:
    """The same, whether or not somebody has looked at kombu's before; and who looks at them later finds it done."""
    if looked:
        _ = app.amqp.queues
    app.amqp.select(include)
    app.amqp.deselect(exclude)
    assert app.amqp.is_plain is not looked
    assert list(app.amqp.taken) == names
    declared = [app.amqp.outlet.declared([queue]) for queue in app.amqp.taken.values()]
    shown = app.amqp.shown_taken()
    assert list(app.amqp.queues.consume_from) == names
    assert not app.amqp.is_plain
    assert [app.amqp.outlet.declared([queue]) for queue in app.amqp.taken.values()] == declared
    assert shown == app.amqp.shown_taken() == app.amqp.queues.format()


def test_what_is_not_there_cannot_be_taken_from(app: Any) -> None:
    app.conf.task_create_missing_queues = False
    with pytest.raises(KeyError):
        app.amqp.select(["nobody"])
    assert app.amqp.is_plain
    app.conf.update(task_queues=[Queue("mine")])
    assert list(app.amqp.taken) == ["mine"]
    assert not app.amqp.is_plain


def test_messages_are_tuples_as_celerys(app: Any) -> None:
    message = app.amqp.as_task_v2("i", "n", (1,), {"k": 2}, create_sent_event=True, reply_to="r")
    assert message.properties == {"correlation_id": "i", "reply_to": "r"}
    assert message.body[:2] == ((1,), {"k": 2})
    assert message.headers["task"] == "n"
    assert message.sent_event["uuid"] == "i"
    headers, _, body, sent_event = app.amqp.as_task_v1("i", "n", [1], countdown=3)
    assert (headers, body["args"], sent_event) == ({}, [1], None)
    with pytest.raises(TypeError):
        app.amqp.as_task_v2("i", "n", args="no")
    with pytest.raises(ValueError, match="out of range"):
        app.amqp.as_task_v1("i", "n", countdown=-(2**40))


def test_keys_become_texts() -> None:
    assert utf8dict({b"a": 1, "b": 2}) == {"a": 1, "b": 2}


def test_a_send_loads_no_kombu(celeriac_env: Environment) -> None:
    program = (
        "import sys\n"
        "from celeriac.compat.app.base import Celery\n"
        "app = Celery('x', broker='memory://')\n"
        "app.send_task('a', (1,), countdown=3, queue='other', link=None)\n"
        "@app.task(name='add')\n"
        "def add(x): pass\n"
        "add.delay(1)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'kombu', 'amqp', 'redis', 'asyncio'}))\n"
    )
    done = celeriac_env.run("-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
