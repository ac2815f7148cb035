"""What is asked for in the wrong way is refused with Celery's exception, where Celery raises it, in words that help."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from kombu.exceptions import EncodeError, OperationalError

from celeriac.compat.app.base import Celery
from celeriac.compat.app.context import Context


@pytest.fixture
def app() -> Any:
    with Celery("wrong", broker="memory://", backend="cache+memory://", set_as_current=False) as made:
        yield made


@pytest.fixture
def task(app: Any) -> Any:
    @app.task(bind=True, name="wrong.task", shared=False)  # of no app that is made later
    def reports(self: Any) -> None:
        self.update_state(state="PROGRESS")

    return reports


class TestSending:
    def test_a_retry_policy_with_a_name_that_nobody_knows(self, app: Any, task: Any) -> None:
        for send in (task.apply_async, lambda **options: app.send_task("wrong.task", **options)):
            with pytest.raises(TypeError, match=r"retry_policy knows errback, .*max_retries, .*, not 'tries'"):
                send(retry_policy={"tries": 3})

    def test_a_compression_that_nobody_knows(self, task: Any) -> None:
        """An OperationalError on Redis, a KeyError on RabbitMQ: this one is both."""
        for kind in (OperationalError, KeyError):
            with pytest.raises(kind, match=r"no compression 'zork'; there are .*gzip.*zlib"):
                task.apply_async(compression="zork")

    def test_what_is_nested_deeper_than_python_can_write(self, app: Any) -> None:
        deep: list[Any] = []
        for _ in range(sys.getrecursionlimit() * 2):
            deep = [deep]
        with pytest.raises(
            EncodeError, match=r"nested deeper than Python can write \(sys.getrecursionlimit\(\) is \d+"
        ):
            app.send_task("wrong.task", (deep,), argsrepr="()")

    def test_a_broker_that_nobody_knows(self, app: Any) -> None:
        app.conf.broker_url = "zork://"
        with pytest.raises(KeyError, match="no broker for 'zork'; there are"):
            app.send_task("wrong.task")


class TestStates:
    def test_of_a_task_that_is_called_by_hand(self, app: Any, task: Any) -> None:
        """It has no id; where results have keys, that is an error."""
        for ask in (task, lambda: app.backend.get_task_meta(None), lambda: app.backend.forget("")):
            with pytest.raises(ValueError, match="task_id must not be empty"):
                ask()

    def test_where_ids_make_no_keys(self, app: Any, task: Any) -> None:
        app.conf.result_backend = "rpc://"
        assert task() is None


def test_children_come_as_results(app: Any) -> None:
    """In the documents of `iter_native`, as in the results themselves."""
    child = app.AsyncResult("child")
    app.backend.store_result("child", 2, "SUCCESS")
    request = Context(id="parent")
    request.children.append(child)
    app.backend.store_result("parent", 1, "SUCCESS", request=request)
    ((_, meta),) = app.ResultSet([app.AsyncResult("parent")]).iter_native(timeout=5)
    assert meta["children"] == [child]
    assert meta["children"][0].get(timeout=5) == 2


def test_what_is_no_result_does_not_get_into_a_set(app: Any) -> None:
    results = app.ResultSet([app.AsyncResult("known")])
    with pytest.raises(AttributeError, match="5 is no result"):
        results.add(5)
    assert [result.id for result in results] == ["known"]


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"autoretry_for": OSError}, TypeError, "wrong: autoretry_for takes a tuple of exceptions, as in"),
        ({"autoretry_for": (OSError,), "dont_autoretry_for": KeyError}, TypeError, "wrong: dont_autoretry_for takes"),
        ({"autoretry_for": (OSError,), "retry_backoff": "x"}, ValueError, "wrong: retry_backoff takes .*, not 'x'"),
        ({"autoretry_for": (OSError,), "retry_backoff_max": None}, TypeError, "wrong: retry_backoff_max takes seconds"),
    ],
)
def test_options_of_autoretry_say_which_task_has_them(
    app: Any, options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    app.task(name="wrong", **options)(lambda: None)
    with pytest.raises(kind, match=said):
        app.finalize()
