"""Registry, annotations and automatic retries of tasks."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.compat.app.annotations import prepare, resolve_all
from celeriac.compat.app.autoretry import add_autoretry_behaviour
from celeriac.compat.app.registry import TaskRegistry
from celeriac.compat.exceptions import Ignore, InvalidTaskError, NotRegistered, Retry


class Task:
    name: str | None = "t"
    max_retries = 3

    def __init__(self, **attributes: Any) -> None:
        self.asked: list[dict[str, Any]] = []
        self.request = SimpleNamespace(retries=2)
        self.__dict__.update(attributes)

    def run(self, problem: BaseException | None = None) -> str:
        if problem:
            raise problem
        return "ran"

    def retry(self, **kwargs: Any) -> Retry:
        self.asked.append(kwargs)
        return Retry()


class TestRegistry:
    def test_registers_instances_and_classes(self) -> None:
        tasks = TaskRegistry()
        tasks.register(Task)
        assert isinstance(tasks["t"], Task)
        other = Task(name="u", type="periodic")
        tasks.register(other)
        assert tasks["u"] is other
        assert set(tasks.regular()) == {"t"}
        assert set(tasks.periodic()) == {"u"}

    def test_a_task_has_a_name(self) -> None:
        with pytest.raises(InvalidTaskError, match="Task"):
            TaskRegistry().register(Task(name=None))

    def test_what_is_not_there(self) -> None:
        tasks = TaskRegistry()
        with pytest.raises(NotRegistered):
            tasks["t"]
        with pytest.raises(KeyError):
            tasks["t"]
        with pytest.raises(NotRegistered):
            tasks.unregister("t")

    def test_unregisters_by_name_and_by_task(self) -> None:
        tasks = TaskRegistry()
        task = Task()
        for name in ("t", task):
            tasks.register(task)
            tasks.unregister(name)
            assert "t" not in tasks

    def test_a_task_may_retry_by_itself(self) -> None:
        tasks = TaskRegistry()
        tasks.register(Task(autoretry_for=[KeyError]))
        with pytest.raises(Retry):
            tasks["t"].run(KeyError("x"))


class TestAnnotations:
    def test_none(self) -> None:
        assert prepare(None) == ()
        assert list(resolve_all((), Task())) == []

    def test_a_mapping(self) -> None:
        prepared = prepare({"t": {"rate_limit": 1}, "*": {"rate_limit": 2}})
        assert list(resolve_all(prepared, Task())) == [{"rate_limit": 1}, {"rate_limit": 2}]
        assert list(resolve_all(prepared, Task(name="u"))) == [{"rate_limit": 2}]

    def test_the_first_that_knows_the_task(self) -> None:
        class Own:
            def annotate(self, task: Any) -> Any:
                return {"own": task.name}

        prepared = prepare([{"u": {"a": 1}}, Own(), {"t": {"a": 2}}, {"*": {}}])
        assert list(resolve_all(prepared, Task())) == [{"own": "t"}]

    def test_a_class_by_its_path(self) -> None:
        prepared = prepare(f"{__name__}:ByPath")
        if __name__ == "test_registry":  # pragma: no cover
            pytest.skip("imported by another name")
        made = list(resolve_all(prepared, Task()))
        assert made == [{"by": "path"}]


class ByPath:
    def annotate(self, task: Any) -> Any:
        return {"by": "path"}


class TestAutoretry:
    def test_only_where_it_is_asked_for(self) -> None:
        task = Task()
        add_autoretry_behaviour(task)
        assert not hasattr(task, "_orig_run")

    def test_once(self) -> None:
        task = Task(autoretry_for=(KeyError,))
        add_autoretry_behaviour(task)
        first = task.run
        add_autoretry_behaviour(task)
        assert task.run is first
        assert task.run() == "ran"

    @pytest.mark.parametrize("problem", [Ignore(), Retry(), ValueError(), ConnectionResetError()])
    def test_what_is_not_retried(self, problem: BaseException) -> None:
        task = Task(autoretry_for=(KeyError, OSError, Ignore, Retry), dont_autoretry_for=[ConnectionError])
        add_autoretry_behaviour(task)
        with pytest.raises(type(problem)):
            task.run(problem)
        assert task.asked == []

    def test_how_it_is_retried(self) -> None:
        problem = KeyError("x")
        task = Task()
        add_autoretry_behaviour(task, autoretry_for=(KeyError,), retry_kwargs={"countdown": 9, "max_retries": 1})
        with pytest.raises(Retry):
            task.run(problem)
        assert task.asked == [{"exc": problem, "countdown": 9, "max_retries": 1}]

    @pytest.mark.parametrize(
        ("backoff", "maximum", "countdown"), [(True, 600, 4), (3, 600, 12), (3, 5, 5), (0.5, 600, 4), ("2", "600", 8)]
    )
    def test_backoff(self, backoff: Any, maximum: Any, countdown: int) -> None:
        task = Task(autoretry_for=(KeyError,), retry_backoff=backoff, retry_backoff_max=maximum, retry_jitter=False)
        add_autoretry_behaviour(task)
        with pytest.raises(Retry):
            task.run(KeyError())
        assert task.asked[0]["countdown"] == countdown

    def test_jitter_stays_below_the_backoff(self) -> None:
        task = Task(autoretry_for=(KeyError,), retry_backoff=3)
        add_autoretry_behaviour(task)
        for _ in range(200):
            with pytest.raises(Retry):
                task.run(KeyError())
        waits = {asked["countdown"] for asked in task.asked}
        assert waits <= set(range(13))
        assert len(waits) > 5

    def test_a_limit_that_the_body_asked_for(self) -> None:
        task = Task(autoretry_for=(KeyError,), retry_kwargs={"max_retries": 5}, override_max_retries=7)
        add_autoretry_behaviour(task)
        with pytest.raises(Retry):
            task.run(KeyError())
        assert task.asked[0]["max_retries"] == 7
        assert "override_max_retries" not in task.__dict__

    def test_coroutines(self) -> None:
        class Async(Task):
            async def run(self, problem: BaseException | None = None) -> str:  # type: ignore[override]
                return Task.run(self, problem)

        task = Async(autoretry_for=(KeyError,))
        add_autoretry_behaviour(task)
        assert asyncio.run(task.run()) == "ran"
        with pytest.raises(Retry):
            asyncio.run(task.run(KeyError()))
        with pytest.raises(ValueError, match="not this"):
            asyncio.run(task.run(ValueError("not this")))
